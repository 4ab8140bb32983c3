//! From a specification to the flat list of steps that start a container.
//!
//! Compiling is pure: a specification and [`Facts`] in, steps over one block of memory out. The child made by `clone3` interprets
//! the steps and nothing else; displaying a [`Plan`] prints them, which is what `--explain` shows.

mod arena;
mod attributes;
mod compile;
mod devices;
mod exec;
mod facts;
mod filter;
mod kernel;
mod mounts;
mod options;
mod process;
mod refuse;
mod script;
mod step;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::runtime::Spec;

use crate::bundle::Bundle;
use crate::error::Error;
use crate::id::ContainerId;
use crate::rootfs::PreparedRoot;

pub use facts::{Facts, HostHierarchy};
pub use options::{CreateOptions, ExecOptions, Stdio};

pub(crate) use arena::{Span, Text};
pub(crate) use devices::paths as device_paths;
pub(crate) use exec::{Entering, compile as compile_exec};
pub(crate) use mounts::normalize;
pub(crate) use script::{Listener, MadeNode, MapSource, OomScore, Resource, Script, Tree, TreeMap};
pub(crate) use step::{
    CapabilityStep, DeviceStep, Inherits, KernelPlace, MountSource, MountStep, Own, Slot, Step,
};

/// The steps for a specification without a root, as text.
#[cfg(feature = "_fuzzing")]
pub(crate) fn explained(id: &ContainerId, spec: &Spec, facts: &Facts) -> Option<String> {
    let wishes = compile::Wishes {
        bundle: Some(PathBuf::from("/bundle")),
        ..compile::Wishes::default()
    };
    let script = compile::compile(id, spec, facts, &wishes).ok()?;
    Some(script.to_string())
}

/// Everything that will be done to start one container. Displaying it prints the steps in order.
#[derive(Debug)]
#[must_use = "a plan does nothing until it is run"]
pub struct Plan {
    pub(crate) id: ContainerId,
    pub(crate) script: Script,
    pub(crate) root: Arc<PreparedRoot>,
    pub(crate) options: CreateOptions,
    pub(crate) cgroup: crate::cgroup::Plan,
    pub(crate) bundle: Option<PathBuf>,
    pub(crate) rootfs: Option<PathBuf>,
    pub(crate) spec: Spec,
    /// config.json as it was read.
    pub(crate) config: Option<Arc<[u8]>>,
}

impl Plan {
    /// Decides what will be done to start `bundle` as container `id`. Pure.
    ///
    /// # Errors
    /// The specification is invalid, or asks for what is not supported.
    pub fn compile(
        id: &ContainerId,
        bundle: &Bundle,
        facts: &Facts,
        cgroup: crate::cgroup::Plan,
        options: CreateOptions,
    ) -> Result<Self, Error> {
        let spec = bundle.spec();
        crate::spec::validate(spec, bundle.warnings()).map_err(|error| {
            let field = error.field.clone();
            Error::new(
                crate::error::ErrorKind::InvalidSpec { field },
                "check the specification",
            )
            .with_source(error)
        })?;
        let asked = spec
            .process()
            .as_ref()
            .and_then(oci_spec::runtime::Process::terminal)
            .unwrap_or(false);
        let wishes = compile::Wishes {
            terminal: asked || matches!(options.stdio, Stdio::Terminal),
            plain_newlines: options.plain_newlines,
            listener_as_crun: options.listener_as_crun,
            no_new_keyring: options.no_new_keyring,
            parent_death_signal: options.parent_death_signal.map(crate::exit::Signal::number),
            no_pivot: options.no_pivot,
            kernel_mounts: if options.no_pivot {
                facts::kernel_mounts(bundle.rootfs())?
            } else {
                Vec::new()
            },
            // A caller with less may have to do without one.
            cgroups: if facts.unprivileged || facts.in_user_namespace {
                facts.cgroup_places.clone()
            } else {
                cgroup.directories()
            },
            environment: options.environment.clone(),
            bundle: bundle.directory().map(PathBuf::from),
            rootfs: bundle.rootfs().map(PathBuf::from),
            later: bundle.root().later().cloned(),
        };
        let mut script = compile::compile(id, spec, facts, &wishes)?;
        script.warnings.extend(cgroup.warnings().iter().cloned());
        let rootfs = bundle.rootfs().map(PathBuf::from);
        let directory = bundle.directory().map(PathBuf::from);
        let (root, spec) = (bundle.shared_root(), spec.clone());
        Ok(Self {
            id: id.clone(),
            script,
            root,
            options,
            cgroup,
            bundle: directory,
            rootfs,
            spec,
            config: bundle.shared_config(),
        })
    }

    /// Whether killing the first process kills all.
    pub(crate) fn has_own_pid_namespace(&self) -> bool {
        let listed = self
            .spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.namespaces().as_deref())
            .unwrap_or_default();
        listed.iter().any(|one| {
            let path = one.path().as_deref().unwrap_or(std::path::Path::new(""));
            one.typ() == oci_spec::runtime::LinuxNamespaceType::Pid && path.as_os_str().is_empty()
        })
    }

    /// The flags that the system call filter is loaded with (`seccomp(2)`), if there is one.
    #[must_use]
    pub fn filter_flags(&self) -> Option<u32> {
        (!self.script.filter.is_empty()).then_some(self.script.filter_flags)
    }

    /// What will not be done quite as the specification asks.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.script.warnings
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cgroup != crate::cgroup::Plan::default() {
            writeln!(f, "parent: make cgroup\n{}", self.cgroup)?;
        }
        self.script.fmt(f)
    }
}
