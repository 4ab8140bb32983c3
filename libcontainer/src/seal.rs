//! Running from an image of ourselves that nobody can write (CVE-2019-5736).
//!
//! Whoever can see a process of ours from inside a container can open `/proc/PID/exe`, and with the rights of the file's owner write
//! to it once we have ended: the next call of the runtime would then run the container's code on the host. Who can see us:
//!
//! | when | what protects the file |
//! |---|---|
//! | a container with a pid namespace of its own is made | nobody is in it yet; the child is undumpable until it executes the program, and refuses to execute its own image (`/proc/self/exe`, also behind `#!`) |
//! | the same by an ordinary user, who could not let hooks and processes into it otherwise | [`ensure`], if the user may write the file; without it the child is visible to whatever the user lets in before the start |
//! | our program is the first of a container all the same | [`ensure_if_first`], first thing in `main` |
//! | a process joins a container, or its pid namespace | [`ensure`]: the program is executed again from a read-only clone of its mount, or from a sealed copy in memory |
//!
//! The library never executes its caller again by itself: our tools call [`ensure`] where it matters, and an embedding program that
//! runs as root and lets processes join containers without user namespaces should do so first thing in `main`.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::{Access, AtFlags, CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::error::{Error, Result};
use crate::sys::exec::{StringArray, execveat};
use crate::sys::mount::{MountAttributes, mount_setattr};

const EXE: &str = "/proc/self/exe";
const STEP: &str = "run from a read-only image of the program";

/// `MOUNT_ATTR_RDONLY`.
const RDONLY: u64 = 0x1;

/// Makes sure that this process runs from an image that it could not write itself, and so no process that it starts can: returns if
/// that is so, and otherwise executes the program again from such an image, with the same arguments and environment.
///
/// To be called before there is anything to lose: other threads, descriptors that are closed on exec, locks.
///
/// # Errors
/// `/proc` is not mounted, or the kernel allows neither a read-only clone of a mount nor a sealed file in memory.
///
/// # References
/// open_tree(2), mount_setattr(2), memfd_create(2), execveat(2)
#[doc(alias = "CVE-2019-5736")]
pub fn ensure() -> Result<()> {
    if is_sealed()? || !is_ours_to_write()? {
        return Ok(());
    }
    reexecute().map(|never| match never {})
}

/// [`ensure`], for a process that is the first of its pid namespace: a container's program may be ours by way of `/proc/self/exe`, and
/// whatever starts beside it could reach our file. For every `main` of a program that starts containers; it costs others one system call.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_if_first() -> Result<()> {
    if rustix::process::getpid().is_init() {
        ensure()?;
    }
    Ok(())
}

/// Whether this process runs from an image that [`ensure`] has made.
///
/// # Errors
/// `/proc` is not mounted.
pub fn is_sealed() -> Result<bool> {
    // A read-only mount that somebody can see may become writable again; the clone that `ensure` makes is attached nowhere.
    if rustix::param::linux_execfn()
        .to_bytes()
        .starts_with(b"/dev/fd/")
    {
        let mount = rustix::fs::statvfs(EXE).map_err(failed)?;
        if mount.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Ok(true);
        }
    }
    let image = rustix::fs::open(EXE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    Ok(match image {
        Ok(image) => rustix::fs::fcntl_get_seals(&image).is_ok_and(|seals| seals.contains(SEALS)),
        // A program that may be executed and not be read is no file of ours.
        Err(_) => false,
    })
}

/// Whether processes in a container of this specification could write the program that we are, if they could reach it.
///
/// They cannot if they are in a user namespace in which its owner does not exist.
///
/// # Errors
/// `/proc` is not mounted.
pub fn is_writable_from(spec: &Spec) -> Result<bool> {
    let Some(linux) = spec.linux() else {
        return Ok(true);
    };
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let own = namespaces.iter().any(|one| {
        one.typ() == LinuxNamespaceType::User
            && one
                .path()
                .as_ref()
                .is_none_or(|path| path.as_os_str().is_empty())
    });
    if !own {
        return Ok(true);
    }
    let stat = rustix::fs::stat(EXE).map_err(failed)?;
    let maps = |list: &Option<Vec<oci_spec::runtime::LinuxIdMapping>>, id: u32| {
        list.as_deref().unwrap_or_default().iter().any(|map| {
            id.checked_sub(map.host_id())
                .is_some_and(|place| place < map.size())
        })
    };
    let mode = Mode::from_raw_mode(stat.st_mode);
    Ok(maps(linux.uid_mappings(), stat.st_uid)
        || (maps(linux.gid_mappings(), stat.st_gid) && mode.contains(Mode::WGRP))
        || mode.contains(Mode::WOTH))
}

/// Whether processes in a container of this specification can see us before its program starts: those of others in its pid namespace,
/// and with a user namespace those that an ordinary user lets in.
#[must_use]
pub fn is_visible_from(spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref());
    let namespaces = namespaces.unwrap_or_default();
    let own_pids = namespaces.iter().any(|one| {
        one.typ() == LinuxNamespaceType::Pid
            && one
                .path()
                .as_ref()
                .is_none_or(|path| path.as_os_str().is_empty())
    });
    !own_pids
        || namespaces
            .iter()
            .any(|one| one.typ() == LinuxNamespaceType::User)
}

fn failed(errno: Errno) -> Error {
    Error::from_errno(errno.raw_os_error(), STEP).with_path(EXE)
}

/// Whether our rights reach for writing our own image; what we start has no more of them.
fn is_ours_to_write() -> Result<bool> {
    match rustix::fs::accessat(CWD, EXE, Access::WRITE_OK, AtFlags::EACCESS) {
        // Read-only today.
        Ok(()) | Err(Errno::ROFS | Errno::TXTBSY) => Ok(true),
        Err(Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(errno) => Err(failed(errno)),
    }
}

fn reexecute() -> Result<Infallible> {
    // Without the right to mount, or on a kernel before 5.12, there is the copy.
    let image = clone_read_only().or_else(|_| copy())?;
    let text = |text: OsString| CString::new(text.into_vec()).map_err(|_| failed(Errno::INVAL));
    let arguments = std::env::args_os().map(text).collect::<Result<Vec<_>>>()?;
    let environment = std::env::vars_os()
        .map(|(key, value)| {
            let mut entry = key;
            entry.push("=");
            entry.push(value);
            text(entry)
        })
        .collect::<Result<Vec<_>>>()?;
    let errno = execveat(image.as_fd(), &array(&arguments), &array(&environment));
    Err(failed(errno))
}

fn array(list: &[CString]) -> StringArray<'_> {
    list.iter().map(CString::as_c_str).collect()
}

/// The file on a mount of its own that is read-only and attached nowhere: nobody can make it writable again.
fn clone_read_only() -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let image = rustix::mount::open_tree(CWD, EXE, flags).map_err(failed)?;
    let read_only = MountAttributes {
        set: RDONLY,
        ..MountAttributes::default()
    };
    mount_setattr(image.as_fd(), false, &read_only).map_err(failed)?;
    Ok(image)
}

const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::GROW)
    .union(SealFlags::SHRINK);

fn copy() -> Result<OwnedFd> {
    let file =
        rustix::fs::open(EXE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // The bit says that it shall be executable; kernels before 6.3 do not know it.
    let image = rustix::fs::memfd_create(c"trimaran", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(c"trimaran", flags))
        .map_err(failed)?;
    let (mut from, mut to) = (std::fs::File::from(file), std::fs::File::from(image));
    std::io::copy(&mut from, &mut to).map_err(|error| Error::from_io(error, STEP))?;
    rustix::fs::fcntl_add_seals(&to, SEALS | SealFlags::SEAL).map_err(failed)?;
    Ok(to.into())
}
