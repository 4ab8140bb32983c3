//! `dir:`, a directory with one image: `manifest.json`, blobs by the hexadecimal digits of their digests, the manifests of an index as
//! `<digits>.manifest.json`, signatures as `signature-N`.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cap_std::{ambient_authority, fs::Dir};
use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

use super::{
    TransportError,
    local::{BlobWrite, LocalSink, LocalSource},
};
use crate::{
    digest::{Algorithm, Digest, DigestError, Hasher},
    durable::{self, TempFile},
    error::Error,
    limits,
    manifest::{Content, Descriptor, Manifest},
};

const MANIFEST: &str = "manifest.json";
const VERSION: &str = "version";
/// The version that is written.
const WRITTEN: &str = "Directory Transport Version: 1.1\n";
/// How every version begins that can be read.
const READ: &str = "Directory Transport Version: 1.";
/// Bytes of the file `version`.
const VERSION_BYTES: u64 = 256;
/// Signatures of an image, and the bytes of one; read whole into memory.
const SIGNATURES: usize = 128;
const SIGNATURE_BYTES: u64 = 4 << 20;

/// A directory, with the path that errors name.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    dir: Arc<Dir>,
}

impl Place {
    fn open(path: &Path) -> Result<Self, Error> {
        let dir = Dir::open_ambient_dir(path, ambient_authority());
        let dir = dir.map_err(|source| TransportError::Directory {
            operation: "open",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            dir: Arc::new(dir),
        })
    }

    fn failed(
        &self,
        operation: &'static str,
        name: &str,
    ) -> impl FnOnce(io::Error) -> TransportError {
        let path = self.path.join(name);
        move |source| TransportError::Directory {
            operation,
            path,
            source,
        }
    }

    /// Opens a file; `None` if it is missing. Symbolic links could lead anywhere, and a FIFO would hang us.
    fn file(&self, name: &str) -> Result<Option<File>, TransportError> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&*self.dir, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.failed("open", name)(errno.into())),
        };
        let stat =
            rustix::fs::fstat(&file).map_err(|errno| self.failed("open", name)(errno.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let source = io::Error::other("it is no plain file");
            return Err(self.failed("open", name)(source));
        }
        Ok(Some(file))
    }

    /// Reads a small file; `None` if it is missing.
    fn small(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, TransportError> {
        let Some(file) = self.file(name)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut content)
            .map_err(self.failed("read", name))?;
        if content.len() as u64 > limit {
            let what = "a file is larger than it may be";
            return Err(self.malformed(what));
        }
        Ok(Some(content))
    }

    fn malformed(&self, what: &'static str) -> TransportError {
        TransportError::NotADirectory {
            path: self.path.clone(),
            what,
        }
    }

    /// Tells whether the directory says that it is one of ours to read and to replace.
    fn has_version(&self) -> Result<bool, TransportError> {
        let version = self.small(VERSION, VERSION_BYTES)?;
        Ok(version.is_some_and(|version| version.starts_with(READ.as_bytes())))
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), TransportError> {
        durable::write_atomic(&self.dir, name, content).map_err(self.failed("write", name))
    }
}

/// An image in a directory.
#[derive(Debug)]
pub(super) struct DirSource(Place);

impl DirSource {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let place = Place::open(path)?;
        // Those who wrote it before there was a version had the same form.
        if place.file(VERSION)?.is_some() && !place.has_version()? {
            return Err(place.malformed("its version is not 1").into());
        }
        Ok(Self(place))
    }
}

impl LocalSource for DirSource {
    fn manifest(&self) -> Result<(Option<String>, Vec<u8>), Error> {
        let raw = self.0.small(MANIFEST, limits::MANIFEST_BYTES)?;
        let missing = || self.0.malformed("it has no file manifest.json");
        Ok((None, raw.ok_or_else(missing)?))
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, Error> {
        for name in [digest.hex().to_owned(), child_name(digest)] {
            if let Some(file) = self.0.file(&name)? {
                return Ok(Box::new(file));
            }
        }
        Err(self.0.failed("open", digest.hex())(io::ErrorKind::NotFound.into()).into())
    }

    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(blob_size(&self.0, digest)?)
    }

    fn signatures(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut signatures = Vec::new();
        while signatures.len() < SIGNATURES {
            let name = signature_name(signatures.len() + 1);
            match self.0.small(&name, SIGNATURE_BYTES)? {
                Some(signature) => signatures.push(signature),
                None => break,
            }
        }
        Ok(signatures)
    }
}

/// A directory to be filled.
#[derive(Debug)]
pub(super) struct DirSink {
    place: Place,
    /// What the image is made of: the rest is removed in the end.
    needed: Mutex<BTreeSet<String>>,
    /// The signatures written.
    signatures: Mutex<Vec<String>>,
}

impl DirSink {
    /// Makes a directory, or takes one that is empty or holds an image, which will be replaced.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(path).map_err(|source| TransportError::Directory {
            operation: "create",
            path: path.to_owned(),
            source,
        })?;
        let place = Place::open(path)?;
        if !place.has_version()? {
            let mut entries = place.dir.entries().map_err(place.failed("read", ""))?;
            if entries.next().is_some() {
                let what = "it is neither empty nor an image";
                return Err(place.malformed(what).into());
            }
            place.write(VERSION, WRITTEN.as_bytes())?;
        }
        Ok(Self {
            place,
            needed: Mutex::default(),
            signatures: Mutex::default(),
        })
    }

    fn need(&self, name: String) {
        self.needed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name);
    }

    fn written(&self) -> MutexGuard<'_, Vec<String>> {
        self.signatures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the gap that an older image's signatures left: readers stop at one.
    fn renumber(&self) -> Result<(), TransportError> {
        for (at, name) in self.written().iter_mut().enumerate() {
            let right = signature_name(at + 1);
            if *name != right {
                let renamed = self.place.dir.rename(&*name, &self.place.dir, &right);
                renamed.map_err(self.place.failed("rename", name))?;
                *name = right;
            }
        }
        Ok(())
    }

    fn need_parts(&self, manifest: &Manifest) {
        if let Content::Image { config, layers } = manifest.content() {
            for blob in layers.iter().chain([config]) {
                self.need(blob.digest.hex().to_owned());
            }
        }
    }

    /// Removes what an older image left; only names that this transport makes.
    fn clear(&self) -> Result<(), TransportError> {
        let needed = self.needed.lock().unwrap_or_else(PoisonError::into_inner);
        let listing = self.place.failed("read", "");
        for entry in self.place.dir.entries().map_err(listing)? {
            let entry = entry.map_err(self.place.failed("read", ""))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if is_ours(&name) && !needed.contains(&name) {
                let removed = self.place.dir.remove_file(&name);
                removed.map_err(self.place.failed("remove", &name))?;
            }
        }
        Ok(())
    }
}

impl LocalSink for DirSink {
    fn place(&self) -> &Path {
        &self.place.path
    }

    fn head(&self) -> Result<Option<Digest>, Error> {
        let raw = self.place.small(MANIFEST, limits::MANIFEST_BYTES)?;
        Ok(raw.map(|raw| Digest::of(&raw)))
    }

    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(blob_size(&self.place, digest)?)
    }

    fn blob(&self, expected: Option<&Descriptor>) -> Result<Box<dyn BlobWrite>, Error> {
        let file = TempFile::new(Arc::clone(&self.place.dir));
        Ok(Box::new(DirBlob {
            file: file.map_err(self.place.failed("write to", ""))?,
            naming: match expected {
                Some(expected) => Naming::Expected(expected.clone()),
                None => Naming::Hashing(Hasher::new(Algorithm::Sha256)),
            },
            size: 0,
            path: self.place.path.clone(),
            dir: Arc::clone(&self.place.dir),
        }))
    }

    fn put_child(&self, manifest: &Manifest, digest: &Digest) -> Result<(), Error> {
        let name = child_name(digest);
        self.place.write(&name, manifest.raw())?;
        self.need(name);
        self.need_parts(manifest);
        Ok(())
    }

    fn publish(&self, manifest: &Manifest) -> Result<(), Error> {
        self.need_parts(manifest);
        durable::sync_dir(&self.place.dir).map_err(self.place.failed("synchronise", ""))?;
        self.place.write(MANIFEST, manifest.raw())?;
        self.clear()?;
        Ok(self.renumber()?)
    }

    fn with_names(&self, _names: &[String]) -> Result<Arc<dyn LocalSink>, Error> {
        let image = format!("dir:{}", self.place.path.display());
        Err(TransportError::NoMoreTags { image }.into())
    }

    /// After those that are there: they are another image's if this one is published, and go then.
    fn put_signatures(&self, signatures: &[Vec<u8>]) -> Result<bool, Error> {
        let mut number = 1;
        for signature in signatures {
            while self.place.file(&signature_name(number))?.is_some() {
                number += 1;
            }
            let name = signature_name(number);
            self.place.write(&name, signature)?;
            self.need(name.clone());
            self.written().push(name);
        }
        Ok(true)
    }
}

fn blob_size(place: &Place, digest: &Digest) -> Result<Option<u64>, TransportError> {
    let Some(file) = place.file(digest.hex())? else {
        return Ok(None);
    };
    let metadata = file.metadata();
    Ok(Some(
        metadata.map_err(place.failed("open", digest.hex()))?.len(),
    ))
}

fn child_name(digest: &Digest) -> String {
    format!("{}.{MANIFEST}", digest.hex())
}

fn signature_name(number: usize) -> String {
    format!("signature-{number}")
}

/// Tells whether a name is one that this transport gives.
fn is_ours(name: &str) -> bool {
    let stem = name.strip_suffix(".manifest.json").unwrap_or(name);
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_blob = matches!(stem.len(), 64 | 128) && stem.bytes().all(hex);
    let number = name.strip_prefix("signature-").unwrap_or_default();
    is_blob || !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

enum Naming {
    /// It was found right on its way here.
    Expected(Descriptor),
    Hashing(Hasher),
}

struct DirBlob {
    file: TempFile,
    naming: Naming,
    size: u64,
    path: PathBuf,
    dir: Arc<Dir>,
}

impl Write for DirBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        if let Naming::Hashing(hasher) = &mut self.naming {
            hasher.update(&bytes[..count]);
        }
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWrite for DirBlob {
    fn finish(self: Box<Self>) -> Result<(Digest, u64), Error> {
        let Self {
            file,
            naming,
            size,
            path,
            dir,
        } = *self;
        let found = match naming {
            Naming::Expected(expected) if expected.size != size => {
                return Err(DigestError::Size {
                    digest: expected.digest,
                    expected: expected.size,
                    found: size,
                    more: false,
                }
                .into());
            }
            Naming::Expected(expected) => expected.digest,
            Naming::Hashing(hasher) => hasher.finish(),
        };
        let path = path.join(found.hex());
        let written = file.file().sync_all();
        let named = written.and_then(|()| file.persist(&dir, found.hex()));
        named.map_err(|source| TransportError::Directory {
            operation: "write",
            path,
            source,
        })?;
        Ok((found, size))
    }
}
