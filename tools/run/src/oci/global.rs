//! The global flags of an OCI runtime, and the state directory they choose.

use super::Ended;
use super::log::Log;
use clap::{ArgAction, Parser, ValueEnum};
use libcontainer::runtime::{CgroupManager, Container, Runtime};
use libcontainer::{ContainerId, ErrorKind, rootless};
use std::path::PathBuf;

/// Open Container Initiative runtime: containers from bundles
///
/// Verbs: create, start, state, kill, delete, run, exec, ps, pause, resume,
/// update, events, spec, list, features; where CRIU is installed, checkpoint
/// and restore.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true)]
pub(crate) struct Globals {
    /// Where the state of containers is kept [default: /run/NAME, for a user $XDG_RUNTIME_DIR/NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// File that a failure is appended to
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Form of that file
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// What is logged [default: warning on standard error, error in a file]
    #[arg(long, value_name = "LEVEL", value_enum, ignore_case = true)]
    pub(crate) log_level: Option<LogLevel>,
    /// The same as --log-level debug
    #[arg(long)]
    pub(crate) debug: bool,
    /// systemd makes cgroups
    #[arg(long)]
    pub(crate) systemd_cgroup: bool,
    /// Who makes cgroups: cgroupfs, systemd, or disabled for none
    #[arg(long, value_name = "MANAGER", default_value = "cgroupfs")]
    pub(crate) cgroup_manager: String,
    /// Accepted for compatibility: found out by itself
    #[arg(long, value_name = "WORD", value_enum, ignore_case = true)]
    pub(crate) rootless: Option<Rootless>,
    /// Print the version
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub(crate) version: bool,
    /// The verb
    #[arg(value_name = "VERB")]
    pub(crate) verb: Option<String>,
}

/// Forms of the log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// What is written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum LogLevel {
    /// Failures.
    #[value(aliases = ["fatal", "panic"])]
    Error,
    /// And what was not done quite as asked.
    #[value(aliases = ["warn", "info"])]
    Warning,
    /// And what is done.
    #[value(alias = "trace")]
    Debug,
}

/// What callers say about rootless containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rootless {
    /// Find out.
    Auto,
    /// They are.
    #[value(alias = "1")]
    True,
    /// They are not.
    #[value(alias = "0")]
    False,
}

/// The face, ready to act.
pub(crate) struct Face {
    /// The runtime on the chosen state directory.
    pub(crate) runtime: Runtime,
    /// Where the state of containers is kept.
    pub(crate) root: PathBuf,
    /// Where warnings go, if they are wanted.
    pub(crate) log: Log,
    /// Called by the name of crun: where it and runc differ, the caller expects what crun does.
    pub(crate) as_crun: bool,
}

impl Face {
    pub(super) fn new(name: &'static str, globals: &Globals) -> Result<Self, Ended> {
        let root = match &globals.root {
            Some(root) => std::path::absolute(root)
                .map_err(|error| Ended::Failed(format!("--root {}: {error}", root.display())))?,
            None => default_root(name)?,
        };
        let manager = match (globals.cgroup_manager.as_str(), globals.systemd_cgroup) {
            ("disabled", _) => CgroupManager::Disabled,
            ("systemd", _) | ("cgroupfs", true) => CgroupManager::Systemd {
                user: rootless::facts().is_ok_and(|facts| facts.is_rootless()),
            },
            ("cgroupfs", false) => CgroupManager::Auto,
            (other, _) => {
                return Err(Ended::Failed(format!(
                    "the cgroup manager {other:?} is not supported (cgroupfs, systemd and disabled are)"
                )));
            }
        };
        let runtime = Runtime::builder()
            .state_dir(&root)
            .cgroup_manager(manager)
            // Where runc and crun put a container whose configuration names no place.
            .cgroup_parent("/")
            // Engines read statistics and change limits of containers that began without any.
            .cgroup_accounting(true)
            .build()?;
        Ok(Self {
            runtime,
            root,
            log: Log::of(globals),
            as_crun: super::is_crun(name),
        })
    }

    /// Finds a container, in the words callers look for.
    pub(super) fn load(&self, id: &str) -> Result<Container, Ended> {
        self.runtime
            .load(&ContainerId::parse(id)?)
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => Ended::Failed(super::words::DOES_NOT_EXIST.to_owned()),
                _ => error.into(),
            })
    }
}

/// Where the state is kept when nobody says. Root of a user namespace is an ordinary user, unless the environment still says root.
fn default_root(name: &str) -> Result<PathBuf, Ended> {
    let root = rustix::process::geteuid().is_root();
    let ordinary = || {
        let initial =
            libcontainer::rootless::facts().is_ok_and(|facts| facts.initial_user_namespace);
        !initial && std::env::var_os("USER").is_none_or(|user| user != "root")
    };
    let of_user = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute());
    match of_user {
        Some(dir) if !root || ordinary() => Ok(dir.join(name)),
        _ if root => Ok(PathBuf::from("/run").join(name)),
        _ => Err(Ended::Failed(
            "no place for state: neither --root nor XDG_RUNTIME_DIR is set".to_owned(),
        )),
    }
}
