//! An image's configuration and a user's wishes become a runtime specification. Pure.

use super::{
    HostFacts, Network, ResolvedUser, RunOptions, SeccompChoice, UserError, UserFiles, VolumeError,
    default, resolve, resolve_group,
};
use crate::{
    capability::{self, CapabilityError, CapabilitySet},
    error::{Error, ErrorKind},
    seccomp::{ProfileFacts, default_profile},
};
use oci_spec::{
    image::{Config, ImageConfiguration},
    runtime::{Linux, LinuxSeccomp, Mount, Process, Root, Spec, User},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The version of the specification that is written.
const VERSION: &str = "1.2.0";

/// Why no specification can be made.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// Neither the image nor the user names a program.
    #[error("the image names no command, and none was given")]
    NoCommand,
    /// The user or the group cannot be found.
    #[error("the user cannot be used")]
    User(#[from] UserError),
    /// The user or group exists in the image, but not in our user namespace.
    #[error("{kind} {id} is not mapped into the user namespace")]
    Unmapped {
        /// `user` or `group`.
        kind: &'static str,
        /// The id.
        id: u32,
    },
    /// A capability cannot be given.
    #[error("the capabilities cannot be used")]
    Capability(#[from] CapabilityError),
    /// A variable without a name or a value.
    #[error("variable {0:?} is not NAME=VALUE")]
    Variable(String),
    /// A working directory that depends on another one.
    #[error("working directory {0:?} is not an absolute path")]
    WorkingDirectory(String),
    /// A volume with a relative source.
    #[error("volume source {0} is not an absolute path")]
    VolumeSource(PathBuf),
    /// A volume word that cannot be read.
    #[error("the volumes cannot be used")]
    Volume(#[from] VolumeError),
    /// There is no filter for this architecture.
    #[error("system call filters are not supported on this architecture")]
    NoFilter,
}

impl SpecError {
    fn kind(&self) -> ErrorKind {
        let field = match self {
            Self::NoCommand => "process.args",
            Self::User(UserError::UnknownUser { .. } | UserError::UnknownGroup { .. }) => {
                return ErrorKind::UnknownUser;
            }
            Self::User(_) | Self::Unmapped { .. } => "process.user",
            Self::Capability(_) => "process.capabilities",
            Self::Variable(_) => "process.env",
            Self::WorkingDirectory(_) => "process.cwd",
            Self::VolumeSource(_) | Self::Volume(_) => "mounts",
            Self::NoFilter => {
                return ErrorKind::Unsupported {
                    feature: "seccomp on this architecture".to_owned(),
                };
            }
        };
        ErrorKind::InvalidSpec {
            field: field.to_owned(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoCommand => Some("write the command behind the image's name"),
            Self::User(UserError::UnknownUser { .. } | UserError::UnknownGroup { .. }) => {
                Some("a numeric id works without an entry in the image's files")
            }
            Self::Unmapped { .. } => Some(
                "give the user a range of ids in /etc/subuid and /etc/subgid, and install uidmap",
            ),
            Self::NoFilter => Some("run without a filter: --security-opt seccomp=unconfined"),
            _ => None,
        }
    }
}

impl From<SpecError> for Error {
    fn from(error: SpecError) -> Self {
        let whole = Self::new(error.kind(), "make the specification");
        match error.hint() {
            Some(hint) => whole.with_hint(hint),
            None => whole,
        }
        .with_source(error)
    }
}

/// Makes the specification of a container.
///
/// The root's path is `rootfs`, a placeholder: the root itself is handed to the bundle. What the image declares as volumes is not
/// mounted ([`image_volumes`] lists it).
///
/// # Errors
/// No program, an unknown user or capability, a path that is not absolute.
pub fn from_image(
    config: &ImageConfiguration,
    options: &RunOptions,
    files: &UserFiles,
) -> Result<Spec, SpecError> {
    let unset = Config::default();
    let image = config.config().as_ref().unwrap_or(&unset);
    let user = user(image, options, files)?;
    let hostname = options.hostname.as_deref().unwrap_or(default::HOSTNAME);
    let selection = {
        let base = if options.privileged {
            CapabilitySet::ALL
        } else {
            CapabilitySet::container_default()
        };
        capability::select(
            base,
            &options.cap_add,
            &options.cap_drop,
            options.host.bounding,
        )?
    };

    let mut process = Process::default();
    process
        .set_terminal(Some(options.terminal))
        .set_user(spec_user(&user))
        .set_args(Some(command(image, options)?))
        .set_env(Some(environment(image, options, &user, hostname)?))
        .set_cwd(working_directory(image, options)?)
        .set_capabilities(Some(selection.for_uid(user.uid)))
        .set_rlimits(Some(default::rlimits(options)))
        .set_no_new_privileges(Some(options.no_new_privileges));

    let mut root = Root::default();
    root.set_path(PathBuf::from("rootfs"))
        .set_readonly(Some(options.read_only));
    let mut spec = Spec::default();
    spec.set_version(VERSION.to_owned())
        .set_root(Some(root))
        .set_process(Some(process))
        .set_hostname(Some(hostname.to_owned()))
        .set_mounts(Some(mounts(options)?))
        .set_annotations(Some(annotations(config, image, options)))
        .set_linux(Some(linux(options, selection.bounding)?));
    Ok(spec)
}

/// The paths the image wants to be volumes, sorted. What is mounted there is the caller's decision.
pub fn image_volumes(config: &ImageConfiguration) -> Vec<String> {
    let volumes = config
        .config()
        .as_ref()
        .and_then(|config| config.volumes().clone());
    let mut volumes = volumes.unwrap_or_default();
    volumes.sort_unstable();
    volumes.dedup();
    volumes
}

/// An entrypoint given by the user clears the image's command; words given by the user replace it.
fn command(image: &Config, options: &RunOptions) -> Result<Vec<String>, SpecError> {
    let image_command = image.cmd().clone().unwrap_or_default();
    let (mut words, rest) = match &options.entrypoint {
        Some(entrypoint) => (entrypoint.clone(), options.args.clone()),
        None => {
            let rest = if options.args.is_empty() {
                image_command
            } else {
                options.args.clone()
            };
            (image.entrypoint().clone().unwrap_or_default(), rest)
        }
    };
    words.extend(rest);
    if words.first().is_none_or(String::is_empty) {
        Err(SpecError::NoCommand)
    } else {
        Ok(words)
    }
}

fn user(
    image: &Config,
    options: &RunOptions,
    files: &UserFiles,
) -> Result<ResolvedUser, SpecError> {
    let word = options
        .user
        .as_deref()
        .or(image.user().as_deref())
        .unwrap_or_default();
    let mut user = resolve(word, &files.passwd, &files.group)?;
    for group in &options.group_add {
        user.additional.push(resolve_group(group, &files.group)?);
    }
    let host = &options.host;
    if !host.has_uid(user.uid) {
        return Err(SpecError::Unmapped {
            kind: "user",
            id: user.uid,
        });
    }
    if !host.has_gid(user.gid) {
        return Err(SpecError::Unmapped {
            kind: "group",
            id: user.gid,
        });
    }
    user.additional.sort_unstable();
    user.additional.dedup();
    keep_settable(&mut user.additional, host);
    Ok(user)
}

/// Groups of the image that cannot be had are left out: being in a group less never gives access.
fn keep_settable(groups: &mut Vec<u32>, host: &HostFacts) {
    groups.retain(|group| host.setgroups && host.has_gid(*group));
}

fn spec_user(user: &ResolvedUser) -> User {
    let mut spec = User::default();
    spec.set_uid(user.uid)
        .set_gid(user.gid)
        .set_umask(Some(default::UMASK))
        .set_additional_gids((!user.additional.is_empty()).then(|| user.additional.clone()));
    spec
}

/// Defaults, then the image's variables, then the user's; HOME where nobody set one.
fn environment(
    image: &Config,
    options: &RunOptions,
    user: &ResolvedUser,
    hostname: &str,
) -> Result<Vec<String>, SpecError> {
    let mut variables = vec![
        default::PATH.to_owned(),
        default::CONTAINER.to_owned(),
        format!("HOSTNAME={hostname}"),
    ];
    if options.terminal {
        variables.push(default::TERM.to_owned());
    }
    // An image's variable without a value is what some builders write for "unset".
    for variable in image
        .env()
        .iter()
        .flatten()
        .filter(|variable| is_variable(variable))
    {
        set(&mut variables, variable);
    }
    for variable in &options.env {
        if !is_variable(variable) {
            return Err(SpecError::Variable(variable.clone()));
        }
        set(&mut variables, variable);
    }
    if !variables.iter().any(|variable| {
        variable
            .strip_prefix("HOME=")
            .is_some_and(|home| !home.is_empty())
    }) {
        set(&mut variables, &format!("HOME={}", user.home));
    }
    Ok(variables)
}

fn is_variable(text: &str) -> bool {
    !text.contains('\0')
        && text
            .split_once('=')
            .is_some_and(|(name, _)| !name.is_empty())
}

fn set(variables: &mut Vec<String>, variable: &str) {
    let name = |text: &str| text.split_once('=').map(|(name, _)| name.to_owned());
    match variables
        .iter_mut()
        .find(|known| name(known) == name(variable))
    {
        Some(known) => variable.clone_into(known),
        None => variables.push(variable.to_owned()),
    }
}

fn working_directory(image: &Config, options: &RunOptions) -> Result<PathBuf, SpecError> {
    if let Some(asked) = &options.workdir {
        let path = PathBuf::from(asked);
        return if path.is_absolute() {
            Ok(path)
        } else {
            Err(SpecError::WorkingDirectory(asked.clone()))
        };
    }
    // docker takes an image's relative one from the root.
    Ok(Path::new("/").join(image.working_dir().as_deref().unwrap_or_default()))
}

/// The kernel's file systems, then everything else from the outside in: a mount must not hide one that lies deeper. Of two for
/// the same place the user's wins.
fn mounts(options: &RunOptions) -> Result<Vec<Mount>, SpecError> {
    let mut others: Vec<Mount> = Vec::new();
    if options.read_only {
        others.extend(default::scratch_mounts());
    }
    others.extend(options.extra_mounts.iter().cloned());
    for volume in &options.volumes {
        if volume.source.is_relative() {
            return Err(SpecError::VolumeSource(volume.source.clone()));
        }
        others.push(volume.to_mount());
    }
    let mut kept: Vec<Mount> = Vec::new();
    for mount in others {
        kept.retain(|earlier| !same_place(earlier.destination(), mount.destination()));
        kept.push(mount);
    }
    kept.sort_by_key(|mount| mount.destination().components().count());
    let mut mounts = default::kernel_mounts(options);
    mounts.retain(|mount| {
        !kept
            .iter()
            .any(|other| same_place(mount.destination(), other.destination()))
    });
    mounts.extend(kept);
    Ok(mounts)
}

fn same_place(one: &Path, other: &Path) -> bool {
    one.components().eq(other.components())
}

fn annotations(
    config: &ImageConfiguration,
    image: &Config,
    options: &RunOptions,
) -> HashMap<String, String> {
    let mut annotations = image.labels().clone().unwrap_or_default();
    let facts = [
        ("os", Some(config.os().to_string())),
        ("architecture", Some(config.architecture().to_string())),
        ("variant", config.variant().clone()),
        ("author", config.author().clone()),
        ("created", config.created().clone()),
        ("stopSignal", image.stop_signal().clone()),
    ];
    for (name, value) in facts {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            annotations.insert(format!("org.opencontainers.image.{name}"), value);
        }
    }
    annotations.extend(options.annotations.clone());
    annotations
}

fn linux(options: &RunOptions, bounding: CapabilitySet) -> Result<Linux, SpecError> {
    let mut linux = Linux::default();
    let open = options.privileged;
    linux
        .set_namespaces(Some(default::namespaces(options)))
        .set_resources(default::resources(options))
        .set_cgroups_path(options.cgroup_path.clone())
        .set_masked_paths((!open).then(|| default::masked_paths(options)))
        .set_readonly_paths((!open).then(default::read_only_paths))
        .set_seccomp(filter(options, bounding)?)
        .set_devices(None);
    if options.network == Network::None {
        linux
            .set_sysctl(default::ping_group_range(&options.host).map(|pair| HashMap::from([pair])));
    }
    Ok(linux)
}

fn filter(
    options: &RunOptions,
    capabilities: CapabilitySet,
) -> Result<Option<LinuxSeccomp>, SpecError> {
    match &options.seccomp {
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::Profile(profile) => Ok(Some((**profile).clone())),
        SeccompChoice::Default if options.privileged => Ok(None),
        SeccompChoice::Default => {
            let arch = options.host.arch.ok_or(SpecError::NoFilter)?;
            Ok(Some(default_profile(&ProfileFacts { arch, capabilities })))
        }
    }
}

#[cfg(test)]
mod tests;
