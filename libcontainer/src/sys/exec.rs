#![expect(unsafe_code, reason = "execve takes arrays of pointers")]
//! Replacing the program: `execve(2)`, and what belongs just before it.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::check;

/// An array of C strings that ends with a null pointer, as `execve` wants its arguments and its environment.
#[derive(Debug)]
pub struct StringArray<'a> {
    pointers: Vec<*const c_char>,
    strings: PhantomData<&'a CStr>,
}

impl<'a> FromIterator<&'a CStr> for StringArray<'a> {
    fn from_iter<I: IntoIterator<Item = &'a CStr>>(strings: I) -> Self {
        let mut pointers: Vec<_> = strings.into_iter().map(CStr::as_ptr).collect();
        pointers.push(std::ptr::null());
        Self {
            pointers,
            strings: PhantomData,
        }
    }
}

/// `execve(path, arguments, environment)`. Returns only when it fails.
pub fn execve(path: &CStr, arguments: &StringArray<'_>, environment: &StringArray<'_>) -> Errno {
    // SAFETY: `path` is a C string; both arrays hold pointers to C strings that outlive the call (`StringArray` borrows them) and
    // end with a null pointer.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_execve,
            path.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    check(returned).err().unwrap_or(Errno::INVAL)
}

/// `execveat(image, "", arguments, environment, AT_EMPTY_PATH)`. Returns only when it fails.
pub fn execveat(
    image: BorrowedFd<'_>,
    arguments: &StringArray<'_>,
    environment: &StringArray<'_>,
) -> Errno {
    // SAFETY: the path is an empty C string; both arrays hold pointers to C strings that outlive the call (`StringArray` borrows
    // them) and end with a null pointer.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            image.as_raw_fd(),
            c"".as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    check(returned).err().unwrap_or(Errno::INVAL)
}

/// `close_range(first, ~0, CLOSE_RANGE_CLOEXEC)`: every descriptor from `first` on is closed by the next `execve`.
///
/// # Errors
/// What the call returns.
pub fn close_range_on_exec(first: u32) -> Result<(), Errno> {
    // SAFETY: the call takes three integers; it changes a flag of descriptors and closes none of them.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check(returned).map(drop)
}

/// Closes every descriptor from `first` on but these two, which move to the numbers `first + 1` and `first`; one alone to `first`.
///
/// Whoever owns one of the closed descriptors must not use or drop it any more: this is for a process that ends by `execve`.
///
/// # Errors
/// What `fcntl`, `dup3` and `close_range` return.
pub(crate) fn keep_only<'fd>(
    one: BorrowedFd<'fd>,
    other: Option<BorrowedFd<'fd>>,
    first: u32,
) -> Result<(BorrowedFd<'static>, Option<BorrowedFd<'static>>), Errno> {
    let number = i32::try_from(first).map_err(|_| Errno::BADF)?;
    let second = number.checked_add(1).ok_or(Errno::BADF)?;
    let last = if other.is_some() { second } else { number };
    // Out of the way first: it may be where the one goes.
    let other = match other.map(|other| other.as_raw_fd()) {
        Some(raw) if raw == last => {
            let moved =
                rustix::io::fcntl_dupfd_cloexec(other.ok_or(Errno::BADF)?, last.saturating_add(1))?;
            Some(moved.into_raw_fd())
        }
        other => other,
    };
    let place = |from: RawFd, to: RawFd| -> Result<BorrowedFd<'static>, Errno> {
        if from != to {
            // SAFETY: the call takes integers. What was at `to` is one of the descriptors that are closed on purpose.
            check(unsafe { libc::syscall(libc::SYS_dup3, from, to, libc::O_CLOEXEC) })?;
        }
        // SAFETY: `to` is open and stays so until `execve`, or until the caller closes it.
        Ok(unsafe { BorrowedFd::borrow_raw(to) })
    };
    let one = place(one.as_raw_fd(), last)?;
    let other = other.map(|other| place(other, number)).transpose()?;
    // SAFETY: the call takes integers, and the closed descriptors are not used again, which the caller promises.
    check(unsafe { libc::syscall(libc::SYS_close_range, last.saturating_add(1), u32::MAX, 0) })?;
    Ok((one, other))
}

/// Puts descriptors at the numbers from 0 on, where they stay across `execve`; gives the first number above. What was at those numbers
/// is closed.
///
/// Every one of them must have a number of `descriptors.len()` or above. Whoever owns one of the closed descriptors must not use or drop
/// it any more: this is for a process that ends by `execve`.
///
/// # Errors
/// What `dup3` returns; `EBADF` for a number that is too small.
pub(crate) fn place_all(descriptors: &[OwnedFd]) -> Result<u32, Errno> {
    let mut number: i32 = 0;
    for descriptor in descriptors {
        if usize::try_from(descriptor.as_raw_fd()).map_or(true, |raw| raw < descriptors.len()) {
            return Err(Errno::BADF);
        }
        // SAFETY: the call takes integers. What was at `number` is one of the descriptors that are closed on purpose.
        check(unsafe { libc::syscall(libc::SYS_dup3, descriptor.as_raw_fd(), number, 0) })?;
        number = number.saturating_add(1);
    }
    u32::try_from(number).map_err(|_| Errno::BADF)
}

/// Closes a descriptor that [`keep_only`] kept, which must not be used any more.
pub(crate) fn close(kept: BorrowedFd<'_>) {
    // SAFETY: the call takes an integer; the caller does not use the number again.
    unsafe { libc::syscall(libc::SYS_close, kept.as_raw_fd()) };
}

/// Whether the current directory can be reached from the root: `getcwd` names it by a path that starts with `/`.
///
/// A directory outside the root reads as `(unreachable)/…`: that is how CVE-2024-21626 shows.
///
/// # Errors
/// What the call returns.
pub fn current_directory_is_in_root() -> Result<bool, Errno> {
    let mut buffer = [0_u8; 4096];
    // SAFETY: the pointer and the length describe `buffer`, which is writable.
    let returned = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    check(returned)?;
    Ok(buffer.first() == Some(&b'/'))
}
