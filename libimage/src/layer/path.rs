//! Names of archives, made paths inside the layer: relative, without `.`, `..` and empty components.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use super::LayerError;
use crate::limits;

/// For messages.
pub(super) fn shown(path: &[u8]) -> PathBuf {
    OsString::from_vec(path.to_vec()).into()
}

/// Cleans a name as the field's tools do: a leading `/` is dropped, `..` takes back the component before it.
///
/// The empty path is the layer's root.
pub(super) fn clean(name: &[u8]) -> Result<Vec<u8>, LayerError> {
    resolve(name, false)
}

/// Cleans the target of a symlink, for which the directory above the root is the root, as after chroot(2).
pub(super) fn clean_target(name: &[u8]) -> Result<Vec<u8>, LayerError> {
    resolve(name, true)
}

fn resolve(name: &[u8], clamp: bool) -> Result<Vec<u8>, LayerError> {
    let malformed = |what| LayerError::Malformed {
        path: shown(name),
        what,
    };
    if name.len() > limits::PATH_BYTES {
        return Err(LayerError::Limit {
            what: "bytes in a path",
            limit: limits::PATH_BYTES as u64,
        });
    }
    if name.contains(&0) {
        return Err(malformed("NUL in a name"));
    }
    let mut components: Vec<&[u8]> = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if components.pop().is_none() && !clamp => {
                return Err(LayerError::Escapes { path: shown(name) });
            }
            b".." => {}
            _ if component.len() > limits::NAME_BYTES => {
                return Err(LayerError::Limit {
                    what: "bytes in a name",
                    limit: limits::NAME_BYTES as u64,
                });
            }
            _ => components.push(component),
        }
    }
    if components.len() > limits::PATH_DEPTH {
        return Err(LayerError::Limit {
            what: "directories in a path",
            limit: limits::PATH_DEPTH as u64,
        });
    }
    Ok(components.join(&b'/'))
}

/// Splits a clean path into the directory and the last name; `None` for the root.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    Some(match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_relative_and_may_not_escape() {
        let table: [(&str, Option<&str>); 12] = [
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("/etc/passwd", Some("etc/passwd")),
            ("a/../b", Some("b")),
            ("./", Some("")),
            ("/", Some("")),
            ("a/b/../../c", Some("c")),
            ("..", None),
            ("../etc", None),
            ("a/../../etc", None),
            ("/../etc", None),
            ("a\0b", None),
        ];
        for (name, expected) in table {
            assert_eq!(
                clean(name.as_bytes()).ok().as_deref(),
                expected.map(str::as_bytes),
                "{name:?}"
            );
        }
        assert_eq!(clean_target(b"../../usr/../lib").unwrap(), b"lib");
        assert!(clean(&[b'x'; 256]).is_err(), "a name longer than NAME_MAX");
        assert!(clean(&b"x/".repeat(1500)).is_err(), "too deep");
        assert!(clean(&[b'/'; 5000]).is_err(), "too long");
    }
}
