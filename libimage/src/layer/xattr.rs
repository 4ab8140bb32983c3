//! Which extended attributes layers carry, and how they are set and read.

use std::{io, os::fd::AsFd};

use rustix::{fs::XattrFlags, io::Errno};

use super::pax::Xattr;
use crate::limits;

const CAPABILITY: &[u8] = b"security.capability";

/// What is done with an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// It belongs to the kernel or the host: left out, and counted.
    Skip,
    /// It is overlay's private language, which archives may not speak: left out silently, as there is nothing to miss.
    Strip,
}

/// Decides about a name; the same list holds in both directions.
pub(super) fn verdict(name: &[u8]) -> Verdict {
    let overlay = |namespace: &[u8]| {
        name.strip_prefix(namespace)
            .is_some_and(|rest| rest == b"overlay" || rest.starts_with(b"overlay."))
    };
    if overlay(b"user.") || overlay(b"trusted.") || name.contains(&0) {
        return Verdict::Strip;
    }
    match name {
        CAPABILITY | b"system.posix_acl_access" | b"system.posix_acl_default" => Verdict::Keep,
        _ if name.starts_with(b"user.") && name.len() > 5 => Verdict::Keep,
        _ => Verdict::Skip,
    }
}

/// Sets an attribute; `Ok(false)` if this file system or user namespace has no place for it.
pub(super) fn set(file: impl AsFd, name: &[u8], value: &[u8]) -> io::Result<bool> {
    match rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()) {
        Ok(()) => Ok(true),
        // EINVAL: an ACL or capability that names ids outside of the user namespace.
        Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns a value; `None` if there is none.
pub(super) fn get(file: impl AsFd, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; 256];
    loop {
        match rustix::fs::fgetxattr(&file, name, &mut *value) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) if value.len() < limits::XATTR_BYTES => {
                value.resize(limits::XATTR_BYTES, 0)
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the attributes a layer carries, sorted by name, and whether overlay's own say that the content is elsewhere.
pub(super) fn read_all(file: impl AsFd) -> io::Result<(Vec<Xattr>, bool)> {
    let mut names = vec![0; 512];
    loop {
        match rustix::fs::flistxattr(&file, &mut *names) {
            Ok(length) => {
                names.truncate(length);
                break;
            }
            Err(Errno::RANGE) if names.len() < limits::XATTR_BYTES => {
                names.resize(limits::XATTR_BYTES, 0)
            }
            Err(Errno::OPNOTSUPP) => return Ok((Vec::new(), false)),
            Err(error) => return Err(error.into()),
        }
    }
    let mut kept = Vec::new();
    let mut elsewhere = false;
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        elsewhere |= name.ends_with(b".overlay.redirect") || name.ends_with(b".overlay.metacopy");
        if verdict(name) != Verdict::Keep {
            continue;
        }
        if let Some(value) = get(&file, name)? {
            let value = if name == CAPABILITY {
                without_root_id(value)
            } else {
                value
            };
            kept.push((name.to_vec(), value));
        }
    }
    kept.sort();
    Ok((kept, elsewhere))
}

/// Turns file capabilities of version 3 (bound to the root of one user namespace) into version 2: an image knows no host ids.
fn without_root_id(mut value: Vec<u8>) -> Vec<u8> {
    const VERSION_2: u8 = 2;
    const VERSION_3: u8 = 3;
    // struct vfs_ns_cap_data: magic (little endian, the version in the highest byte), two pairs of sets, root id.
    if value.len() == 24 && value[3] == VERSION_3 {
        value[3] = VERSION_2;
        value.truncate(20);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_names() {
        let table: [(&[u8], Verdict); 9] = [
            (b"security.capability", Verdict::Keep),
            (b"user.comment", Verdict::Keep),
            (b"system.posix_acl_access", Verdict::Keep),
            (b"security.selinux", Verdict::Skip),
            (b"trusted.something", Verdict::Skip),
            (b"trusted.overlay.opaque", Verdict::Strip),
            (b"user.overlay.redirect", Verdict::Strip),
            (b"user.overlayed", Verdict::Keep),
            (b"user.", Verdict::Skip),
        ];
        for (name, expected) in table {
            assert_eq!(verdict(name), expected, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn capabilities_lose_their_root_id() {
        let mut version_3 = vec![1, 0, 0, 3];
        version_3.extend([7; 16]);
        version_3.extend(100_000_u32.to_le_bytes());
        let version_2 = without_root_id(version_3);
        assert_eq!((version_2.len(), version_2[3]), (20, 2));
        assert_eq!(without_root_id(version_2.clone()), version_2);
    }
}
