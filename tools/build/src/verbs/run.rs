//! `build run CTR -- CMD…`: a step.

use crate::place::Place;
use crate::told;
use clap::ValueEnum;
use libbuild::foreground::{FORWARDED, Foreground, RawMode, Terminal, relay};
use libbuild::{ExitStatus, Network, Process, Run, Stdio, Streams, Volume, signal};
use std::os::fd::AsFd;
use trimaran_cli::{ExitCode, Failure};

/// Runs a command in a working container; its exit code becomes ours
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The working container
    container: String,

    /// The command; `--` before it keeps its flags apart from ours
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,

    /// Run the words as one line of /bin/sh -c, as a Containerfile's RUN does
    #[arg(long)]
    sh: bool,

    /// Set a variable for this step only
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// User to run as, instead of the configured one
    #[arg(long, short, value_name = "USER[:GROUP]")]
    user: Option<String>,

    /// Working directory, instead of the configured one; made if it is missing
    #[arg(long, short, value_name = "DIR")]
    workingdir: Option<String>,

    /// Host name [default: trimaran, so that steps do not depend on the machine]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,

    /// Network of the step
    #[arg(long, value_enum, default_value_t)]
    network: Net,

    /// Bind a file or directory of the host
    #[arg(long, short, value_name = "SOURCE:TARGET[:ro]")]
    volume: Vec<Volume>,

    /// Add a capability, or ALL
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,

    /// Take a capability away, or ALL
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,

    /// Give the step a terminal
    #[arg(long, short)]
    terminal: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Net {
    /// The host's
    #[default]
    Host,
    /// Loopback only
    None,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, place: &Place) -> Result<ExitCode, Failure> {
    let container = place.container(&args.container)?;
    let outcome = container
        .run_with(step(args)?, accompany)
        .map_err(told::build)?;
    // What the runtime could do without (a cgroup file system, on older hosts) matters to services, not to a step that has ended.
    Ok(ExitCode::Container(outcome.status.shell_code()))
}

fn step(args: &Args) -> Result<Run, Failure> {
    let mut run = if args.sh {
        Run::sh(args.command.join(" "))
    } else {
        Run::argv(&args.command)
    };
    for variable in &args.env {
        let pair = variable
            .split_once('=')
            .filter(|(name, _)| !name.is_empty());
        let (name, value) = pair
            .ok_or_else(|| Failure::usage(format!("--env takes NAME=VALUE, not {variable:?}")))?;
        run = run.env(name, value);
    }
    run = args.user.iter().fold(run, Run::user);
    run = args.workingdir.iter().fold(run, Run::workdir);
    run = args.hostname.iter().fold(run, Run::hostname);
    run = args.volume.iter().cloned().fold(run, Run::volume);
    run = args.cap_add.iter().fold(run, Run::cap_add);
    run = args.cap_drop.iter().fold(run, Run::cap_drop);
    run = run.network(match args.network {
        Net::Host => Network::Host,
        Net::None => Network::None,
    });
    Ok(run.streams(Streams::Runtime(if args.terminal {
        Stdio::Terminal
    } else {
        Stdio::Inherit
    })))
}

/// Passes signals on and serves the terminal until the step has ended.
fn accompany(process: &mut Process) -> libbuild::ContainerResult<ExitStatus> {
    let failed = |error| libbuild::ContainerError::from_io(error, "take signals");
    let _blocked = signal::Blocked::block(&FORWARDED).map_err(failed)?;
    let signals = signal::descriptor(&FORWARDED).map_err(failed)?;
    let (input, output) = (std::io::stdin(), std::io::stdout());
    let master = process.take_terminal();
    let _raw = master
        .is_some()
        .then(|| RawMode::enter(input.as_fd()))
        .transpose()?;
    let terminal = master.map(|master| Terminal {
        master,
        input: Some(input.as_fd()),
        output: output.as_fd(),
    });
    relay(
        process,
        Foreground {
            signals: Some(signals.as_fd()),
            terminal,
        },
    )
}
