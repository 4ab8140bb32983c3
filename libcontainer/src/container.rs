//! A container that has a record.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::cgroup::{Hierarchies, OomWatch, Stats, merged};
use crate::criu::{self, CheckpointOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::exec;
use crate::exit::Signal;
use crate::hooks;
use crate::id::ContainerId;
use crate::init::GO;
use crate::plan::ExecOptions;
use crate::process::{Process, remove_cgroup};
use crate::record::{self, Record};
use crate::spec::ResolvedUser;
use crate::state::{State, Status};
use crate::sys::message;

pub(crate) const FIFO: &str = "exec.fifo";

/// What is in a container's directory; the FIFO is gone as soon as it has been started.
const FILES: [&str; 3] = [record::FILE, record::CONFIG, FIFO];

/// How long a killed process may take to end: it may be in the middle of a long write.
const KILL_MS: u32 = 10_000;

/// When one that has not ended is taken for frozen by somebody else.
const FROZEN_MS: u32 = 500;

/// A container with a record.
#[derive(Debug)]
pub struct Container {
    id: ContainerId,
    directory: PathBuf,
    init: Option<Process>,
    /// As it was written a moment ago, if we have created the container.
    created: Option<Box<Record>>,
    /// Where its process waits, if it waits for us alone.
    starter: Option<OwnedFd>,
}

impl Container {
    pub(crate) fn new(id: ContainerId, directory: PathBuf, init: Option<Process>) -> Self {
        Self {
            id,
            directory,
            init,
            created: None,
            starter: None,
        }
    }

    /// A container that was created just now.
    pub(crate) fn created(
        directory: PathBuf,
        init: Process,
        record: Record,
        starter: Option<OwnedFd>,
    ) -> Self {
        // Its name was one before.
        let id = ContainerId::parse(&record.id).expect("the record has the container's id");
        Self {
            created: Some(Box::new(record)),
            starter,
            ..Self::new(id, directory, Some(init))
        }
    }

    /// Starts a container that waits for us alone: nobody else can have started it.
    fn start_attended(&self, starter: &OwnedFd, process: &Process, record: &Record) -> Result<()> {
        const STEP: &str = "start the container";
        let started = start_hooks(record, process).and_then(|()| {
            message::send(starter.as_fd(), GO, None).map_err(|errno| {
                let kind = match process.has_ended(Some(0)) {
                    Ok(true) => ErrorKind::NotRunning,
                    // It has been started before, and does not listen any more.
                    _ if errno == Errno::PIPE => ErrorKind::Running,
                    _ => ErrorKind::Io,
                };
                Error::from_errno(errno.raw_os_error(), STEP).with_kind(kind)
            })?;
            hooks::poststart(record)
        });
        match started {
            // A container whose hook failed must not go on.
            Err(error) if *error.kind() != ErrorKind::Running => {
                end(process, record)?;
                Err(error)
            }
            other => other,
        }
    }

    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    fn record(&self) -> Result<Record> {
        Record::read(&self.directory)?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "read the container's record")
                .with_path(&self.directory)
                .with_hint("the container is just being created, or its creation was interrupted: delete it with force")
        })
    }

    /// The container's lock, held until the descriptor is dropped.
    fn lock(&self) -> Result<OwnedFd> {
        let failed = |errno: Errno| {
            let error = Error::from_errno(errno.raw_os_error(), "lock the container")
                .with_path(&self.directory);
            if errno == Errno::NOENT {
                error.with_kind(ErrorKind::NotFound)
            } else {
                error
            }
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.directory, flags, Mode::empty()).map_err(failed)?;
        rustix::fs::flock(&directory, FlockOperation::LockExclusive).map_err(failed)?;
        Ok(directory)
    }

    /// Lets the user's program run.
    ///
    /// # Errors
    /// [`ErrorKind::Running`] if it does already, [`ErrorKind::NotRunning`] if the container has stopped.
    pub fn start(&self) -> Result<()> {
        if let (Some(starter), Some(process), Some(record)) =
            (&self.starter, &self.init, &self.created)
        {
            return self.start_attended(starter, process, record);
        }
        let _lock = self.lock()?;
        let fifo = self.directory.join(FIFO);
        let stopped =
            || Error::new(ErrorKind::NotRunning, "start the container").with_hint("it has stopped");
        let (read, found);
        let (record, process) = match (&self.created, &self.init) {
            // Whoever starts it after us, or ends it, takes the FIFO away.
            (Some(record), Some(process)) => (&**record, process),
            _ => {
                read = self.record()?;
                found = Process::find(read.pid, read.start_time)?.ok_or_else(stopped)?;
                (&read, &found)
            }
        };
        if record.cgroup.is_frozen()? {
            let error = Error::new(ErrorKind::Paused, "start the container");
            return Err(error.with_hint("resume it first"));
        }
        // Without waiting: if nobody listens, the container's process is gone.
        let opened = rustix::fs::open(
            &fifo,
            OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let file = match opened {
            Ok(file) => file,
            Err(Errno::NOENT) => return Err(Error::new(ErrorKind::Running, "start the container")),
            Err(Errno::NXIO) => return Err(stopped()),
            Err(errno) => {
                return Err(
                    Error::from_errno(errno.raw_os_error(), "start the container").with_path(&fifo),
                );
            }
        };
        // Whatever was forked by another thread at the wrong moment may hold the FIFO for a while.
        if process.has_ended(Some(0))? {
            return Err(stopped());
        }
        let started = start_hooks(record, process).and_then(|()| {
            rustix::io::write(&file, b"0").map_err(|errno| {
                Error::from_errno(errno.raw_os_error(), "start the container").with_path(&fifo)
            })?;
            std::fs::remove_file(&fifo)
                .map_err(|error| Error::from_io(error, "start the container").with_path(&fifo))?;
            hooks::poststart(record)
        });
        if started.is_err() {
            // A container whose hook failed must not go on.
            end(process, record)?;
        }
        started
    }

    /// Sends a signal to the container's first process. `SIGKILL` ends all its processes, also when they share a pid namespace with
    /// others; those that have outlived their first one too.
    ///
    /// # Errors
    /// The container is not running.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        let record = self.record()?;
        let Some(process) = Process::find(record.pid, record.start_time)? else {
            if signal == Signal::KILL && outlived(&record)? {
                return kill_all(&record);
            }
            let step = "send a signal to the container";
            return Err(Error::new(ErrorKind::NotRunning, step));
        };
        process.kill(signal)?;
        if signal == Signal::KILL {
            if !record.own_pid_namespace {
                kill_all(&record)?;
            }
            thaw_to_die(&record)?;
        }
        Ok(())
    }

    /// The container's state now.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn state(&self) -> Result<State> {
        let record = self.record()?;
        let process = Process::find(record.pid, record.start_time)?;
        let status = self.status(&record, process.as_ref())?;
        Ok(State::of(&record, status))
    }

    fn status(&self, record: &Record, process: Option<&Process>) -> Result<Status> {
        Ok(match process {
            None => Status::Stopped,
            Some(_) if record.cgroup.is_frozen()? => Status::Paused,
            Some(_) if self.directory.join(FIFO).exists() => Status::Created,
            Some(_) => Status::Running,
        })
    }

    /// The description of the container's first process: what [`Self::exec`] may be given, changed where another is wanted.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn process(&self) -> Result<oci_spec::runtime::Process> {
        Ok(self.record()?.spec.process().clone().unwrap_or_default())
    }

    /// Whether all of its processes can be found and ended: they share a pid namespace of their own, or a cgroup.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn keeps_processes_together(&self) -> Result<bool> {
        let record = self.record()?;
        Ok(record.own_pid_namespace || !record.cgroup.is_none())
    }

    /// Whether processes of the container could write the program that we are if they could reach it; before [`Self::exec`] such a
    /// program calls [`crate::seal::ensure`].
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn may_reach_us(&self) -> Result<bool> {
        crate::seal::is_writable_from(&self.record()?.spec)
    }

    /// Finds a user by `name|uid[:group|gid]` in the running container's own files.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownUser`], or the container is not running.
    pub fn user(&self, text: &str) -> Result<ResolvedUser> {
        let (_, process) = self.running("look for a user")?;
        exec::user(&process, text)
    }

    /// Starts a further process in the container: in its namespaces and its cgroup, with its system call filter. It is the caller's child.
    ///
    /// A description without capabilities has none. `HOME` is set from the container's passwd file if the environment lacks it.
    ///
    /// # Privileges
    /// Those that entering the container's namespaces takes: root, or the container's owner in the user namespace it was made from.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`], [`ErrorKind::Paused`]; [`ErrorKind::ExecNotFound`] and [`ErrorKind::ExecNotPermitted`] for the program.
    pub fn exec(
        &self,
        process: &oci_spec::runtime::Process,
        options: ExecOptions,
    ) -> Result<Process> {
        let (record, init) = self.running("start a process in the container")?;
        if !options.ignore_paused && record.cgroup.is_frozen()? {
            let step = "start a process in the container";
            return Err(Error::new(ErrorKind::Paused, step).with_hint("resume it first"));
        }
        exec::exec(&record, &init, process, options)
    }

    /// Stops all processes of the container where they are.
    ///
    /// # Errors
    /// The container is not running, or has no cgroup that can be frozen.
    pub fn pause(&self) -> Result<()> {
        let _lock = self.lock()?;
        let (record, _) = self.running("pause the container")?;
        Ok(record.cgroup.freeze()?)
    }

    /// Lets the processes of a paused container go on.
    ///
    /// # Errors
    /// The container is not paused.
    pub fn resume(&self) -> Result<()> {
        let _lock = self.lock()?;
        let (record, _) = self.running("resume the container")?;
        if !record.cgroup.is_frozen()? {
            let error = Error::new(ErrorKind::Running, "resume the container");
            return Err(error.with_hint("it is not paused"));
        }
        Ok(record.cgroup.thaw()?)
    }

    /// Saves the container's processes into the directory `images`, which is made if it is missing, by CRIU. Afterwards the container has
    /// stopped, unless the options let it go on; [`crate::runtime::Runtime::restore`] makes it again.
    ///
    /// # Privileges
    /// Root of the machine.
    ///
    /// # Errors
    /// The container is not running or was not started; [`ErrorKind::Unsupported`] without CRIU or root, [`ErrorKind::Criu`] if CRIU
    /// fails: then the path is its log, the hint the last errors in it, and the container goes on.
    pub fn checkpoint(&self, images: &Path, options: CheckpointOptions) -> Result<()> {
        const STEP: &str = "checkpoint the container";
        let _lock = self.lock()?;
        let (record, init) = self.running(STEP)?;
        if self.directory.join(FIFO).exists() {
            return Err(Error::new(ErrorKind::NotRunning, STEP).with_hint("it was not started"));
        }
        criu::checkpoint(&record, &init, images, options)
    }

    /// Changes limits of the running container: those that `change` names. A number that is zero names nothing.
    ///
    /// # Errors
    /// The container is not running or has no cgroup, or the kernel refuses a value; then nothing is changed.
    pub fn update(&self, change: &LinuxResources) -> Result<()> {
        const STEP: &str = "change the container's limits";
        let _lock = self.lock()?;
        let (mut record, _) = self.running(STEP)?;
        if record.cgroup.is_none() {
            let feature = "limits without a cgroup".to_owned();
            return Err(Error::new(ErrorKind::Unsupported { feature }, STEP));
        }
        let mut linux = record.spec.linux().clone().unwrap_or_default();
        let before = linux.resources().clone().unwrap_or_else(nothing);
        let after = merged(&before, change)
            .map_err(|error| Error::new(ErrorKind::Io, STEP).with_source(error))?;
        let host = Hierarchies::detect()
            .map_err(|error| Error::from_io(error, STEP).with_path("/proc"))?;
        record.cgroup.update(&before, &after, &host)?;
        linux.set_resources(Some(after));
        record.spec.set_linux(Some(linux));
        record.write(&self.directory)
    }

    /// What the container uses.
    ///
    /// # Errors
    /// The container is not running.
    pub fn stats(&self) -> Result<Stats> {
        let (record, _) = self.running("read the container's statistics")?;
        Ok(record.cgroup.stats()?)
    }

    /// Begins to watch for processes that are killed for want of memory.
    ///
    /// # Errors
    /// The container is not running, or its memory is not counted.
    pub fn watch_oom(&self) -> Result<OomWatch> {
        let (record, _) = self.running("watch the container's memory")?;
        Ok(record.cgroup.watch_oom()?)
    }

    /// The container's processes, as the caller's pid namespace numbers them. Without a cgroup of its own only the first is known.
    ///
    /// # Errors
    /// The container is not running.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let (record, init) = self.running("list the container's processes")?;
        if record.cgroup.is_none() {
            return Ok(vec![init.pid()]);
        }
        let mut pids = record.cgroup.processes()?;
        pids.sort_unstable();
        Ok(pids)
    }

    /// The record and the first process of a container that has not stopped.
    fn running(&self, step: &'static str) -> Result<(Record, Process)> {
        let record = self.record()?;
        let stopped = || Error::new(ErrorKind::NotRunning, step);
        let process = Process::find(record.pid, record.start_time)?.ok_or_else(stopped)?;
        Ok((record, process))
    }

    /// Removes the container: a created one is killed first, a running one only with `force`.
    ///
    /// # Errors
    /// [`ErrorKind::Running`].
    pub fn delete(self, force: bool) -> Result<()> {
        self.delete_telling(force, &mut drop)
    }

    /// As [`Self::delete`], and tells which poststop hooks have failed: the container is gone all the same.
    ///
    /// # Errors
    /// [`ErrorKind::Running`].
    pub fn delete_telling(self, force: bool, told: &mut dyn FnMut(Error)) -> Result<()> {
        let _lock = self.lock()?;
        let record = match self.record() {
            Ok(record) => record,
            // Interrupted while it was being created: there is nothing but the directory.
            Err(error) if force && *error.kind() == ErrorKind::NotFound => {
                return remove(&self.directory);
            }
            Err(error) => return Err(error),
        };
        if let Some(process) = Process::find(record.pid, record.start_time)? {
            if !force && !self.directory.join(FIFO).exists() {
                return Err(Error::new(ErrorKind::Running, "delete the container")
                    .with_hint("kill it first, or delete it with force"));
            }
            end(&process, &record)?;
        }
        remove_cgroup(&record.cgroup)?;
        remove(&self.directory)?;
        if let Some(process) = &self.init {
            // Our child is reaped; whoever waits for it gets the same answer.
            drop(process.has_ended(Some(0))?.then(|| process.wait()));
        }
        hooks::poststop(&record, told);
        Ok(())
    }

    /// The container's first process, if it has not ended.
    ///
    /// # Errors
    /// The process has ended.
    pub fn init(&mut self) -> Result<&mut Process> {
        if self.init.is_none() {
            let record = self.record()?;
            self.init = Process::find(record.pid, record.start_time)?;
        }
        self.init
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::NotRunning, "find the container's process"))
    }
}

/// No limits: the default of the type has some.
fn nothing() -> LinuxResources {
    serde_json::from_value(serde_json::json!({})).expect("every member is optional")
}

/// Whether a container that shares its pid namespace with others has processes although its first one is gone.
fn outlived(record: &Record) -> Result<bool> {
    if record.own_pid_namespace || record.cgroup.is_none() {
        return Ok(false);
    }
    Ok(!record.cgroup.processes()?.is_empty())
}

/// The hooks just before the program starts.
fn start_hooks(record: &Record, init: &Process) -> Result<()> {
    hooks::start_container(record, &|hook, input, output| {
        exec::hook(record, init, hook, input, output)
    })
}

/// Ends all processes of a container that shares its pid namespace with others.
fn kill_all(record: &Record) -> Result<()> {
    if record.cgroup == crate::cgroup::Cgroup::default() {
        Ok(())
    } else {
        Ok(record.cgroup.kill_all()?)
    }
}

/// Version 1: a process that was killed while it is frozen dies when it is thawed.
fn thaw_to_die(record: &Record) -> Result<()> {
    if record.cgroup.is_frozen()? {
        record.cgroup.thaw()?;
    }
    Ok(())
}

fn end(process: &Process, record: &Record) -> Result<()> {
    match process.kill(Signal::KILL) {
        Err(error) if *error.kind() != ErrorKind::NotRunning => return Err(error),
        _ => {}
    }
    if !record.own_pid_namespace {
        kill_all(record)?;
    }
    thaw_to_die(record)?;
    if process.has_ended(Some(FROZEN_MS))? {
        return Ok(());
    }
    // If it does not help, the process is waited for as any other.
    crate::cgroup::leave_frozen(process.pid()).ok();
    if process.has_ended(Some(KILL_MS))? {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Running, "delete the container")
        .with_hint("its first process does not end although it was killed"))
}

fn remove(directory: &Path) -> Result<()> {
    // What we have put there; the rest, if there is any, is looked for.
    for name in FILES {
        rustix::fs::unlink(directory.join(name)).ok();
    }
    if rustix::fs::rmdir(directory).is_ok() {
        return Ok(());
    }
    std::fs::remove_dir_all(directory).map_err(|error| {
        Error::from_io(error, "remove the container's record").with_path(directory)
    })
}

/// Makes the FIFO on which a created container waits, open for both directions: so it waits for a byte and sees no end.
pub(crate) fn make_fifo(directory: &Path) -> Result<OwnedFd> {
    let path = directory.join(FIFO);
    let failed = |errno: Errno| {
        Error::from_errno(errno.raw_os_error(), "make the start FIFO").with_path(&path)
    };
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::from_raw_mode(0o600)).map_err(failed)?;
    let file = File::options().read(true).write(true).open(&path);
    file.map(OwnedFd::from)
        .map_err(|error| Error::from_io(error, "open the start FIFO").with_path(&path))
}
