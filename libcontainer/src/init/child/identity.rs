//! Who the process is and what it may do.

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::super::report::{At, Call, Failed};
use super::path;
use super::{Child, done};
use crate::plan::{CapabilityStep, Slot, Span, Text};
use crate::procfs::Credentials;
use crate::sys::process;

/// Capabilities have numbers up to this one at most.
const CAPABILITIES: u8 = 64;

impl Child<'_> {
    /// Takes everything but `keep` out of the bounding set: what is gone can never come back. The kernel takes them one at a time.
    pub(super) fn drop_bounding(&self, keep: u64) -> Result<(), Failed> {
        let credentials = self.origin.credentials.as_ref();
        let excess = credentials.map_or(u64::MAX, |known| known.bounding) & !keep;
        for number in (0..CAPABILITIES).filter(|number| excess & (1 << number) != 0) {
            match process::drop_from_bounding_set(number) {
                // The kernel knows no more.
                Err(Errno::INVAL) => break,
                other => other.at(Call::Prctl)?,
            }
        }
        Ok(())
    }

    /// Sets a limit; one above what we may set is cut down to that, because a container with less is better than none.
    pub(super) fn limit(&self, number: u32, wanted: process::Limit) -> Result<(), Failed> {
        match process::set_limit(number, wanted) {
            Err(Errno::PERM) => {
                let ours = process::limit(number).at(Call::Rlimit)?;
                let hard = wanted.hard.min(ours.hard);
                self.warn(Call::Rlimit, Errno::PERM);
                process::set_limit(
                    number,
                    process::Limit {
                        soft: wanted.soft.min(hard),
                        hard,
                    },
                )
                .at(Call::Rlimit)
            }
            other => other.at(Call::Rlimit),
        }
    }

    pub(super) fn identity(&self, uid: u32, gid: u32, groups: Option<Span>) -> Result<(), Failed> {
        let known = self.origin.credentials.as_ref();
        if let Some(groups) = groups.map(|groups| groups.of(&self.script.groups))
            && known.is_none_or(|known| known.groups != groups)
        {
            self.groups(groups)?;
        }
        let set = |ids: fn(&Credentials) -> &[u32; 4], wanted: u32| {
            known.is_some_and(|known| ids(known).iter().all(|id| *id == wanted))
        };
        if !set(|known| &known.gids, gid) {
            let gid = Gid::from_raw(gid);
            rustix::thread::set_thread_res_gid(gid, gid, gid).at(Call::SetGid)?;
        }
        if set(|known| &known.uids, uid) {
            return Ok(());
        }
        let uid = Uid::from_raw(uid);
        // Or leaving uid 0 would take the capabilities along that the next step is about.
        rustix::thread::set_keep_capabilities(true).at(Call::Prctl)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).at(Call::SetUid)
    }

    fn groups(&self, groups: &[u32]) -> Result<(), Failed> {
        match process::set_groups(groups) {
            // A user namespace of a single id denies it. Groups of the caller are nobody's there, but were not dropped.
            Err(Errno::PERM) => {
                if !groups.is_empty() {
                    self.warn(Call::SetGroups, Errno::PERM);
                }
                Ok(())
            }
            other => other.at(Call::SetGroups),
        }
    }

    /// Sets the capability sets, as far as we have the capabilities ourselves.
    pub(super) fn capabilities(&self, sets: CapabilityStep) -> Result<(), Failed> {
        let held = match &self.origin.credentials {
            Some(known) => known.permitted,
            None => {
                let held = rustix::thread::capabilities(None).at(Call::Capset)?;
                held.permitted.bits()
            }
        };
        if sets.permitted & !held != 0 {
            self.warn(Call::Capset, Errno::PERM);
        }
        let permitted = sets.permitted & held;
        let (effective, inheritable) = (sets.effective & permitted, sets.inheritable & held);
        process::capset(effective, permitted, inheritable).at(Call::Capset)?;
        let ambient = sets.ambient & permitted & inheritable;
        for number in (0..CAPABILITIES).filter(|number| ambient & (1 << number) != 0) {
            process::raise_ambient(number).at(Call::Prctl)?;
        }
        Ok(())
    }

    /// Writes a sysctl through the procfs that is ours, crossing no mount in it.
    pub(super) fn sysctl(&self, path: Text, value: Text) -> Result<(), Failed> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        self.write_proc(self.text(path), self.text(value).to_bytes(), resolve)
    }

    /// Lowering the score needs a privilege, which a rootless caller is not expected to have: the process is a likelier victim, and runs.
    pub(super) fn oom_score(&self, value: Text, lenient: bool) -> Result<(), Failed> {
        // `self` is a symlink.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
        match self.write_proc(c"self/oom_score_adj", self.text(value).to_bytes(), resolve) {
            Err(Failed {
                call,
                errno: errno @ (Errno::ACCESS | Errno::PERM),
            }) if lenient => {
                self.warn(call, errno);
                Ok(())
            }
            other => other,
        }
    }

    pub(super) fn write_proc(
        &self,
        path: &std::ffi::CStr,
        value: &[u8],
        resolve: ResolveFlags,
    ) -> Result<(), Failed> {
        let file = path::open_with(self.slot(Slot::PROC)?, path, OFlags::WRONLY, resolve)
            .at(Call::Open)?;
        rustix::io::write(&file, value).at(Call::Write)?;
        done(file);
        Ok(())
    }

    /// Makes the working directory if it is missing, as docker does. Where that is impossible, entering it will say so.
    pub(super) fn make_workdir(&self, path: Text) -> Result<(), Failed> {
        let (root, path) = (self.slot(Slot::ROOT)?, self.text(path));
        if path.to_bytes() != b"/"
            && let Ok(made) =
                path::ensure(root, path, path::Wanted::Directory, ResolveFlags::empty())
        {
            done(made);
        }
        Ok(())
    }

    /// Enters the working directory as root. One that root may not enter is tried again as the user.
    pub(super) fn chdir(&mut self, path: Text) -> Result<(), Failed> {
        match self.enter(path) {
            Err(Failed {
                errno: Errno::ACCESS,
                ..
            }) => Ok(()),
            Err(failed) => Err(failed),
            Ok(()) => {
                self.progress.in_workdir = true;
                in_root()
            }
        }
    }

    pub(super) fn workdir(&mut self, path: Text) -> Result<(), Failed> {
        if self.progress.in_workdir {
            // It was looked at before there was a filter, which may forbid looking.
            return Ok(());
        }
        self.enter(path)?;
        in_root()
    }

    fn enter(&self, path: Text) -> Result<(), Failed> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Magic links such as /proc/self/fd/7 lead out of the root.
        let resolve = ResolveFlags::NO_MAGICLINKS;
        let directory = crate::rootfs::retry(|| {
            rustix::fs::openat2(
                rustix::fs::CWD,
                self.text(path),
                flags,
                Mode::empty(),
                resolve,
            )
        })
        .at(Call::Open)?;
        rustix::process::fchdir(&directory).at(Call::Chdir)?;
        done(directory);
        Ok(())
    }
}

/// Refuses a working directory outside the container's root, which a descriptor of the host could lead to.
fn in_root() -> Result<(), Failed> {
    if crate::sys::exec::current_directory_is_in_root().at(Call::Chdir)? {
        Ok(())
    } else {
        Err(Errno::XDEV).at(Call::Verify)
    }
}
