//! What else a process has: scheduler, I/O priority, processors, memory, personality, security labels. Pure.

use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType,
    MemoryPolicyModeType, Process, Scheduler,
};
use rustix::thread::CpuSet;

use super::compile::Compiler;
use super::process::invalid;
use super::step::Step;
use crate::error::{Error, ErrorKind};
use crate::sys::schedule::{MEMORY_NODES, SchedulerAttributes};

/// Adds the steps for all of it.
pub(crate) fn compile(
    compiler: &mut Compiler<'_>,
    process: &Process,
    linux: &Linux,
) -> Result<(), Error> {
    labels(compiler, process)?;
    if let Some(scheduler) = process.scheduler() {
        let step = Step::Scheduler(attributes(scheduler)?);
        compiler.script.steps.push(step);
    }
    if let Some(priority) = process.io_priority() {
        let value = io_priority(priority)?;
        compiler.script.steps.push(Step::IoPriority { value });
    }
    if let Some(policy) = linux.memory_policy() {
        memory_policy(compiler, policy)?;
    }
    if let Some(personality) = linux.personality() {
        let domain = personality_domain(personality)?;
        compiler.script.steps.push(Step::Personality { domain });
    }
    Ok(())
}

fn attributes(scheduler: &Scheduler) -> Result<SchedulerAttributes, Error> {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => libc::SCHED_OTHER,
        LinuxSchedulerPolicy::SchedFifo => libc::SCHED_FIFO,
        LinuxSchedulerPolicy::SchedRr => libc::SCHED_RR,
        LinuxSchedulerPolicy::SchedBatch => libc::SCHED_BATCH,
        // Reserved, and in no kernel.
        LinuxSchedulerPolicy::SchedIso => {
            return Err(invalid(
                "process.scheduler.policy",
                "the kernel has no SCHED_ISO",
            ));
        }
        LinuxSchedulerPolicy::SchedIdle => libc::SCHED_IDLE,
        LinuxSchedulerPolicy::SchedDeadline => libc::SCHED_DEADLINE,
    };
    let flags = scheduler.flags().iter().flatten().map(|flag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x1,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x2,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x4,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x8,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    });
    let priority = scheduler.priority().unwrap_or(0);
    let priority = u32::try_from(priority)
        .map_err(|_| invalid("process.scheduler.priority", "a priority is not negative"))?;
    let nice = scheduler.nice().unwrap_or(0);
    // The kernel would cut it to fit.
    if !(-20..=19).contains(&nice) {
        return Err(invalid(
            "process.scheduler.nice",
            "nice is between -20 and 19",
        ));
    }
    let mut wanted = SchedulerAttributes::default();
    wanted.policy = policy.unsigned_abs();
    wanted.flags = flags.fold(0, |all, one| all | one);
    (wanted.nice, wanted.priority) = (nice, priority);
    wanted.runtime = scheduler.runtime().unwrap_or(0);
    wanted.deadline = scheduler.deadline().unwrap_or(0);
    wanted.period = scheduler.period().unwrap_or(0);
    Ok(wanted)
}

fn io_priority(asked: &LinuxIOPriority) -> Result<u32, Error> {
    let class = match asked.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u32::try_from(asked.priority()) {
        Ok(level @ 0..=7) => Ok(class << 13 | level),
        _ => Err(invalid(
            "process.ioPriority.priority",
            "a priority is between 0 and 7",
        )),
    }
}

fn personality_domain(asked: &LinuxPersonality) -> Result<u32, Error> {
    if asked.flags().iter().flatten().next().is_some() {
        return Err(invalid(
            "linux.personality.flags",
            "the specification knows none yet",
        ));
    }
    Ok(match asked.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

fn memory_policy(compiler: &mut Compiler<'_>, asked: &LinuxMemoryPolicy) -> Result<(), Error> {
    let mode = match asked.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = asked.flags().iter().flatten().map(|flag| match flag {
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
    });
    let mode = flags.fold(mode, |all, one| all | one);
    let nodes = match asked.nodes().as_deref().filter(|list| !list.is_empty()) {
        None => None,
        Some(list) => {
            let mut set = [0_u64; MEMORY_NODES / 64];
            // The kernel leaves out the last bit.
            for number in numbers("linux.memoryPolicy.nodes", list, MEMORY_NODES - 1)? {
                if let Some(word) = set.get_mut(number / 64) {
                    *word |= 1 << (number % 64);
                }
            }
            compiler.script.nodes.push(set);
            Some(compiler.script.nodes.len() as u32 - 1)
        }
    };
    compiler
        .script
        .steps
        .push(Step::MemoryPolicy { mode, nodes });
    Ok(())
}

/// Adds a set of processors; gives its number.
pub(crate) fn cpus(compiler: &mut Compiler<'_>, field: &str, list: &str) -> Result<u32, Error> {
    let mut set = CpuSet::new();
    for number in numbers(field, list, CpuSet::MAX_CPU)? {
        set.set(number);
    }
    compiler.script.cpus.push(set);
    Ok(compiler.script.cpus.len() as u32 - 1)
}

/// The numbers of a list such as `0-3,7`; none of them reaches `limit`.
fn numbers(field: &str, list: &str, limit: usize) -> Result<Vec<usize>, Error> {
    let wrong = || invalid(field, "it is no list of numbers and ranges, such as 0-3,7");
    let read = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
    let mut found = Vec::new();
    for part in list.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (read(first)?, read(last)?),
            None => (read(part)?, read(part)?),
        };
        if first > last {
            return Err(wrong());
        }
        if last >= limit {
            return Err(invalid(field, "it holds a number that is too large"));
        }
        found.extend(first..=last);
    }
    Ok(found)
}

/// Whether a security label will be written for the process.
pub(crate) fn has_label(process: &Process) -> bool {
    profile(process).is_some() || asked(process.selinux_label()).is_some()
}

fn asked(label: &Option<String>) -> Option<&str> {
    label.as_deref().filter(|label| !label.is_empty())
}

fn profile(process: &Process) -> Option<&str> {
    asked(process.apparmor_profile())
}

fn labels(compiler: &mut Compiler<'_>, process: &Process) -> Result<(), Error> {
    match profile(process) {
        // Without AppArmor everything is unconfined.
        Some("unconfined") if !compiler.facts.apparmor => {}
        Some(_) if !compiler.facts.apparmor => {
            return Err(absent("process.apparmorProfile", "AppArmor"));
        }
        Some(profile) => {
            let value = format!("exec {profile}");
            let value = compiler.text("process.apparmorProfile", value.as_bytes())?;
            compiler.script.steps.push(Step::AppArmor { value });
        }
        None => {}
    }
    match asked(process.selinux_label()) {
        Some(_) if !compiler.facts.selinux => Err(absent("process.selinuxLabel", "SELinux")),
        Some(label) => {
            let label = compiler.text("process.selinuxLabel", label.as_bytes())?;
            compiler.script.steps.push(Step::Selinux { label });
            Ok(())
        }
        None => Ok(()),
    }
}

/// Takes note of the label that new file systems get.
pub(crate) fn mount_label(compiler: &mut Compiler<'_>, linux: &Linux) -> Result<(), Error> {
    match asked(linux.mount_label()) {
        Some(_) if !compiler.facts.selinux => Err(absent("linux.mountLabel", "SELinux")),
        label => {
            compiler.mount_label = label.map(str::to_owned);
            Ok(())
        }
    }
}

fn absent(field: &str, module: &str) -> Error {
    let feature = field.to_owned();
    Error::new(ErrorKind::Unsupported { feature }, "specification")
        .with_hint(format!("{module} is not enabled on this host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_are_read_strictly() {
        let read = |list| numbers("x", list, 10).ok();
        assert_eq!(read("0-3,7").unwrap(), [0, 1, 2, 3, 7]);
        assert_eq!(read("9").unwrap(), [9]);
        for bad in ["", "a", "3-1", "1-", "-1", "10", "0-10", "1,,2", "1;2"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
