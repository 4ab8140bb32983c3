//! What callers may want of a checkpoint, and of a return from one.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::request::CgroupsMode;

/// Who takes the memory of the processes, instead of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageServer {
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
}

/// What the caller wants of a checkpoint.
#[derive(Debug, Default)]
pub struct CheckpointOptions {
    /// Where CRIU writes its log and its statistics; the image directory otherwise. Made if it is missing.
    pub work_path: Option<PathBuf>,
    /// The images of an earlier checkpoint, relative to the image directory: memory that has not changed since is not written again.
    pub parent_path: Option<PathBuf>,
    /// The container goes on afterwards. Otherwise it has stopped.
    pub leave_running: bool,
    /// Only the memory is written, and the container goes on: a later checkpoint has less to write.
    pub pre_dump: bool,
    /// Established TCP connections are saved; otherwise they are an error.
    pub tcp_established: bool,
    /// Unix sockets that are connected to somebody outside are saved; otherwise they are an error.
    pub external_unix_sockets: bool,
    /// The container's session and terminal may be led from outside.
    pub shell_job: bool,
    /// File locks are saved; otherwise they are an error.
    pub file_locks: bool,
    /// Memory that is written is taken out of the parent's images.
    pub auto_dedup: bool,
    /// The memory stays with CRIU, which serves it to those who restore. The call returns when they have it.
    pub lazy_pages: bool,
    /// With `lazy_pages`: gets a zero byte when CRIU is ready to serve, and is closed.
    pub status: Option<OwnedFd>,
    /// Who takes the memory.
    pub page_server: Option<PageServer>,
    /// How cgroups are treated; [`CgroupsMode::Soft`] otherwise.
    pub cgroups: Option<CgroupsMode>,
    /// The program; the first `criu` in `PATH` otherwise.
    pub program: Option<PathBuf>,
}

/// What the caller wants of a return from a checkpoint.
#[derive(Debug, Default)]
pub struct RestoreOptions {
    /// Where CRIU writes its log and its statistics; the image directory otherwise. Made if it is missing.
    pub work_path: Option<PathBuf>,
    /// Established TCP connections come back.
    pub tcp_established: bool,
    /// Established TCP connections come back closed.
    pub tcp_close: bool,
    /// Unix sockets that were connected to somebody outside come back.
    pub external_unix_sockets: bool,
    /// The container's session and terminal may be led from outside.
    pub shell_job: bool,
    /// File locks come back.
    pub file_locks: bool,
    /// Memory that has been read is taken out of the images.
    pub auto_dedup: bool,
    /// Memory is fetched from `criu lazy-pages` when it is used.
    pub lazy_pages: bool,
    /// Another security profile than that of the checkpoint, `apparmor:NAME` or `selinux:LABEL`.
    pub lsm_profile: Option<String>,
    /// Another SELinux label for the mounts that had one.
    pub lsm_mount_context: Option<String>,
    /// How cgroups are treated; [`CgroupsMode::Soft`] otherwise.
    pub cgroups: Option<CgroupsMode>,
    /// The program; the first `criu` in `PATH` otherwise.
    pub program: Option<PathBuf>,
}
