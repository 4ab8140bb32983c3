//! The interpreter: what the child does between `clone3` and `execve`.
//!
//! Everything here runs on a copy of the memory of a process that may have had other threads. So it makes system calls on
//! memory that was prepared before, and nothing else: **no allocation, no locks, no formatting, nothing that can panic**. Lists are
//! read with `get`, not with an index; strings are borrowed from the script; descriptors are `OwnedFd`s in a prepared table.

mod attributes;
mod copy;
mod devices;
mod identity;
mod masks;
mod mounts;
mod namespaces;
mod origin;
mod path;
mod program;
mod sources;
mod terminal;
use terminal::Look;

pub(super) use mounts::{attach, change_all};
pub(super) use namespaces::{become_root, join_cgroups};
pub(super) use origin::Origin;
pub(super) use path::{Wanted, ensure, open_with};
pub(super) use program::Image;

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::report::{At, Call, Failed, Kind, REPORT_BYTES, Report, TEXT_BYTES};
use crate::netdevice;
use crate::plan::{Script, Slot, Step, Text};
use crate::sys::clone::exit_group;
use crate::sys::exec::{StringArray, close, keep_only};
use crate::sys::{dispositions, keyring, loopback, message, process, schedule, seccomp};

/// The child, with everything it was given.
pub(crate) struct Child<'p> {
    pub(crate) script: &'p Script,
    /// Descriptors, by slot.
    pub(crate) slots: &'p mut [Option<OwnedFd>],
    /// The root file system, if the parent has mounted it.
    pub(crate) root: Option<BorrowedFd<'p>>,
    /// The `tasks` files of the cgroup's version 1 hierarchies.
    pub(crate) tasks: &'p [CString],
    pub(crate) socket: BorrowedFd<'p>,
    pub(crate) arguments: &'p StringArray<'p>,
    pub(crate) environment: &'p StringArray<'p>,
    pub(crate) origin: Origin,
    /// The lowest descriptor that the program does not inherit.
    pub(crate) first_free: u32,
    /// A created container waits for its start on the socket, and not on a FIFO.
    pub(crate) by_socket: bool,
    /// What we run from, which is not to be executed in the container.
    pub(crate) own: Option<Image>,
    pub(crate) progress: Progress,
}

/// Descriptors with numbers below this one are left open when they are done with: one call closes them all before the program is
/// executed. It is low enough for the lowest limit of open files that anybody sets.
const LEFT_OPEN: i32 = 60;

/// Done with a descriptor.
fn done(descriptor: OwnedFd) {
    if descriptor.as_raw_fd() < LEFT_OPEN {
        std::mem::forget(descriptor);
    }
}

/// What earlier steps leave behind for later ones.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Index of the step that is being done.
    step: u32,
    /// The program that was found.
    program: Option<Text>,
    /// Kinds of namespaces that were joined early.
    joined: u32,
    /// The working directory has been entered.
    in_workdir: bool,
    masks: masks::Masks,
    /// Whose directory is the current one.
    current: Option<Slot>,
    /// The terminal's slave side.
    terminal: Option<OwnedFd>,
    /// The FIFO on which a created container waits, where it is after [`Step::DropDescriptors`].
    fifo: Option<BorrowedFd<'static>>,
    /// The file system's own words about a failure.
    text: Option<[u8; TEXT_BYTES]>,
}

impl Child<'_> {
    /// Does all steps from the present one on. Does not return: the last step executes the program.
    pub(crate) fn run(&mut self) -> Infallible {
        while let Some(step) = self.script.steps.get(self.progress.step as usize).copied() {
            if let Err(failed) = self.perform(step) {
                self.fail(failed);
            }
            self.progress.step = self.progress.step.wrapping_add(1);
        }
        exit_group(1)
    }

    /// Tells the parent, and ends.
    fn fail(&mut self, failed: Failed) -> ! {
        let mut report = Report::new(Kind::Failed, self.progress.step);
        (report.call, report.errno) = (failed.call, failed.errno.raw_os_error());
        if let Some(text) = self.progress.text {
            report.text = text;
        }
        if failed.call == Call::Execve && self.waits() {
            // Whoever created us is gone; whoever started us listens to our standard error.
            self.complain(failed.errno);
        }
        // If even this fails, the parent sees that the socket was closed without a word.
        self.send(&report, None).ok();
        exit_group(1)
    }

    /// Tells the parent about something that is not worth failing for.
    fn warn(&self, call: Call, errno: Errno) {
        let mut report = Report::new(Kind::Warning, self.progress.step);
        (report.call, report.errno) = (call, errno.raw_os_error());
        // A parent that is gone needs no warning.
        self.send(&report, None).ok();
    }

    fn send(&self, report: &Report, descriptor: Option<BorrowedFd<'_>>) -> Result<(), Failed> {
        message::send(self.socket, &report.to_bytes(), descriptor).at(Call::Send)
    }

    /// Tells the parent, and waits for its answer.
    fn ask(&self, kind: Kind) -> Result<(), Failed> {
        self.ask_with(kind, None)
    }

    fn ask_with(&self, kind: Kind, descriptor: Option<BorrowedFd<'_>>) -> Result<(), Failed> {
        self.ask_about(&Report::new(kind, self.progress.step), descriptor)
    }

    fn ask_about(&self, report: &Report, descriptor: Option<BorrowedFd<'_>>) -> Result<(), Failed> {
        self.send(report, descriptor)?;
        let mut answer = [0_u8; REPORT_BYTES];
        match message::receive(self.socket, &mut answer).at(Call::Receive)? {
            // The parent is gone or gave up.
            (0, _) => Err(Failed {
                call: Call::Receive,
                errno: Errno::PIPE,
            }),
            _ => Ok(()),
        }
    }

    /// A string of the script.
    fn text(&self, text: Text) -> &CStr {
        self.script.arena.get(text)
    }

    /// A descriptor that an earlier step or the parent has put there.
    fn slot(&self, slot: Slot) -> Result<BorrowedFd<'_>, Failed> {
        let descriptor = self.slots.get(usize::from(slot.0)).and_then(Option::as_ref);
        // The root is the parent's, unless a step has mounted it.
        let root = self.root.filter(|_| slot == Slot::ROOT);
        descriptor
            .map(AsFd::as_fd)
            .or(root)
            .ok_or(Errno::BADF)
            .at(Call::Verify)
    }

    /// Takes a descriptor out of its slot.
    fn take(&mut self, slot: Slot) -> Result<OwnedFd, Failed> {
        self.slots
            .get_mut(usize::from(slot.0))
            .and_then(Option::take)
            .ok_or(Errno::BADF)
            .at(Call::Verify)
    }

    /// Puts a descriptor into a slot.
    fn put(&mut self, slot: Slot, descriptor: OwnedFd) {
        if let Some(place) = self.slots.get_mut(usize::from(slot.0)) {
            *place = Some(descriptor);
        }
        if self.progress.current == Some(slot) {
            self.progress.current = None;
        }
    }

    /// Makes a directory that is held the current one. Not where relative paths on the host are still to be opened.
    fn go_to(&mut self, slot: Slot) -> Result<bool, Failed> {
        let relative = |path: Text| !self.text(path).to_bytes().starts_with(b"/");
        if self.script.own.iter().any(|own| relative(own.path)) {
            return Ok(false);
        }
        if self.progress.current != Some(slot) {
            rustix::process::fchdir(self.slot(slot)?).at(Call::Chdir)?;
            self.progress.current = Some(slot);
        }
        Ok(true)
    }

    fn perform(&mut self, step: Step) -> Result<(), Failed> {
        match step {
            Step::ResetSignals => dispositions::reset(self.origin.ignored).at(Call::Signal),
            Step::ParentDeathSignal { signal } => self.parent_death_signal(signal),
            Step::JoinCgroup => join_cgroups(self.tasks),
            Step::Affinity { cpus } => self.affinity(cpus),
            Step::TimeNamespace { proc } => self.time_namespace(proc),
            Step::Scheduler(wanted) => schedule::set_scheduler(&wanted).at(Call::SetScheduler),
            Step::IoPriority { value } => schedule::set_io_priority(value).at(Call::SetIoPriority),
            Step::Personality { domain } => schedule::set_personality(domain).at(Call::Personality),
            Step::MemoryPolicy { mode, nodes } => self.memory_policy(mode, nodes),
            Step::AppArmor { value } => self.apparmor(value),
            Step::Selinux { label } => self.write_own_attribute(c"self/attr/exec", label),
            Step::Undumpable => process::set_dumpable(false).at(Call::Prctl),
            Step::Dumpable => process::set_dumpable(true).at(Call::Prctl),
            Step::JoinNamespace {
                kind, slot, early, ..
            } => self.join_namespace(kind, slot, early),
            Step::Enter { slot, flags } => self.enter_all(slot, flags),
            Step::Unshare { flags } => namespaces::unshare(flags),
            Step::AwaitMaps => self.ask(Kind::AwaitsMaps),
            Step::BecomeRoot => namespaces::become_root(),
            Step::EnterPidNamespace => self.enter_pid_namespace(),
            Step::NewSession => rustix::process::setsid().map(drop).at(Call::SetSession),
            Step::SessionKeyring { name } => self.session_keyring(name),
            Step::NetDevices => {
                let socket = netdevice::socket().at(Call::Socket)?;
                self.ask_with(Kind::AwaitsDevices, Some(socket.as_fd()))
            }
            Step::LoopbackUp => loopback::bring_up().map(done).at(Call::Ioctl),
            Step::HostName { name } => {
                rustix::system::sethostname(self.text(name).to_bytes()).at(Call::SetHostName)
            }
            Step::DomainName { name } => {
                rustix::system::setdomainname(self.text(name).to_bytes()).at(Call::SetDomainName)
            }
            Step::SlaveMounts { flag } => mounts::change_all(flag, true),
            Step::AttachRoot { at } => self.attach_root(at),
            Step::Hooks => self.ask(Kind::AwaitsHooks),
            Step::Open { index } => self.open_own(index),
            Step::Mount { index } => self.mount(index),
            Step::OpenDev => self.open_dev(),
            Step::Device { index } => self.device(index),
            Step::DeviceLink { target, name } => self.device_link(target, name),
            Step::Terminal {
                rows,
                columns,
                uid,
                plain,
            } => self.terminal(Look {
                rows,
                columns,
                uid,
                plain,
            }),
            Step::PeerTerminal {
                rows,
                columns,
                uid,
                plain,
            } => self.peer_terminal(Look {
                rows,
                columns,
                uid,
                plain,
            }),
            Step::OpenProc => self.open_proc(),
            Step::Sysctl { path, value } => self.sysctl(path, value),
            Step::OomScore { value, lenient } => self.oom_score(value, lenient),
            Step::MakeWorkdir { path } => self.make_workdir(path),
            Step::ReadOnlyMount {
                slot, recursive, ..
            } => mounts::make_read_only(self.slot(slot)?, recursive),
            Step::ReadOnlyPath { path, known } => self.read_only_path(path, known),
            Step::Mask { path, known } => self.mask(path, known),
            Step::ReadOnlyRoot => mounts::make_read_only(self.slot(Slot::ROOT)?, false),
            Step::Pivot => self.pivot(),
            Step::Hide { path } => mounts::hide(self.text(path)),
            Step::ChangeRoot { elsewhere } => self.change_root(elsewhere),
            Step::RootPropagation { flag, recursive } => mounts::change_all(flag, recursive),
            Step::Stdio => self.stdio(),
            Step::DropDescriptors => self.drop_descriptors(),
            Step::Limit { number, soft, hard } => self.limit(number, process::Limit { soft, hard }),
            Step::Umask { mask } => {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
                Ok(())
            }
            Step::Chdir { path } => self.chdir(path),
            Step::DropBounding { keep } => self.drop_bounding(keep),
            Step::Filter => self.filter(),
            Step::NoNewPrivileges => rustix::thread::set_no_new_privs(true).at(Call::Prctl),
            Step::Identity { uid, gid, groups } => self.identity(uid, gid, groups),
            Step::Capabilities(sets) => self.capabilities(sets),
            Step::Workdir { path } => self.workdir(path),
            Step::FindProgram { candidates } => self.find_program(candidates),
            Step::UnblockSignals => dispositions::unblock_all().at(Call::Signal),
            Step::Ready => self.ready(),
            Step::AwaitStart => self.await_start(),
            Step::Execute => self.execute(),
        }
    }

    /// Loads the filter. Its listener is fetched by the parent, who gives it away; the program never has it.
    ///
    /// Any call from here on may wait for the listener's answer, `sendmsg` too, which could carry a descriptor: only `write` is never asked
    /// about, since a profile that does so is refused.
    fn filter(&self) -> Result<(), Failed> {
        let (program, flags) = (&self.script.filter, self.script.filter_flags);
        if self.script.listener.is_none() {
            return seccomp::load(program, flags).at(Call::Seccomp);
        }
        let listener = seccomp::load_with_listener(program, flags).at(Call::Seccomp)?;
        let mut report = Report::new(Kind::AwaitsListener, self.progress.step);
        report.value = listener.as_raw_fd();
        rustix::io::write(self.socket, &report.to_bytes()).at(Call::Write)?;
        let mut answer = [0_u8; REPORT_BYTES];
        match rustix::io::read(self.socket, &mut answer[..]).at(Call::Read)? {
            0 => Err(Errno::PIPE).at(Call::Read),
            _ => Ok(()),
        }
    }

    /// Keyrings may be forbidden by a filter or a quota, and nothing depends on them.
    fn session_keyring(&self, name: Text) -> Result<(), Failed> {
        match keyring::join_session_keyring(self.text(name)) {
            Err(
                errno @ (Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::DQUOT | Errno::NOMEM),
            ) => {
                self.warn(Call::Keyctl, errno);
                Ok(())
            }
            other => other.at(Call::Keyctl),
        }
    }

    /// Only a created container waits; one that runs at once has no FIFO.
    fn waits(&self) -> bool {
        self.by_socket || self.progress.fifo.is_some()
    }

    fn ready(&self) -> Result<(), Failed> {
        if self.by_socket {
            return self.ask(Kind::Ready);
        }
        if self.waits() {
            // Who is stopped before the start ends, although it is a first process. Only a filter can refuse that: then it takes a SIGKILL.
            dispositions::end_when_asked().ok();
            self.send(&Report::new(Kind::Ready, self.progress.step), None)
        } else {
            Ok(())
        }
    }

    /// Closes everything but the socket, the FIFO, and what the program inherits.
    ///
    /// `execve` would close it too, but only after it has looked the program up, which may lead through `/proc/self/fd` (CVE-2024-21626).
    /// The slots must not be used afterwards.
    fn drop_descriptors(&mut self) -> Result<(), Failed> {
        let fifo = self.slot(Slot::FIFO).ok();
        let kept = keep_only(self.socket, fifo, self.first_free).at(Call::CloseRange)?;
        (self.socket, self.progress.fifo) = kept;
        Ok(())
    }

    /// Waits for a byte. The FIFO is open for both directions, so reading never sees an end.
    ///
    /// The socket is closed first: nobody listens any more, and the caller must not be held by a container that may wait for days.
    fn await_start(&self) -> Result<(), Failed> {
        let Some(fifo) = self.progress.fifo else {
            return Ok(());
        };
        close(self.socket);
        let mut byte = [0_u8; 1];
        loop {
            match rustix::io::read(fifo, &mut byte[..]) {
                Ok(1) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).at(Call::Read),
            }
        }
    }
}
