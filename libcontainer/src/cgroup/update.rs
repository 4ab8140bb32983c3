//! Changing the limits of a cgroup that is in use.

use super::{
    Cgroup, CgroupError, Hierarchies, Write,
    devices::Rules,
    limits::{CONTROLLERS, CPU, Controller, DEVICES, MEMORY, asked},
    plan::{attach_rules, hand_down, inherit_cpuset, make},
    v1, v2,
};
use oci_spec::runtime::LinuxResources;
use serde_json::Value;
use std::path::{Path, PathBuf};

impl Cgroup {
    /// Changes limits from what `before` asks for to what `after` asks for; only what differs is written. If the kernel refuses one of
    /// the values, those already written are taken back as far as `before` says what they were.
    ///
    /// A version 1 hierarchy that the container has not joined yet is joined now, with all its processes.
    ///
    /// # Errors
    /// The kernel refuses a value, the host lacks the controller, or `memory.checkBeforeUpdate` is asked for and more is in use.
    pub fn update(
        &mut self,
        before: &LinuxResources,
        after: &LinuxResources,
        host: &Hierarchies,
    ) -> Result<(), CgroupError> {
        let mut done: Vec<(PathBuf, Write)> = Vec::new();
        let changed = self.change(before, after, host, &mut done);
        if changed.is_err() {
            for (directory, write) in done.iter().rev() {
                // The first failure is the one to be told.
                drop(write.perform(directory));
            }
        }
        changed
    }

    /// `done` collects what undoes each step.
    fn change(
        &mut self,
        before: &LinuxResources,
        after: &LinuxResources,
        host: &Hierarchies,
        done: &mut Vec<(PathBuf, Write)>,
    ) -> Result<(), CgroupError> {
        for controller in CONTROLLERS {
            let first = host.v1_with(controller.v1).is_some();
            let writes = |resources| match first {
                true => v1::writes(controller, resources),
                false => v2::writes(controller, resources),
            };
            let (old, new) = (writes(before)?, writes(after)?);
            let mut changes: Vec<Write> =
                new.into_iter().filter(|one| !old.contains(one)).collect();
            if controller == CPU {
                changes.extend(switched_off(before, after, first));
            }

            if changes.is_empty() {
                refuse_unknown(controller, before, after, host)?;
                continue;
            }
            let directory = self.joined(controller, host)?;
            if controller == MEMORY {
                check_memory(after, &directory)?;
                order_memory(&mut changes, &directory);
            }
            let mut later = Vec::new();
            for change in &changes {
                match change.perform(&directory) {
                    // Together they may make sense, in another order: a quota and its period, memory and memory with swap.
                    Err(error) if error.is_invalid() => later.push(change),
                    performed => {
                        performed?;
                        done.extend(undoing(change, &old, &directory));
                    }
                }
            }
            for change in later {
                change.perform(&directory)?;
                done.extend(undoing(change, &old, &directory));
            }
        }
        self.change_devices(before, after, host)?;
        if let Some(unit) = &self.systemd {
            // Or systemd would write the old ones again.
            unit.update(after, !host.is_v2())?;
            // And it has: of quotas it knows whole hundredths, of idleness nothing.
            let first = host.v1_with(CPU.v1).is_some();
            let writes = match first {
                true => v1::writes(CPU, after)?,
                false => v2::writes(CPU, after)?,
            };
            if !writes.is_empty() {
                let directory = self.joined(CPU, host)?;
                writes.iter().try_for_each(|one| one.perform(&directory))?;
            }
        }
        for raw in v2::raw(after)? {
            if v2::raw(before)?.contains(&raw) {
                continue;
            }
            let unified = self.unified.clone().ok_or(CgroupError::NoController {
                controller: "cgroup v2",
                field: "unified",
            })?;
            raw.perform(&unified)?;
        }
        Ok(())
    }

    fn change_devices(
        &mut self,
        before: &LinuxResources,
        after: &LinuxResources,
        host: &Hierarchies,
    ) -> Result<(), CgroupError> {
        let rules = Rules::of(after, false)?;
        if rules == Rules::of(before, false)? {
            return Ok(());
        }
        // None is what allows everything.
        let rules = rules.unwrap_or_else(Rules::allow_all);
        if host.v1_with(DEVICES.v1).is_some() {
            let directory = self.joined(DEVICES, host)?;
            let mut writes = rules.v1()?.into_iter();
            return writes.try_for_each(|write| write.perform(&directory));
        }
        match &self.unified {
            Some(unified) => attach_rules(&rules, unified),
            None => Err(CgroupError::NoController {
                controller: DEVICES.v1,
                field: DEVICES.field,
            }),
        }
    }

    /// The container's directory for a controller, made and joined if it is missing.
    fn joined(
        &mut self,
        controller: Controller,
        host: &Hierarchies,
    ) -> Result<PathBuf, CgroupError> {
        let missing = || CgroupError::NoController {
            controller: controller.v1,
            field: controller.field,
        };
        if let Some(hierarchy) = host.v1_with(controller.v1) {
            if let Some(known) = self
                .v1
                .iter()
                .find(|path| path.starts_with(&hierarchy.mount))
            {
                return Ok(known.clone());
            }
            let names = self.names(host).ok_or_else(missing)?;
            let cpuset = hierarchy.controllers.iter().any(|one| one == "cpuset");
            let directory = make_below(&hierarchy.mount, &names, cpuset)?;
            self.v1.push(directory.clone());
            for pid in self.processes()? {
                Write::new("cgroup.procs", pid).perform(&directory)?;
            }
            return Ok(directory);
        }
        let unified = host.unified_with(controller.v2).ok_or_else(missing)?;
        let directory = self.unified.clone().ok_or_else(missing)?;
        let names = directory
            .strip_prefix(&unified.mount)
            .map_err(|_| missing())?;
        let mut at = unified.mount.clone();
        for name in names {
            hand_down(&at, &[controller.v2.to_owned()])?;
            at.push(name);
        }
        Ok(directory)
    }

    /// The container's place below the root of each hierarchy.
    fn names(&self, host: &Hierarchies) -> Option<PathBuf> {
        let mounts = host.v1.iter().map(|one| &one.mount);
        let mounts: Vec<_> = mounts
            .chain(host.unified.iter().map(|one| &one.mount))
            .collect();
        let mut directories = self.v1.iter().chain(&self.unified);
        directories.find_map(|directory| {
            let of = mounts
                .iter()
                .find_map(|mount| directory.strip_prefix(mount).ok());
            of.map(Path::to_owned)
        })
    }
}

/// Version 2 has no files for some controllers of version 1.
fn refuse_unknown(
    controller: Controller,
    before: &LinuxResources,
    after: &LinuxResources,
    host: &Hierarchies,
) -> Result<(), CgroupError> {
    let known = host.v1_with(controller.v1).is_some() || host.unified_with(controller.v2).is_some();
    if known || v1::writes(controller, before)? == v1::writes(controller, after)? {
        return Ok(());
    }
    Err(CgroupError::NoController {
        controller: controller.v1,
        field: controller.field,
    })
}

/// What takes a change back.
fn undoing(change: &Write, old: &[Write], directory: &Path) -> Option<(PathBuf, Write)> {
    let undo = old.iter().find(|one| one.file == change.file)?;
    Some((directory.to_owned(), undo.clone()))
}

fn make_below(mount: &Path, names: &Path, cpuset: bool) -> Result<PathBuf, CgroupError> {
    let mut at = mount.to_owned();
    for name in names {
        let above = at.clone();
        at.push(name);
        let is_new = make(&at)?;
        if cpuset {
            inherit_cpuset(&above, &at, is_new)?;
        }
    }
    Ok(at)
}

/// What was asked for and is zero now. Elsewhere a zero is what callers send for "nothing asked".
fn switched_off(before: &LinuxResources, after: &LinuxResources, first: bool) -> Vec<Write> {
    let (Some(before), Some(after)) = (before.cpu(), after.cpu()) else {
        return Vec::new();
    };
    let mut writes = Vec::new();
    if asked(before.idle()).is_some() && after.idle() == Some(0) {
        writes.push(Write::new("cpu.idle", 0));
    }
    if asked(before.burst()).is_some() && after.burst() == Some(0) {
        let file = if first {
            "cpu.cfs_burst_us"
        } else {
            "cpu.max.burst"
        };
        writes.push(Write::new(file, 0));
    }
    writes
}

/// Version 1 never lets memory and swap together be less than memory alone: whoever raises both begins with the former.
fn order_memory(changes: &mut [Write], directory: &Path) {
    let both = changes
        .iter()
        .position(|one| one.file == "memory.memsw.limit_in_bytes");
    let alone = changes
        .iter()
        .position(|one| one.file == "memory.limit_in_bytes");
    let (Some(both), Some(alone)) = (both, alone) else {
        return;
    };
    let now = read_number(&directory.join("memory.memsw.limit_in_bytes"));
    let wanted: Option<u64> = changes.get(alone).and_then(|one| one.value.parse().ok());
    // No number is no limit.
    if now.is_some_and(|now| wanted.is_none_or(|wanted| wanted > now)) && alone < both {
        changes.swap(alone, both);
    }
}

/// Refuses a limit below what is in use, if the caller wants it so: the kernel would kill instead.
fn check_memory(after: &LinuxResources, directory: &Path) -> Result<(), CgroupError> {
    let Some(memory) = after.memory() else {
        return Ok(());
    };
    let limit = asked(memory.limit()).and_then(|limit| u64::try_from(limit).ok());
    let (true, Some(limit)) = (memory.check_before_update().unwrap_or(false), limit) else {
        return Ok(());
    };
    let used = ["memory.current", "memory.usage_in_bytes"]
        .iter()
        .find_map(|file| read_number(&directory.join(file)));
    match used {
        Some(used) if used > limit => Err(CgroupError::Resource {
            field: "memory.limit",
            reason: format!("is {limit}, and {used} bytes are in use"),
        }),
        _ => Ok(()),
    }
}

fn read_number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// What `before` asks for, changed by what `change` names. A number that is zero names nothing, but for those of which zero is a
/// setting; lists take the place of lists.
///
/// # Errors
/// Never for what was read from a specification.
pub(crate) fn merged(
    before: &LinuxResources,
    change: &LinuxResources,
) -> serde_json::Result<LinuxResources> {
    let mut all = serde_json::to_value(before)?;
    let mut change = serde_json::to_value(change)?;
    // Swap is counted together with memory: without a limit of memory it has none either, unless the change says otherwise.
    if change["memory"]["limit"] == -1 && change["memory"]["swap"].as_i64().unwrap_or(0) == 0 {
        change["memory"]["swap"] = (-1).into();
    }
    merge(&mut all, change);
    serde_json::from_value(all)
}

/// Members of which zero is a setting.
const ZERO_COUNTS: [&str; 3] = ["idle", "burst", "swappiness"];

fn merge(all: &mut Value, change: Value) {
    let (Value::Object(all), Value::Object(change)) = (all, change) else {
        return;
    };
    for (name, value) in change {
        let nothing = value.is_null()
            || (value.as_f64() == Some(0.0) && !ZERO_COUNTS.contains(&name.as_str()));
        if nothing {
            continue;
        }
        match all.get_mut(&name) {
            Some(known) if known.is_object() && value.is_object() => merge(known, value),
            _ => {
                all.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resources(value: Value) -> LinuxResources {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_what_is_named_changes() {
        let before = resources(json!({
            "memory": {"limit": 100, "swap": 200}, "cpu": {"shares": 5, "idle": 1}, "pids": {"limit": 7},
        }));
        let change = resources(json!({
            "memory": {"limit": 150, "swap": 0}, "cpu": {"shares": 0, "idle": 0, "cpus": "0"},
        }));
        let expected = resources(json!({
            "memory": {"limit": 150, "swap": 200}, "cpu": {"shares": 5, "idle": 0, "cpus": "0"}, "pids": {"limit": 7},
        }));
        assert_eq!(merged(&before, &change).unwrap(), expected);
    }

    #[test]
    fn swap_goes_first_when_both_grow() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("memory.memsw.limit_in_bytes");
        for (now, wanted, first) in [
            ("100", "150", "memory.memsw.limit_in_bytes"),
            ("200", "150", "memory.limit_in_bytes"),
            ("100", "-1", "memory.memsw.limit_in_bytes"),
        ] {
            std::fs::write(&file, now).unwrap();
            let mut changes = [
                Write::new("memory.limit_in_bytes", wanted),
                Write::new("memory.memsw.limit_in_bytes", "300"),
            ];
            order_memory(&mut changes, directory.path());
            assert_eq!(changes[0].file, first, "{now} {wanted}");
        }
    }
}
