//! Standard streams that lead outside: saved by name, and replaced when the container comes back.
//!
//! The names are kept in `descriptors.json` beside the images, as other runtimes do: `pipe:[INODE]`, or whatever `/proc` says. A file
//! that is not in the container, such as the host's `/dev/null`, is called `file[MOUNT:INODE]`, as CRIU does.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::mounts::Mounted;
use crate::error::{Error, ErrorKind, Result};
use crate::procfs;

const FILE: &str = "descriptors.json";

/// Three short names.
const FILE_BYTES: u64 = 64 << 10;

/// What the standard streams of a process are.
pub(super) fn streams(pid: i32, mounts: &[Mounted]) -> Vec<String> {
    (0..3).map(|number| stream(pid, number, mounts)).collect()
}

fn stream(pid: i32, number: u32, mounts: &[Mounted]) -> String {
    let path = format!("/proc/{pid}/fd/{number}");
    let Ok(name) = std::fs::read_link(&path) else {
        return String::new();
    };
    let name = name.to_string_lossy().into_owned();
    let outside = || {
        let info = procfs::read_text(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
        let id: u64 = id.trim().parse().ok()?;
        let inode = std::fs::metadata(&path).ok()?.ino();
        let inside = mounts.iter().any(|mount| mount.id == id);
        (!inside).then(|| format!("file[{id:x}:{inode:x}]"))
    };
    match name.starts_with('/') {
        true => outside().unwrap_or(name),
        false => name,
    }
}

/// Whether a name is that of a file outside, which has to be declared.
pub(super) fn is_file(name: &str) -> bool {
    let inner = name
        .strip_prefix("file[")
        .and_then(|rest| rest.strip_suffix(']'));
    let hex = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    inner
        .and_then(|inner| inner.split_once(':'))
        .is_some_and(|(mount, inode)| hex(mount) && hex(inode))
}

fn is_pipe(name: &str) -> bool {
    let inode = name
        .strip_prefix("pipe:[")
        .and_then(|rest| rest.strip_suffix(']'));
    inode.is_some_and(|inode| !inode.is_empty() && inode.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Writes the names beside the images.
pub(super) fn write(images: &Path, names: &[String]) -> Result<()> {
    let path = images.join(FILE);
    let failed = |error: std::io::Error| {
        Error::from_io(error, "keep the names of the streams").with_path(&path)
    };
    let text = serde_json::to_vec(names).map_err(|error| failed(error.into()))?;
    // Whatever was there before: a symlink is not written through.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    std::io::Write::write_all(&mut file, &text).map_err(failed)
}

/// Reads the names of those streams that are replaced, with their numbers. The directory may be anybody's.
pub(super) fn read(images: &Path) -> Result<Vec<(i32, String)>> {
    let path = images.join(FILE);
    let failed = |error: std::io::Error| {
        Error::from_io(error, "read the names of the streams").with_path(&path)
    };
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = std::fs::File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(&path)
        .map_err(|error| failed(error).with_hint("is this the directory of a checkpoint?"))?;
    let strange = || {
        Error::new(ErrorKind::Io, "read the names of the streams")
            .with_path(&path)
            .with_hint("it is no list of names")
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(strange());
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES)
        .read_to_end(&mut text)
        .map_err(failed)?;
    let names: Vec<String> =
        serde_json::from_slice(&text).map_err(|error| strange().with_source(error))?;
    Ok((0..3)
        .zip(names)
        .filter(|(_, name)| is_pipe(name) || is_file(name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_can_be_replaced_are_read() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read(directory.path()).is_err());
        let names = ["file[1a:2b]", "pipe:[7]", "/dev/pts/0"].map(str::to_owned);
        write(directory.path(), &names).unwrap();
        // Once more: it is replaced.
        write(directory.path(), &names).unwrap();
        assert_eq!(
            read(directory.path()).unwrap(),
            [(0, "file[1a:2b]".to_owned()), (1, "pipe:[7]".to_owned())]
        );
        let file = directory.path().join(FILE);
        for (text, wanted) in [
            (
                "[\"pipe:[x]\", \"pipe:[]\", \"file[:]\", \"pipe:[1]\"]",
                Some(0),
            ),
            ("[]", Some(0)),
            ("[null]", None),
            ("{}", None),
            ("", None),
            ("[\"pipe:[1]\"", None),
        ] {
            std::fs::write(&file, text).unwrap();
            let found = read(directory.path()).ok().map(|names| names.len());
            assert_eq!(found, wanted, "{text}");
        }
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert!(read(directory.path()).is_err());
    }

    #[test]
    fn streams_outside_of_the_mounts_have_the_name_that_criu_gives_them() {
        let own = i32::try_from(std::process::id()).unwrap();
        let file = tempfile::tempfile().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file).unsigned_abs();
        assert!(is_file(&stream(own, number, &[])));
        let mounts = super::super::mounts::mounts_of("self").unwrap();
        assert!(!is_file(&stream(own, number, &mounts)));
        assert_eq!(stream(own, 999_999, &[]), "");
    }
}
