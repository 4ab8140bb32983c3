//! From an unpacked image to an exit code: root, specification, plan, process, and nothing left behind.

use super::{args::JobArgs, host_files};
use crate::{failure, space::Space};
use libcontainer::bundle::Bundle;
use libcontainer::engine::{self, ContainerDir, ContainerName, Engine};
use libcontainer::foreground::{self, Foreground, RawMode, Terminal};
use libcontainer::oci_spec::runtime::{Box as ConsoleSize, BoxBuilder};
use libcontainer::plan::Plan;
use libcontainer::runtime::{CreateOptions, Process, Runtime, Stdio};
use libcontainer::spec::{self, HostFacts, Network, RunOptions};
use libcontainer::sys::signal;
use libcontainer::{ExitStatus, Signal};
use libimage::store::{Image, Store};
use libimage::view::{self, View};
use std::os::fd::{AsFd, BorrowedFd};
use trimaran_cli::{ExitCode, Failure, output};

/// Digits of the id that make the default host name, as docker does.
const SHORT: usize = 12;

/// One job, everything decided that can be before a container exists.
pub(crate) struct Job<'a> {
    /// Where we work.
    pub(crate) space: &'a Space,
    /// Where the image is.
    pub(crate) store: &'a Store,
    /// The image, unpacked.
    pub(crate) image: &'a Image,
    /// What the flags ask for.
    pub(crate) wishes: RunOptions,
    /// The container's name.
    pub(crate) name: Option<ContainerName>,
}

/// Runs the job to its end.
///
/// # Errors
/// The container cannot be started. What was made for it is removed.
pub(crate) fn run(args: &JobArgs, mut job: Job<'_>) -> Result<ExitCode, Failure> {
    // From here on a signal is something to pass on or to tidy up after; what nobody read ends us when this is dropped.
    let _blocked = signal::Blocked::block(&foreground::FORWARDED)?;
    let signals = signal::descriptor(&foreground::FORWARDED)?;
    let engine = Engine::open(&job.space.directories.root).map_err(failure::container)?;
    engine.sweep().map_err(failure::container)?;
    let container = engine
        .begin(job.name.as_ref())
        .map_err(failure::container)?;
    // The view keeps the image's layers from being removed; it is dropped after the container is gone.
    let view = view::root(job.store, job.image).map_err(failure::image)?;
    let bundle = bundle(&mut job, &container, &view)?;
    let runtime = Runtime::builder().build().map_err(failure::container)?;
    let options = CreateOptions {
        stdio: stdio(args),
        // A container whose owner was killed has nobody who reads its output or tidies up.
        parent_death_signal: Some(Signal::KILL),
        ..CreateOptions::default()
    };
    let plan = runtime
        .plan(container.id(), &bundle, options)
        .map_err(failure::container)?;
    drop(bundle);
    if args.explain {
        output::text(&plan.to_string())?;
        plan.warnings().iter().for_each(output::warn);
        return Ok(ExitCode::Success);
    }
    container.note_plan(&plan).map_err(failure::container)?;
    let status = follow(&runtime, plan, &container, args, signals.as_fd())?;
    container.remove().map_err(failure::container)?;
    Ok(ExitCode::Container(status.shell_code()))
}

/// Root and specification.
fn bundle(job: &mut Job<'_>, container: &ContainerDir, view: &View) -> Result<Bundle, Failure> {
    let root = container
        .prepare_root(&view.lowers, view.userxattr)
        .map_err(failure::container)?;
    let users = engine::user_files(&root).map_err(failure::container)?;
    let options = &mut job.wishes;
    let hostname = options
        .hostname
        .get_or_insert_with(|| default_hostname(options.network, container))
        .clone();
    options.extra_mounts =
        host_files::make(&container.files(), &hostname, options).map_err(|error| {
            Failure::new(format!(
                "cannot write {}: {error}",
                container.files().display()
            ))
        })?;
    options.host = HostFacts::detect()?;
    let mut spec =
        spec::from_image(job.image.config(), options, &users).map_err(failure::container)?;
    if let Some(process) = spec.process_mut() {
        process.set_console_size(console_size());
    }
    Ok(Bundle::from_spec(spec, root))
}

fn default_hostname(network: Network, container: &ContainerDir) -> String {
    match network {
        // Whoever shares the network shares its name, as with docker and podman.
        Network::Host => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        _ => container.id().as_str().chars().take(SHORT).collect(),
    }
}

fn stdio(args: &JobArgs) -> Stdio {
    if args.tty {
        return Stdio::Terminal;
    }
    // A stream that is closed here is /dev/null there.
    let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().ok();
    Stdio::Streams {
        stdin: args
            .interactive
            .then(|| copy(std::io::stdin().as_fd()))
            .flatten(),
        stdout: copy(std::io::stdout().as_fd()),
        stderr: copy(std::io::stderr().as_fd()),
    }
}

/// The size of our terminal, so that the container's has it from its first moment.
fn console_size() -> Option<ConsoleSize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    BoxBuilder::default()
        .height(u64::from(size.ws_row))
        .width(u64::from(size.ws_col))
        .build()
        .ok()
}

/// Starts the process and relays until it ends. If we fail in between, the process does not outlive us.
fn follow(
    runtime: &Runtime,
    plan: Plan,
    container: &ContainerDir,
    args: &JobArgs,
    signals: BorrowedFd<'_>,
) -> Result<ExitStatus, Failure> {
    let mut process = runtime.run(plan).map_err(failure::container)?;
    let status = attend(&mut process, container, args, signals);
    if status.is_err() {
        process
            .kill(Signal::KILL)
            .and_then(|()| process.wait())
            .ok();
    }
    status.map_err(failure::container)
}

fn attend(
    process: &mut Process,
    container: &ContainerDir,
    args: &JobArgs,
    signals: BorrowedFd<'_>,
) -> libcontainer::Result<ExitStatus> {
    container.note_process(process)?;
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    let input = args.interactive.then(|| stdin.as_fd());
    let mut _raw = None;
    let mut terminal = None;
    if let Some(master) = process.take_terminal() {
        _raw = input.map(RawMode::enter).transpose()?.flatten();
        terminal = Some(Terminal {
            master,
            input,
            output: stdout.as_fd(),
        });
    }
    foreground::relay(
        process,
        Foreground {
            signals: Some(signals),
            terminal,
        },
    )
}
