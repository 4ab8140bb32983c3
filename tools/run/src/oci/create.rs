//! `create`, and `run`, which is create and start in the foreground.

use super::notify::{self, Proxy};
use super::{Ended, global::Face, user, words};
use clap::Parser;
use libcontainer::bundle::Bundle;
use libcontainer::foreground::{self, Foreground, RawMode, Terminal};
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::plan::Plan;
use libcontainer::runtime::{Container, CreateOptions, Process, Stdio};
use libcontainer::seal;
use libcontainer::sys::signal;
use libcontainer::{ContainerId, ExitStatus};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Create a container that waits for start
#[derive(Debug, Parser)]
pub(crate) struct CreateArgs {
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
    /// Directory with config.json and the root file system
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Socket that a descriptor of the first process is sent to
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Read this file instead of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Enter the root without pivot_root, which the initial ramfs does not know; less safe
    #[arg(long)]
    no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// How many descriptors above standard error the program inherits
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Accepted for compatibility: nothing is reaped that is not ours
    #[arg(long)]
    no_subreaper: bool,
}

/// Create and start a container, and wait for it
#[derive(Debug, Parser)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    create: CreateArgs,
    /// Do not wait for it
    #[arg(short, long)]
    detach: bool,
    /// Keep the container's record after it has ended
    #[arg(long)]
    keep: bool,
}

pub(crate) fn create(face: &Face, args: &CreateArgs) -> Result<u8, Ended> {
    make(face, args, For::Others).map(|_| 0)
}

/// Who starts a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// Another call.
    Others,
    /// We do, and leave it.
    Detached,
    /// We do, and stay.
    Foreground,
}

pub(crate) fn run(face: &Face, args: &RunArgs) -> Result<u8, Ended> {
    let failed = |error| Ended::from(libcontainer::Error::from_io(error, "block signals"));
    let mut blocked = None;
    if !args.detach {
        blocked = Some(signal::Blocked::block(&foreground::FORWARDED).map_err(failed)?);
    }
    let signals = signal::descriptor(&foreground::FORWARDED).map_err(failed)?;
    let whom = if args.detach {
        For::Detached
    } else {
        For::Foreground
    };
    let mut container = make(face, &args.create, whom)?;
    face.log
        .debug(|| "init: closing the pipe to signal completion".to_owned());
    let id = container.id().clone();
    let proxy = Proxy::before_start(face, id.as_str())?;
    if let Err(error) = container.start() {
        remove(face, container)?;
        notify::forget(face, id.as_str());
        return Err(error.into());
    }
    if args.detach {
        if let Some(proxy) = proxy {
            proxy.until_ready(container.init()?)?;
        }
        return Ok(0);
    }
    if let Some(proxy) = proxy {
        proxy.in_background();
    }
    let status = container
        .init()
        .and_then(|process| attend(process, signals.as_fd()));
    if !args.keep || status.is_err() {
        remove(face, container)?;
        notify::forget(face, id.as_str());
    }
    drop(blocked);
    Ok(status?.shell_code())
}

fn make(face: &Face, args: &CreateArgs, whom: For) -> Result<Container, Ended> {
    let foreground = whom == For::Foreground;
    let id = ContainerId::parse(&args.id)?;
    let mut bundle = open(face, args)?;
    let visible = seal::is_visible_from(bundle.spec());
    if visible && seal::is_writable_from(bundle.spec())? {
        seal::ensure()?;
    }
    for warning in bundle.warnings() {
        face.log.warn(&warning.to_string());
    }
    let terminal = bundle
        .spec()
        .process()
        .as_ref()
        .and_then(|process| process.terminal())
        .unwrap_or(false);
    if terminal && args.console_socket.is_none() && !foreground {
        return Err(Ended::Failed(
            "cannot allocate tty if runc will detach without setting console socket".to_owned(),
        ));
    }
    if !terminal && args.console_socket.is_some() {
        return Err(Ended::Failed(
            "cannot use console socket if runc will not detach or allocate tty".to_owned(),
        ));
    }
    let listening = notify::listening();
    inherited(face, args.preserve_fds)?;
    let mut environment = Vec::new();
    if listening > 0 {
        environment.push(format!("LISTEN_FDS={listening}"));
        // In the container it is the first.
        environment.push("LISTEN_PID=1".to_owned());
    }
    let made = notify::prepare(face, id.as_str(), &mut bundle, &mut environment)?;
    let options = CreateOptions {
        stdio: if terminal {
            Stdio::Terminal
        } else {
            Stdio::Inherit
        },
        console_socket: args.console_socket.clone(),
        // As runc: our own terminal turns newlines into what begins a line, and a pipe gets none of that.
        plain_newlines: args.console_socket.is_none(),
        listener_as_crun: face.as_crun,
        pid_file: args.pid_file.clone(),
        pidfd_socket: args.pidfd_socket.clone(),
        preserve_fds: listening.saturating_add(args.preserve_fds),
        no_new_keyring: args.no_new_keyring,
        no_pivot: args.no_pivot,
        environment,
        ..CreateOptions::default()
    };
    let plan = face.runtime.plan(&id, &bundle, options);
    let created = plan.and_then(|plan| {
        for warning in plan.warnings() {
            face.log.warn(warning);
        }
        trace(face, &plan);
        if whom == For::Others {
            face.runtime.create(plan)
        } else {
            face.runtime.create_attended(plan)
        }
    });
    let created = created.map_err(Ended::from).and_then(|mut container| {
        match complete(face, &mut container, visible) {
            Ok(()) => Ok(container),
            Err(ended) => {
                // What could not be completed is not left there; the first failure is the one to be told.
                remove(face, container).ok();
                Err(ended)
            }
        }
    });
    if created.is_err() && made {
        notify::forget(face, id.as_str());
    }
    created
}

/// What is said of a container that was made, and kept beside it.
fn complete(face: &Face, container: &mut Container, visible: bool) -> Result<(), Ended> {
    if visible && !container.keeps_processes_together()? {
        face.log.warn(
            "the container has neither a cgroup nor a pid namespace of its own: what its first process leaves behind cannot be ended. \
             Such configuration is strongly discouraged",
        );
    }
    if face.as_crun {
        keep_status(face, container)?;
    }
    if let Ok(init) = container.init() {
        let pid = init.pid();
        face.log.debug(|| format!("child process in init(): {pid}"));
    }
    Ok(())
}

/// Leaves what readers of crun's state directory find there: its file `status`, with where the first process's streams lead.
fn keep_status(face: &Face, container: &Container) -> Result<(), Ended> {
    let state = container.state()?;
    let stream = |number: u8| {
        let link = std::fs::read_link(format!("/proc/{}/fd/{number}", state.pid));
        link.unwrap_or_default().to_string_lossy().into_owned()
    };
    let streams: Vec<_> = (0..3).map(stream).collect();
    let status = serde_json::json!({
        "pid": state.pid,
        "bundle": state.bundle,
        "rootfs": state.rootfs,
        "created": state.created,
        "owner": state.owner,
        "external_descriptors": serde_json::json!(streams).to_string(),
    });
    let path = face.root.join(container.id().as_str()).join("status");
    std::fs::write(&path, status.to_string()).map_err(|error| {
        libcontainer::Error::from_io(error, "write")
            .with_path(path)
            .into()
    })
}

/// What the container's process will do.
fn trace(face: &Face, plan: &Plan) {
    face.log
        .debug(|| format!("nsexec container setup:\n{plan}"));
    if let Some(flags) = plan.filter_flags() {
        face.log.debug(|| format!("seccomp filter flags: {flags}"));
    }
}

fn remove(face: &Face, container: Container) -> libcontainer::Result<()> {
    container.delete_telling(true, &mut |error| face.log.warn(&words::of(&error)))
}

/// Opens the bundle. A configuration that is not called config.json is looked for where the caller is, as crun does.
fn open(face: &Face, args: &CreateArgs) -> Result<Bundle, Ended> {
    let config = match &args.config {
        Some(config) if config.as_os_str() != "config.json" => std::path::absolute(config)
            .map_err(|error| Ended::Failed(format!("{}: {error}", config.display())))?,
        _ => PathBuf::from("config.json"),
    };
    let change = |spec: &mut Spec| {
        if face.as_crun {
            user::complete(spec);
        }
    };
    Ok(Bundle::open_changed(&args.bundle, &config, change)?)
}

/// Whether there are as many descriptors to inherit as the caller says. For runc fewer are an error, for crun they are as good.
pub(super) fn inherited(face: &Face, count: u32) -> Result<(), Ended> {
    let missing = (3..count.saturating_add(3))
        .find(|number| std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err());
    let Some(number) = missing else { return Ok(()) };
    let message =
        format!("unable to stat preserved-fd {number} (of {count} passed): it is not open");
    if !face.as_crun {
        return Err(Ended::Failed(message));
    }
    face.log.warn(&message);
    Ok(())
}

/// Passes signals and terminal data between us and a process until it ends.
pub(super) fn attend(
    process: &mut Process,
    signals: std::os::fd::BorrowedFd<'_>,
) -> libcontainer::Result<ExitStatus> {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    let mut _raw = None;
    let mut terminal = None;
    if let Some(master) = process.take_terminal() {
        _raw = RawMode::enter_printing(stdin.as_fd())?;
        terminal = Some(Terminal {
            master,
            input: Some(stdin.as_fd()),
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
