//! `exec`: a further process in a running container.

use super::{
    Ended,
    create::{attend, inherited},
    global::Face,
};
use clap::Parser;
use libcontainer::foreground;
use libcontainer::oci_spec::runtime::{Capability, LinuxCapabilities, Process as Description};
use libcontainer::runtime::{Container, ExecOptions, Stdio};
use libcontainer::sys::signal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Largest process description that is read.
const DESCRIPTION_BYTES: u64 = 8 << 20;

/// Start a process in a running container
#[derive(Debug, Parser)]
pub(crate) struct ExecArgs {
    /// File with the process's description (the `process` of a config.json)
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Do not wait for the process
    #[arg(short, long)]
    detach: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
    /// Who the process is: UID or name, with :GID or :group
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// A further group of the process
    #[arg(
        short = 'g',
        long = "additional-gids",
        value_name = "GID",
        value_delimiter = ','
    )]
    additional_gids: Vec<u32>,
    /// A variable of the environment, NAME=VALUE
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// A further capability of the process
    #[arg(short, long, value_name = "CAP")]
    cap: Vec<String>,
    /// Executing a program may give no privileges
    #[arg(long)]
    no_new_privs: bool,
    /// The AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// The SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Socket that a descriptor of the process is sent to
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// How many descriptors above standard error the program inherits
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// A place below the container's cgroup: PATH, or CONTROLLERS:PATH (joined by commas) on v1
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,
    /// Start it in a paused container too, where it stands until the container goes on
    #[arg(long)]
    ignore_paused: bool,
    /// Accepted for compatibility: nothing is reaped that is not ours
    #[arg(long)]
    no_subreaper: bool,
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
    /// The command and its arguments
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

pub(crate) fn exec(face: &Face, args: &ExecArgs) -> Result<u8, Ended> {
    let container = face.load(&args.id)?;
    if !libcontainer::seal::is_sealed()? && container.may_reach_us()? {
        libcontainer::seal::ensure()?;
    }
    let description = match &args.process {
        Some(path) => read(path)?,
        None => described(face, &container, args)?,
    };
    let terminal = description.terminal().unwrap_or(false);
    if terminal && args.detach && args.console_socket.is_none() {
        return Err(Ended::Failed(
            "cannot allocate tty if runc will detach without setting console socket".to_owned(),
        ));
    }
    if args.console_socket.is_some() && !(terminal && args.detach) {
        return Err(Ended::Failed(
            "cannot use console socket if runc will not detach or allocate tty".to_owned(),
        ));
    }
    inherited(face, args.preserve_fds)?;
    let options = ExecOptions {
        stdio: if terminal {
            Stdio::Terminal
        } else {
            Stdio::Inherit
        },
        console_socket: args.console_socket.clone(),
        plain_newlines: args.console_socket.is_none(),
        pid_file: args.pid_file.clone(),
        pidfd_socket: args.pidfd_socket.clone(),
        preserve_fds: args.preserve_fds,
        ignore_paused: args.ignore_paused,
        cgroups: args.cgroup.clone(),
        ..ExecOptions::default()
    };
    trace(face, &description);
    if args.detach {
        container.exec(&description, options)?;
        return Ok(0);
    }
    let failed = |error| Ended::from(libcontainer::Error::from_io(error, "block signals"));
    let blocked = signal::Blocked::block(&foreground::FORWARDED).map_err(failed)?;
    let signals = signal::descriptor(&foreground::FORWARDED).map_err(failed)?;
    let mut process = container.exec(&description, options)?;
    let status = attend(&mut process, signals.as_fd());
    drop(blocked);
    Ok(status?.shell_code())
}

/// What is about to be done, in runc's words.
fn trace(face: &Face, description: &Description) {
    face.log.debug(|| "nsexec container setup".to_owned());
    let affinity = description.exec_cpu_affinity().as_ref();
    let initial = affinity.and_then(|affinity| affinity.initial().as_deref());
    if let Some(mask) = initial.and_then(mask) {
        face.log
            .debug(|| format!("nsexec container setup: affinity: {mask:#x}"));
    }
    face.log.debug(|| "child process in init()".to_owned());
    face.log.debug(|| "setns_init: about to exec".to_owned());
}

/// A list of processors (`0-2,5`) as the bits of a number, for the first 128.
fn mask(list: &str) -> Option<u128> {
    list.split(',').try_fold(0, |bits, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let last = last.trim().parse::<u32>().ok()?.min(u128::BITS - 1);
        let numbers = first.trim().parse::<u32>().ok()?..=last;
        Some(numbers.fold(bits, |bits: u128, number| {
            bits | 1u128.checked_shl(number).unwrap_or_default()
        }))
    })
}

/// Reads a description as tolerantly as a config.json is read.
fn read(path: &Path) -> Result<Description, Ended> {
    let failed = |error: &dyn std::fmt::Display| {
        Ended::Failed(format!("the process in {}: {error}", path.display()))
    };
    let text = std::fs::metadata(path)
        .and_then(|meta| {
            if meta.len() > DESCRIPTION_BYTES {
                return Err(std::io::Error::other("it is too large"));
            }
            std::fs::read_to_string(path)
        })
        .map_err(|error| failed(&error))?;
    let whole = format!("{{\"ociVersion\":\"1.0.2\",\"process\":{text}}}");
    let (spec, _) = libcontainer::spec::load(whole.as_bytes()).map_err(|error| failed(&error))?;
    spec.process().clone().ok_or_else(|| failed(&"it is empty"))
}

/// The container's own process with what the flags change.
fn described(face: &Face, container: &Container, args: &ExecArgs) -> Result<Description, Ended> {
    if args.command.is_empty() {
        return Err(Ended::Failed(
            "exec needs a command, or a description in --process".to_owned(),
        ));
    }
    let mut process = container.process()?;
    process.set_args(Some(args.command.clone()));
    process.set_terminal(Some(args.tty));
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.clone());
    }
    let mut environment = process.env().clone().unwrap_or_default();
    if let Some(wrong) = args.env.iter().find(|entry| !entry.contains('=')) {
        return Err(Ended::Failed(format!("--env {wrong:?} is not NAME=VALUE")));
    }
    environment.extend(args.env.iter().cloned());
    process.set_env(Some(environment));
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(profile) = &args.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if let Some(label) = &args.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    identify(container, args, &mut process)?;
    permit(face, args, &mut process);
    Ok(process)
}

fn identify(
    container: &Container,
    args: &ExecArgs,
    process: &mut Description,
) -> Result<(), Ended> {
    let mut user = process.user().clone();
    if let Some(text) = &args.user {
        let found = container.user(text)?;
        user.set_uid(found.uid);
        user.set_gid(found.gid);
        user.set_additional_gids(Some(found.additional.clone()));
    }
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    groups.extend(&args.additional_gids);
    user.set_additional_gids(Some(groups));
    process.set_user(user);
    Ok(())
}

/// No capabilities: the default of the type has some.
fn none() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(None)
        .set_effective(None)
        .set_permitted(None)
        .set_inheritable(None)
        .set_ambient(None);
    sets
}

/// Adds capabilities. They are never made inheritable: a program that is executed later must not get them by itself. Those that the
/// container has made inheritable become ambient too, as with runc. One that nobody knows is left out, as it is in a config.json.
fn permit(face: &Face, args: &ExecArgs, process: &mut Description) {
    if args.cap.is_empty() {
        return;
    }
    let mut sets = process.capabilities().clone().unwrap_or_else(none);
    for name in &args.cap {
        let Some(capability) = libcontainer::capability::parse(name) else {
            face.log.warn(&format!(
                "--cap {name:?} is not a capability of this kernel"
            ));
            continue;
        };
        let with = |set: &Option<std::collections::HashSet<Capability>>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective, permitted) = (
            with(sets.bounding()),
            with(sets.effective()),
            with(sets.permitted()),
        );
        let handed_on = sets.inheritable().as_ref();
        if handed_on.is_some_and(|set| set.contains(&capability)) {
            let ambient = with(sets.ambient());
            sets.set_ambient(ambient);
        }
        sets.set_bounding(bounding);
        sets.set_effective(effective);
        sets.set_permitted(permitted);
    }
    process.set_capabilities(Some(sets));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_bits() {
        for (list, bits) in [
            ("0", Some(1)),
            ("0-2,5", Some(0b10_0111)),
            ("3-1", Some(0)),
            ("127-4294967295", Some(1 << 127)),
            ("200", Some(0)),
            ("0-4294967295", Some(u128::MAX)),
            ("x", None),
        ] {
            assert_eq!(mask(list), bits, "{list}");
        }
    }
}
