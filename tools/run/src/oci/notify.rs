//! What a service manager hands over: sockets that are open already, and a socket to say "ready" on.
//!
//! `LISTEN_FDS` descriptors go to the container's first process as they are. `NOTIFY_SOCKET` lies on the host, so the container gets
//! a socket of ours in its place, and `start` (or a detached `run`) stays until the container has said that it is ready, and passes
//! that on with the number of the container's process. A foreground `run` passes it on while it waits.
//!
//! ```text
//! <state dir>/notify:<id>/notify.sock    no container's name has a colon; seen in the container as /run/notify/notify.sock
//! ```
//!
//! Called as crun, we put it where crun does: the directory in the place that the host's socket has there, and `notify` in it.

use super::{Ended, global::Face};
use libcontainer::bundle::Bundle;
use libcontainer::oci_spec::runtime::{Mount, MountBuilder};
use libcontainer::runtime::Process;
use libcontainer::sys::message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

/// Where the container finds the directory with the socket.
const SEEN: &str = "/run/notify";

const SOCKET: &str = "notify.sock";

/// Its name for those who take us for crun.
const SOCKET_OF_CRUN: &str = "notify";

/// A message is a few lines; systemd reads as much.
const MESSAGE_BYTES: usize = 4096;

/// How long the manager may take to look at what we sent before we end: it finds out by our number to which unit we belong.
const BARRIER_SECONDS: i64 = 10;

fn of_host() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|text| !text.is_empty())
}

/// Where the container finds the directory, and the socket's name in it.
fn seen(face: &Face) -> (PathBuf, &'static str) {
    if !face.as_crun {
        return (SEEN.into(), SOCKET);
    }
    // An abstract socket has no place.
    let path = of_host()
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.to_str().is_some());
    (path.unwrap_or_else(|| SEEN.into()), SOCKET_OF_CRUN)
}

fn directory(face: &Face, id: &str) -> PathBuf {
    face.root.join(format!("notify:{id}"))
}

/// How many descriptors the service manager has opened for us. It names us; an engine that hands them on names nobody, or what will be
/// the container's first process.
pub(super) fn listening() -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let for_us = match std::env::var_os("LISTEN_PID") {
        None => true,
        Some(_) => number("LISTEN_PID").is_some_and(|pid| pid == 1 || pid == std::process::id()),
    };
    number("LISTEN_FDS").filter(|_| for_us).unwrap_or(0)
}

/// Puts a directory for the socket into a container that is going to be created, and its place into `environment`. Whether a
/// directory was made.
pub(super) fn prepare(
    face: &Face,
    id: &str,
    bundle: &mut Bundle,
    environment: &mut Vec<String>,
) -> Result<bool, Ended> {
    if of_host().is_none() {
        return Ok(false);
    }
    let path = directory(face, id);
    let failed = |error: io::Error| failed("make a directory for NOTIFY_SOCKET", &error);
    face.runtime.make_state_dir()?;
    let made = match DirBuilder::new().mode(0o755).create(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        other => other.map(|()| true).map_err(failed)?,
    };
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(failed)?;
    let spec = bundle.spec_mut();
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    let (place, socket) = seen(face);
    environment.push(format!("NOTIFY_SOCKET={}/{socket}", place.display()));
    mounts.push(mount(path, place)?);
    spec.set_mounts(Some(mounts));
    Ok(made)
}

fn mount(source: PathBuf, destination: PathBuf) -> Result<Mount, Ended> {
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"];
    MountBuilder::default()
        .destination(destination)
        .typ("bind")
        .source(source)
        .options(options.map(str::to_owned))
        .build()
        .map_err(|error| failed("mount NOTIFY_SOCKET", &error))
}

/// Removes what was made for a container that is gone.
pub(super) fn forget(face: &Face, id: &str) {
    // Most containers have none.
    std::fs::remove_dir_all(directory(face, id)).ok();
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> Ended {
    Ended::Failed(format!("cannot {what}: {error}"))
}

/// Listens to the container, and speaks to the host.
pub(super) struct Proxy {
    container: UnixDatagram,
    host: OsString,
}

impl Proxy {
    /// Begins to listen, if the container was created with a socket and there is somebody to tell.
    pub(super) fn before_start(face: &Face, id: &str) -> Result<Option<Self>, Ended> {
        let path = directory(face, id);
        let Some(host) = of_host().filter(|_| path.is_dir()) else {
            return Ok(None);
        };
        let container =
            bind(&path, seen(face).1).map_err(|error| failed("listen to the container", &error))?;
        Ok(Some(Self { container, host }))
    }

    /// Waits until the container says that it is ready, or ends, and tells the host which process to watch.
    pub(super) fn until_ready(self, process: &Process) -> Result<(), Ended> {
        loop {
            let mut polled = [
                PollFd::new(&self.container, PollFlags::IN),
                PollFd::from_borrowed_fd(process.pidfd(), PollFlags::IN),
            ];
            match poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("wait for the container", &errno)),
            }
            let [heard, ended] = polled.map(|one| !one.revents().is_empty());
            if heard && let Some(ready) = self.hear() {
                let told = self.tell(&ready, Some(process.pid()));
                return told.map_err(|error| failed("tell NOTIFY_SOCKET", &error));
            }
            if ended && !heard {
                return Ok(());
            }
        }
    }

    /// Does the same beside the caller, who waits for the container in the foreground and is what the host watches.
    pub(super) fn in_background(self) {
        std::thread::spawn(move || {
            loop {
                if let Some(ready) = self.hear() {
                    // There is nobody to tell that nobody could be told.
                    self.tell(&ready, None).ok();
                    return;
                }
            }
        });
    }

    /// The line that says "ready", if the next message has one.
    fn hear(&self) -> Option<Vec<u8>> {
        let mut message = [0_u8; MESSAGE_BYTES];
        let length = self.container.recv(&mut message).ok()?;
        let mut lines = message.get(..length)?.split(|byte| *byte == b'\n');
        lines
            .find(|line| line.starts_with(b"READY="))
            .map(<[u8]>::to_vec)
    }

    fn tell(&self, ready: &[u8], pid: Option<i32>) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        match self.host.as_bytes().strip_prefix(b"@") {
            Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
            None => socket.connect(Path::new(&self.host))?,
        }
        let mut message = ready.to_vec();
        if let Some(pid) = pid {
            message.extend(format!("\nMAINPID={pid}").bytes());
        }
        socket.send(&message)?;
        // The manager closes its copy when it has dealt with everything before. One that never looks keeps us for a while only.
        let (held, given) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        message::send(socket.as_fd(), b"BARRIER=1", Some(given.as_fd()))?;
        drop(given);
        let limit = Timespec {
            tv_sec: BARRIER_SECONDS,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&limit))?;
        Ok(())
    }
}

/// A socket that any user of the container may write to. It is named by its directory's descriptor: an address holds 107 bytes.
fn bind(directory: &Path, name: &str) -> io::Result<UnixDatagram> {
    let path = directory.join(name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let opened = std::fs::File::open(directory)?;
    let short = format!("/proc/self/fd/{}/{name}", opened.as_raw_fd());
    let socket = UnixDatagram::bind(short)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o777))?;
    Ok(socket)
}
