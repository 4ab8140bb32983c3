//! What is kept on disk about a container between one call and the next: a directory with a versioned JSON file in it.
//!
//! ```text
//! <state dir>/<id>/state.json    the record, replaced as a whole
//! <state dir>/<id>/config.json   the bundle's, as it was when the container was created, to the byte
//! <state dir>/<id>/exec.fifo     there as long as the container waits to be started
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::error::{Error, ErrorKind, Result};

/// Version of the format; another one is refused.
const VERSION: u32 = 1;

/// Largest record that is read: it holds the specification.
const RECORD_BYTES: u64 = 32 << 20;

/// Room for most records, so that they are read in one go.
const USUAL_BYTES: usize = 32 << 10;

pub(crate) const FILE: &str = "state.json";

pub(crate) const CONFIG: &str = "config.json";

/// The record of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Which program wrote it: other runtimes keep a `state.json` in the same place.
    pub(crate) format: Format,
    pub(crate) id: String,
    pub(crate) pid: i32,
    pub(crate) start_time: u64,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) created: String,
    pub(crate) owner: String,
    pub(crate) oci_version: String,
    #[serde(default)]
    pub(crate) annotations: HashMap<String, String>,
    pub(crate) cgroup: Cgroup,
    /// Killing the first process kills all.
    pub(crate) own_pid_namespace: bool,
    /// As it was when the container was created: changes of the bundle have no effect.
    pub(crate) spec: oci_spec::runtime::Spec,
}

/// Keeps config.json as it was read, for people: the record holds what was understood of it.
pub(crate) fn keep_config(directory: &Path, config: &[u8]) -> Result<()> {
    let path = directory.join(CONFIG);
    std::fs::write(&path, config)
        .map_err(|error| Error::from_io(error, "keep the specification").with_path(path))
}

/// Name and version of the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Format {
    name: String,
    version: u32,
}

impl Default for Format {
    fn default() -> Self {
        Self {
            name: "trimaran".into(),
            version: VERSION,
        }
    }
}

impl Record {
    /// Writes the record into a container's directory.
    ///
    /// # Durability
    /// The file is replaced as a whole, so nobody reads half of it. It is not forced to disk: the directory belongs on a tmpfs, and
    /// a record of a process means nothing after the machine has stopped.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let failed = |error: std::io::Error| {
            Error::from_io(error, "write the container's record").with_path(directory)
        };
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let temporary = directory.join(".state.json.new");
        let mut file = File::create(&temporary).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        std::fs::rename(&temporary, directory.join(FILE)).map_err(failed)
    }

    /// Reads the record of a container's directory; `None` if there is none yet.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        let failed = |error: std::io::Error| {
            Error::from_io(error, "read the container's record").with_path(&path)
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut text = Vec::with_capacity(USUAL_BYTES);
        // One read gives all of a file that does not fill it.
        rustix::io::read(&file, spare_capacity(&mut text)).map_err(|errno| failed(errno.into()))?;
        if text.len() >= USUAL_BYTES {
            file.take(RECORD_BYTES)
                .read_to_end(&mut text)
                .map_err(failed)?;
        }
        Self::parse(&text)
            .map(Some)
            .map_err(|error| error.with_path(&path))
    }

    /// Reads the text of a record.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let foreign = || {
            Error::new(
                ErrorKind::Unsupported {
                    feature: "this record".into(),
                },
                "read the container's record",
            )
            .with_hint("it was written by another runtime, or by another version of this one")
        };
        // The format is looked at first: the rest may have any shape.
        let value: serde_json::Value =
            serde_json::from_slice(text).map_err(|error| foreign().with_source(error))?;
        let format = value
            .get("format")
            .cloned()
            .and_then(|format| serde_json::from_value::<Format>(format).ok());
        if format != Some(Format::default()) {
            return Err(foreign());
        }
        serde_json::from_value(value).map_err(|error| foreign().with_source(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_records_are_refused_and_missing_ones_are_none() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Record::read(directory.path()).unwrap().is_none());
        for text in [
            "",
            "{",
            "[]",
            "{\"ociVersion\":\"1.0\",\"id\":\"x\"}",
            "{\"format\":{\"name\":\"trimaran\",\"version\":2}}",
        ] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            let error = Record::read(directory.path()).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Unsupported { .. }),
                "{text}"
            );
        }
    }
}
