//! What can go wrong with cgroups.

use crate::error::{Error, ErrorKind};
use std::{io, path::PathBuf};
use thiserror::Error;

const NO_PERMISSION: &str = "limits need a cgroup of one's own: run as root, or as a user in a delegated one (systemd-run --user \
     --scope -p Delegate=yes), or leave the limits out";

const NO_SYSTEMD: &str = "is systemd the machine's init? Otherwise use the cgroup manager cgroupfs; for a user, XDG_RUNTIME_DIR must name \
     the directory of a login session";

/// Why a cgroup cannot be made, limited, joined or removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// A path that leaves its place.
    #[error("cgroup path {0} is not a path of names")]
    Path(PathBuf),
    /// A limit whose controller the host does not offer.
    #[error(
        "limit {field} needs the cgroup controller {controller}, which this host does not offer"
    )]
    NoController {
        /// The controller.
        controller: &'static str,
        /// The member of `linux.resources`.
        field: &'static str,
    },
    /// A limit that is not done here.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// A limit that makes no sense.
    #[error("{field} {reason}")]
    Resource {
        /// The member of `linux.resources`.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Somebody else's processes are where the container's should be.
    #[error("the container's cgroup is not empty: there are processes in {0}")]
    InUse(PathBuf),
    /// Whatever is put there would stand still.
    #[error("container's cgroup unexpectedly frozen: {0}")]
    Frozen(PathBuf),
    /// A directory that cannot be made.
    #[error("cgroup {path} cannot be made")]
    Make {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A value the kernel refuses.
    #[error("{value:?} cannot be written to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// systemd cannot be reached.
    #[error("systemd does not answer at {path}")]
    Bus {
        /// Its socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What systemd will not do.
    #[error("systemd refuses what is asked for unit {unit}")]
    Unit {
        /// The unit.
        unit: String,
        /// Its words.
        #[source]
        source: io::Error,
    },
    /// An annotation that is no property.
    #[error("annotation {name} has the value {value:?}, which is no value of a property")]
    Annotation {
        /// Its name.
        name: String,
        /// Its text.
        value: String,
    },
    /// Device rules the kernel refuses.
    #[error("the device rules of cgroup {path} cannot be set")]
    Devices {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file that cannot be read or opened.
    #[error("{path} cannot be opened")]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A process that does not die.
    #[error("processes of cgroup {path} cannot be killed")]
    Kill {
        /// The cgroup.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Processes that do not stand still, or do not go on.
    #[error("the processes of the cgroup cannot be frozen or thawed by {path}")]
    Freeze {
        /// The kernel's file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Nothing on this host could freeze it.
    #[error("the container has no cgroup that can be frozen")]
    CannotFreeze,
    /// A directory that cannot be removed.
    #[error("cgroup {path} cannot be removed")]
    Remove {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl CgroupError {
    /// What the failure means to a program.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(_) => ErrorKind::InvalidSpec {
                field: "linux.cgroupsPath".to_owned(),
            },
            Self::Resource { field, .. } => ErrorKind::InvalidSpec {
                field: format!("linux.resources.{field}"),
            },
            Self::Annotation { name, .. } => ErrorKind::InvalidSpec {
                field: format!("annotations.{name}"),
            },
            Self::Bus { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::Unsupported {
                    feature: "the systemd cgroup manager".to_owned(),
                }
            }
            Self::Unit { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::AlreadyExists => ErrorKind::Exists,
                io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
                _ => ErrorKind::Io,
            },
            Self::NoController { controller, .. } => ErrorKind::Unsupported {
                feature: format!("cgroup controller {controller}"),
            },
            Self::Unsupported(feature) => ErrorKind::Unsupported {
                feature: (*feature).to_owned(),
            },
            Self::CannotFreeze => ErrorKind::Unsupported {
                feature: "freezing without a cgroup".to_owned(),
            },
            Self::InUse(_) => ErrorKind::Running,
            Self::Frozen(_) => ErrorKind::Paused,
            Self::Make { source, .. }
            | Self::Write { source, .. }
            | Self::Devices { source, .. }
            | Self::Bus { source, .. }
            | Self::Open { source, .. }
            | Self::Kill { source, .. }
            | Self::Freeze { source, .. }
            | Self::Remove { source, .. } => source
                .raw_os_error()
                .map_or(ErrorKind::Io, ErrorKind::from_errno),
        }
    }

    /// Whether the kernel finds that a value makes no sense beside the others.
    pub(super) fn is_invalid(&self) -> bool {
        let Self::Write { source, .. } = self else {
            return false;
        };
        source.raw_os_error() == Some(libc::EINVAL)
    }

    /// Whether systemd does not know the unit.
    pub(super) fn is_unknown_unit(&self) -> bool {
        matches!(self, Self::Unit { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the kernel refused for lack of privilege.
    pub(super) fn is_permission(&self) -> bool {
        self.kind() == ErrorKind::PermissionDenied
    }
}

impl From<CgroupError> for Error {
    fn from(error: CgroupError) -> Self {
        let whole = Self::new(error.kind(), "cgroup");
        let whole = match &error {
            _ if error.is_permission() => whole.with_hint(NO_PERMISSION),
            CgroupError::Bus { .. } => whole.with_hint(NO_SYSTEMD),
            CgroupError::Unsupported(_) => whole.with_hint("leave this limit out"),
            _ => whole,
        };
        whole.with_source(error)
    }
}
