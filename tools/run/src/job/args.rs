//! The flags of `run IMAGE [COMMAND…]`, each defined and documented once.

use crate::verbs::RootArgs;
use clap::{ArgAction, Parser, ValueEnum};
use libimage::platform::Platform;
use std::path::PathBuf;
use trimaran_cli::registry::RegistryArgs;

/// Run a command in a new container, in the foreground, and leave nothing behind
///
/// The image is taken from the store, or pulled if it is not there. The exit code is the command's own; 125 if the
/// container could not be started, 126 if the command cannot be executed, 127 if there is no such command.
#[derive(Debug, Parser)]
#[command(override_usage = "run [OPTIONS] IMAGE [COMMAND]...\n       run VERB ...")]
pub struct JobArgs {
    /// Image: a name or id in the store, else NAME in a registry; docker://NAME, oci:DIR[:TAG]
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Command and its arguments, instead of the image's
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,

    /// Set an environment variable; NAME alone takes our own value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Add a supplementary group
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Bind a file or directory of the host into the container
    #[arg(short, long, value_name = "SOURCE:TARGET[:OPTIONS]")]
    pub volume: Vec<String>,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Host name in the container [default: the beginning of its id]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Program instead of the image's entrypoint; empty for none
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,

    /// Keep stdin open; without it the command's stdin is empty
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub tty: bool,

    /// Network: none has loopback only, host is the host's own
    #[arg(long, visible_alias = "net", value_enum, default_value_t = NetworkArg::None)]
    pub network: NetworkArg,
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// Security: no-new-privileges, seccomp=unconfined, seccomp=FILE
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,

    /// Name of the container, unique while it runs
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Accepted for compatibility: a container never outlives its command
    #[arg(long)]
    pub rm: bool,
    /// Print what would be done to start the container, step by step, and start nothing
    #[arg(long)]
    pub explain: bool,

    /// When to ask the registry
    #[arg(long, value_enum, default_value_t = PullArg::Missing)]
    pub pull: PullArg,
    /// Which image of a multi-platform one [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<Platform>,
    /// Say nothing about pulling and unpacking
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub registry: RegistryArgs,
    #[command(flatten)]
    pub root: RootArgs,

    /// Print the version
    #[arg(long, action = ArgAction::SetTrue, exclusive = true)]
    pub version: bool,
}

/// The networks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkArg {
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// When to pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PullArg {
    /// Every time.
    Always,
    /// If the store does not have the image.
    Missing,
    /// Never.
    Never,
}
