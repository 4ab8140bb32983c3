//! What else a process has: processors, memory, security labels.

use std::ffi::CStr;

use rustix::fs::ResolveFlags;
use rustix::io::Errno;
use rustix::thread::CpuSet;

use super::super::report::{At, Call, Failed};
use super::Child;
use crate::plan::Text;
use crate::sys::schedule;

impl Child<'_> {
    /// Runs on these processors, or on all that the cgroup allows: a container does not inherit the caller's choice.
    pub(super) fn affinity(&self, cpus: Option<u32>) -> Result<(), Failed> {
        let chosen = cpus.and_then(|index| self.script.cpus.get(index as usize));
        if let Some(chosen) = chosen {
            return rustix::thread::sched_setaffinity(None, chosen).at(Call::SetAffinity);
        }
        let mut all = CpuSet::new();
        for number in 0..CpuSet::MAX_CPU {
            all.set(number);
        }
        match rustix::thread::sched_setaffinity(None, &all) {
            // Forbidden by a filter around us; then the caller's choice it is.
            Err(Errno::PERM | Errno::NOSYS | Errno::INVAL) => Ok(()),
            other => other.at(Call::SetAffinity),
        }
    }

    pub(super) fn memory_policy(&self, mode: u32, nodes: Option<u32>) -> Result<(), Failed> {
        let nodes = nodes.and_then(|index| self.script.nodes.get(index as usize));
        schedule::set_memory_policy(mode, nodes).at(Call::SetMemoryPolicy)
    }

    /// The profile that comes into force with `execve`. Older kernels have the file for all security modules alike.
    pub(super) fn apparmor(&self, value: Text) -> Result<(), Failed> {
        match self.write_own_attribute(c"self/attr/apparmor/exec", value) {
            Err(Failed {
                call: Call::Open,
                errno: Errno::NOENT,
            }) => self.write_own_attribute(c"self/attr/exec", value),
            other => other,
        }
    }

    /// Writes an attribute of this process through the procfs that is ours, crossing no mount in it.
    pub(super) fn write_own_attribute(&self, file: &CStr, value: Text) -> Result<(), Failed> {
        // `self` is a symlink.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
        self.write_proc(file, self.text(value).to_bytes(), resolve)
    }
}
