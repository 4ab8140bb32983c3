//! Handing a descriptor to whoever listens on a socket: a terminal, or a process.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Error, Result};
use crate::sys::message;

/// Connects to the socket and sends it a descriptor under a name.
pub(crate) fn send(path: &Path, descriptor: BorrowedFd<'_>, what: &str) -> Result<()> {
    send_with(path, descriptor, what, what.as_bytes())
}

/// Connects to the socket and sends it a descriptor with a text.
pub(crate) fn send_with(
    path: &Path,
    descriptor: BorrowedFd<'_>,
    what: &str,
    text: &[u8],
) -> Result<()> {
    let failed = |errno: Errno| {
        Error::from_errno(errno.raw_os_error(), format!("send the {what} to a socket"))
            .with_path(path)
    };
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(failed)?;
    // A socket address holds 107 bytes; a path may be longer. So the socket is named by its directory's descriptor, which works
    // from any current directory.
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let directory = rustix::fs::open(
        parent,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed)?;
    let name = path.file_name().ok_or(Errno::INVAL).map_err(failed)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let short = Path::new("/proc/self/fd")
        .join(number.to_string())
        .join(name);
    let address = SocketAddrUnix::new(&short).map_err(failed)?;
    rustix::net::connect(&socket, &address).map_err(failed)?;
    message::send(socket.as_fd(), text, Some(descriptor)).map_err(failed)
}
