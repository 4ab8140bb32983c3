//! A place to run containers in: a root file system of busybox, a specification, and a runtime without control groups.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use libcontainer::bundle::Bundle;
use libcontainer::oci_spec::image::ImageConfiguration;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::rootfs::{PreparedRoot, Root};
use libcontainer::runtime::{CgroupManager, CreateOptions, Runtime, Stdio};
use libcontainer::spec::{HostFacts, RunOptions, SeccompChoice, UserFiles, from_image};
use libcontainer::{ContainerId, Error, ExitStatus};

const BUSYBOX: &str = "/bin/busybox";

/// A root file system with state directory beside it.
pub(crate) struct Bed {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) runtime: Runtime,
}

/// What a container left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    pub(crate) warnings: Vec<String>,
}

impl Bed {
    /// A bed, or a skip if this machine cannot have one.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            trimaran_testkit::skip("needs root");
            return None;
        }
        if !Path::new(BUSYBOX).exists() {
            trimaran_testkit::skip("needs /bin/busybox (package busybox-static)");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let runtime = Runtime::builder()
            .state_dir(directory.path().join("state"))
            .cgroup_manager(CgroupManager::Disabled)
            .build()
            .unwrap();
        let bed = Self { directory, runtime };
        make_root(&bed.root());
        Some(bed)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("rootfs")
    }

    /// The default specification of an image without a filter (which has tests of its own), running `command` in a shell.
    pub(crate) fn shell(&self, command: &str) -> Spec {
        self.spec(&["/bin/sh", "-c", command])
    }

    pub(crate) fn spec(&self, args: &[&str]) -> Spec {
        self.spec_with(RunOptions {
            args: args.iter().map(|word| (*word).to_owned()).collect(),
            seccomp: SeccompChoice::Unconfined,
            ..RunOptions::default()
        })
    }

    pub(crate) fn spec_with(&self, options: RunOptions) -> Spec {
        let options = RunOptions {
            host: HostFacts {
                cgroup: false,
                ..HostFacts::default()
            },
            ..options
        };
        from_image(
            &ImageConfiguration::default(),
            &options,
            &UserFiles::default(),
        )
        .unwrap()
    }

    pub(crate) fn bundle(&self, spec: Spec) -> Bundle {
        Bundle::from_spec(spec, PreparedRoot::open(&Root::Path(self.root())).unwrap())
    }

    /// Runs a container to its end.
    pub(crate) fn run(&self, spec: Spec) -> Result<Outcome, Error> {
        self.run_bundle(self.bundle(spec))
    }

    pub(crate) fn run_bundle(&self, bundle: Bundle) -> Result<Outcome, Error> {
        run_to_end(&self.runtime, bundle)
    }

    /// The output of a shell command in a container with the default specification.
    pub(crate) fn output(&self, command: &str) -> String {
        let outcome = self.run(self.shell(command)).unwrap();
        assert_eq!(
            outcome.status,
            ExitStatus::Exited(0),
            "{command}: {outcome:?}"
        );
        outcome.output
    }
}

pub(crate) fn id(text: &str) -> ContainerId {
    ContainerId::parse(text).unwrap()
}

pub(crate) fn pipe() -> (std::fs::File, OwnedFd) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (read.into(), write)
}

/// A root file system with busybox under all its names.
pub(crate) fn make_root(root: &Path) {
    for directory in ["bin", "etc", "proc", "sys", "dev", "tmp", "run", "root"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    // By another process: a descriptor for writing that a fork of ours inherited would make the file "busy" for a while.
    let copied = std::process::Command::new(BUSYBOX)
        .args(["cp", BUSYBOX])
        .arg(root.join("bin/busybox"))
        .status();
    assert!(copied.unwrap().success());
    for name in [
        "sh", "ls", "cat", "id", "stat", "readlink", "mount", "umount", "grep", "hostname", "kill",
        "sleep", "true", "false", "tty", "env", "touch", "test", "awk", "head", "wc", "mknod",
        "ip", "printf", "pwd", "chmod", "dd", "stty", "mkdir", "find", "sort", "echo",
    ] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    std::fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    )
    .unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n").unwrap();
}

/// Runs a container to its end.
pub(crate) fn run_to_end(runtime: &Runtime, bundle: Bundle) -> Result<Outcome, Error> {
    let (mut read, write) = pipe();
    let options = CreateOptions {
        stdio: Stdio::Streams {
            stdin: None,
            stdout: Some(write.try_clone().unwrap()),
            stderr: Some(write),
        },
        ..CreateOptions::default()
    };
    let plan = runtime.plan(&id("test"), &bundle, options)?;
    drop(bundle);
    let process = runtime.run(plan)?;
    let mut output = String::new();
    read.read_to_string(&mut output).unwrap();
    Ok(Outcome {
        status: process.wait()?,
        output,
        warnings: process.warnings().to_vec(),
    })
}
