//! `checkpoint` and `restore`, by CRIU where that is installed. The flags are runc's.

use super::create::attend;
use super::{Ended, global::Face};
use clap::{Parser, ValueEnum};
use libcontainer::ContainerId;
use libcontainer::bundle::Bundle;
use libcontainer::criu::{CgroupsMode, CheckpointOptions, PageServer, RestoreOptions};
use libcontainer::foreground;
use libcontainer::runtime::{CreateOptions, Stdio};
use libcontainer::seal;
use libcontainer::sys::signal;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// Where images are if nobody says.
const IMAGES: &str = "checkpoint";

/// What both verbs take.
#[derive(Debug, Parser)]
struct Common {
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
    /// Directory of the image files
    #[arg(long, value_name = "DIR", default_value = IMAGES)]
    image_path: PathBuf,
    /// Directory of CRIU's log and statistics [default: that of the images]
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// Allow established TCP connections
    #[arg(long)]
    tcp_established: bool,
    /// Allow Unix sockets that are connected to others
    #[arg(long)]
    ext_unix_sk: bool,
    /// Allow a session and a terminal that are led from outside
    #[arg(long)]
    shell_job: bool,
    /// Allow file locks
    #[arg(long)]
    file_locks: bool,
    /// Leave memory with CRIU until it is used
    #[arg(long)]
    lazy_pages: bool,
    /// How cgroups are saved and made again
    #[arg(long, value_name = "MODE", value_enum)]
    manage_cgroups_mode: Option<Mode>,
    /// Namespaces whose content is somebody else's business: network, which always is
    #[arg(long, value_name = "NAMESPACE", value_enum, action = clap::ArgAction::Append)]
    empty_ns: Vec<EmptyNamespace>,
    /// Keep memory only once, in the newest images
    #[arg(long)]
    auto_dedup: bool,
}

/// Words for [`CgroupsMode`].
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Not at all.
    Ignore,
    /// Those that are missing are made.
    Soft,
    /// And limits of the others are set again.
    Full,
    /// None may exist.
    Strict,
}

impl From<Mode> for CgroupsMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Ignore => Self::Ignore,
            Mode::Soft => Self::Soft,
            Mode::Full => Self::Full,
            Mode::Strict => Self::Strict,
        }
    }
}

/// What `--empty-ns` may be.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum EmptyNamespace {
    /// The only one that CRIU knows to leave empty.
    Network,
}

/// Save the processes of a running container into files
#[derive(Debug, Parser)]
pub(crate) struct CheckpointArgs {
    #[command(flatten)]
    common: Common,
    /// Images of an earlier checkpoint, relative to the image path: what has not changed since is not written
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Let the container go on
    #[arg(long)]
    leave_running: bool,
    /// Descriptor that gets a zero byte when memory can be fetched
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = -1)]
    status_fd: i32,
    /// Who takes the memory
    #[arg(long, value_name = "ADDRESS:PORT")]
    page_server: Option<String>,
    /// Write memory only, and let the container go on: a later checkpoint has less to write
    #[arg(long)]
    pre_dump: bool,
}

/// Make a container again from the files of a checkpoint
#[derive(Debug, Parser)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    common: Common,
    /// Directory with config.json and the root file system
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Do not wait for it
    #[arg(short, long)]
    detach: bool,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Accepted for compatibility: nothing is reaped that is not ours
    #[arg(long)]
    no_subreaper: bool,
    /// Refused: CRIU always uses pivot_root
    #[arg(long)]
    no_pivot: bool,
    /// Established TCP connections come back closed
    #[arg(long)]
    tcp_close: bool,
    /// Another security profile, apparmor:NAME or selinux:LABEL
    #[arg(long, value_name = "TYPE:NAME")]
    lsm_profile: Option<String>,
    /// Another SELinux label for mounts that had one
    #[arg(long, value_name = "LABEL")]
    lsm_mount_context: Option<String>,
}

pub(crate) fn checkpoint(face: &Face, args: &CheckpointArgs) -> Result<u8, Ended> {
    let common = &args.common;
    let container = face.load(&common.id)?;
    let options = CheckpointOptions {
        work_path: common.work_path.clone(),
        parent_path: args.parent_path.clone(),
        leave_running: args.leave_running,
        pre_dump: args.pre_dump,
        tcp_established: common.tcp_established,
        external_unix_sockets: common.ext_unix_sk,
        shell_job: common.shell_job,
        file_locks: common.file_locks,
        auto_dedup: common.auto_dedup,
        lazy_pages: common.lazy_pages,
        status: status(args.status_fd)?,
        page_server: args.page_server.as_deref().map(page_server).transpose()?,
        cgroups: common.manage_cgroups_mode.map(Into::into),
        ..CheckpointOptions::default()
    };
    container.checkpoint(&common.image_path, options)?;
    Ok(0)
}

pub(crate) fn restore(face: &Face, args: &RestoreArgs) -> Result<u8, Ended> {
    if args.no_pivot {
        let why = "--no-pivot is not supported: CRIU always uses pivot_root";
        return Err(Ended::Failed(why.to_owned()));
    }
    let id = ContainerId::parse(&args.common.id)?;
    let bundle = Bundle::open(&args.bundle)?;
    if seal::is_visible_from(bundle.spec()) && seal::is_writable_from(bundle.spec())? {
        seal::ensure()?;
    }
    for warning in bundle.warnings() {
        face.log.warn(&warning.to_string());
    }
    let terminal = bundle.spec().process().as_ref();
    let terminal = terminal
        .and_then(|process| process.terminal())
        .unwrap_or(false);
    if terminal && args.console_socket.is_none() && args.detach {
        let why = "cannot allocate tty if runc will detach without setting console socket";
        return Err(Ended::Failed(why.to_owned()));
    }
    let failed = |error| Ended::from(libcontainer::Error::from_io(error, "block signals"));
    let mut blocked = None;
    if !args.detach {
        blocked = Some(signal::Blocked::block(&foreground::FORWARDED).map_err(failed)?);
    }
    let signals = signal::descriptor(&foreground::FORWARDED).map_err(failed)?;
    let create = CreateOptions {
        stdio: match terminal {
            true => Stdio::Terminal,
            false => Stdio::Inherit,
        },
        console_socket: args.console_socket.clone(),
        pid_file: args.pid_file.clone(),
        ..CreateOptions::default()
    };
    let plan = face.runtime.plan(&id, &bundle, create)?;
    for warning in plan.warnings() {
        face.log.warn(warning);
    }
    let images = &args.common.image_path;
    let mut container = face.runtime.restore(plan, images, options(args))?;
    if args.detach {
        return Ok(0);
    }
    let status = container
        .init()
        .and_then(|process| attend(process, signals.as_fd()));
    container.delete(true)?;
    drop(blocked);
    Ok(status?.shell_code())
}

fn options(args: &RestoreArgs) -> RestoreOptions {
    let common = &args.common;
    RestoreOptions {
        work_path: common.work_path.clone(),
        tcp_established: common.tcp_established,
        tcp_close: args.tcp_close,
        external_unix_sockets: common.ext_unix_sk,
        shell_job: common.shell_job,
        file_locks: common.file_locks,
        auto_dedup: common.auto_dedup,
        lazy_pages: common.lazy_pages,
        lsm_profile: args.lsm_profile.clone(),
        lsm_mount_context: args.lsm_mount_context.clone(),
        cgroups: common.manage_cgroups_mode.map(Into::into),
        ..RestoreOptions::default()
    }
}

/// Opens the caller's descriptor once more, for writing.
fn status(number: i32) -> Result<Option<OwnedFd>, Ended> {
    if number < 0 {
        return Ok(None);
    }
    let opened = std::fs::File::options()
        .write(true)
        .open(format!("/proc/self/fd/{number}"));
    let opened = opened.map_err(|error| {
        Ended::Failed(format!("invalid --status-fd argument {number}: {error}"))
    })?;
    Ok(Some(opened.into()))
}

fn page_server(text: &str) -> Result<PageServer, Ended> {
    let parts = text.rsplit_once(':').and_then(|(address, port)| {
        let address = address.trim_matches(['[', ']']).to_owned();
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!address.is_empty()).then_some(PageServer { address, port })
    });
    parts.ok_or_else(|| Ended::Failed(format!("--page-server {text:?} is not ADDRESS:PORT")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_an_address_and_a_port() {
        for (text, wanted) in [
            ("127.0.0.1:27", Some(("127.0.0.1", 27))),
            ("[::1]:27", Some(("::1", 27))),
            ("host", None),
            (":1", None),
            ("host:", None),
            ("host:0", None),
            ("host:65536", None),
        ] {
            let found = page_server(text).ok();
            let found = found
                .as_ref()
                .map(|server| (server.address.as_str(), server.port));
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn only_a_descriptor_that_can_be_written_is_taken() {
        assert!(status(-1).unwrap_or_else(|_| unreachable!()).is_none());
        assert!(status(999_999).is_err());
    }
}
