//! From a process's description to the steps that start it in a running container. Pure.

use std::path::Path;

use oci_spec::runtime::{Linux, Process, Spec};

use super::attributes;
use super::compile::Compiler;
use super::facts::Facts;
use super::process;
use super::script::{Resource, Script};
use super::step::{Slot, Step};
use crate::error::Error;
use crate::id::ContainerId;
use crate::namespace::{Kind, Namespaces};

/// What is known about the container that is entered, and what the caller wants.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entering<'e> {
    /// `CLONE_NEW*` flags of the namespaces in which the container is and we are not.
    pub(crate) flags: u32,
    pub(crate) no_new_keyring: bool,
    pub(crate) parent_death_signal: Option<i32>,
    /// The process gets a terminal.
    pub(crate) terminal: bool,
    /// The terminal adds no carriage returns.
    pub(crate) plain_newlines: bool,
    /// What is executed, whatever the first argument says.
    pub(crate) program: Option<&'e Path>,
}

/// Compiles the start of `process` in the container `id`, which was made from `spec`.
///
/// The root, the mounts and the kernel's settings are the container's: what is left is who the process is. It sees the namespaces of the
/// container's first process, which [`Slot::INIT`] holds.
pub(crate) fn compile(
    id: &ContainerId,
    spec: &Spec,
    process: &Process,
    facts: &Facts,
    entering: &Entering<'_>,
) -> Result<Script, Error> {
    let default = Linux::default();
    let linux = spec.linux().as_ref().unwrap_or(&default);
    let namespaces = Namespaces::from_spec(linux.namespaces().as_deref().unwrap_or_default())?;
    let mut compiler = Compiler::new(facts, namespaces, None);
    compiler.filter(linux, false)?;
    let mut candidates = process::program(&mut compiler, process, &[])?;
    if let Some(program) = entering.program {
        candidates = process::file(&mut compiler, program)?;
    }
    beginning(&mut compiler, process)?;
    let flags = entering.flags;
    let steps = &mut compiler.script.steps;
    // No process of the container may read us, who still hold what is the host's.
    steps.push(Step::Undumpable);
    if flags != 0 {
        let slot = Slot::INIT;
        steps.push(Step::Enter { slot, flags });
    }
    if flags & Kind::User.flag() != 0 {
        steps.push(Step::BecomeRoot);
    }
    if flags & Kind::Pid.flag() != 0 {
        steps.push(Step::EnterPidNamespace);
    }
    steps.push(Step::NewSession);
    if !entering.no_new_keyring {
        let name = compiler.text("id", format!("_ses.{id}").as_bytes())?;
        compiler.script.steps.push(Step::SessionKeyring { name });
    }
    if entering.terminal {
        let (rows, columns, uid) = process::terminal(process);
        let step = Step::PeerTerminal {
            rows,
            columns,
            uid,
            plain: entering.plain_newlines,
        };
        compiler.script.steps.push(step);
    }
    compiler.script.steps.push(Step::Stdio);
    attributes::compile(&mut compiler, process, linux)?;
    process::identity(
        &mut compiler,
        spec,
        process,
        flags & Kind::Mount.flag() != 0,
    )?;
    let late_filter =
        process.no_new_privileges().unwrap_or(false) && !compiler.script.filter.is_empty();
    let steps = &mut compiler.script.steps;
    if let Some(signal) = entering.parent_death_signal {
        // Becoming the user took it away.
        steps.push(Step::ParentDeathSignal { signal });
    }
    steps.extend([Step::FindProgram { candidates }, Step::UnblockSignals]);
    if late_filter {
        compiler.filter_step();
    }
    compiler.script.steps.push(Step::Execute);
    Ok(compiler.script)
}

/// What is done while we are still outside.
fn beginning(compiler: &mut Compiler<'_>, process: &Process) -> Result<(), Error> {
    compiler.script.steps.push(Step::ResetSignals);
    let affinity = process.exec_cpu_affinity().as_ref();
    let initial = affinity.and_then(|affinity| affinity.initial().as_deref());
    let last = affinity.and_then(|affinity| affinity.cpu_affinity_final().as_deref());
    let field = "process.execCPUAffinity";
    if let Some(list) = initial.filter(|list| !list.is_empty()) {
        let cpus = Some(attributes::cpus(compiler, field, list)?);
        compiler.script.steps.push(Step::Affinity { cpus });
    }
    compiler.script.steps.push(Step::JoinCgroup);
    match last.filter(|list| !list.is_empty()) {
        Some(list) => {
            let cpus = Some(attributes::cpus(compiler, field, list)?);
            compiler.script.steps.push(Step::Affinity { cpus });
        }
        // What the kernel makes of the initial one in the cgroup stays.
        None if initial.is_some() => {}
        None => compiler.script.steps.push(Step::Affinity { cpus: None }),
    }
    if process.oom_score_adj().is_some() || attributes::has_label(process) {
        // Through the host's procfs: the container's is not ours to trust.
        compiler.script.resources.push((Slot::PROC, Resource::Proc));
    }
    if let Some(score) = process.oom_score_adj() {
        process::oom_score(compiler, score)?;
    }
    Ok(())
}
