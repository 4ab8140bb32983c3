//! Entering cgroups and namespaces.

use std::ffi::CString;
use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};

use super::super::report::{At, Call, Failed, Kind, Report};
use super::{Child, done};
use crate::namespace;
use crate::plan::Slot;
use crate::sys::clone::{CloneOptions, clone3, exit_group};
use crate::sys::{process, unshare as sys};

/// Makes new namespaces; we have no threads that could share the old ones.
pub(super) fn unshare(flags: u32) -> Result<(), Failed> {
    sys::unshare(flags).at(Call::Unshare)
}

/// Becomes uid 0 and gid 0 of the user namespace: what is made from now on belongs to its root.
pub(in crate::init) fn become_root() -> Result<(), Failed> {
    // Where `setgroups` is denied the groups of the caller stay; the step that sets the user says so if it matters.
    match process::set_groups(&[]) {
        Err(Errno::PERM) => {}
        other => other.at(Call::SetGroups)?,
    }
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).at(Call::SetGid)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).at(Call::SetUid)
}

/// Version 1: a thread that writes 0 moves itself, without waiting for other processors.
pub(in crate::init) fn join_cgroups(tasks: &[CString]) -> Result<(), Failed> {
    for tasks in tasks {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let tasks = rustix::fs::openat(CWD, tasks, flags, Mode::empty()).at(Call::Create)?;
        rustix::io::write(&tasks, b"0").at(Call::Write)?;
        done(tasks);
    }
    Ok(())
}

impl Child<'_> {
    /// Joins a namespace; with `early` one that the caller's rights do not suffice for is left for later.
    pub(super) fn join_namespace(
        &mut self,
        kind: namespace::Kind,
        slot: Slot,
        early: bool,
    ) -> Result<(), Failed> {
        if self.progress.joined & kind.flag() != 0 {
            return Ok(());
        }
        let wanted = match kind {
            namespace::Kind::User => LinkNameSpaceType::User,
            namespace::Kind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
            namespace::Kind::Ipc => LinkNameSpaceType::InterProcessCommunication,
            namespace::Kind::Network => LinkNameSpaceType::Network,
            namespace::Kind::Cgroup => LinkNameSpaceType::ControlGroup,
            namespace::Kind::Time => LinkNameSpaceType::Time,
            namespace::Kind::Pid => LinkNameSpaceType::ProcessID,
            namespace::Kind::Mount => LinkNameSpaceType::Mount,
        };
        match rustix::thread::move_into_link_name_space(self.slot(slot)?, Some(wanted)) {
            Err(Errno::PERM) if early => return Ok(()),
            other => other.at(Call::SetNamespace)?,
        }
        if early {
            self.progress.joined |= kind.flag();
        }
        Ok(())
    }

    /// Makes a time namespace, has the parent set its clocks while nobody is in it, and enters it.
    ///
    /// The parent does it because root of a new user namespace may not write files of its own in the procfs of the host.
    pub(super) fn time_namespace(&self, proc: Slot) -> Result<(), Failed> {
        sys::unshare(namespace::Kind::Time.flag()).at(Call::Unshare)?;
        self.ask(Kind::AwaitsClocks)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        // `self` means us in any procfs.
        let path = c"self/ns/time_for_children";
        let namespace =
            rustix::fs::openat(self.slot(proc)?, path, flags, Mode::empty()).at(Call::Open)?;
        let kind = Some(LinkNameSpaceType::Time);
        rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).at(Call::SetNamespace)
    }

    /// All at once: the kernel takes them in the right order, or none of them.
    pub(super) fn enter_all(&self, slot: Slot, flags: u32) -> Result<(), Failed> {
        rustix::thread::move_into_thread_name_spaces(
            self.slot(slot)?,
            ThreadNameSpaceType::from_bits_retain(flags),
        )
        .at(Call::SetNamespace)
    }

    /// A pid namespace takes in only children, so a child goes on in our place. It is a sibling of ours, and so the caller's child.
    pub(super) fn enter_pid_namespace(&mut self) -> Result<(), Failed> {
        let next = self.progress.step.wrapping_add(1);
        let cloned = clone3(
            &CloneOptions {
                sibling: true,
                ..CloneOptions::default()
            },
            &mut || {
                self.progress.step = next;
                self.run()
            },
        )
        .at(Call::Clone)?;
        let mut report = Report::new(Kind::Process, self.progress.step);
        report.value = cloned.pid;
        self.send(&report, None)?;
        exit_group(0)
    }

    /// Asks the kernel for a signal when the caller's thread ends, unless that has happened already.
    pub(super) fn parent_death_signal(&self, signal: i32) -> Result<(), Failed> {
        process::set_parent_death_signal(signal).at(Call::Prctl)?;
        let mut byte = [0_u8; 1];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recv(self.socket, &mut byte[..], flags) {
            Ok((_, 0)) => Err(Errno::PIPE).at(Call::Receive),
            _ => Ok(()),
        }
    }
}
