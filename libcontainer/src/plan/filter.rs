//! The system call filter, and who gets its listener. Pure.

use oci_spec::runtime::Linux;

use super::compile::Compiler;
use super::process::invalid;
use super::script::Listener;
use super::step::Step;
use crate::error::{Error, ErrorKind};
use crate::seccomp;
use crate::sys::seccomp::Instruction;

impl Compiler<'_> {
    /// Loads the filter. A caller without privilege can fetch its listener only from a process that may be looked at.
    pub(crate) fn filter_step(&mut self) {
        if self.script.listener.is_some() && self.facts.unprivileged {
            self.script.steps.push(Step::Dumpable);
        }
        self.script.steps.push(Step::Filter);
    }

    /// Compiles the system call filter.
    pub(crate) fn filter(&mut self, linux: &Linux, as_crun: bool) -> Result<(), Error> {
        let Some(profile) = linux.seccomp() else {
            return Ok(());
        };
        let unsupported = |feature: &str| {
            Error::new(
                ErrorKind::Unsupported {
                    feature: feature.into(),
                },
                "compile the system call filter",
            )
        };
        let arch = self
            .facts
            .arch
            .ok_or_else(|| unsupported("system call filters on this architecture"))?;
        let program = seccomp::compile(profile, arch).map_err(|error| {
            invalid("linux.seccomp", "the filter cannot be compiled").with_source(error)
        })?;
        let path = profile.listener_path().as_deref();
        let path = path.filter(|path| !path.as_os_str().is_empty());
        let metadata = profile.listener_metadata().clone().unwrap_or_default();
        match path {
            Some(path) if !path.is_absolute() => {
                return Err(invalid(
                    "linux.seccomp.listenerPath",
                    "it must be an absolute path",
                ));
            }
            Some(path) if program.needs_listener || as_crun => {
                self.script.listener = Some(Listener {
                    path: path.to_owned(),
                    metadata,
                    version: as_crun.then_some("0.2.0"),
                    state: None,
                });
            }
            None if program.needs_listener => {
                return Err(invalid(
                    "linux.seccomp.listenerPath",
                    "SCMP_ACT_NOTIFY needs somebody who listens",
                ));
            }
            None if !metadata.is_empty() => {
                return Err(invalid(
                    "linux.seccomp.listenerMetadata",
                    "there is no listenerPath to send it to",
                ));
            }
            _ => {}
        }
        self.script.filter_flags = program.flags;
        self.script.filter = program
            .instructions
            .iter()
            .map(|one| Instruction {
                code: one.code,
                jump_true: one.jt,
                jump_false: one.jf,
                operand: one.k,
            })
            .collect();
        Ok(())
    }
}
