//! The devices and links in `/dev`. Pure.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType};

use super::compile::Compiler;
use super::mounts::{Mounted, normalize};
use super::script::{MadeNode, Resource};
use super::step::{DeviceStep, MountSource, Slot, Step};
use crate::error::{Error, ErrorKind};
use crate::idmap;

/// What every container has, with major and minor number (runtime specification, "Default Devices").
const DEFAULT: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// The paths of the devices that a container has, from its specification and by default.
pub(crate) fn paths(listed: &[LinuxDevice]) -> Vec<PathBuf> {
    let default = DEFAULT.map(|(name, _, _)| Path::new("/dev").join(name));
    let listed = listed.iter().map(|device| normalize(device.path()));
    default.into_iter().chain(listed).collect()
}

/// Links that every container has.
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

/// Adds the steps that fill `/dev`.
pub(crate) fn compile(
    compiler: &mut Compiler<'_>,
    devices: &[LinuxDevice],
    mounted: &Mounted,
) -> Result<(), Error> {
    if mounted.dev_is_foreign {
        return Ok(());
    }
    if !mounted.dev {
        compiler.script.steps.push(Step::OpenDev);
    }
    let listed: Vec<PathBuf> = devices
        .iter()
        .map(|device| normalize(device.path()))
        .collect();
    for (name, major, minor) in DEFAULT {
        let path = Path::new("/dev").join(name);
        if !listed.contains(&path) {
            add(
                compiler,
                "default devices",
                &path,
                Node {
                    kind: libc::S_IFCHR,
                    major,
                    minor,
                    mode: 0o666,
                    uid: 0,
                    gid: 0,
                },
            )?;
        }
    }
    for (number, (device, path)) in devices.iter().zip(&listed).enumerate() {
        let field = format!("linux.devices[{number}]");
        // The link and the terminal's own bind take these places.
        if matches!(path.to_str(), Some("/dev/ptmx" | "/dev/console")) {
            continue;
        }
        let node = node(device).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidSpec {
                    field: field.clone(),
                },
                "specification",
            )
            .with_path(path)
        })?;
        add(compiler, &field, path, node)?;
    }
    for (target, name) in LINKS {
        let target = compiler.text("links", target.as_bytes())?;
        let name = compiler.text("links", name.as_bytes())?;
        compiler
            .script
            .steps
            .push(Step::DeviceLink { target, name });
    }
    Ok(())
}

struct Node {
    kind: u32,
    major: u32,
    minor: u32,
    mode: u32,
    uid: u32,
    gid: u32,
}

fn node(device: &LinuxDevice) -> Option<Node> {
    let kind = match device.typ() {
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => return None,
    };
    let (major, minor) = if kind == libc::S_IFIFO {
        (0, 0)
    } else {
        (device.major(), device.minor())
    };
    Some(Node {
        kind,
        major: u32::try_from(major).ok()?,
        minor: u32::try_from(minor).ok()?,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

/// How the parent makes a node: only with the maps of a new user namespace its owner is known.
fn made(compiler: &Compiler<'_>, node: &Node) -> Option<MadeNode> {
    let maps = compiler.script.maps.as_ref()?;
    Some(MadeNode {
        mode: node.mode,
        uid: idmap::on_host(&maps.uid, node.uid)?,
        gid: idmap::on_host(&maps.gid, node.gid)?,
    })
}

fn add(compiler: &mut Compiler<'_>, field: &str, path: &Path, node: Node) -> Result<(), Error> {
    // A device node made in a user namespace could not be opened; the host's is bound in its place, or one that is made outside.
    let Node {
        kind, major, minor, ..
    } = node;
    let bind = if compiler.restricted && kind != libc::S_IFIFO {
        let path = path.to_owned();
        let made = made(compiler, &node);
        let device = Resource::Device {
            path,
            kind,
            major,
            minor,
            made,
        };
        Some(compiler.open(field, device)?)
    } else {
        None
    };
    let (in_dev, name) = match path.strip_prefix("/dev") {
        Ok(name) if !name.as_os_str().is_empty() => (true, name),
        _ => (false, path),
    };
    let Node {
        kind,
        major,
        minor,
        mode,
        uid,
        gid,
    } = node;
    let path = compiler.text(field, name.as_os_str().as_bytes())?;
    let index = compiler.script.devices.len() as u32;
    compiler.script.devices.push(DeviceStep {
        path,
        in_dev,
        kind,
        major,
        minor,
        mode,
        uid,
        gid,
        bind,
    });
    compiler.script.steps.push(Step::Device { index });
    Ok(())
}

/// Whether the container's own `/dev/null` can hide files: a node that we make in a directory that is ours.
pub(crate) fn has_null(compiler: &Compiler<'_>, linux: &Linux, mounted: &Mounted) -> bool {
    /// `MOUNT_ATTR_NODEV`.
    const NODEV: u64 = 0x4;
    let mut mounts = compiler.script.mounts.iter();
    let works = mounts.any(|mount| {
        mount.keep == Some(Slot::DEV)
            && matches!(mount.source, MountSource::New { attributes, .. } if attributes & NODEV == 0)
    });
    let devices = linux.devices().as_deref().unwrap_or_default();
    let listed = devices
        .iter()
        .any(|device| normalize(device.path()) == Path::new("/dev/null"));
    mounted.dev && !mounted.dev_is_foreign && works && !listed
}

/// Adds the step that makes `/dev` read-only after everything is in it.
pub(crate) fn finish(compiler: &mut Compiler<'_>, mounted: &Mounted) -> Result<(), Error> {
    if mounted.dev_read_only {
        let path = compiler.text("mounts", b"/dev")?;
        compiler.script.steps.push(Step::ReadOnlyMount {
            slot: Slot::DEV,
            path,
            recursive: false,
        });
    }
    Ok(())
}
