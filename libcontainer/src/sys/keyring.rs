#![expect(unsafe_code, reason = "keyctl has no safe wrapper")]
//! Session keyrings.

use std::ffi::CStr;

use rustix::io::Errno;

use super::check;

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, name)`: a session keyring of our own, so that the caller's keys are out of reach.
///
/// # Errors
/// What the call returns: `ENOSYS` where a filter forbids keyrings, `EDQUOT` when the user has too many.
///
/// # References
/// keyctl(2), session-keyring(7).
pub fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    // SAFETY: `name` is a C string that outlives the call; the other argument is an integer.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            name.as_ptr(),
        )
    };
    check(returned).map(drop)
}
