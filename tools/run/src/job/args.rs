//! The flags of `run IMAGE [COMMAND…]`, each defined and documented once.

use crate::verbs::RootArgs;
use clap::{Parser, ValueEnum};
use libimage::platform::Platform;
use std::path::PathBuf;
use trimaran_cli::registry::RegistryArgs;

/// Run a command in a new container, in the foreground, and leave nothing behind
///
/// The image is taken from the store, or pulled if it is not there. The exit code is the command's own; 125 if the
/// container could not be started, 126 if the command cannot be executed, 127 if there is no such command.
#[derive(Debug, Parser)]
#[command(
    version,
    override_usage = "run [OPTIONS] IMAGE [COMMAND]...\n       run VERB ..."
)]
pub(crate) struct JobArgs {
    /// Image: a name or id in the store, else NAME in a registry; docker://NAME, oci:DIR:TAG
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Command and its arguments, instead of the image's
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<String>,

    /// Set an environment variable; NAME alone takes our own value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// User and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Add a supplementary group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Bind a file or directory of the host into the container
    #[arg(short, long, value_name = "SOURCE:TARGET[:OPTIONS]")]
    pub(crate) volume: Vec<String>,
    /// Make the root file system read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Host name in the container [default: the beginning of its id]
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Program instead of the image's entrypoint; empty for none
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,

    /// Keep stdin open; without it the command's stdin is empty
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,

    /// Network: none has loopback only, host is the host's own
    #[arg(long, visible_alias = "net", value_enum, default_value_t = NetworkArg::None)]
    pub(crate) network: NetworkArg,
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// Security: no-new-privileges, seccomp=unconfined, seccomp=FILE
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,

    /// Name of the container, unique while it runs
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Accepted for compatibility: a container never outlives its command
    #[arg(long)]
    pub(crate) rm: bool,
    /// Print what would be done to start the container, step by step, and start nothing
    #[arg(long)]
    pub(crate) explain: bool,

    /// When to ask the registry
    #[arg(long, value_enum, default_value_t = PullArg::Missing)]
    pub(crate) pull: PullArg,
    /// Which image of a multi-platform one [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    /// Say nothing about pulling and unpacking
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) root: RootArgs,
}

/// The networks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkArg {
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// When to pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullArg {
    /// Every time.
    Always,
    /// If the store does not have the image.
    Missing,
    /// Never.
    Never,
}
