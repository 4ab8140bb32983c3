//! A container that others start further processes in.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

use std::io::Read;

use libcontainer::ExitStatus;
use libcontainer::oci_spec::runtime::{Process, Spec};
use libcontainer::runtime::{Container, CreateOptions, ExecOptions, Runtime, Stdio};

use crate::bed::{Bed, id, pipe};

/// A container that sleeps; killed and deleted at the end.
pub(crate) struct Sleeper(Option<Container>);

impl Sleeper {
    pub(crate) fn start(bed: &Bed, runtime: &Runtime, spec: Spec) -> Self {
        let options = CreateOptions::default();
        let plan = runtime.plan(&id("sleeper"), &bed.bundle(spec), options);
        let container = runtime.create(plan.unwrap()).unwrap();
        container.start().unwrap();
        Self(Some(container))
    }

    pub(crate) fn container(&self) -> &Container {
        self.0.as_ref().unwrap()
    }

    /// What a process prints, and how it ends.
    pub(crate) fn exec(
        &self,
        process: &Process,
    ) -> Result<(String, ExitStatus), libcontainer::Error> {
        let (mut read, write) = pipe();
        let options = ExecOptions {
            stdio: Stdio::Streams {
                stdin: None,
                stdout: Some(write.try_clone().unwrap()),
                stderr: Some(write),
            },
            ..ExecOptions::default()
        };
        let process = self.container().exec(process, options)?;
        let mut output = String::new();
        read.read_to_string(&mut output).unwrap();
        Ok((output, process.wait()?))
    }

    /// What a shell command prints in the container.
    #[track_caller]
    pub(crate) fn shell(&self, command: &str) -> String {
        let process = self.describe(&["/bin/sh", "-c", command]);
        let (output, status) = self.exec(&process).unwrap();
        assert_eq!(status, ExitStatus::Exited(0), "{command}: {output}");
        output
    }

    pub(crate) fn describe(&self, args: &[&str]) -> Process {
        let mut process = self.container().process().unwrap();
        let args = args.iter().map(|word| (*word).to_owned()).collect();
        process.set_args(Some(args));
        process
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Some(container) = self.0.take() {
            container.delete(true).unwrap();
        }
    }
}
