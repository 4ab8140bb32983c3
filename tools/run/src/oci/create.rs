//! `create`, and `run`, which is create and start in the foreground.

use super::{Ended, global::Face};
use clap::Parser;
use libcontainer::bundle::Bundle;
use libcontainer::foreground::{self, Foreground, RawMode, Terminal};
use libcontainer::runtime::{Container, CreateOptions, Process, Stdio};
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
    /// Not supported: the root is always pivoted into
    #[arg(long)]
    no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// How many descriptors above standard error the program inherits
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
}

/// Create and start a container, and wait for it
#[derive(Debug, Parser)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    create: CreateArgs,
    /// Do not wait
    #[arg(short, long)]
    detach: bool,
    /// Keep the container's record after it has ended
    #[arg(long)]
    keep: bool,
    /// Accepted for compatibility
    #[arg(long)]
    no_subreaper: bool,
}

pub(crate) fn create(face: &Face, args: &CreateArgs) -> Result<u8, Ended> {
    make(face, args, false).map(|_| 0)
}

pub(crate) fn run(face: &Face, args: &RunArgs) -> Result<u8, Ended> {
    let failed = |error| Ended::from(libcontainer::Error::from_io(error, "block signals"));
    let mut blocked = None;
    if !args.detach {
        blocked = Some(signal::Blocked::block(&foreground::FORWARDED).map_err(failed)?);
    }
    let signals = signal::descriptor(&foreground::FORWARDED).map_err(failed)?;
    let mut container = make(face, &args.create, !args.detach)?;
    let started = container.start();
    if args.detach || started.is_err() {
        if started.is_err() {
            container.delete(true)?;
        }
        return Ok(started.map(|()| 0)?);
    }
    let status = container
        .init()
        .and_then(|process| attend(process, signals.as_fd()));
    if !args.keep || status.is_err() {
        container.delete(true)?;
    }
    drop(blocked);
    Ok(status?.shell_code())
}

fn make(face: &Face, args: &CreateArgs, foreground: bool) -> Result<Container, Ended> {
    if args.no_pivot {
        return Err(Ended::Failed("--no-pivot is not supported: the root must be on a file system that can be pivoted into".to_owned()));
    }
    if face.systemd_cgroup {
        return Err(Ended::Failed(
            "the systemd cgroup manager is not supported yet; use cgroupfs".to_owned(),
        ));
    }
    let id = ContainerId::parse(&args.id)?;
    let bundle = Bundle::open(&args.bundle)?;
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
    let options = CreateOptions {
        stdio: if terminal {
            Stdio::Terminal
        } else {
            Stdio::Inherit
        },
        console_socket: args.console_socket.clone(),
        pid_file: args.pid_file.clone(),
        preserve_fds: args.preserve_fds,
        no_new_keyring: args.no_new_keyring,
        parent_death_signal: None,
    };
    let plan = face.runtime.plan(&id, &bundle, options)?;
    Ok(face.runtime.create(plan)?)
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
        _raw = RawMode::enter(stdin.as_fd())?;
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
