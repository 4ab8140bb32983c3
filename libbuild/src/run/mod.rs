//! Runs a command in a working container: what it changes becomes part of the layer, what the runtime needs does not.
//!
//! A step is isolated like a container, in namespaces of its own, with the default capabilities and system call filter. So that
//! the same step gives the same files, its host name is fixed, `SOURCE_DATE_EPOCH` is set, and `/etc/hosts` and
//! `/etc/resolv.conf` are generated and bound over those of the image.

mod files;
mod stubs;

use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use libcontainer::bundle::Bundle;
use libcontainer::exit::ExitStatus;
use libcontainer::exit::Signal;
use libcontainer::id::ContainerId;
use libcontainer::runtime::{CreateOptions, Process, Runtime, Stdio};
use libcontainer::spec::{HostFacts, Network, RunOptions, Volume, from_image};
use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::{Mount, MountBuilder, Spec};

use crate::error::{Error, ErrorKind, Result};
use crate::op::{Op, RunOp};
use crate::rooted::Rooted;
use crate::working::{Held, WorkingContainer, container_error, user_files};
use stubs::{Stubs, Target};

/// The host name of a step that asks for no other.
pub const HOSTNAME: &str = "trimaran";

/// The most that [`Streams::Capture`] keeps of each stream; the step runs on when there is more.
pub const CAPTURE_BYTES: usize = 16 << 20;

/// Where the step's streams lead.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Streams {
    /// Nowhere.
    #[default]
    Null,
    /// No input; the output is returned.
    Capture,
    /// As the runtime is told: the caller's own, given descriptors, or a terminal.
    Runtime(Stdio),
}

/// A command to run, and its surroundings.
#[derive(Debug, Default)]
#[must_use = "nothing runs until it is given to WorkingContainer::run"]
pub struct Run {
    args: Vec<String>,
    env: Vec<String>,
    user: Option<String>,
    workdir: Option<String>,
    hostname: Option<String>,
    network: Option<Network>,
    volumes: Vec<Volume>,
    cap_add: Vec<String>,
    cap_drop: Vec<String>,
    streams: Streams,
}

/// What came of a step.
#[derive(Clone, Debug)]
pub struct RunOutput {
    /// How the process ended.
    pub status: ExitStatus,
    /// What it wrote, if that was captured.
    pub stdout: Vec<u8>,
    /// What it wrote, if that was captured.
    pub stderr: Vec<u8>,
    /// Whether either was longer than [`CAPTURE_BYTES`] and is cut.
    pub truncated: bool,
    /// What the runtime could not do and can be done without.
    pub warnings: Vec<String>,
}

impl Run {
    /// Runs a program with its arguments.
    pub fn argv<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Self {
        Self {
            args: args.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Runs a line by `/bin/sh -c`, as a Containerfile's RUN does.
    pub fn sh(line: impl Into<String>) -> Self {
        Self::argv(["/bin/sh".to_owned(), "-c".to_owned(), line.into()])
    }

    /// Sets one variable for this step only.
    pub fn env(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.env
            .push(format!("{}={}", name.as_ref(), value.as_ref()));
        self
    }

    /// Sets the user, `name|uid[:group|gid]`, instead of the configured one.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the working directory; a relative one is below the configured one. It is made if it is missing.
    pub fn workdir(mut self, path: impl Into<String>) -> Self {
        self.workdir = Some(path.into());
        self
    }

    /// Sets the host name instead of [`HOSTNAME`].
    pub fn hostname(mut self, name: impl Into<String>) -> Self {
        self.hostname = Some(name.into());
        self
    }

    /// Sets the network; without it, the host's.
    pub fn network(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// Binds a directory or file of the host.
    pub fn volume(mut self, volume: Volume) -> Self {
        self.volumes.push(volume);
        self
    }

    /// Adds a capability, or `ALL`.
    pub fn cap_add(mut self, name: impl Into<String>) -> Self {
        self.cap_add.push(name.into());
        self
    }

    /// Takes a capability away, or `ALL`.
    pub fn cap_drop(mut self, name: impl Into<String>) -> Self {
        self.cap_drop.push(name.into());
        self
    }

    /// Sets where the streams lead.
    pub fn streams(mut self, streams: Streams) -> Self {
        self.streams = streams;
        self
    }

    fn network_or_default(&self) -> Network {
        self.network.unwrap_or(Network::Host)
    }

    fn op(&self) -> Op {
        let mount = |volume: &Volume| {
            format!(
                "{}{}",
                volume.target,
                if volume.read_only { ":ro" } else { "" }
            )
        };
        let network = match self.network_or_default() {
            Network::None => "none",
            _ => "host",
        };
        Op::Run(RunOp {
            args: self.args.clone(),
            env: self.env.clone(),
            user: self.user.clone(),
            workdir: self.workdir.clone(),
            hostname: self.hostname.clone(),
            network: network.to_owned(),
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            mounts: self.volumes.iter().map(mount).collect(),
        })
    }
}

/// Why a step could not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// No command was given.
    #[error("no command to run")]
    NoCommand,
    /// A variable that is no `NAME=value`.
    #[error("{variable:?} is no NAME=value")]
    Variable {
        /// As it was given.
        variable: String,
    },
    /// The configuration of the container is not one the runtime understands.
    #[error("the configuration of the container is not a valid image configuration")]
    Configuration {
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The host could not be asked what it can do.
    #[error("cannot learn what this host can do")]
    Host {
        /// What the system said.
        source: std::io::Error,
    },
    /// A pipe for the step's output could not be made or read.
    #[error("cannot capture the output of the step")]
    Capture {
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        let kind = match &error {
            RunError::NoCommand | RunError::Variable { .. } => ErrorKind::InvalidInput,
            RunError::Configuration { .. } => ErrorKind::Malformed,
            RunError::Host { .. } | RunError::Capture { .. } => ErrorKind::Io,
        };
        Self::new(kind, error)
    }
}

impl WorkingContainer {
    /// Runs a command in the container and waits for it.
    ///
    /// A command that fails is no error here: look at [`RunOutput::status`].
    ///
    /// # Errors
    /// If the command cannot be started ([`ErrorKind::ExecNotFound`], [`ErrorKind::ExecNotPermitted`],
    /// [`ErrorKind::UnknownUser`]), or the system refuses.
    pub fn run(&self, run: Run) -> Result<RunOutput> {
        self.run_with(run, |process| process.wait())
    }

    /// The same, with `wait` to accompany the process until it has ended: to forward signals, or to serve its terminal.
    ///
    /// # Errors
    /// As [`WorkingContainer::run`], and those of `wait`.
    pub fn run_with(
        &self,
        run: Run,
        wait: impl FnOnce(&mut Process) -> libcontainer::Result<ExitStatus>,
    ) -> Result<RunOutput> {
        if run.args.is_empty() {
            return Err(RunError::NoCommand.into());
        }
        let mut held = self.hold()?;
        let root = held.open_root()?;
        // A second descriptor of the same mount: the first one goes to the process.
        let root_fd = root
            .mount
            .as_fd()
            .try_clone_to_owned()
            .map_err(|source| RunError::Host { source })?;
        let rooted = Rooted::new(root_fd.as_fd());
        let options = options(&run, &held)?;
        let directory = options.workdir.clone().unwrap_or_default();
        let files = user_files(&root.mount)?;
        let config: ImageConfiguration =
            serde_json::from_value(held.record.settings.config.clone())
                .map_err(|source| RunError::Configuration { source })?;
        let spec =
            from_image(&config, &options, &files).map_err(|error| container_error(error.into()))?;
        let op = run.op();
        // The step is noted before it is done: after a kill in the middle, history tells what may have happened.
        if held.record.steps.last() != Some(&op) {
            held.record.steps.push(op);
            held.save()?;
        }
        rooted.make_directories(Path::new(&directory))?;
        let stubs = Stubs::make(&rooted, &targets(&spec))?;
        let bundle = Bundle::from_spec(spec, root.mount);
        let outcome = self.launch(&bundle_id(self.id()), &bundle, run.streams, wait);
        drop(bundle);
        stubs.remove()?;
        outcome
    }

    fn launch(
        &self,
        id: &str,
        bundle: &Bundle,
        streams: Streams,
        wait: impl FnOnce(&mut Process) -> libcontainer::Result<ExitStatus>,
    ) -> Result<RunOutput> {
        let (stdio, capture) = match streams {
            Streams::Null => (Stdio::Null, None),
            Streams::Runtime(stdio) => (stdio, None),
            Streams::Capture => {
                let (stdio, capture) =
                    Capture::start().map_err(|source| RunError::Capture { source })?;
                (stdio, Some(capture))
            }
        };
        let create = CreateOptions {
            stdio,
            // Should this process be killed, its step must not go on writing into the container.
            parent_death_signal: Some(Signal::KILL),
            ..CreateOptions::default()
        };
        let id = ContainerId::parse(id).map_err(container_error)?;
        let runtime = Runtime::builder()
            .state_dir(&self.around.state)
            .build()
            .map_err(container_error)?;
        let plan = runtime.plan(&id, bundle, create).map_err(container_error)?;
        let mut process = runtime.run(plan).map_err(container_error)?;
        let status = wait(&mut process).map_err(container_error)?;
        let mut output = RunOutput {
            status,
            stdout: Vec::new(),
            stderr: Vec::new(),
            truncated: false,
            warnings: process.warnings().to_vec(),
        };
        if let Some(capture) = capture {
            capture
                .collect(&mut output)
                .map_err(|source| RunError::Capture { source })?;
        }
        Ok(output)
    }
}

/// Names the step for the runtime: two commands never run in one working container at once.
fn bundle_id(id: &str) -> String {
    format!("build-{}", &id[..id.len().min(16)])
}

fn options(run: &Run, held: &Held<'_>) -> Result<RunOptions> {
    if let Some(variable) = run
        .env
        .iter()
        .find(|v| v.find('=').is_none_or(|at| at == 0))
    {
        return Err(RunError::Variable {
            variable: variable.clone(),
        }
        .into());
    }
    let hostname = run.hostname.clone().unwrap_or_else(|| HOSTNAME.to_owned());
    let network = run.network_or_default();
    let resolv = held.resolv_conf().filter(|_| network == Network::Host);
    let generated = files::generate(&held.file_directory(), &hostname, resolv)?;
    let mut env = vec![format!("SOURCE_DATE_EPOCH={}", held.record.epoch.seconds)];
    env.extend(run.env.iter().cloned());
    let configured = Path::new("/").join(held.record.settings.text("WorkingDir"));
    let workdir = configured.join(run.workdir.as_deref().unwrap_or_default());
    Ok(RunOptions {
        args: run.args.clone(),
        // Neither the image's entry point nor its command has a say in a step.
        entrypoint: Some(Vec::new()),
        env,
        workdir: Some(workdir.to_string_lossy().into_owned()),
        user: run.user.clone(),
        volumes: run.volumes.clone(),
        hostname: Some(hostname),
        terminal: matches!(run.streams, Streams::Runtime(Stdio::Terminal)),
        network,
        cap_add: run.cap_add.clone(),
        cap_drop: run.cap_drop.clone(),
        extra_mounts: generated
            .into_iter()
            .map(|(target, source)| bind(target, source))
            .collect(),
        host: HostFacts::detect().map_err(|source| RunError::Host { source })?,
        ..RunOptions::default()
    })
}

fn bind(target: &str, source: PathBuf) -> Mount {
    MountBuilder::default()
        .destination(target)
        .typ("bind")
        .source(source)
        .options(
            ["bind", "rw", "nosuid", "nodev", "noexec"]
                .map(str::to_owned)
                .to_vec(),
        )
        .build()
        .expect("a destination is all that a mount needs")
}

/// The places the runtime will mount over, outermost first.
fn targets(spec: &Spec) -> Vec<Target> {
    let mounts = spec.mounts().iter().flatten();
    let mut targets: Vec<_> = mounts
        .map(|mount| {
            let is_file = mount
                .source()
                .as_ref()
                .is_some_and(|source| source.is_absolute() && !source.is_dir());
            Target {
                path: mount.destination().clone(),
                directory: !(is_file && is_bind(mount)),
            }
        })
        .collect();
    targets.sort_by(|a, b| a.path.cmp(&b.path));
    targets
}

fn is_bind(mount: &Mount) -> bool {
    let option = mount
        .options()
        .iter()
        .flatten()
        .any(|option| option == "bind" || option == "rbind");
    option || mount.typ().as_deref() == Some("bind")
}

/// What was read of a stream, and whether there was more.
type Stream = (Vec<u8>, bool);

/// Two threads that read a step's output, so that neither stream can block the other.
struct Capture {
    readers: [JoinHandle<std::io::Result<Stream>>; 2],
}

impl Capture {
    fn start() -> std::io::Result<(Stdio, Self)> {
        let (stdout_reader, stdout) = std::io::pipe()?;
        let (stderr_reader, stderr) = std::io::pipe()?;
        let readers = [stdout_reader, stderr_reader]
            .map(|pipe| std::thread::spawn(move || read_capped(pipe)));
        let stdio = Stdio::Streams {
            stdin: None,
            stdout: Some(OwnedFd::from(stdout)),
            stderr: Some(OwnedFd::from(stderr)),
        };
        Ok((stdio, Self { readers }))
    }

    fn collect(self, output: &mut RunOutput) -> std::io::Result<()> {
        let mut streams = Vec::new();
        for reader in self.readers {
            streams.push(
                reader
                    .join()
                    .map_err(|_| std::io::Error::other("a reading thread panicked"))??,
            );
        }
        output.truncated = streams.iter().any(|(_, cut)| *cut);
        let mut streams = streams.into_iter().map(|(bytes, _)| bytes);
        output.stdout = streams.next().unwrap_or_default();
        output.stderr = streams.next().unwrap_or_default();
        Ok(())
    }
}

/// Reads to the end, keeps the beginning, and tells whether there was more.
fn read_capped(mut pipe: PipeReader) -> std::io::Result<Stream> {
    let mut kept = Vec::new();
    pipe.by_ref()
        .take(CAPTURE_BYTES as u64)
        .read_to_end(&mut kept)?;
    let more = std::io::copy(&mut pipe, &mut std::io::sink())?;
    Ok((kept, more > 0))
}
