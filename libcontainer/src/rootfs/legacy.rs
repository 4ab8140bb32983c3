//! Overlays on kernels whose overlay takes no directories by descriptor (before Linux 6.13).

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::overlay;

use super::{Overlay, describe};

/// Mounts the overlay in a mount namespace of a helper process, and takes a detached clone of it from there.
///
/// The directories are named by the numbers of their descriptors, relative to `/proc/self/fd`: `mount(2)` takes one page of options,
/// and the real names of a hundred layers would not fit in it, nor would names with a `:`.
pub(super) fn mount_overlay(overlay: &Overlay) -> Result<OwnedFd> {
    let directories: Vec<&PathBuf> = overlay
        .lowers
        .iter()
        .chain(&overlay.upper)
        .chain(&overlay.work)
        .collect();
    let directories = directories
        .into_iter()
        .map(c_path)
        .collect::<Result<Vec<_>>>()?;
    let options = |first: usize| {
        let lowers = overlay.lowers.len();
        let names: Vec<String> = (first..first + lowers)
            .map(|number| number.to_string())
            .collect();
        let mut text = format!("lowerdir={}", names.join(":"));
        if overlay.upper.is_some() {
            text.push_str(&format!(",upperdir={}", first + lowers));
        }
        if overlay.work.is_some() {
            text.push_str(&format!(
                ",workdir={}",
                first + lowers + usize::from(overlay.upper.is_some())
            ));
        }
        for (key, wanted) in [
            (",userxattr", overlay.userxattr),
            (",redirect_dir=nofollow,metacopy=off", !overlay.userxattr),
            (",volatile", overlay.volatile && overlay.upper.is_some()),
        ] {
            text.push_str(if wanted { key } else { "" });
        }
        CString::new(text).expect("words and numbers hold no zero byte")
    };
    overlay::mount_elsewhere(&directories, &options).map_err(|errno| describe(errno, overlay, None))
}

/// The path as it is seen from any current directory.
fn c_path(path: &PathBuf) -> Result<CString> {
    let step = "open a directory of the overlay";
    let whole = path
        .canonicalize()
        .map_err(|error| Error::from_io(error, step).with_path(path))?;
    CString::new(whole.as_os_str().as_bytes()).map_err(|error| {
        Error::new(ErrorKind::NotFound, step)
            .with_path(path)
            .with_source(error)
    })
}
