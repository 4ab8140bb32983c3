//! Names in the container's own procfs and sysfs, where no image can make them lead elsewhere. Pure.

use std::path::{Component, Path};

use super::compile::Compiler;
use super::step::{KernelPlace, Slot};
use crate::error::Error;

/// What the kernel has at the top of a procfs beside processes: files and directories, and no symlinks.
const PROC: [&str; 30] = [
    "acpi",
    "asound",
    "buddyinfo",
    "bus",
    "config.gz",
    "driver",
    "fs",
    "interrupts",
    "iomem",
    "ioports",
    "irq",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "modules",
    "mtrr",
    "sched_debug",
    "schedstat",
    "scsi",
    "sys",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
];

/// Directories of a sysfs that are masked.
const SYS: [&str; 2] = ["firmware", "devices"];

/// How many names are looked for in one list of a procfs.
const LISTED: usize = 64;

impl Compiler<'_> {
    /// The place that `path` is, if it is in a file system of the kernel's that we have mounted and hold.
    ///
    /// It is reached from there without a lookup of its own: on the way is nothing that the image has brought, and nothing that was
    /// mounted over it.
    pub(super) fn kernel_place(
        &mut self,
        field: &str,
        path: &str,
    ) -> Result<Option<KernelPlace>, Error> {
        let Some((slot, rest)) = self.known(path) else {
            return Ok(None);
        };
        let name = self.text(field, rest.as_bytes())?;
        let names = &mut self.script.proc_names;
        let listed = if slot == Slot::PROC && names.len() < LISTED {
            names.push(name);
            Some(names.len() as u32 - 1)
        } else {
            None
        };
        Ok(Some(KernelPlace { slot, name, listed }))
    }

    fn known<'p>(&self, path: &'p str) -> Option<(Slot, &'p str)> {
        let (top, rest) = match path.strip_prefix("/proc/") {
            Some(rest) => ("/proc", rest),
            None => ("/sys", path.strip_prefix("/sys/")?),
        };
        let (_, slot) = self.held.iter().find(|(held, _)| held == Path::new(top))?;
        let is_known = match *slot {
            Slot::PROC => PROC.contains(&rest),
            Slot::SYS => {
                let mut parts = Path::new(rest).components();
                let first = parts.next()?.as_os_str().to_str()?;
                SYS.contains(&first) && parts.all(|part| matches!(part, Component::Normal(_)))
            }
            _ => false,
        };
        let covered = self.script.mounts.iter().any(|mount| {
            let target = self
                .script
                .arena
                .get(mount.target)
                .to_str()
                .unwrap_or_default();
            target != top
                && Path::new(target).starts_with(top)
                && Path::new(path).starts_with(target)
        });
        (is_known && !covered).then_some((*slot, rest))
    }
}
