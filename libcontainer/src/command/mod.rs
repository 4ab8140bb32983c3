//! A process in a container of its own, with the manners of [`std::process::Command`].
//!
//! ```no_run
//! use libcontainer::command::{Command, Stdio};
//!
//! # fn main() -> libcontainer::Result<()> {
//! let output = Command::new("/srv/rootfs")
//!     .args(["sh", "-c", "wc -c"])
//!     .stdin(Stdio::null())
//!     .memory_limit(64 << 20)
//!     .output()?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"0\n");
//! # Ok(())
//! # }
//! ```
//!
//! The program sees the directory as its root, processes, network, host name and mounts of its own, and a filter of system calls: what a
//! container of an image gets. Nothing is recorded, so no other program can find it by a name.
//!
//! # What happens to files
//! Changes of the root go into a layer in memory and are gone with the container; the directory stays as it is, may be on a read-only
//! file system, and may be shared by many containers. [`Command::read_only`] refuses them instead, [`Command::keep_changes`] lets
//! them change the directory itself.
//!
//! # What happens when it is dropped
//! Dropping a [`Child`] kills the container and waits for its end: nobody else could. If the caller's own process is killed, its
//! containers go on as any child does; [`Command::parent_death_signal`] changes that.
//!
//! # Privileges
//! None. Root makes the container as it is. Anybody else gets a user namespace: with the ranges of `/etc/subuid` and
//! `/etc/subgid` if there are some and `newuidmap` is installed, so that all users of an image exist, or else with root alone.
//! Limits need a control group that the caller may make.
//!
//! # Differences from `std::process`
//! Streams that nothing is said about are `/dev/null`; [`Command::output`] takes the output and the errors. Arguments and variables
//! are UTF-8. Variables of the caller are not inherited.

mod child;
mod place;
mod stdio;

use std::fmt;
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::{LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, Mount, Spec};

use crate::bundle::Bundle;
use crate::error::{Error, ErrorKind, Result};
use crate::exit::{ExitStatus, Signal};
use crate::id::ContainerId;
use crate::plan::Plan;
use crate::runtime::{CreateOptions, Runtime};
use crate::spec::{Network, RunOptions, Volume, from_image};

pub(crate) use child::Ends;
pub use child::{Child, Output};
pub use stdio::Stdio;

use place::{Changes, Place};
use stdio::Streams;

/// A container to be started, perhaps several times.
#[derive(Debug)]
pub struct Command {
    directory: PathBuf,
    changes: Changes,
    options: RunOptions,
    streams: Streams,
    cgroup_parent: Option<PathBuf>,
    parent_death_signal: Option<Signal>,
}

impl Command {
    /// A container whose root file system is the content of `image_root`, which is not changed.
    ///
    /// The first argument is the program: a path in the container, or a name that is looked for in its `PATH`.
    pub fn new(image_root: impl Into<PathBuf>) -> Self {
        Self {
            directory: image_root.into(),
            changes: Changes::default(),
            options: RunOptions::default(),
            streams: Streams::default(),
            cgroup_parent: None,
            parent_death_signal: None,
        }
    }

    /// Adds an argument; the first one is the program.
    pub fn arg(&mut self, word: impl Into<String>) -> &mut Self {
        self.options.args.push(word.into());
        self
    }

    /// Adds arguments.
    pub fn args<T: Into<String>>(&mut self, words: impl IntoIterator<Item = T>) -> &mut Self {
        self.options.args.extend(words.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the environment; `PATH`, `HOME`, `HOSTNAME` and `container` are set unless they are here.
    pub fn env(&mut self, name: impl fmt::Display, value: impl fmt::Display) -> &mut Self {
        self.options.env.push(format!("{name}={value}"));
        self
    }

    /// Sets variables of the environment.
    pub fn envs<N: fmt::Display, V: fmt::Display>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// The working directory: an absolute path in the container, made if it is missing.
    pub fn current_dir(&mut self, path: impl Into<String>) -> &mut Self {
        self.options.workdir = Some(path.into());
        self
    }

    /// Who the program runs as: `name|uid[:group|gid]`, looked up in the container's own files. Root unless told otherwise.
    pub fn user(&mut self, user: impl Into<String>) -> &mut Self {
        self.options.user = Some(user.into());
        self
    }

    /// The host name; otherwise `container`.
    pub fn hostname(&mut self, name: impl Into<String>) -> &mut Self {
        self.options.hostname = Some(name.into());
        self
    }

    /// Standard input.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.streams.stdin = Some(stdin.into());
        self
    }

    /// Standard output.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.streams.stdout = Some(stdout.into());
        self
    }

    /// Standard error.
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.streams.stderr = Some(stderr.into());
        self
    }

    /// Gives the program a terminal instead of the three streams; its other side is [`Child::terminal`].
    pub fn terminal(&mut self) -> &mut Self {
        self.options.terminal = true;
        self
    }

    /// Shows a directory or file of the host (an absolute path) at `target`.
    pub fn mount(&mut self, source: impl Into<PathBuf>, target: impl Into<String>) -> &mut Self {
        self.bind(source.into(), target.into(), false)
    }

    /// The same, and the container cannot change it.
    pub fn mount_read_only(
        &mut self,
        source: impl Into<PathBuf>,
        target: impl Into<String>,
    ) -> &mut Self {
        self.bind(source.into(), target.into(), true)
    }

    fn bind(&mut self, source: PathBuf, target: String, read_only: bool) -> &mut Self {
        self.options.volumes.push(Volume {
            source,
            target,
            read_only,
            options: Vec::new(),
        });
        self
    }

    /// Puts an empty file system in memory at `target`.
    pub fn tmpfs(&mut self, target: impl Into<PathBuf>) -> &mut Self {
        let mut mount = Mount::default();
        let options = ["nosuid", "nodev", "mode=1777"].map(str::to_owned);
        mount
            .set_destination(target.into())
            .set_typ(Some("tmpfs".to_owned()))
            .set_source(Some("tmpfs".into()))
            .set_options(Some(options.into()));
        self.options.extra_mounts.push(mount);
        self
    }

    /// The network: nothing but loopback unless told otherwise.
    pub fn network(&mut self, network: Network) -> &mut Self {
        self.options.network = network;
        self
    }

    /// How much memory the container may use, in bytes, swap included. What it writes in memory counts.
    pub fn memory_limit(&mut self, bytes: u64) -> &mut Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let memory = LinuxMemoryBuilder::default()
            .limit(bytes)
            .swap(bytes)
            .build();
        self.resources()
            .set_memory(Some(memory.expect("every field is optional")));
        self
    }

    /// How many processes and threads there may be at a time.
    pub fn process_limit(&mut self, number: u32) -> &mut Self {
        let pids = LinuxPidsBuilder::default().limit(i64::from(number)).build();
        self.resources()
            .set_pids(Some(pids.expect("the only field is set")));
        self
    }

    fn resources(&mut self) -> &mut LinuxResources {
        let nothing =
            || serde_json::from_value(serde_json::json!({})).expect("every member is optional");
        self.options.resources.get_or_insert_with(nothing)
    }

    /// The cgroup below which the container gets its own; otherwise `/trimaran`, or the caller's own for an ordinary user.
    pub fn cgroup_parent(&mut self, parent: impl Into<PathBuf>) -> &mut Self {
        self.cgroup_parent = Some(parent.into());
        self
    }

    /// Refuses changes of the root; `/run`, `/tmp` and `/var/tmp` are then memory file systems.
    pub fn read_only(&mut self) -> &mut Self {
        self.options.read_only = true;
        self.changes = Changes::Direct;
        self
    }

    /// Lets the program change the directory itself.
    pub fn keep_changes(&mut self) -> &mut Self {
        self.options.read_only = false;
        self.changes = Changes::Direct;
        self
    }

    /// How much may be written into the root, in bytes; otherwise half of the machine's memory.
    pub fn changes_limit(&mut self, bytes: u64) -> &mut Self {
        self.changes = Changes::Discarded(Some(bytes));
        self
    }

    /// The kernel sends the program this signal when the *thread* that started it ends, be it because the caller was killed.
    pub fn parent_death_signal(&mut self, signal: Signal) -> &mut Self {
        self.parent_death_signal = Some(signal);
        self
    }

    /// Everything else that a container of an image can be asked for: capabilities, limits, a filter, annotations …
    pub fn options(&mut self) -> &mut RunOptions {
        &mut self.options
    }

    /// Starts the container.
    ///
    /// # Errors
    /// [`ErrorKind::ExecNotFound`] and [`ErrorKind::ExecNotPermitted`] for the program; a setting that cannot be used, or a step that
    /// failed. Nothing is left then.
    pub fn spawn(&mut self) -> Result<Child> {
        let (runtime, plan, ends) = self.prepare()?;
        Ok(Child::new(runtime.run(plan)?, ends))
    }

    /// Everything but starting it.
    pub(crate) fn prepare(&self) -> Result<(Runtime, Plan, Ends)> {
        let mut ends = Ends::default();
        let stdio = self.streams.open(self.options.terminal, &mut ends)?;
        let create = CreateOptions {
            stdio,
            parent_death_signal: self.parent_death_signal,
            ..CreateOptions::default()
        };
        let (runtime, plan) = self.plan_with(create)?;
        Ok((runtime, plan, ends))
    }

    /// The same with pipes for the outputs that nothing was said about.
    pub(crate) fn prepare_piped(&mut self) -> Result<(Runtime, Plan, Ends)> {
        let default = self.streams.pipe_output();
        let prepared = self.prepare();
        self.streams.restore(default);
        prepared
    }

    /// Starts the container, and waits for its end.
    ///
    /// # Errors
    /// As [`Self::spawn`] and [`Child::wait`].
    pub fn status(&mut self) -> Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Starts the container, and collects what it writes.
    ///
    /// # Errors
    /// As [`Self::spawn`] and [`Child::wait_with_output`].
    pub fn output(&mut self) -> Result<Output> {
        let (runtime, plan, ends) = self.prepare_piped()?;
        Child::new(runtime.run(plan)?, ends).wait_with_output()
    }

    /// Decides what [`Self::spawn`] will do, and does none of it: displaying the plan prints it.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn plan(&self) -> Result<Plan> {
        self.plan_with(CreateOptions::default())
            .map(|(_, plan)| plan)
    }

    fn plan_with(&self, create: CreateOptions) -> Result<(Runtime, Plan)> {
        let place = Place::new(&self.directory, self.changes, self.options.read_only)?;
        let options = RunOptions {
            host: place.host.clone(),
            ..self.options.clone()
        };
        let mut spec: Spec = from_image(
            &ImageConfiguration::default(),
            &options,
            &place.user_files()?,
        )?;
        place.map_ids(&mut spec);
        let mut builder = Runtime::builder();
        if let Some(parent) = &self.cgroup_parent {
            builder = builder.cgroup_parent(parent);
        }
        let runtime = builder.build()?;
        let plan = runtime.plan(&name()?, &Bundle::from_spec(spec, place.root), create)?;
        Ok((runtime, plan))
    }
}

/// A name that nobody else uses: that of its cgroup.
fn name() -> Result<ContainerId> {
    let mut bytes = [0_u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(
        |errno| {
            Error::from_errno(errno.raw_os_error(), "name the container").with_kind(ErrorKind::Io)
        },
    )?;
    ContainerId::parse(&format!("command-{:016x}", u64::from_ne_bytes(bytes)))
}
