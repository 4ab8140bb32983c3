//! What the child tells the parent: fixed structures, made without a heap.

use rustix::io::Errno;

/// The call within a step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Call {
    Unknown,
    Access,
    Capset,
    Chdir,
    Chown,
    Chroot,
    Clone,
    CloseRange,
    Create,
    Execve,
    Fsconfig,
    Fsmount,
    Fsopen,
    Ioctl,
    Keyctl,
    Mkdir,
    Mknod,
    MountSetattr,
    MoveMount,
    Open,
    OpenTree,
    PivotRoot,
    Prctl,
    Read,
    Receive,
    Rlimit,
    Seccomp,
    Send,
    SetDomainName,
    SetGid,
    SetGroups,
    SetHostName,
    SetNamespace,
    SetSession,
    SetUid,
    Signal,
    Stat,
    Symlink,
    Unmount,
    Unshare,
    Verify,
    Write,
    Sendfile,
    Readlink,
    Getdents,
    Chmod,
    SetAffinity,
    SetScheduler,
    SetIoPriority,
    Personality,
    SetMemoryPolicy,
    Socket,
}

impl Call {
    const ALL: [(Self, &'static str); 52] = [
        (Self::Unknown, "unknown call"),
        (Self::Access, "access"),
        (Self::Capset, "capset"),
        (Self::Chdir, "chdir"),
        (Self::Chown, "chown"),
        (Self::Chroot, "chroot"),
        (Self::Clone, "clone3"),
        (Self::CloseRange, "close_range"),
        (Self::Create, "create"),
        (Self::Execve, "execve"),
        (Self::Fsconfig, "fsconfig"),
        (Self::Fsmount, "fsmount"),
        (Self::Fsopen, "fsopen"),
        (Self::Ioctl, "ioctl"),
        (Self::Keyctl, "keyctl"),
        (Self::Mkdir, "mkdir"),
        (Self::Mknod, "mknod"),
        (Self::MountSetattr, "mount_setattr"),
        (Self::MoveMount, "move_mount"),
        (Self::Open, "openat2"),
        (Self::OpenTree, "open_tree"),
        (Self::PivotRoot, "pivot_root"),
        (Self::Prctl, "prctl"),
        (Self::Read, "read"),
        (Self::Receive, "recvmsg"),
        (Self::Rlimit, "prlimit"),
        (Self::Seccomp, "seccomp"),
        (Self::Send, "sendmsg"),
        (Self::SetDomainName, "setdomainname"),
        (Self::SetGid, "setresgid"),
        (Self::SetGroups, "setgroups"),
        (Self::SetHostName, "sethostname"),
        (Self::SetNamespace, "setns"),
        (Self::SetSession, "setsid"),
        (Self::SetUid, "setresuid"),
        (Self::Signal, "rt_sigaction"),
        (Self::Stat, "stat"),
        (Self::Symlink, "symlink"),
        (Self::Unmount, "umount"),
        (Self::Unshare, "unshare"),
        (Self::Verify, "check what is there"),
        (Self::Write, "write"),
        (Self::Sendfile, "sendfile"),
        (Self::Readlink, "readlink"),
        (Self::Getdents, "getdents64"),
        (Self::Chmod, "chmod"),
        (Self::SetAffinity, "sched_setaffinity"),
        (Self::SetScheduler, "sched_setattr"),
        (Self::SetIoPriority, "ioprio_set"),
        (Self::Personality, "personality"),
        (Self::SetMemoryPolicy, "set_mempolicy"),
        (Self::Socket, "socket"),
    ];

    /// The call's name.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(call, _)| *call == self)
            .map_or("unknown call", |(_, name)| name)
    }

    fn from_number(number: u32) -> Self {
        Self::ALL
            .iter()
            .map(|(call, _)| *call)
            .find(|call| *call as u32 == number)
            .unwrap_or(Self::Unknown)
    }
}

/// A failed call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    pub(crate) call: Call,
    pub(crate) errno: Errno,
}

/// Adds the call to its error number.
pub(crate) trait At<T> {
    fn at(self, call: Call) -> Result<T, Failed>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, call: Call) -> Result<T, Failed> {
        self.map_err(|errno| Failed { call, errno })
    }
}

/// What a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// The step failed; the child is gone.
    Failed = 1,
    /// The step could not be done as asked, and the child goes on.
    Warning = 2,
    /// The child waits until its id maps are written.
    AwaitsMaps = 3,
    /// The child waits until the hooks have run.
    AwaitsHooks = 4,
    /// The container's first process is another one: its number is in `value`.
    Process = 5,
    /// The terminal's master comes with the message.
    Terminal = 6,
    /// Everything is done but the start.
    Ready = 7,
    /// The child waits until the clocks of its time namespace are set.
    AwaitsClocks = 8,
    /// The child waits until the network devices are in its namespace, to which the socket that comes with the message belongs.
    AwaitsDevices = 9,
    /// The child waits until the listener of its filter, the descriptor `value`, has been given away.
    AwaitsListener = 10,
    /// The child waits until the ids of a tree, which comes with the message, are mapped; `value` is the index of the map.
    AwaitsTreeMap = 11,
}

/// Longest message of a file system that is passed on.
pub(crate) const TEXT_BYTES: usize = 160;

/// A report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) kind: Kind,
    /// Index of the step.
    pub(crate) step: u32,
    pub(crate) call: Call,
    pub(crate) errno: i32,
    pub(crate) value: i32,
    /// The file system's own words, padded with zeros.
    pub(crate) text: [u8; TEXT_BYTES],
}

/// Bytes of a report on the wire.
pub(crate) const REPORT_BYTES: usize = 5 * 4 + TEXT_BYTES;

impl Report {
    pub(crate) fn new(kind: Kind, step: u32) -> Self {
        Self {
            kind,
            step,
            call: Call::Unknown,
            errno: 0,
            value: 0,
            text: [0; TEXT_BYTES],
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; REPORT_BYTES] {
        let words = [
            self.kind as u32,
            self.step,
            self.call as u32,
            self.errno as u32,
            self.value as u32,
        ];
        let mut bytes = [0; REPORT_BYTES];
        let (head, tail) = bytes.split_at_mut(20);
        for (place, word) in head.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        tail.copy_from_slice(&self.text);
        bytes
    }

    /// Reads a report; `None` if the bytes are none.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |index: usize| {
            bytes
                .get(index * 4..index * 4 + 4)
                .and_then(|four| four.try_into().ok())
                .map(u32::from_ne_bytes)
        };
        let kinds = [
            Kind::Failed,
            Kind::Warning,
            Kind::AwaitsMaps,
            Kind::AwaitsHooks,
            Kind::Process,
            Kind::Terminal,
            Kind::Ready,
            Kind::AwaitsClocks,
            Kind::AwaitsDevices,
            Kind::AwaitsListener,
            Kind::AwaitsTreeMap,
        ];
        let number = word(0)?;
        Some(Self {
            kind: kinds.into_iter().find(|kind| *kind as u32 == number)?,
            step: word(1)?,
            call: Call::from_number(word(2)?),
            errno: word(3)? as i32,
            value: word(4)? as i32,
            text: bytes.get(20..)?.try_into().ok()?,
        })
    }

    /// The file system's words.
    pub(crate) fn text(&self) -> Option<String> {
        let end = self
            .text
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.text.len());
        let text = String::from_utf8_lossy(self.text.get(..end)?)
            .trim()
            .to_owned();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_wire() {
        let mut report = Report::new(Kind::Failed, 7);
        (report.call, report.errno, report.value) = (Call::MoveMount, 22, -3);
        report.text[..3].copy_from_slice(b"abc");
        let read = Report::from_bytes(&report.to_bytes()).unwrap();
        assert_eq!(
            (read.kind, read.step, read.call),
            (Kind::Failed, 7, Call::MoveMount)
        );
        assert_eq!(
            (read.errno, read.value, read.text().as_deref()),
            (22, -3, Some("abc"))
        );
        assert!(Report::from_bytes(&[0; 10]).is_none());
        assert!(Report::from_bytes(&[9; REPORT_BYTES]).is_none());
    }

    #[test]
    fn every_call_has_a_name_of_its_own() {
        for (index, (call, name)) in Call::ALL.iter().enumerate() {
            assert_eq!(*call as usize, index, "{name}");
        }
    }
}
