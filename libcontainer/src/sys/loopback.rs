#![expect(unsafe_code, reason = "SIOCSIFFLAGS is an ioctl with a structure")]
//! The loopback device of a new network namespace.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::check;

/// The kernel's `struct ifreq` as far as flags of a device go.
#[repr(C)]
struct FlagsRequest {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// Brings `lo` up in the calling thread's network namespace. Gives the socket that this took.
///
/// # Errors
/// What `socket(2)` and the ioctl return.
///
/// # References
/// netdevice(7).
pub fn bring_up() -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut request = FlagsRequest {
        name: [0; 16],
        flags: (libc::IFF_UP | libc::IFF_RUNNING) as i16,
        rest: [0; 22],
    };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: `request` has the size and layout of `struct ifreq`, and lives until the call returns.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw mut request,
        )
    };
    check(returned).map(|_| socket)
}
