//! What is known about a working container, on disk.
//!
//! ```text
//! <root>/working/<id>/record.json    this record, versioned, replaced atomically
//!                     lock           held (flock) by the command that is changing the container
//!                     upper/ work/   overlay's directories: upper *is* the layer to be
//!                     etc/           the generated /etc/hosts and /etc/resolv.conf of the step at hand
//!                     merged/        where `mount` shows the root file system
//! ```
//! A directory without a record is what a killed `from` left behind; listing skips it and removing all removes it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use libimage::digest::Digest;
use libimage::lock::{FileLock, LockMode};
use serde::{Deserialize, Serialize};

use crate::edit::Settings;
use crate::error::{Error, ErrorKind, io_kind};
use crate::op::Op;
use crate::repro::Epoch;

/// The version this program writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// The largest record that is read: a configuration has 4 MiB at most, and each step's words less than that.
const RECORD_BYTES: u64 = 64 << 20;

/// A working container as data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`] of the program that wrote it.
    pub version: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// The name, unique among the containers of a root.
    pub name: String,
    /// When it was made, in seconds since 1970. Never part of an image.
    pub created: i64,
    /// The base image; `None` for an empty base.
    pub base: Option<BaseRecord>,
    /// The moment the image will claim to be from.
    pub epoch: Epoch,
    /// The configuration and annotations of the image to be.
    pub settings: Settings,
    /// What was done so far, in order.
    #[serde(default)]
    pub steps: Vec<Op>,
    /// Replaces the text of the layer's history entry.
    #[serde(default)]
    pub created_by: Option<String>,
    /// The comment of the layer's history entry.
    #[serde(default)]
    pub comment: Option<String>,
}

/// The base of a working container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// The name it was found by, as the store spells it; `None` if it was found by digest or id.
    pub name: Option<String>,
    /// The digest of its manifest, by which the store finds it.
    pub manifest: Digest,
    /// The digest of its configuration: the image's id.
    pub image_id: Digest,
    /// The digests of its unpacked layers, bottom first. Together with the manifest they must survive a collection.
    pub layers: Vec<Digest>,
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file system failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is no record.
    #[error("{} is no record of a working container", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A newer program wrote it.
    #[error("{} has version {found}; this program reads up to {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        let kind = match &error {
            RecordError::Io { source, .. } => io_kind(source),
            RecordError::Parse { .. } | RecordError::Version { .. } => ErrorKind::Malformed,
        };
        Self::new(kind, error)
    }
}

fn io<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> RecordError + 'a {
    move |source| RecordError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

impl Record {
    /// Reads the record of the container in `directory`; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or a newer program wrote it.
    pub fn read(directory: &Path) -> Result<Option<Self>, RecordError> {
        let path = directory.join("record.json");
        let bytes = match fs::metadata(&path) {
            Ok(about) if about.len() <= RECORD_BYTES => {
                fs::read(&path).map_err(io("read", &path))?
            }
            Ok(_) => return Err(io("read", &path)(std::io::ErrorKind::FileTooLarge.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("read", &path)(error)),
        };
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let parse = |source| RecordError::Parse {
            path: path.clone(),
            source,
        };
        let found = serde_json::from_slice::<Versioned>(&bytes)
            .map_err(parse)?
            .version;
        if found > VERSION {
            return Err(RecordError::Version { path, found });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(parse)
    }

    /// Replaces the record of the container in `directory`.
    ///
    /// # Durability
    /// Atomic against a kill; not flushed. After a power cut the record may be the one before, or gone with the files of
    /// the step it tells about, which are not flushed either: a working container is no image yet.
    ///
    /// # Errors
    /// If the file system fails; the old record is then still there.
    pub fn write(&self, directory: &Path) -> Result<(), RecordError> {
        let (path, temporary) = (
            directory.join("record.json"),
            directory.join(".record.json.new"),
        );
        let bytes =
            serde_json::to_vec_pretty(self).expect("a record holds strings, numbers and JSON");
        let mut file = fs::File::create(&temporary).map_err(io("create", &temporary))?;
        file.write_all(&bytes).map_err(io("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(io("replace", &path))
    }

    /// Reads the records of all containers below `working`, oldest first; an entry without a record is skipped.
    ///
    /// # Errors
    /// If the directory or a record cannot be read.
    pub fn list(working: &Path) -> Result<Vec<Self>, RecordError> {
        let entries = match fs::read_dir(working) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io("list", working)(error)),
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry.map_err(io("list", working))?.path();
            if path.is_dir() {
                records.extend(Self::read(&path)?);
            }
        }
        records.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Ok(records)
    }
}

/// Locks a file of a directory, whoever makes it first; `None` if another holds it and there is no waiting.
///
/// # Errors
/// If the directory cannot be opened, or the file neither made nor locked.
pub(crate) fn lock(
    directory: &Path,
    name: &str,
    wait: bool,
) -> Result<Option<FileLock>, RecordError> {
    let opened = Dir::open_ambient_dir(directory, cap_std::ambient_authority())
        .map_err(io("open", directory))?;
    let locked = if wait {
        FileLock::acquire(&opened, name, LockMode::Exclusive).map(Some)
    } else {
        FileLock::try_acquire(&opened, name, LockMode::Exclusive)
    };
    locked.map_err(io("lock", &directory.join(name)))
}

/// Returns the name a new container gets: `<image>-working-container`, with `-1`, `-2` … behind it while that is taken.
pub fn default_name(image: Option<&str>, taken: impl Fn(&str) -> bool) -> String {
    let image = image.map_or("scratch", last_component);
    let plain = format!("{image}-working-container");
    if !taken(&plain) {
        return plain;
    }
    (1u64..)
        .map(|n| format!("{plain}-{n}"))
        .find(|name| !taken(name))
        .expect("finitely many names are taken")
}

/// The last component of an image's name, without tag and digest, with only the characters a name may have.
fn last_component(image: &str) -> &str {
    let plain = image.split('@').next().unwrap_or(image);
    let last = plain
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(plain);
    let last = last
        .split(':')
        .find(|part| !part.is_empty())
        .unwrap_or("image");
    if check_name(last).is_ok() {
        last
    } else {
        "image"
    }
}

/// A name that no container can have.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name:?} cannot be a container's name: letters, digits, '_', '.' and '-', a letter or digit first, 128 at most"
)]
pub struct NameError {
    name: String,
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::new(ErrorKind::InvalidInput, error)
    }
}

/// Checks a container's name, which becomes no path but is typed in scripts.
///
/// # Errors
/// If it is empty, too long, or has other characters.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let first = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if first && rest && name.len() <= 128 {
        Ok(())
    } else {
        Err(NameError {
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            version: VERSION,
            id: "ab".repeat(32),
            name: "x".into(),
            created: 5,
            base: None,
            epoch: Epoch::decide(crate::repro::Clues::default(), None),
            settings: Settings::scratch("linux", "amd64", None),
            steps: vec![Op::Edit],
            created_by: None,
            comment: None,
        }
    }

    #[test]
    fn names_come_from_the_image_and_do_not_collide() {
        let table = [
            (
                Some("docker.io/library/debian:13"),
                "debian-working-container",
            ),
            (Some("localhost:5000/a/b@sha256:00"), "b-working-container"),
            (Some("oci:/tmp/layout:tag"), "layout-working-container"),
            (Some("/tmp/layout/"), "layout-working-container"),
            (Some(":"), "image-working-container"),
            (None, "scratch-working-container"),
        ];
        for (image, name) in table {
            assert_eq!(default_name(image, |_| false), name);
        }
        let taken = ["debian-working-container", "debian-working-container-1"];
        assert_eq!(
            default_name(Some("debian"), |name| taken.contains(&name)),
            "debian-working-container-2"
        );
        for bad in ["", "-a", "a/b", "a b", "é", &"a".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_record_is_read_as_written() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Record::read(directory.path()).unwrap().is_none());
        record().write(directory.path()).unwrap();
        let read = Record::read(directory.path()).unwrap().unwrap();
        assert_eq!(
            serde_json::to_value(read).unwrap(),
            serde_json::to_value(record()).unwrap()
        );
    }

    #[test]
    fn what_is_no_record_is_an_error_that_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.json");
        fs::write(&path, "{").unwrap();
        assert!(matches!(
            Record::read(directory.path()),
            Err(RecordError::Parse { .. })
        ));
        fs::write(&path, r#"{"version": 99, "new": true}"#).unwrap();
        let error = Record::read(directory.path()).unwrap_err();
        assert!(matches!(error, RecordError::Version { found: 99, .. }));
        assert!(error.to_string().contains("record.json"));
    }

    #[test]
    fn listing_skips_what_a_killed_command_left() {
        let working = tempfile::tempdir().unwrap();
        fs::create_dir(working.path().join("half")).unwrap();
        let whole = working.path().join("whole");
        fs::create_dir(&whole).unwrap();
        record().write(&whole).unwrap();
        let names: Vec<_> = Record::list(working.path())
            .unwrap()
            .into_iter()
            .map(|r| r.name)
            .collect();
        assert_eq!(names, ["x"]);
        assert!(
            Record::list(&working.path().join("missing"))
                .unwrap()
                .is_empty()
        );
    }
}
