//! From the child's report (step, call, error number) to an error a person can act on.

use rustix::io::Errno;

use super::report::{Call, Report};
use crate::error::{Error, ErrorKind};
use crate::plan::{Script, Step};

/// The error for a report.
pub(super) fn explain(script: &Script, report: &Report) -> Error {
    let Some(step) = script.steps.get(report.step as usize).copied() else {
        return Error::from_errno(report.errno, "start the container");
    };
    let errno = Errno::from_raw_os_error(report.errno);
    let mut error = Error::from_errno(report.errno, step.name());
    if let Some(path) = step.path(script) {
        error = error.with_path(script.arena.get(path).to_string_lossy().into_owned());
    }
    if let Some(kind) = kind(step, errno) {
        error = error.with_kind(kind);
    }
    match report
        .text()
        .or_else(|| hint(step, report.call, errno).map(str::to_owned))
    {
        Some(hint) => error.with_hint(hint),
        None if report.call == Call::Unknown => error,
        None => error.with_hint(format!("the call was {}", report.call.name())),
    }
}

fn kind(step: Step, errno: Errno) -> Option<ErrorKind> {
    match step {
        Step::FindProgram { .. } if matches!(errno, Errno::ACCESS | Errno::PERM) => {
            Some(ErrorKind::ExecNotPermitted)
        }
        Step::FindProgram { .. } => Some(ErrorKind::ExecNotFound),
        Step::Execute if matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            Some(ErrorKind::ExecNotFound)
        }
        Step::Execute => Some(ErrorKind::ExecNotPermitted),
        Step::Identity { .. } if errno == Errno::INVAL => Some(ErrorKind::InvalidSpec {
            field: "process.user".into(),
        }),
        Step::JoinNamespace { .. } if errno == Errno::INVAL => Some(ErrorKind::InvalidSpec {
            field: "linux.namespaces".into(),
        }),
        Step::Scheduler(_) if errno == Errno::INVAL => Some(ErrorKind::InvalidSpec {
            field: "process.scheduler".into(),
        }),
        Step::MemoryPolicy { .. } if errno == Errno::INVAL => Some(ErrorKind::InvalidSpec {
            field: "linux.memoryPolicy".into(),
        }),
        Step::Chdir { .. } | Step::Workdir { .. }
            if matches!(errno, Errno::NOTDIR | Errno::XDEV | Errno::LOOP) =>
        {
            Some(ErrorKind::InvalidSpec {
                field: "process.cwd".into(),
            })
        }
        _ => None,
    }
}

fn hint(step: Step, call: Call, errno: Errno) -> Option<&'static str> {
    match step {
        Step::FindProgram { .. } | Step::Execute if call == Call::Verify => {
            Some("it leads to the runtime's own program, which no container may execute")
        }
        Step::FindProgram { .. } => match errno {
            Errno::NOENT => Some("a name without / is looked for in the directories of PATH"),
            Errno::ACCESS => Some(
                "it is no regular file, or its mode does not let the container's user execute it",
            ),
            _ => None,
        },
        Step::Execute => match errno {
            Errno::NOENT => Some("the file exists, but its interpreter or dynamic loader does not"),
            Errno::NOEXEC => Some(
                "it is no program for this machine: another architecture, or a script without a #! line",
            ),
            Errno::TOOBIG => Some("arguments and environment are longer than the kernel takes"),
            Errno::PERM => Some("the system call filter may forbid execve"),
            _ => None,
        },
        Step::Open { .. } => match (call, errno) {
            (_, Errno::NOENT) => Some("it does not exist"),
            (Call::Verify, _) => Some("the host has another device, or none, under this name"),
            (Call::OpenTree, Errno::INVAL) => {
                Some("it holds mounts that are locked: a recursive bind is needed")
            }
            (Call::Fsconfig, Errno::INVAL | Errno::OPNOTSUPP) => Some(
                "a layer in memory needs Linux 6.6 without root: make the root read-only, or keep its changes",
            ),
            _ => None,
        },
        Step::Mount { .. } => mount_hint(call, errno),
        Step::Device { .. } => match (call, errno) {
            (Call::Verify, _) => Some("the image has something else under this name"),
            (Call::Mknod, Errno::PERM) => Some("CAP_MKNOD is missing"),
            _ => mount_hint(call, errno),
        },
        Step::OpenDev if errno == Errno::LOOP => {
            Some("/dev of the image is a symlink; it must be a directory")
        }
        Step::Identity { .. } if errno == Errno::INVAL => {
            Some("this user or group id does not exist in the container's user namespace")
        }
        Step::Filter if errno == Errno::ACCESS => {
            Some("a filter needs noNewPrivileges, or CAP_SYS_ADMIN while it is loaded")
        }
        Step::Filter if errno == Errno::INVAL => {
            Some("the kernel does not accept the filter or one of its flags")
        }
        Step::Chdir { .. } | Step::Workdir { .. } => match errno {
            Errno::XDEV | Errno::LOOP => Some("it leads out of the container's root"),
            Errno::NOENT => Some("it does not exist, and cannot be made in a read-only root"),
            _ => None,
        },
        Step::Unshare { .. } | Step::EnterPidNamespace if errno == Errno::NOSPC => {
            Some("the limit of namespaces is reached (/proc/sys/user)")
        }
        Step::JoinNamespace { .. } if errno == Errno::INVAL => {
            Some("the file is no namespace of this kind")
        }
        Step::JoinNamespace { .. } if errno == Errno::PERM => {
            Some("CAP_SYS_ADMIN is needed in the namespace's owner")
        }
        Step::TimeNamespace { .. } => match (call, errno) {
            (Call::Unshare, Errno::INVAL) => Some("the kernel has no time namespaces"),
            _ => None,
        },
        Step::Affinity { .. } if errno == Errno::INVAL => {
            Some("none of these processors exists and is in the container's cpuset")
        }
        Step::Scheduler(_) => match errno {
            Errno::PERM => Some(
                "CAP_SYS_NICE is missing, the cgroup has no real-time budget, or the policy is SCHED_DEADLINE, which takes all processors: that process scheduler can't be used together with AllowedCPUs (linux.resources.cpu.cpus)",
            ),
            Errno::INVAL => Some("the values do not fit the policy"),
            Errno::BUSY => Some("there is no processor time left for such a deadline"),
            _ => None,
        },
        Step::IoPriority { .. } if errno == Errno::PERM => {
            Some("the real-time class needs CAP_SYS_NICE")
        }
        Step::MemoryPolicy { .. } => match errno {
            Errno::NOSYS => Some("the kernel knows no memory nodes"),
            Errno::INVAL => Some("a node does not exist, or mode and nodes do not fit each other"),
            _ => None,
        },
        Step::AppArmor { .. } if errno == Errno::NOENT => Some("the profile is not loaded"),
        Step::OomScore { .. } if matches!(errno, Errno::ACCESS | Errno::PERM) => {
            Some("lowering it needs CAP_SYS_RESOURCE")
        }
        Step::Sysctl { .. } if errno == Errno::NOENT => {
            Some("the kernel has no such setting in this namespace")
        }
        Step::AttachRoot { .. } | Step::Pivot if errno == Errno::INVAL => Some(
            "the caller's root is no mount point (a chroot?), or the prepared root has been used already",
        ),
        Step::Limit { .. } => Some("the soft limit must not be above the hard one"),
        _ => None,
    }
}

fn mount_hint(call: Call, errno: Errno) -> Option<&'static str> {
    match (call, errno) {
        (Call::Verify, Errno::PERM) => {
            Some("nothing may be mounted inside /proc, or through a symlink into it")
        }
        (Call::Open, Errno::LOOP) => Some(
            "a part of the mount point is a symlink: this file system must be mounted on ordinary directory",
        ),
        (Call::Mkdir | Call::Create, Errno::ROFS) => {
            Some("the mount point does not exist, and cannot be made in a read-only root")
        }
        (Call::MoveMount | Call::Open, Errno::NOTDIR) => {
            Some("one of source and mount point is a directory, and the other is none")
        }
        (Call::MountSetattr, Errno::PERM) => {
            Some("in a user namespace an attribute that the host has set cannot be cleared")
        }
        (Call::Getdents, Errno::NAMETOOLONG) => Some("the directory is too deep to be copied"),
        (Call::Fsopen, Errno::NODEV) => Some("the kernel does not know this type of file system"),
        (Call::Fsconfig, Errno::PERM) => Some(
            "here it may not be mounted: in a user namespace this needs a namespace of its own, and a /proc or /sys with nothing hidden",
        ),
        (Call::Fsconfig, Errno::INVAL) => Some("the file system does not take one of the options"),
        _ => None,
    }
}
