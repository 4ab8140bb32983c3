//! A tree as sorted lines, so that two can be compared and a difference can be read.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use cap_std::{ambient_authority, fs::Dir};
use libimage::{
    digest::Digest,
    layer::{
        ApplyOptions, DiffOptions, LayerError, LayerStats, OverlayXattrs, Owners, apply, diff,
    },
};

/// Opens a directory of the test.
pub(crate) fn dir(path: &Path) -> Dir {
    Dir::open_ambient_dir(path, ambient_authority()).unwrap()
}

/// What whoever runs the tests is able to do.
pub(crate) fn options() -> ApplyOptions {
    if trimaran_testkit::is_root() {
        ApplyOptions::privileged()
    } else {
        ApplyOptions::rootless(Owners::Squash)
    }
}

pub(crate) fn namespace() -> OverlayXattrs {
    options().overlay_xattrs
}

/// Applies an archive to a new directory in `base`.
pub(crate) fn apply_to(base: &Path, name: &str, tar: &[u8]) -> Result<LayerStats, LayerError> {
    fs::create_dir(base.join(name)).unwrap();
    apply(tar, &dir(&base.join(name)), &options())
}

/// Makes the archive of an upper directory.
pub(crate) fn diff_of(
    upper: &Path,
    lowers: &[&Path],
    epoch: Option<i64>,
) -> Result<Vec<u8>, LayerError> {
    let lowers: Vec<Dir> = lowers.iter().map(|path| dir(path)).collect();
    let mut out = Vec::new();
    diff(
        &dir(upper),
        &lowers,
        &DiffOptions {
            epoch,
            overlay_xattrs: namespace(),
        },
        &mut out,
    )?;
    Ok(out)
}

/// Lists everything about a tree but inode numbers.
pub(crate) fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    walk(root, Path::new(""), &mut lines);
    lines.sort();
    lines
}

fn walk(root: &Path, below: &Path, lines: &mut Vec<String>) {
    let path = root.join(below);
    let found = fs::symlink_metadata(&path).unwrap();
    let kind = found.file_type();
    let what = if kind.is_dir() {
        "dir".to_owned()
    } else if kind.is_symlink() {
        format!("link {}", fs::read_link(&path).unwrap().display())
    } else if kind.is_file() {
        format!(
            "file {} {}",
            found.len(),
            &Digest::of(&fs::read(&path).unwrap()).hex()[..12]
        )
    } else if kind.is_char_device() {
        format!("char {:x}", found.rdev())
    } else if kind.is_block_device() {
        format!("block {:x}", found.rdev())
    } else {
        "fifo".to_owned()
    };
    let links = if kind.is_dir() { 0 } else { found.nlink() };
    let owner = format!("{}:{}", found.uid(), found.gid());
    lines.push(format!(
        "{} {what} {:o} {owner} {} {links}",
        below.display(),
        found.mode() & 0o7777,
        found.mtime()
    ));
    if kind.is_dir() {
        for entry in fs::read_dir(&path).unwrap() {
            walk(root, &below.join(entry.unwrap().file_name()), lines);
        }
    }
}
