//! What a successor must know about a container whose owner died: its process and its cgroups.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The file in the container's directory.
const FILE: &str = "record.json";
/// The form of the file. A successor that does not know it removes files only.
const VERSION: u32 = 1;
/// Bytes of the largest record worth reading: a handful of paths.
const LARGEST_BYTES: u64 = 1 << 20;

/// What is known about a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// Its first process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<Identity>,
    /// Its cgroup directories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) cgroups: Vec<PathBuf>,
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// Clock ticks between boot and start, field 22 of `/proc/PID/stat`.
    start_time: u64,
    boot_id: String,
}

impl Identity {
    /// The identity of a process; `None` if it is gone.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(Self {
            pid,
            start_time: start_time(&stat)?,
            boot_id: boot_id.trim().to_owned(),
        })
    }
}

/// The 22nd field; the second is the program's name in parentheses, which may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// Reads the record; an empty one if there is none, or none that this version understands.
pub(super) fn read(directory: &Path) -> Record {
    let path = directory.join(FILE);
    let sane = std::fs::symlink_metadata(&path)
        .is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST_BYTES);
    let parsed = || serde_json::from_slice::<Record>(&std::fs::read(&path).ok()?).ok();
    sane.then(parsed)
        .flatten()
        .filter(|record| record.version == VERSION)
        .unwrap_or_default()
}

/// Changes the record. Readers see the old one or the new one.
pub(super) fn update(directory: &Path, change: impl FnOnce(&mut Record)) -> Result<()> {
    let mut record = read(directory);
    record.version = VERSION;
    change(&mut record);
    let path = directory.join(FILE);
    let temporary = directory.join("record.json.new");
    let text = serde_json::to_vec(&record).map_err(io::Error::other);
    text.and_then(|text| std::fs::write(&temporary, text))
        .and_then(|()| std::fs::rename(&temporary, &path))
        .map_err(|error| Error::from_io(error, "write the record").with_path(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_survives_strange_names() {
        let fields = (4..=52)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(start_time(&format!("7 (a) b) S {fields}")), Some(22));
        assert_eq!(start_time("7 (a"), None);
    }

    #[test]
    fn records_add_up_and_strangers_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let own = Identity::of(std::process::id().cast_signed());
        assert!(own.is_some());
        update(dir.path(), |record| record.cgroups = vec!["/x".into()]).unwrap();
        update(dir.path(), |record| record.process = own.clone()).unwrap();
        let record = read(dir.path());
        assert_eq!(
            (record.process, record.cgroups),
            (own, vec![PathBuf::from("/x")])
        );
        std::fs::write(dir.path().join(FILE), r#"{"version":99,"cgroups":["/"]}"#).unwrap();
        assert_eq!(read(dir.path()), Record::default());
    }
}
