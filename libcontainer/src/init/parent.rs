//! The parent's side: makes the child, answers it, and turns its reports into errors.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::beside::clone_in_unit;
use super::child::{Child, Image, Origin, Progress};
use super::enter::reap;
use super::explain::explain;
use super::idmapped;
use super::listener;
use super::maps;
use super::report::{Kind, REPORT_BYTES, Report};
use super::resources;
use crate::cgroup::{Attach, Cgroup};
use crate::error::{Error, ErrorKind, Result};
use crate::netdevice::{self, NetDevice};
use crate::plan::{OomScore, Plan, Script, Slot, Stdio, Step};
use crate::process::remove_cgroup;
use crate::procfs;
use crate::sys::clone::{CloneOptions, clone3};
use crate::sys::exec::StringArray;
use crate::sys::message;

/// When the program runs.
#[derive(Debug)]
pub(crate) enum Start {
    AtOnce,
    /// When somebody writes to this FIFO.
    ByFifo(OwnedFd),
    /// When [`GO`] is sent to [`Launched::starter`].
    BySocket,
}

/// The answer to a process that waits.
pub(crate) const GO: &[u8] = b"go";

/// What a launch needs beside the plan.
pub(crate) struct Launch<'l> {
    pub(crate) start: Start,
    /// Called when the container's namespaces and mounts exist, with its first process, if there are hooks.
    pub(crate) hooks: &'l mut dyn FnMut(i32, BorrowedFd<'_>) -> Result<()>,
}

/// A container whose first process runs or is ready to.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// Where the process waits for its start, if it does so there.
    pub(crate) starter: Option<OwnedFd>,
    /// The terminal's master.
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) warnings: Vec<String>,
    pub(crate) cgroup: Cgroup,
}

/// Performs a plan. What was made is undone if a step fails.
pub(crate) fn launch(mut plan: Plan, launch: Launch<'_>) -> Result<Launched> {
    let options = std::mem::take(&mut plan.options);
    let first_free = options.preserve_fds.saturating_add(3);
    let waits = !matches!(launch.start, Start::AtOnce);
    let by_socket = matches!(launch.start, Start::BySocket);
    let given = match launch.start {
        Start::ByFifo(fifo) => Some((Slot::FIFO, fifo)),
        _ => None,
    };
    let mut slots = resources::open(&plan.script, options.stdio, given)?;
    let planned = plan.cgroup != crate::cgroup::Plan::default();
    let (cgroup, held) = match planned {
        true => plan.cgroup.apply_held()?,
        false => Default::default(),
    };
    if planned && cgroup.is_none() {
        let text = "no control group may be made here: the container stays in the caller's";
        plan.script.warnings.push(text.to_owned());
    }
    let setting = Setting {
        root: plan.root.later().is_none().then(|| plan.root.as_fd()),
        cgroup: &cgroup,
        first_free,
        by_socket,
    };
    let started = start(&plan.script, &mut slots, &setting);
    drop(held);
    // The child has its own copies. Ours would keep the container's mounts alive after its end.
    drop(slots);
    let mut family = match started {
        Ok(family) => family,
        Err(error) => return Err(undo(&cgroup, error)),
    };
    drop(plan.root);
    match family.serve(&plan.script, waits, launch.hooks) {
        Ok(()) => Ok(family.launched(plan.script.warnings, cgroup, by_socket)),
        Err(error) => {
            family.end();
            Err(undo(&cgroup, error))
        }
    }
}

/// Where a further process is put.
pub(crate) struct Place<'p> {
    pub(crate) cgroup: Cgroup,
    /// Where else, if the kernel does not take it there: on version 2 the container may have handed controllers down to cgroups below its
    /// own, which then holds no processes any more, or it may have moved and its own is gone.
    pub(crate) otherwise: &'p dyn Fn() -> Option<Cgroup>,
}

impl Place<'_> {
    fn is_closed(error: &Error) -> bool {
        *error.kind() == ErrorKind::NotFound
            || matches!(
                error.errno(),
                Some(libc::EBUSY | libc::ENODEV | libc::EOPNOTSUPP)
            )
    }
}

/// Performs a script that starts a process in the running container whose first process is `init`.
pub(crate) fn launch_inside(
    script: Script,
    stdio: Stdio,
    first_free: u32,
    init: BorrowedFd<'_>,
    place: &Place<'_>,
) -> Result<Launched> {
    let init = resources::duplicate(init)?;
    let mut slots = resources::open(&script, stdio, [(Slot::INIT, init)])?;
    let setting = |cgroup| Setting {
        root: None,
        cgroup,
        first_free,
        by_socket: false,
    };
    let mut started = start(&script, &mut slots, &setting(&place.cgroup));
    if started.as_ref().is_err_and(Place::is_closed)
        && let Some(other) = (place.otherwise)()
    {
        started = start(&script, &mut slots, &setting(&other));
    }
    drop(slots);
    let mut family = started?;
    match family.serve(&script, false, &mut |_, _| Ok(())) {
        Ok(()) => Ok(family.launched(script.warnings, Cgroup::default(), false)),
        Err(error) => {
            family.end();
            Err(error)
        }
    }
}

/// Removes the cgroup after a failure, which is the error that matters.
fn undo(cgroup: &Cgroup, error: Error) -> Error {
    match remove_cgroup(cgroup) {
        Ok(()) => error,
        Err(second) => error.with_hint(format!("its cgroup is left over: {second}")),
    }
}

/// What a child is given beside its script and its slots.
struct Setting<'s> {
    root: Option<BorrowedFd<'s>>,
    cgroup: &'s Cgroup,
    first_free: u32,
    /// The child waits for its start on the socket.
    by_socket: bool,
}

fn start(script: &Script, slots: &mut [Option<OwnedFd>], setting: &Setting<'_>) -> Result<Family> {
    let cgroup = setting.cgroup;
    let failed =
        |step: &'static str| move |errno: Errno| Error::from_errno(errno.raw_os_error(), step);
    let attach = if *cgroup == Cgroup::default() {
        Attach::default()
    } else {
        cgroup.attach()?
    };
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(failed("make a socket pair"))?;
    // The child's end must not be where the standard streams go.
    let theirs = resources::above_stdio(theirs)?;
    let strings = |list: crate::plan::Span| -> StringArray<'_> {
        list.of(&script.texts)
            .iter()
            .map(|text| script.arena.get(*text))
            .collect()
    };
    let (arguments, environment) = (strings(script.arguments), strings(script.environment));
    let mut child = Child {
        script,
        slots,
        root: setting.root,
        tasks: &attach.tasks,
        socket: theirs.as_fd(),
        arguments: &arguments,
        environment: &environment,
        origin: Origin::of_caller(script),
        first_free: setting.first_free,
        by_socket: setting.by_socket,
        own: Image::of(c"/proc/self/exe"),
        progress: Progress::default(),
    };
    let clone = CloneOptions {
        namespaces: u64::from(script.clone),
        cgroup: attach.directory.as_ref().map(AsFd::as_fd),
        sibling: false,
    };
    // No handler of ours can run in the child, where it would find a world it does not know: the clone resets them.
    let cloned = match (clone3(&clone, &mut || child.run()), &cgroup.systemd) {
        (Err(Errno::ACCESS), Some(unit)) => {
            clone_in_unit(unit, clone.namespaces, &mut || child.run())?
        }
        (cloned, _) => cloned.map_err(|errno| not_made(errno, cgroup))?,
    };
    let pidfd = cloned
        .pidfd
        .ok_or_else(|| Error::new(ErrorKind::Io, MAKE))?;
    let steps = || script.steps.iter();
    Ok(Family {
        pid: cloned.pid,
        pidfd,
        first: None,
        socket: ours,
        awaited: steps().position(|step| matches!(step, Step::EnterPidNamespace)),
        early: VecDeque::new(),
        terminal: None,
        warnings: Vec::new(),
    })
}

const MAKE: &str = "make the container's process";

/// Why there is no process.
fn not_made(errno: Errno, cgroup: &Cgroup) -> Error {
    if let (Errno::BUSY | Errno::NODEV | Errno::OPNOTSUPP, Some(unified)) = (errno, &cgroup.unified)
    {
        const STEP: &str = "failed adding pid of the new process to cgroups: write";
        let list = unified.join("cgroup.procs");
        return Error::from_errno(errno.raw_os_error(), STEP)
            .with_kind(ErrorKind::Io)
            .with_path(list);
    }
    let error = Error::from_errno(errno.raw_os_error(), MAKE);
    match errno {
        Errno::PERM => error.with_hint(
            "namespaces need CAP_SYS_ADMIN: become root, or enter a user namespace first",
        ),
        Errno::NOSPC => error
            .with_kind(ErrorKind::Io)
            .with_hint("the limit of namespaces is reached (/proc/sys/user)"),
        Errno::AGAIN => error.with_hint("the limit of processes is reached"),
        _ => error,
    }
}

/// The processes of a launch.
struct Family {
    /// The container's first process.
    pid: i32,
    pidfd: OwnedFd,
    /// The process that made it, if that was not us.
    first: Option<OwnedFd>,
    socket: OwnedFd,
    /// The step at which another process takes over, until it has.
    awaited: Option<usize>,
    /// What that process said before we were told of it.
    early: VecDeque<(Report, Option<OwnedFd>)>,
    terminal: Option<OwnedFd>,
    warnings: Vec<String>,
}

impl Family {
    /// Answers the child until it is ready, or its program runs.
    fn serve(
        &mut self,
        script: &Script,
        waits: bool,
        hooks: &mut dyn FnMut(i32, BorrowedFd<'_>) -> Result<()>,
    ) -> Result<()> {
        loop {
            let Some((report, descriptor)) = self.next()? else {
                return if waits {
                    Err(self.silent_end())
                } else {
                    Ok(())
                };
            };
            match report.kind {
                Kind::Failed => return Err(explain(script, &report)),
                Kind::Warning => self.warnings.push(explain(script, &report).to_string()),
                Kind::AwaitsMaps => {
                    let maps = script
                        .maps
                        .as_ref()
                        .expect("a script that waits for maps has them");
                    maps::write(self.pid, maps)?;
                    if let Some(score) = script.oom_score {
                        self.set_oom_score(score)?;
                    }
                    self.answer()?;
                }
                Kind::AwaitsClocks => {
                    set_clocks(self.pid, &script.clocks)?;
                    self.answer()?;
                }
                Kind::AwaitsDevices => {
                    let socket = descriptor.ok_or_else(|| {
                        Error::new(ErrorKind::Io, "listen to the container's process")
                    })?;
                    give_devices(self.pid, &script.net_devices, socket.as_fd())?;
                    self.answer()?;
                }
                Kind::AwaitsHooks => {
                    hooks(self.pid, self.pidfd.as_fd())?;
                    self.answer()?;
                }
                Kind::AwaitsListener => {
                    let listener = script.listener.as_ref();
                    let listener =
                        listener.expect("a script whose filter has a listener says where it goes");
                    listener::give(listener, self.pid, self.pidfd.as_fd(), report.value)?;
                    self.answer()?;
                }
                Kind::AwaitsTreeMap => {
                    let map = usize::try_from(report.value);
                    let map = map.ok().and_then(|index| script.tree_maps.get(index));
                    let (map, tree) = map.zip(descriptor.as_ref()).ok_or_else(|| {
                        Error::new(ErrorKind::Io, "listen to the container's process")
                    })?;
                    idmapped::apply(tree.as_fd(), map)?;
                    self.answer()?;
                }
                // Dealt with where it is received.
                Kind::Process => {}
                Kind::Terminal => self.terminal = descriptor,
                Kind::Ready => return Ok(()),
            }
        }
    }

    /// The next report, and the descriptor that came with it; `None` when nobody is left to send one.
    ///
    /// The process that takes over at some step may speak before its maker has told us of it; then it has to wait for its turn.
    fn next(&mut self) -> Result<Option<(Report, Option<OwnedFd>)>> {
        const STEP: &str = "listen to the container's process";
        loop {
            if self.awaited.is_none()
                && let Some(first) = self.early.pop_front()
            {
                return Ok(Some(first));
            }
            let mut bytes = [0_u8; REPORT_BYTES];
            let (length, descriptor) = message::receive(self.socket.as_fd(), &mut bytes)
                .map_err(|errno| Error::from_errno(errno.raw_os_error(), STEP))?;
            if length == 0 {
                return Ok(self.early.pop_front());
            }
            let report = bytes.get(..length).and_then(Report::from_bytes);
            let report = report.ok_or_else(|| Error::new(ErrorKind::Io, STEP))?;
            match self.awaited {
                _ if report.kind == Kind::Process => {
                    self.awaited = None;
                    self.succeed(report.value)?;
                }
                Some(step) if report.step as usize > step => {
                    self.early.push_back((report, descriptor));
                }
                _ => return Ok(Some((report, descriptor))),
            }
        }
    }

    fn launched(self, mut warnings: Vec<String>, cgroup: Cgroup, by_socket: bool) -> Launched {
        // What the plan said comes first.
        warnings.extend(self.warnings);
        Launched {
            pid: self.pid,
            pidfd: self.pidfd,
            starter: by_socket.then_some(self.socket),
            terminal: self.terminal,
            warnings,
            cgroup,
        }
    }

    /// Sets the OOM score of a child that lost the right to lower it with the caller's user namespace.
    fn set_oom_score(&mut self, score: OomScore) -> Result<()> {
        let path = format!("/proc/{}/oom_score_adj", self.pid);
        match procfs::write(self.pid, "oom_score_adj", &score.value.to_string()) {
            Ok(()) => Ok(()),
            Err(error) => {
                let refused = error.kind() == std::io::ErrorKind::PermissionDenied;
                let error = Error::from_io(error, "set the OOM score").with_path(path);
                if refused && score.lenient {
                    self.warnings.push(error.to_string());
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    fn answer(&self) -> Result<()> {
        message::send(self.socket.as_fd(), GO, None).map_err(|errno| {
            Error::from_errno(errno.raw_os_error(), "answer the container's process")
        })
    }

    /// Another process took the place of the one we made, which ends.
    fn succeed(&mut self, pid: i32) -> Result<()> {
        let failed = |errno: Errno| {
            Error::from_errno(errno.raw_os_error(), "take over the container's process")
        };
        // It is our child, so its number cannot be given to another before we wait for it.
        let number = Pid::from_raw(pid).ok_or_else(|| failed(Errno::SRCH))?;
        let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(failed)?;
        let first = std::mem::replace(&mut self.pidfd, pidfd);
        self.pid = pid;
        reap(first.as_fd());
        self.first = Some(first);
        Ok(())
    }

    /// The child ended without a word: somebody killed it, or its memory ran out.
    fn silent_end(&self) -> Error {
        Error::new(ErrorKind::Io, "start the container").with_hint(
            "its process was killed before the program ran; a memory limit may be too low",
        )
    }

    /// Kills and reaps what was made.
    fn end(self) {
        // It may have ended by itself.
        rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL).ok();
        reap(self.pidfd.as_fd());
    }
}

/// Moves network devices into the namespace of a process, to which `socket` belongs.
fn give_devices(pid: i32, devices: &[NetDevice], socket: BorrowedFd<'_>) -> Result<()> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = std::fs::File::open(&path)
        .map_err(|error| Error::from_io(error, "open net namespace").with_path(path))?;
    devices
        .iter()
        .try_for_each(|device| netdevice::give(device, namespace.as_fd(), socket))
}

/// Sets the clocks of the time namespace that a process has made and not entered.
fn set_clocks(pid: i32, lines: &str) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    procfs::write(pid, "timens_offsets", lines).map_err(|error| {
        let path = format!("/proc/{pid}/timens_offsets");
        let range = error.raw_os_error() == Some(libc::ERANGE);
        let error = Error::from_io(error, "set the clocks").with_path(path);
        if range {
            error.with_hint("a clock must not be before zero")
        } else {
            error
        }
    })
}
