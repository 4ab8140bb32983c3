//! Which images a directory holds: a tree of `dir:` images, or layouts.

use std::path::{Path, PathBuf};

use super::{Reference, SyncError, plan::Origin};
use crate::{error::Error, layout::Layout, name::ImageRef};

/// Directories inside each other: `registry/a/b/c/name:tag` has five.
const DEPTH: usize = 32;
/// Directories looked at in one tree.
const DIRECTORIES: usize = 1_000_000;

/// An image that is there, and what it is called.
pub(super) type Found = (Origin, ImageRef);

/// Finds the images of a tree of `dir:` images: every directory with a file `manifest.json`.
pub(super) fn dirs(root: &Path) -> Result<Vec<Found>, Error> {
    let found = below(root, "manifest.json")?;
    let images = found.into_iter().map(|(path, relative)| {
        let origin = Origin::parse(&relative);
        (origin, ImageRef::Dir { path })
    });
    Ok(images.collect())
}

/// Finds the named images of a layout, or of all layouts of a tree.
pub(super) fn layouts(root: &Path) -> Result<Vec<Found>, Error> {
    let mut images = Vec::new();
    for (path, relative) in below(root, "oci-layout")? {
        for entry in Layout::open(&path)?.entries()? {
            let Some(tag) = entry.tag else { continue };
            let origin = origin_in_layout(&relative, &tag);
            let path = path.clone();
            let tag = Some(tag);
            images.push((origin, ImageRef::Oci { path, tag }));
        }
    }
    if images.is_empty() {
        return Err(nothing(root).into());
    }
    Ok(images)
}

/// A name with a colon or a slash says which repository it is of; any other is a tag, and the layout's directory is the repository.
fn origin_in_layout(directory: &str, name: &str) -> Origin {
    if let Ok(digest) = name.parse() {
        return Origin {
            path: directory.to_owned(),
            reference: Reference::Digest(digest),
        };
    }
    if name.contains([':', '/']) {
        return Origin::parse(name);
    }
    Origin {
        path: directory.to_owned(),
        reference: Reference::Tag(name.to_owned()),
    }
}

/// Finds the directories that hold a file of this name, and their paths relative to the root (or the root's own name); nothing below
/// such a directory, and nothing behind a symbolic link.
fn below(root: &Path, marker: &str) -> Result<Vec<(PathBuf, String)>, SyncError> {
    let walk = |path: &Path| {
        let path = path.to_owned();
        move |source| SyncError::Walk { path, source }
    };
    // The root's own name is the image's, if it is one: `.` is no name.
    let root = root.canonicalize().map_err(walk(root))?;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    let mut waiting = vec![(root.clone(), 0)];
    while let Some((directory, depth)) = waiting.pop() {
        looked_at += 1;
        if depth > DEPTH || looked_at > DIRECTORIES {
            let (limit, unit) = if depth > DEPTH {
                (DEPTH, "directories inside each other")
            } else {
                (DIRECTORIES, "directories")
            };
            return Err(SyncError::TooMuch {
                what: root.display().to_string(),
                limit,
                unit,
            });
        }
        if is_file(&directory.join(marker)) {
            let relative = directory.strip_prefix(&root).unwrap_or(&directory);
            let relative = match relative.to_string_lossy() {
                empty if empty.is_empty() => file_name(&root),
                relative => relative.into_owned(),
            };
            found.push((directory, relative));
            continue;
        }
        for entry in std::fs::read_dir(&directory).map_err(walk(&directory))? {
            let entry = entry.map_err(walk(&directory))?;
            if entry.file_type().map_err(walk(&entry.path()))?.is_dir() {
                waiting.push((entry.path(), depth + 1));
            }
        }
    }
    if found.is_empty() {
        return Err(nothing(&root));
    }
    // The file system's order is nobody's.
    found.sort();
    Ok(found)
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_file())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn nothing(path: &Path) -> SyncError {
    SyncError::Nothing {
        path: path.to_owned(),
    }
}
