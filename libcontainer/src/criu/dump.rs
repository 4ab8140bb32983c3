//! Saving a container.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::LinuxIdMapping;
use rustix::fs::{Mode, OFlags};

use super::mounts;
use super::options::CheckpointOptions;
use super::outside;
use super::program::{OLDEST, chosen};
use super::request::field::*;
use super::request::{CgroupsMode, Kind, Request};
use super::talk::{Criu, IMAGES, Surroundings, WORK};
use crate::cgroup::Attach;
use crate::error::{Error, ErrorKind, Result};
use crate::namespace::{Kind as NamespaceKind, Namespaces};
use crate::process::Process;
use crate::record::Record;

const STEP: &str = "checkpoint the container";

/// How long processes may take to end that CRIU has killed: they may have gigabytes of memory to give back.
const END_MS: u32 = 60_000;

/// The annotation that names a file with options for CRIU, which prevail; empty for none.
const CONFIG: &str = "org.criu.config";

/// That file, if nothing is said: runc's, which administrators know.
const USUAL_CONFIG: &str = "/etc/criu/runc.conf";

/// What a network namespace and a pid namespace are called that are not the container's own.
pub(super) const OUTER: [(NamespaceKind, &str); 2] = [
    (NamespaceKind::Network, "extRootNetNS"),
    (NamespaceKind::Pid, "extRootPidNS"),
];

/// Saves the processes of a running container into a directory.
pub(crate) fn checkpoint(
    record: &Record,
    init: &Process,
    images: &Path,
    mut options: CheckpointOptions,
) -> Result<()> {
    check_user_namespace(record, STEP)?;
    let program = chosen(options.program.take(), STEP)?;
    let directories = Directories::find(images, options.work_path.as_deref(), true, STEP)?;
    let criu = Criu {
        program,
        step: STEP,
        log: directories.log("dump.log"),
    };
    if let Some(parent) = &options.parent_path {
        check_parent(images, parent)?;
    }
    criu.needs_version(OLDEST)?;
    check_features(&criu, &options)?;
    let mut request = Request::default();
    directories.say(&mut request, "dump.log");
    config_file(&mut request, record);
    say(&mut request, record, init, &options);
    namespaces(&mut request, record)?;
    if !options.pre_dump {
        outside_of(&mut request, record, init, images)?;
    }
    let kind = match options.pre_dump {
        true => Kind::PreDump,
        false => Kind::Dump,
    };
    let null = std::fs::File::open("/dev/null")
        .map_err(|error| Error::from_io(error, STEP).with_path("/dev/null"))?;
    let surroundings = Surroundings {
        stdio: [null.as_fd(); 3],
        directories: Some(directories.paths()),
        extra: Vec::new(),
        cgroup: &Attach::default(),
        root: None,
    };
    let mut status = options.status.take();
    directories.forget_log(&criu.log);
    criu.talk(
        &request.bytes(kind),
        kind,
        &surroundings,
        &mut |said, _| match (said.notification.as_str(), status.take()) {
            ("status-ready", Some(status)) => tell(&status),
            (_, kept) => {
                status = kept;
                Ok(())
            }
        },
    )?;
    if !options.leave_running && !options.pre_dump && !init.has_ended(Some(END_MS))? {
        return Err(Error::new(ErrorKind::Running, STEP)
            .with_hint("its first process does not end although it was saved and killed"));
    }
    Ok(())
}

/// What of the container lies outside.
fn outside_of(request: &mut Request, record: &Record, init: &Process, images: &Path) -> Result<()> {
    let mounts = mounts::mounts_of(&init.pid().to_string())?;
    external_mounts(request, record, init, &mounts)?;
    let names = outside::streams(init.pid(), &mounts);
    for name in names.iter().filter(|name| outside::is_file(name)) {
        request.text(EXTERNAL, name);
    }
    outside::write(images, &names)
}

fn tell(status: &OwnedFd) -> Result<()> {
    let written = rustix::io::write(status, b"\0");
    written
        .map(drop)
        .map_err(|errno| Error::from_errno(errno.raw_os_error(), "tell that CRIU is ready"))
}

/// The options themselves.
fn say(request: &mut Request, record: &Record, init: &Process, options: &CheckpointOptions) {
    request
        .number(PID, init.pid())
        .flag(LEAVE_RUNNING, options.leave_running)
        .flag(TCP_ESTABLISHED, options.tcp_established)
        .flag(EXT_UNIX_SK, options.external_unix_sockets)
        .flag(SHELL_JOB, options.shell_job)
        .flag(FILE_LOCKS, options.file_locks)
        .flag(AUTO_DEDUP, options.auto_dedup)
        .flag(LAZY_PAGES, options.lazy_pages)
        .flag(TRACK_MEM, options.pre_dump || options.parent_path.is_some())
        .cgroups(options.cgroups.unwrap_or(CgroupsMode::Soft));
    if !record.rootfs.as_os_str().is_empty() {
        request.path(ROOT, &record.rootfs);
    }
    if let Some(parent) = &options.parent_path {
        request.path(PARENT_IMG, parent);
    }
    if let Some(server) = &options.page_server {
        request.page_server(&server.address, server.port);
    }
    if let Some(directory) = record.cgroup.freezer_directory() {
        request.path(FREEZE_CGROUP, &directory);
    }
}

/// Namespaces of others stay where they are.
fn namespaces(request: &mut Request, record: &Record) -> Result<()> {
    let all = namespaces_of(record)?;
    for (kind, name) in OUTER {
        if let Some(path) = all.joins(kind) {
            let inode = std::fs::metadata(path)
                .map_err(|error| Error::from_io(error, STEP).with_path(path))?
                .ino();
            request.text(EXTERNAL, format!("{}[{inode}]:{name}", kind.file_name()));
        }
    }
    Ok(())
}

pub(super) fn namespaces_of(record: &Record) -> Result<Namespaces> {
    let linux = record.spec.linux().as_ref();
    let listed = linux.and_then(|linux| linux.namespaces().as_deref());
    Ok(Namespaces::from_spec(listed.unwrap_or_default())?)
}

/// CRIU reads images, and finds the root, as the container's root, to whom neither belongs if that is somebody else outside.
pub(super) fn check_user_namespace(record: &Record, step: &'static str) -> Result<()> {
    let linux = record.spec.linux().as_ref();
    let is_root = |maps: Option<&Vec<LinuxIdMapping>>| {
        let mut maps = maps.into_iter().flatten();
        maps.any(|map| map.container_id() == 0 && map.host_id() == 0 && map.size() > 0)
    };
    let same = linux.is_some_and(|linux| {
        is_root(linux.uid_mappings().as_ref()) && is_root(linux.gid_mappings().as_ref())
    });
    if same || !namespaces_of(record)?.creates(NamespaceKind::User) {
        return Ok(());
    }
    let feature = "checkpoints with a user namespace whose root is not the machine's".to_owned();
    let error = Error::new(ErrorKind::Unsupported { feature }, step);
    Err(error.with_hint("CRIU could not restore it: it reads its images as the container's root"))
}

fn external_mounts(
    request: &mut Request,
    record: &Record,
    init: &Process,
    mounts: &[mounts::Mounted],
) -> Result<()> {
    let path = format!("/proc/{}/root", init.pid());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&path, flags, Mode::empty())
        .map_err(|errno| Error::from_errno(errno.raw_os_error(), STEP).with_path(&path))?;
    let look = |path: &Path| mounts::look(root.as_fd(), path);
    for (point, name) in mounts::declared(&record.spec, mounts, &look) {
        request.external_mount(&point, &name);
    }
    Ok(())
}

/// The images of the parent are found from the directory of the images, by a link that CRIU makes.
fn check_parent(images: &Path, parent: &Path) -> Result<()> {
    let wrong = |hint: &'static str| {
        Error::new(ErrorKind::NotFound, "find the parent's images")
            .with_path(parent)
            .with_hint(hint)
    };
    if parent.components().any(|part| part == Component::RootDir) {
        return Err(wrong("the path must be relative to the image directory"));
    }
    match images.join(parent).is_dir() {
        true => Ok(()),
        false => Err(wrong("it is no directory beside the images")),
    }
}

fn check_features(criu: &Criu, options: &CheckpointOptions) -> Result<()> {
    let tracks = options.pre_dump || options.parent_path.is_some();
    if !tracks && !options.lazy_pages {
        return Ok(());
    }
    let found = criu.features()?;
    if tracks && !found.tracks_memory {
        return Err(criu
            .unsupported("checkpoints in steps")
            .with_hint("CRIU, or the kernel, does not track changes of memory"));
    }
    if options.lazy_pages && !found.lazy_pages {
        return Err(criu
            .unsupported("lazy pages")
            .with_hint("CRIU, or the kernel, lacks userfaultfd"));
    }
    Ok(())
}

/// The file with further options.
pub(super) fn config_file(request: &mut Request, record: &Record) {
    let usual = || Path::new(USUAL_CONFIG).exists().then_some(USUAL_CONFIG);
    let file = match record.annotations.get(CONFIG) {
        Some(file) => Some(file.as_str()).filter(|file| !file.is_empty()),
        None => usual(),
    };
    if let Some(file) = file {
        request.text(CONFIG_FILE, file);
    }
}

/// Where the images are, and where CRIU works.
pub(super) struct Directories {
    images: PathBuf,
    work: PathBuf,
}

impl Directories {
    /// Finds both; makes them if they are missing, the images only `to_write`.
    pub(super) fn find(
        images: &Path,
        work: Option<&Path>,
        to_write: bool,
        step: &'static str,
    ) -> Result<Self> {
        let find = |path: &Path, make: bool| {
            let failed = |error| Error::from_io(error, step).with_path(path);
            if make {
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(path)
                    .map_err(failed)?;
            }
            let found = path.canonicalize().map_err(failed)?;
            if !found.is_dir() {
                return Err(Error::from_errno(libc::ENOTDIR, step).with_path(path));
            }
            Ok(found)
        };
        let images = find(images, to_write)?;
        let work = work.map(|path| find(path, true)).transpose()?;
        Ok(Self {
            work: work.unwrap_or_else(|| images.clone()),
            images,
        })
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    pub(super) fn paths(&self) -> [&Path; 2] {
        [&self.images, &self.work]
    }

    /// Takes away the log of another time: what it says is not about this one, and if it is a symlink, CRIU would write where it leads.
    pub(super) fn forget_log(&self, log: &Path) {
        // One that cannot be taken away is written again, or CRIU says why not.
        std::fs::remove_file(log).ok();
    }

    /// What is the same for every request.
    pub(super) fn say(&self, request: &mut Request, log: &str) {
        request
            .number(IMAGES_DIR_FD, IMAGES)
            .number(WORK_DIR_FD, WORK)
            .number(LOG_LEVEL, 4)
            .text(LOG_FILE, log)
            .flag(NOTIFY_SCRIPTS, true)
            .flag(ORPHAN_PTS_MASTER, true)
            // Addresses and routes are somebody else's business.
            .number(EMPTY_NS, NamespaceKind::Network.flag());
    }
}
