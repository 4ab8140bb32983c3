//! Bringing a container back.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags};

use super::dump::{Directories, OUTER, check_user_namespace, config_file, namespaces_of};
use super::mounts;
use super::options::RestoreOptions;
use super::outside;
use super::program::{OLDEST, OLDEST_FOR_PROFILES, chosen};
use super::request::field::*;
use super::request::{CgroupsMode, Kind, Request};
use super::talk::{Criu, FIRST_EXTRA, Surroundings};
use crate::cgroup::{self, Cgroup};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks;
use crate::init::{Launched, bring_up_loopback, streams};
use crate::namespace::Kind as NamespaceKind;
use crate::plan::Stdio;
use crate::process::remove_cgroup;
use crate::record::Record;
use crate::rootfs::PreparedRoot;

const STEP: &str = "restore the container";

/// Where the root is attached for CRIU, in the container's directory. Only CRIU sees the mount.
const ROOT_NAME: &str = "criu-root";

/// A container that comes back.
pub(crate) struct Returning<'r> {
    pub(crate) record: &'r mut Record,
    /// Whether hooks have run.
    pub(crate) hooked: &'r mut bool,
    /// Its directory among the records.
    pub(crate) directory: &'r Path,
    pub(crate) root: &'r PreparedRoot,
    pub(crate) cgroup: cgroup::Plan,
    pub(crate) stdio: Stdio,
    pub(crate) images: &'r Path,
    pub(crate) options: RestoreOptions,
}

/// What is ready before anything is made that has to be undone.
struct Prepared {
    criu: Criu,
    directories: Directories,
    request: Request,
    /// Namespaces of others.
    inherited: Vec<OwnedFd>,
    /// Where the root is attached, and the mounts in it.
    root: PathBuf,
    points: Vec<PathBuf>,
    stdio: [OwnedFd; 3],
}

/// Makes the processes of a container again. They are our children.
pub(crate) fn restore(mut returning: Returning<'_>) -> Result<Launched> {
    let prepared = prepare(&mut returning)?;
    let (cgroup, held) = std::mem::take(&mut returning.cgroup).apply_held()?;
    let root = prepared.root.clone();
    let restored = perform(prepared, &cgroup, &mut returning);
    drop(held);
    // The mount went with CRIU, so that it is an empty directory.
    std::fs::remove_dir(&root).ok();
    match restored {
        Ok((pid, pidfd, terminal)) => Ok(Launched {
            pid,
            pidfd,
            starter: None,
            terminal,
            warnings: Vec::new(),
            cgroup,
        }),
        Err(error) => match remove_cgroup(&cgroup) {
            Ok(()) => Err(error),
            Err(_) if error.hint().is_some() => Err(error),
            Err(second) => Err(error.with_hint(format!("its cgroup is left over: {second}"))),
        },
    }
}

fn prepare(returning: &mut Returning<'_>) -> Result<Prepared> {
    check_user_namespace(returning.record, STEP)?;
    let program = chosen(returning.options.program.take(), STEP)?;
    let work = returning.options.work_path.take();
    let directories = Directories::find(returning.images, work.as_deref(), false, STEP)?;
    let names = outside::read(returning.images)?;
    let criu = Criu {
        program,
        step: STEP,
        log: directories.log("restore.log"),
    };
    let options = &returning.options;
    let profiles = options.lsm_profile.is_some() || options.lsm_mount_context.is_some();
    let oldest = match profiles {
        true => OLDEST_FOR_PROFILES,
        false => OLDEST,
    };
    criu.needs_version(oldest)?;
    let mut request = Request::default();
    directories.say(&mut request, "restore.log");
    config_file(&mut request, returning.record);
    say(&mut request, options);
    for (number, name) in &names {
        request.inherit(name, *number);
    }
    let inherited = namespaces(&mut request, returning.record)?;
    let root = make_root_directory(returning.directory)?;
    request.path(ROOT, &root);
    let (spec, bundle) = (&returning.record.spec, &returning.record.bundle);
    let points = mounts::make_points(spec, returning.root.as_fd(), bundle)?;
    directories.forget_log(&criu.log);
    Ok(Prepared {
        criu,
        directories,
        request,
        inherited,
        root,
        points,
        stdio: streams(std::mem::take(&mut returning.stdio))?,
    })
}

/// With the container's cgroup: gives its first process, and its terminal.
fn perform(
    mut prepared: Prepared,
    cgroup: &Cgroup,
    returning: &mut Returning<'_>,
) -> Result<(i32, OwnedFd, Option<OwnedFd>)> {
    let places = mounts::cgroup_places(cgroup)?;
    let (spec, bundle) = (&returning.record.spec, &returning.record.bundle);
    let host = mounts::mounts_of("self")?;
    let request = &mut prepared.request;
    for (name, path) in mounts::bound(spec, &prepared.points, bundle, &host, &places) {
        request.external_mount(&name, &path);
    }
    cgroup_roots(request, cgroup, &places);
    let attach = match *cgroup == Cgroup::default() {
        true => cgroup::Attach::default(),
        false => cgroup.attach()?,
    };
    let [stdin, stdout, stderr] = &prepared.stdio;
    let surroundings = Surroundings {
        stdio: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        directories: Some(prepared.directories.paths()),
        extra: prepared.inherited.iter().map(AsFd::as_fd).collect(),
        cgroup: &attach,
        root: Some((returning.root.as_fd(), &prepared.root)),
    };
    talk(&prepared.criu, &prepared.request, &surroundings, returning)
}

fn talk(
    criu: &Criu,
    request: &Request,
    surroundings: &Surroundings<'_>,
    returning: &mut Returning<'_>,
) -> Result<(i32, OwnedFd, Option<OwnedFd>)> {
    let mut terminal = None;
    let own_network = namespaces_of(returning.record)?.creates(NamespaceKind::Network);
    let response = criu.talk(
        &request.bytes(Kind::Restore),
        Kind::Restore,
        surroundings,
        &mut |said, descriptor| {
            match said.notification.as_str() {
                "setup-namespaces" => {
                    if own_network {
                        bring_up_loopback(open(said.pid)?.as_fd())?;
                    }
                    returning.record.pid = said.pid;
                    *returning.hooked = true;
                    hooks::restore(returning.record)?;
                }
                "orphan-pts-master" => terminal = descriptor,
                _ => {}
            }
            Ok(())
        },
    )?;
    Ok((response.pid, open(response.pid)?, terminal))
}

/// Opens the first process, which is our child: its number cannot be given to another before we wait for it.
fn open(pid: i32) -> Result<OwnedFd> {
    let missing = || Error::new(ErrorKind::Criu, STEP).with_hint("it names no process");
    let number = Pid::from_raw(pid).ok_or_else(missing)?;
    rustix::process::pidfd_open(number, PidfdFlags::empty())
        .map_err(|errno| Error::from_errno(errno.raw_os_error(), STEP))
}

/// The options themselves.
fn say(request: &mut Request, options: &RestoreOptions) {
    request
        // They become our children, not CRIU's.
        .flag(RST_SIBLING, true)
        .flag(EVASIVE_DEVICES, true)
        .flag(TCP_ESTABLISHED, options.tcp_established)
        .flag(TCP_CLOSE, options.tcp_close)
        .flag(EXT_UNIX_SK, options.external_unix_sockets)
        .flag(SHELL_JOB, options.shell_job)
        .flag(FILE_LOCKS, options.file_locks)
        .flag(AUTO_DEDUP, options.auto_dedup)
        .flag(LAZY_PAGES, options.lazy_pages)
        .cgroups(options.cgroups.unwrap_or(CgroupsMode::Soft));
    if let Some(profile) = &options.lsm_profile {
        request.text(LSM_PROFILE, profile);
    }
    if let Some(context) = &options.lsm_mount_context {
        request.text(LSM_MOUNT_CONTEXT, context);
    }
}

/// Namespaces of others are joined: two kinds by a descriptor that CRIU inherits, the rest by path.
fn namespaces(request: &mut Request, record: &Record) -> Result<Vec<OwnedFd>> {
    let mut inherited = Vec::new();
    for (kind, path) in namespaces_of(record)?.joined() {
        let outer = OUTER.iter().find(|(one, _)| one == kind);
        if let Some((_, name)) = outer {
            let opened = std::fs::File::open(path)
                .map_err(|error| Error::from_io(error, STEP).with_path(path))?;
            let number = i32::try_from(inherited.len()).unwrap_or(i32::MAX);
            request.inherit(name, FIRST_EXTRA.saturating_add(number));
            inherited.push(opened.into());
        } else if matches!(kind, NamespaceKind::Cgroup | NamespaceKind::Mount) {
            let feature = format!("restoring into a {kind} namespace of others");
            return Err(Error::new(ErrorKind::Unsupported { feature }, STEP).with_path(path));
        } else {
            request.join(kind.file_name(), path);
        }
    }
    Ok(inherited)
}

/// Where the container's cgroup is now: it may have had another name when it was saved.
fn cgroup_roots(request: &mut Request, cgroup: &Cgroup, places: &[cgroup::CgroupPlace]) {
    if cgroup.is_none() {
        return;
    }
    for place in places {
        if place.controllers.is_empty() {
            // The one for everything that is not named.
            request.cgroup_root(None, &place.path);
        }
        for controller in &place.controllers {
            request.cgroup_root(Some(controller), &place.path);
        }
    }
}

fn make_root_directory(directory: &Path) -> Result<PathBuf> {
    let failed = |error| Error::from_io(error, STEP).with_path(directory);
    // CRIU sees the mount under its real name.
    let root = directory.canonicalize().map_err(failed)?.join(ROOT_NAME);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&root)
        .map_err(failed)?;
    Ok(root)
}
