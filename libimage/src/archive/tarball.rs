//! A tar archive as files by name: its headers are read once, its contents where they lie.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use super::{ArchiveError, Input, packed::Packed};
use crate::{
    compress::{self, Compression},
    layer::{
        LayerError,
        archive::{Archive, Kind, Member},
    },
    limits,
};

/// Members of an archive: a thousand images of a hundred layers each, three members a layer in the oldest form.
const MEMBERS: usize = 300_000;
/// Bytes of the names of all members, which are kept.
const NAMES_BYTES: usize = 64 << 20;
/// Bytes of an archive: more than any disk these are kept on, and far from where numbers overflow.
const ARCHIVE_BYTES: u64 = 1 << 50;
/// Symbolic links followed from one name: old `docker save` makes one, from a layer to an equal one.
const LINKS: usize = 8;
/// Members up to this size are kept while a compressed archive is looked through: the documents, and no layers.
const KEPT_BYTES: u64 = 1 << 20;
/// Bytes kept of all of them.
const KEPT_ALL_BYTES: u64 = 32 << 20;
/// Bytes that tell how a member is compressed.
const MAGIC: usize = 4;

/// What a name stands for.
#[derive(Debug, Clone)]
enum Entry {
    /// Bytes of the (unpacked) archive.
    File { at: u64, size: u64 },
    /// Another name, from the root.
    Link(String),
}

/// An archive whose members can be read by name. Cheap to share.
#[derive(Debug)]
pub(crate) struct Tar {
    input: Input,
    /// The decoder, if the archive is compressed as a whole.
    packed: Option<Packed>,
    entries: BTreeMap<String, Entry>,
    /// Names that occur more than once.
    repeated: BTreeSet<String>,
    names_bytes: usize,
    /// The first bytes of the members of a compressed archive.
    magic: BTreeMap<String, Vec<u8>>,
    /// Small members of a compressed archive.
    kept: BTreeMap<String, Vec<u8>>,
}

impl Tar {
    /// Reads the headers of an archive, which may be compressed as a whole.
    pub(crate) fn open(input: Input) -> Result<Self, ArchiveError> {
        let whole = Positioned::new(&input.file, input.start);
        let decoder =
            compress::decoder(BufReader::new(whole)).map_err(|error| ArchiveError::Input {
                operation: "read",
                place: input.place.clone(),
                source: error.into(),
            })?;
        let packed = match decoder.compression() {
            Compression::None => None,
            _ => Some(Packed::new(&input.file, input.start)),
        };
        let mut tar = Self {
            input,
            packed,
            entries: BTreeMap::new(),
            repeated: BTreeSet::new(),
            names_bytes: 0,
            magic: BTreeMap::new(),
            kept: BTreeMap::new(),
        };
        let scanned = match tar.packed {
            Some(_) => tar.scan_packed(decoder),
            None => tar.scan_plain(),
        };
        scanned?;
        Ok(tar)
    }

    /// Returns what errors call the archive.
    pub(crate) fn place_name(&self) -> &str {
        &self.input.place
    }

    /// Tells whether the archive is compressed as a whole.
    pub(crate) fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    fn scan_plain(&mut self) -> Result<(), ArchiveError> {
        let file = Arc::clone(&self.input.file);
        let length = file
            .metadata()
            .map_err(|source| self.unreadable(source))?
            .len()
            .saturating_sub(self.input.start);
        let reader = BufReader::new(Positioned::new(&file, self.input.start));
        let mut archive = Archive::new(reader, ARCHIVE_BYTES);
        while let Some(member) = archive.next().map_err(|error| self.bad(error))? {
            let at = archive.position();
            // The content is not read: it must at least be there.
            if member.kind == Kind::Regular && at.saturating_add(member.size) > length {
                let path = String::from_utf8_lossy(&member.path).into_owned();
                return Err(self.bad(LayerError::Truncated { path: path.into() }));
            }
            self.enter(&member, at)?;
            let skip = |reader: &mut BufReader<Positioned>, count: u64| {
                let count = i64::try_from(count).map_err(|_| io::ErrorKind::InvalidData)?;
                reader.seek_relative(count)
            };
            archive
                .skip_content(skip)
                .map_err(|error| self.bad(error))?;
        }
        Ok(())
    }

    fn scan_packed(&mut self, decoder: impl Read) -> Result<(), ArchiveError> {
        let mut archive = Archive::new(decoder, ARCHIVE_BYTES);
        let mut room = KEPT_ALL_BYTES;
        while let Some(member) = archive.next().map_err(|error| self.bad(error))? {
            let Some(name) = self.enter(&member, archive.position())? else {
                continue;
            };
            let small = member.size <= KEPT_BYTES.min(room);
            let wanted = if small { member.size } else { MAGIC as u64 };
            let content = read_start(&mut archive, wanted).map_err(|error| self.bad(error))?;
            if small {
                room -= member.size;
                self.kept.insert(name, content);
            } else {
                self.magic.insert(name, content);
            }
        }
        Ok(())
    }

    /// Writes a member down; returns its name if it is a new file.
    fn enter(&mut self, member: &Member, at: u64) -> Result<Option<String>, ArchiveError> {
        let limit = |what, limit| ArchiveError::Limit {
            place: self.input.place.clone(),
            what,
            limit,
        };
        let entry = match &member.kind {
            Kind::Regular => Entry::File {
                at,
                size: member.size,
            },
            Kind::Symlink => {
                let path = self.normal(&member.path)?;
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                Entry::Link(self.joined(Some(parent), &member.link)?)
            }
            Kind::HardLink => Entry::Link(self.normal(&member.link)?),
            // Directories mean nothing here, and nothing else has content.
            _ => return Ok(None),
        };
        let name = self.normal(&member.path)?;
        if self.entries.len() >= MEMBERS {
            return Err(limit("members", MEMBERS as u64));
        }
        self.names_bytes += name.len();
        if self.names_bytes > NAMES_BYTES {
            return Err(limit(
                "bytes in the names of its members",
                NAMES_BYTES as u64,
            ));
        }
        match self.entries.entry(name.clone()) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(entry);
                Ok(Some(name))
            }
            // Content is known by its digest, so that the first is as good as any; documents may not be there twice.
            btree_map::Entry::Occupied(_) => {
                self.repeated.insert(name);
                Ok(None)
            }
        }
    }

    /// Returns a name without what means nothing; archives of images never name anything above their root.
    fn normal(&self, path: &[u8]) -> Result<String, ArchiveError> {
        self.joined(None, path)
    }

    /// Joins a link's target to the directory the link is in.
    fn joined(&self, base: Option<&str>, path: &[u8]) -> Result<String, ArchiveError> {
        let bad = |what: &str| ArchiveError::Malformed {
            place: self.input.place.clone(),
            form: "archive of images",
            what: format!("{what} ({})", String::from_utf8_lossy(path).escape_debug()),
        };
        if path.len() > limits::PATH_BYTES {
            return Err(ArchiveError::Limit {
                place: self.input.place.clone(),
                what: "bytes in a name",
                limit: limits::PATH_BYTES as u64,
            });
        }
        let path = std::str::from_utf8(path).map_err(|_| bad("a name is no UTF-8"))?;
        let base_parts = base.filter(|_| !path.starts_with('/')).unwrap_or_default();
        let mut parts: Vec<&str> = base_parts
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." if base.is_some() && !parts.is_empty() => {
                    parts.pop();
                }
                ".." => return Err(bad("a name leads out of the archive")),
                part => parts.push(part),
            }
        }
        Ok(parts.join("/"))
    }

    /// Follows links to a file.
    fn find(&self, name: &str) -> Result<(&str, u64, u64), ArchiveError> {
        let missing = || ArchiveError::Missing {
            place: self.input.place.clone(),
            member: name.to_owned(),
        };
        let mut wanted = name.strip_prefix("./").unwrap_or(name);
        for _ in 0..=LINKS {
            match self.entries.get_key_value(wanted).ok_or_else(missing)? {
                (name, Entry::File { at, size }) => return Ok((name, *at, *size)),
                (_, Entry::Link(target)) => wanted = target,
            }
        }
        Err(missing())
    }

    /// Tells whether there is such a file.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// Returns the size of a file in bytes.
    pub(crate) fn size(&self, name: &str) -> Result<u64, ArchiveError> {
        Ok(self.find(name)?.2)
    }

    /// Returns where a file begins, if the archive has to be read in order.
    pub(crate) fn place(&self, name: &str) -> Option<u64> {
        self.packed.as_ref()?;
        Some(self.find(name).map_or(0, |(_, at, _)| at))
    }

    /// Tells how a file is compressed.
    pub(crate) fn compression(&self, name: &str) -> Result<Compression, ArchiveError> {
        let (path, _, _) = self.find(name)?;
        if let Some(magic) = self.magic.get(path) {
            return Ok(compress::sniff(magic));
        }
        let mut magic = Vec::with_capacity(MAGIC);
        self.open_member(path)?
            .take(MAGIC as u64)
            .read_to_end(&mut magic)
            .map_err(|source| self.unreadable(source))?;
        Ok(compress::sniff(&magic))
    }

    /// Opens a file.
    pub(crate) fn open_member(&self, name: &str) -> Result<Box<dyn Read + Send>, ArchiveError> {
        let (name, at, size) = self.find(name)?;
        if let Some(content) = self.kept.get(name) {
            return Ok(Box::new(io::Cursor::new(content.clone())));
        }
        if let Some(packed) = &self.packed {
            let opened = packed.open(at, size);
            return Ok(Box::new(opened.map_err(|source| self.unreadable(source))?));
        }
        let start = Positioned::new(&self.input.file, self.input.start.saturating_add(at));
        Ok(Box::new(start.take(size)))
    }

    /// Reads a document whole. It may be there only once: two readers could see two.
    pub(crate) fn document(&self, name: &str, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        if self.repeated.contains(name) {
            return Err(ArchiveError::Malformed {
                place: self.input.place.clone(),
                form: "archive of images",
                what: format!("it has {name} twice"),
            });
        }
        self.small(name, limit)
    }

    /// Reads a small file whole.
    pub(crate) fn small(&self, name: &str, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        if self.size(name)? > limit {
            return Err(ArchiveError::Limit {
                place: self.input.place.clone(),
                what: "bytes in a document",
                limit,
            });
        }
        let mut content = Vec::new();
        self.open_member(name)?
            .read_to_end(&mut content)
            .map_err(|source| self.unreadable(source))?;
        Ok(content)
    }

    /// Reads a document of JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        limit: u64,
    ) -> Result<T, ArchiveError> {
        let content = self.document(name, limit)?;
        self.parse(name, &content)
    }

    /// Parses JSON of a member.
    pub(crate) fn parse<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        content: &[u8],
    ) -> Result<T, ArchiveError> {
        serde_json::from_slice(content).map_err(|source| ArchiveError::Json {
            place: self.input.place.clone(),
            member: name.to_owned(),
            source,
        })
    }

    pub(crate) fn unreadable(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Input {
            operation: "read",
            place: self.input.place.clone(),
            source,
        }
    }

    fn bad(&self, source: LayerError) -> ArchiveError {
        let short =
            matches!(&source, LayerError::Truncated { path } if path.as_os_str().is_empty());
        if short && self.entries.is_empty() {
            return ArchiveError::Malformed {
                place: self.input.place.clone(),
                form: "archive of images",
                what: "it is too short for a tar archive".to_owned(),
            };
        }
        ArchiveError::Tar {
            place: self.input.place.clone(),
            source,
        }
    }
}

/// Reads up to `wanted` bytes of the current member.
fn read_start<R: Read>(archive: &mut Archive<R>, wanted: u64) -> Result<Vec<u8>, LayerError> {
    let mut content = Vec::new();
    let mut buffer = [0; 8 << 10];
    while (content.len() as u64) < wanted {
        let left = usize::try_from(wanted).unwrap_or(usize::MAX) - content.len();
        let part = left.min(buffer.len());
        match archive.read(&mut buffer[..part])? {
            0 => break,
            count => content.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(content)
}

/// Reads a shared file from a place of its own.
#[derive(Debug)]
pub(super) struct Positioned {
    file: Arc<File>,
    at: u64,
}

impl Positioned {
    pub(super) fn new(file: &Arc<File>, at: u64) -> Self {
        Self {
            file: Arc::clone(file),
            at,
        }
    }
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Positioned {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.checked_add_signed(by).ok_or_else(invalid)?,
            SeekFrom::End(_) => return Err(invalid()),
        };
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;
    use trimaran_testkit::{
        Tree,
        tar::{RawMember, raw_tar},
    };

    use super::*;
    use crate::archive::{DockerArchive, OciArchive};

    fn opened(archive: &[u8]) -> Result<Tar, ArchiveError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(archive).unwrap();
        Tar::open(Input::of_file(file, "test"))
    }

    #[test]
    fn names_lose_what_means_nothing_and_links_stay_inside() {
        let members = [
            RawMember::file("./a//b", "1"),
            RawMember::file("/c", "2"),
            RawMember::symlink("d/e/link", "../../c"),
            RawMember::symlink("top", "./a/b"),
            RawMember::symlink("absolute", "/a/b"),
            RawMember::hardlink("hard", "./d/e/link"),
            RawMember::symlink("one", "two"),
            RawMember::symlink("two", "one"),
        ];
        let tar = opened(&raw_tar(&members)).unwrap();
        let content = |name: &str| tar.small(name, 10).unwrap();
        for (name, expected) in [
            ("a/b", b"1"),
            ("./a/b", b"1"),
            ("c", b"2"),
            ("d/e/link", b"2"),
            ("top", b"1"),
            ("absolute", b"1"),
            ("hard", b"2"),
        ] {
            assert_eq!(content(name), expected, "{name}");
        }
        for missing in ["one", "a", "../c", "/c", ""] {
            assert!(!tar.has(missing), "{missing}");
        }
        for bad in [
            RawMember::file("a/../../b", ""),
            RawMember::symlink("a", "../b"),
        ] {
            let error = opened(&raw_tar(&[bad])).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Malformed);
        }
    }

    proptest! {
        #[test]
        fn damage_is_found_or_does_no_harm(
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let list = r#"[{"Config": "c.json", "RepoTags": ["a:b"], "Layers": ["l.tar"]}]"#;
            let layer = Tree::new().file("f", 0o644, "x").tar();
            let diff_id = crate::digest::Digest::of(&layer);
            let config = format!(r#"{{"rootfs": {{"diff_ids": ["{diff_id}"]}}}}"#);
            let mut archive = raw_tar(&[
                RawMember::file("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#),
                RawMember::file("index.json", r#"{"manifests": []}"#),
                RawMember::file("c.json", config),
                RawMember::file("manifest.json", list),
                RawMember::symlink("l.tar", "d/l.tar"),
                RawMember::file("d/l.tar", layer),
            ]);
            for (at, byte) in &damage {
                let at = at.index(archive.len());
                archive[at] = *byte;
            }
            archive.truncate(cut.index(archive.len() * 2).max(1));
            for found in [
                opened(&archive).map_err(Into::into).and_then(|tar| DockerArchive::new(tar)?.find(None, None)),
                opened(&archive).map_err(Into::into).and_then(|tar| OciArchive::new(tar)?.find(None)),
            ] {
                let known: Result<_, crate::Error> = found;
                if let Ok(found) = known {
                    prop_assert!(crate::manifest::Manifest::parse(found.raw, None).is_ok());
                }
            }
        }
    }
}
