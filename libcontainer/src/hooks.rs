//! Hooks: programs of others that run at points of a container's life.
//!
//! | kind | when | where |
//! |---|---|---|
//! | prestart, createRuntime | namespaces and mounts exist, the old root is still there | beside us |
//! | createContainer | the same | in the container's namespaces |
//! | startContainer | before the program starts | in the container, as its process |
//! | poststart | after it has started | beside us |
//! | poststop | after the container was deleted | beside us |
//!
//! A hook reads the container's state on its standard input. One that fails ends the container, but for poststop, where there is
//! none any more and the rest goes on. Where the specification says nothing we do what runc does: hooks at creation begin in the
//! bundle, those of createContainer in the container's root; without `env` a hook has our environment. One of startContainer is a
//! further process of the container in everything but its program: user, capabilities, filter, cgroup, limits, directory and, without
//! `env`, environment. Whoever writes it has no more rights than the program it runs before.

use std::ffi::{CString, OsString};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::{Hook, Spec};
use rustix::fs::MemfdFlags;

use crate::error::{Error, ErrorKind, Result};
use crate::exit::{ExitStatus, Signal};
use crate::init::{Entry, enter};
use crate::namespace::{Kind, Namespaces};
use crate::process::Process;
use crate::procfs;
use crate::record::Record;
use crate::state::{State, Status};

/// How much of a failed hook's output is kept: an error message, not a log.
const OUTPUT_BYTES: u64 = 4096;

/// Whether a specification has any hook.
pub(crate) fn asked(spec: &Spec) -> bool {
    let Some(hooks) = spec.hooks() else {
        return false;
    };
    let lists = [
        hooks.prestart(),
        hooks.create_runtime(),
        hooks.create_container(),
        hooks.start_container(),
        hooks.poststart(),
        hooks.poststop(),
    ];
    lists
        .iter()
        .any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
}

fn list<'r>(
    record: &'r Record,
    pick: impl Fn(&'r oci_spec::runtime::Hooks) -> &'r Option<Vec<Hook>>,
) -> &'r [Hook] {
    record
        .spec
        .hooks()
        .as_ref()
        .and_then(|hooks| pick(hooks).as_deref())
        .unwrap_or_default()
}

/// Where a hook runs that is no process of the container.
#[derive(Clone, Copy, Default)]
struct Place<'p> {
    /// In the namespaces of this process, of these kinds.
    namespaces: Option<(BorrowedFd<'p>, u32)>,
    /// Where it begins; ours, or the root of the namespaces.
    directory: Option<&'p Path>,
}

/// Starts a hook with what it reads on standard input, and what it writes both its outputs to.
type Start<'s> = dyn Fn(&Hook, BorrowedFd<'_>, BorrowedFd<'_>) -> Result<Process> + 's;

fn all(list: &[Hook], kind: &'static str, state: &State, start: &Start<'_>) -> Result<()> {
    let mut hooks = list.iter().enumerate();
    hooks.try_for_each(|(index, hook)| run(hook, (kind, index), state, start))
}

/// The hooks of a container that is being created.
pub(crate) fn create(record: &Record, init: BorrowedFd<'_>) -> Result<()> {
    restore(record)?;
    let state = State::of(record, Status::Creating);
    let container = list(record, |hooks| hooks.create_container());
    if container.is_empty() {
        return Ok(());
    }
    let inside = Place {
        namespaces: Some((init, own_namespaces(record)?)),
        directory: directory(&record.rootfs),
    };
    all(container, "createContainer", &state, &inside.starter())
}

/// The hooks of a container that comes back from a checkpoint, when its namespaces exist: those that are beside us, which fill its network.
pub(crate) fn restore(record: &Record) -> Result<()> {
    let state = State::of(record, Status::Creating);
    let beside = Place {
        directory: directory(&record.bundle),
        ..Place::default()
    };
    let prestart = list(record, |hooks| hooks.prestart());
    // The specification has these, which it discourages, between the start of a created container and that of its program.
    let created = State::of(record, Status::Created);
    all(prestart, "prestart", &created, &beside.starter())?;
    let runtime = list(record, |hooks| hooks.create_runtime());
    all(runtime, "createRuntime", &state, &beside.starter())
}

/// A directory, if it is there: a container of a library's caller may have none.
fn directory(path: &Path) -> Option<&Path> {
    path.is_dir().then_some(path)
}

/// The hooks just before the program starts, which `start` makes processes of the container.
pub(crate) fn start_container(record: &Record, start: &Start<'_>) -> Result<()> {
    let hooks = list(record, |hooks| hooks.start_container());
    if hooks.is_empty() {
        return Ok(());
    }
    let state = State::of(record, Status::Created);
    all(hooks, "startContainer", &state, start)
}

/// The hooks just after the program has started.
pub(crate) fn poststart(record: &Record) -> Result<()> {
    let hooks = list(record, |hooks| hooks.poststart());
    let state = State::of(record, Status::Running);
    all(hooks, "poststart", &state, &Place::default().starter())
}

/// The hooks of a container that is gone. Their failures change nothing any more (runtime specification, "Lifecycle", step 13), and
/// are only told.
pub(crate) fn poststop(record: &Record, told: &mut dyn FnMut(Error)) {
    let state = State::of(record, Status::Stopped);
    let hooks = list(record, |hooks| hooks.poststop());
    for (index, hook) in hooks.iter().enumerate() {
        if let Err(error) = run(
            hook,
            ("poststop", index),
            &state,
            &Place::default().starter(),
        ) {
            told(error);
        }
    }
}

/// The flags of the namespaces that are the container's own.
fn own_namespaces(record: &Record) -> Result<u32> {
    let listed = record
        .spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_deref())
        .unwrap_or_default();
    let namespaces = Namespaces::from_spec(listed)?;
    Ok(Kind::ALL
        .iter()
        .filter(|kind| namespaces.has(**kind))
        .fold(0, |flags, kind| flags | kind.flag()))
}

impl<'p> Place<'p> {
    fn starter(self) -> impl Fn(&Hook, BorrowedFd<'_>, BorrowedFd<'_>) -> Result<Process> + 'p {
        move |hook, input, output| self.start(hook, input, output)
    }

    fn start(&self, hook: &Hook, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<Process> {
        let c_string = |text: &[u8]| {
            CString::new(text).map_err(|error| Error::from_io(error.into(), "start a program"))
        };
        let strings = |list: &[String]| {
            let list = list.iter().map(|text| c_string(text.as_bytes()));
            list.collect::<Result<Vec<_>>>()
        };
        let program = c_string(hook.path().as_os_str().as_bytes())?;
        let environment = match hook.env().as_deref() {
            Some(given) => strings(given)?,
            None => inherited(),
        };
        let arguments = strings(&arguments(hook))?;
        let directory = self
            .directory
            .map(|path| c_string(path.as_os_str().as_bytes()));
        let directory = directory.transpose()?;
        let pidfd = enter(&Entry {
            namespaces: self.namespaces,
            directory: directory.as_deref(),
            ignored: procfs::ignored_signals(),
            program: &program,
            arguments: arguments.iter().map(CString::as_c_str).collect(),
            environment: environment.iter().map(CString::as_c_str).collect(),
            input,
            output,
        })?;
        Ok(Process::new(0, pidfd))
    }
}

/// What a hook finds in its arguments, the first of which is its name.
pub(crate) fn arguments(hook: &Hook) -> Vec<String> {
    let given = hook.args().clone().filter(|list| !list.is_empty());
    given.unwrap_or_else(|| vec![hook.path().to_string_lossy().into_owned()])
}

fn run(
    hook: &Hook,
    (kind, index): (&'static str, usize),
    state: &State,
    start: &Start<'_>,
) -> Result<()> {
    let path = hook.path();
    let step = || format!("{kind} hook #{index}");
    let failed = |hint: String| {
        Error::new(ErrorKind::Hook { kind, index }, step())
            .with_path(path)
            .with_hint(hint)
    };
    let io = |error: std::io::Error| Error::from_io(error, step()).with_path(path);
    // Files in memory: nobody has to feed the one and drain the other while the hook runs.
    let mut input = memory_file().map_err(io)?;
    input
        .write_all(&serde_json::to_vec(state).map_err(|error| io(error.into()))?)
        .map_err(io)?;
    input.rewind().map_err(io)?;
    let mut output = memory_file().map_err(io)?;
    let process =
        start(hook, input.as_fd(), output.as_fd()).map_err(|error| failed(error.to_string()))?;
    let timeout = hook
        .timeout()
        .and_then(|seconds| u32::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0);
    if !process.has_ended(timeout.map(|seconds| seconds.saturating_mul(1000)))? {
        process.kill(Signal::KILL).ok();
        process.wait()?;
        return Err(failed("it did not end in time".to_owned()));
    }
    match process.wait()? {
        ExitStatus::Exited(0) => Ok(()),
        status => {
            let mut said = Vec::new();
            output.rewind().map_err(io)?;
            output
                .take(OUTPUT_BYTES)
                .read_to_end(&mut said)
                .map_err(io)?;
            Err(failed(format!(
                "{status}: {}",
                String::from_utf8_lossy(&said).trim()
            )))
        }
    }
}

/// Our own environment.
fn inherited() -> Vec<CString> {
    let line = |(name, value): (OsString, OsString)| {
        let line = [name.as_bytes(), b"=", value.as_bytes()].concat();
        CString::new(line).ok()
    };
    std::env::vars_os().filter_map(line).collect()
}

fn memory_file() -> std::io::Result<std::fs::File> {
    Ok(rustix::fs::memfd_create("hook", MemfdFlags::CLOEXEC)?.into())
}
