//! A further process in a running container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Hook, Process as Description};
use rustix::fs::{Mode, OFlags};

use crate::cgroup::{Cgroup, Hierarchies};
use crate::error::{Error, ErrorKind, Result};
use crate::exit::Signal;
use crate::handover::Sinks;
use crate::hooks;
use crate::id::ContainerId;
use crate::init::{Place, launch_inside};
use crate::namespace;
use crate::plan::{Entering, ExecOptions, Facts, Stdio, compile_exec};
use crate::process::Process;
use crate::record::Record;
use crate::rootfs::read_file_in;
use crate::spec::{GROUP, PASSWD, PASSWD_BYTES, ResolvedUser, home, resolve};
use crate::state::{State, Status};

/// Starts `description` beside `init`, the container's first process.
pub(crate) fn exec(
    record: &Record,
    init: &Process,
    description: &Description,
    options: ExecOptions,
) -> Result<Process> {
    let wanted = Wanted {
        description,
        program: None,
        complete: false,
        status: Status::Running,
    };
    start(record, init, &wanted, options)
}

/// Starts a startContainer hook: what the container's process is, with another program.
pub(crate) fn hook(
    record: &Record,
    init: &Process,
    hook: &Hook,
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
) -> Result<Process> {
    const STEP: &str = "start a hook";
    let mut description = record.spec.process().clone().unwrap_or_default();
    description
        .set_args(Some(hooks::arguments(hook)))
        .set_terminal(None);
    if let Some(environment) = hook.env() {
        description.set_env(Some(environment.clone()));
    }
    let copy = |stream: BorrowedFd<'_>| {
        let copied = rustix::io::fcntl_dupfd_cloexec(stream, 3);
        copied.map_err(|errno| Error::from_errno(errno.raw_os_error(), STEP))
    };
    let options = ExecOptions {
        stdio: Stdio::Streams {
            stdin: Some(copy(input)?),
            stdout: Some(copy(output)?),
            stderr: Some(copy(output)?),
        },
        ..ExecOptions::default()
    };
    let wanted = Wanted {
        description: &description,
        program: Some(hook.path()),
        complete: hook.env().is_some(),
        status: Status::Created,
    };
    start(record, init, &wanted, options)
}

/// What is started.
struct Wanted<'w> {
    description: &'w Description,
    /// The program, if the first argument does not name it.
    program: Option<&'w Path>,
    /// Nothing is added to the environment.
    complete: bool,
    /// Of the container.
    status: Status,
}

fn start(
    record: &Record,
    init: &Process,
    wanted: &Wanted<'_>,
    mut options: ExecOptions,
) -> Result<Process> {
    let description = wanted.description;
    let asked = description.terminal().unwrap_or(false);
    let terminal = asked || matches!(options.stdio, Stdio::Terminal);
    let mut facts = Facts::gather(false)?;
    facts.look_for_labels(Some(description), None);
    if !wanted.complete {
        facts.home = home(description, || read_inside(init, PASSWD));
    }
    let entering = Entering {
        flags: namespace::foreign(init.pid())?,
        no_new_keyring: options.no_new_keyring,
        parent_death_signal: options.parent_death_signal.map(Signal::number),
        terminal,
        plain_newlines: options.plain_newlines,
        program: wanted.program,
    };
    let id = ContainerId::parse(&record.id)?;
    let mut script = compile_exec(&id, &record.spec, description, &facts, &entering)?;
    if let Some(listener) = &mut script.listener {
        listener.state = Some(State::of(record, wanted.status));
    }
    let sinks = Sinks::of_exec(&mut options);
    let stdio = if terminal {
        Stdio::Terminal
    } else {
        options.stdio
    };
    let first_free = options.preserve_fds.saturating_add(3);
    let place = Place {
        cgroup: place(record, &options.cgroups)?,
        otherwise: &|| {
            // Whoever names a place wants no other.
            let host = options.cgroups.is_empty().then(Hierarchies::detect);
            host?.ok()?.unified_place(init.pid())
        },
    };
    let launched = launch_inside(script, stdio, first_free, init.pidfd(), &place)
        .map_err(|error| explained(init, error))?;
    sinks.give(launched).map(|(process, _)| process)
}

/// The cgroup of a further process.
fn place(record: &Record, wanted: &[String]) -> Result<Cgroup> {
    if wanted.is_empty() {
        return Ok(record.cgroup.clone());
    }
    let host = Hierarchies::detect()
        .map_err(|error| Error::from_io(error, "read the control groups").with_path("/proc"))?;
    record.cgroup.inside(wanted, &host)
}

/// A container that ended meanwhile is the better reason than what its end made fail.
fn explained(init: &Process, error: Error) -> Error {
    if init.has_ended(Some(0)).unwrap_or(false) {
        Error::new(ErrorKind::NotRunning, "start a process in the container").with_source(error)
    } else {
        error
    }
}

/// Finds a user by `name|uid[:group|gid]` in the files of a running container.
pub(crate) fn user(init: &Process, text: &str) -> Result<ResolvedUser> {
    let read = |path| read_inside(init, path).map(Option::unwrap_or_default);
    Ok(resolve(text, &read(PASSWD)?, &read(GROUP)?)?)
}

/// Reads a file of a running container, whose processes may be changing it: nothing leads out of its root.
fn read_inside(init: &Process, path: &str) -> Result<Option<Vec<u8>>> {
    let root = root_of(init)?;
    read_file_in(root.as_fd(), path, PASSWD_BYTES)
}

fn root_of(init: &Process) -> Result<OwnedFd> {
    let path = format!("/proc/{}/root", init.pid());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| {
        Error::from_errno(errno.raw_os_error(), "open the container's root").with_path(path)
    })?;
    // The number was still the process's when it was opened.
    if init.has_ended(Some(0))? {
        return Err(Error::new(
            ErrorKind::NotRunning,
            "open the container's root",
        ));
    }
    Ok(root)
}
