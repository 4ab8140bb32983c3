//! Which files the sources of a copy mean.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat};

use super::{CopyError, glob};
use crate::rooted::{Rooted, file_type, names};

/// One source, found.
#[derive(Debug)]
pub(crate) struct Item {
    /// Its path inside the source's root.
    pub(crate) path: PathBuf,
    /// The name it has if it is copied into a directory.
    pub(crate) name: OsString,
    /// What it is, symlinks followed: a source that is itself a symlink means what it leads to.
    pub(crate) stat: Stat,
}

impl Item {
    pub(crate) fn is_file(&self) -> bool {
        file_type(&self.stat) == FileType::RegularFile
    }

    pub(crate) fn open(&self, root: &Rooted<'_>, flags: OFlags) -> Result<OwnedFd, CopyError> {
        root.open(&self.path, flags)
            .map_err(|errno| CopyError::source("open", &self.path)(errno.into()))
    }
}

/// Finds what one source means: the path itself if there is such a file, else the matches of the pattern, by name.
pub(crate) fn expand(
    root: &Rooted<'_>,
    context: &Path,
    source: &str,
) -> Result<Vec<Item>, CopyError> {
    if source.is_empty() || source.contains('\0') {
        return Err(CopyError::NoSource {
            source_path: source.to_owned(),
        });
    }
    let literal = context.join(source);
    if let Some(stat) = root.stat(&literal)? {
        let name = literal.file_name().unwrap_or(OsStr::new("")).to_owned();
        return Ok(vec![Item {
            path: literal,
            name,
            stat,
        }]);
    }
    let mut found = vec![if source.starts_with('/') {
        PathBuf::from("/")
    } else {
        context.to_owned()
    }];
    let components = source.split('/').filter(|part| !part.is_empty());
    for part in components {
        let mut next = Vec::new();
        for directory in found {
            if glob::is_pattern(part.as_bytes()) {
                next.extend(matching(root, &directory, part, source)?);
            } else {
                next.push(directory.join(part));
            }
        }
        found = next;
    }
    let mut items = Vec::new();
    for path in found {
        if let Some(stat) = root.stat(&path)? {
            items.push(Item {
                name: path.file_name().unwrap_or(OsStr::new("")).to_owned(),
                path,
                stat,
            });
        }
    }
    if items.is_empty() {
        Err(CopyError::NoSource {
            source_path: source.to_owned(),
        })
    } else {
        Ok(items)
    }
}

/// The entries of a directory that match; none if it is no directory.
fn matching(
    root: &Rooted<'_>,
    directory: &Path,
    part: &str,
    source: &str,
) -> Result<Vec<PathBuf>, CopyError> {
    let Ok(Some(opened)) = root.directory(directory) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for name in names(opened).map_err(|errno| CopyError::source("list", directory)(errno.into()))? {
        let matched = glob::matches(part.as_bytes(), name.as_bytes());
        if matched.ok_or_else(|| CopyError::Pattern {
            pattern: source.to_owned(),
        })? {
            found.push(directory.join(name));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd;

    #[test]
    fn sources_are_literal_first_and_patterns_second() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a.txt", "b.txt", "[a].txt", "c", "d/x.txt", ".hidden"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let fd = fs::File::open(root.path()).unwrap();
        let rooted = Rooted::new(fd.as_fd());
        let table: &[(&str, &[&str])] = &[
            ("a.txt", &["/a.txt"]),
            ("[a].txt", &["/[a].txt"]),
            ("?.txt", &["/a.txt", "/b.txt"]),
            (
                "*",
                &["/.hidden", "/[a].txt", "/a.txt", "/b.txt", "/c", "/d"],
            ),
            ("*/*", &["/d/x.txt"]),
            ("d/", &["/d/"]),
            (".", &["/."]),
        ];
        for (source, expected) in table {
            let items = expand(&rooted, Path::new("/"), source).unwrap();
            let paths: Vec<_> = items
                .iter()
                .map(|item| item.path.to_str().unwrap())
                .collect();
            assert_eq!(&paths, expected, "{source}");
        }
        for missing in ["nothing", "*.rs", "a.txt/x", "", "../../nothing"] {
            assert!(
                matches!(
                    expand(&rooted, Path::new("/"), missing),
                    Err(CopyError::NoSource { .. })
                ),
                "{missing}"
            );
        }
        assert!(matches!(
            expand(&rooted, Path::new("/"), "[a"),
            Err(CopyError::Pattern { .. })
        ));
    }
}
