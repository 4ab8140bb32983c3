//! The attacks that runtimes have fallen for, each performed against this one: it must fail for the attacker.
//!
//! The image, the specification's paths, and whatever runs in another container that shares a directory are the attacker's. What
//! must stay as it was is the witness: a directory of the host beside the root file system.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

mod descriptors;
mod identity;
mod links;
mod overlay;
mod procfs;
mod races;
mod rootless;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{Linux, Mount, Process, Spec};

use crate::bed::Bed;

/// A directory of the host that attacks are aimed at.
struct Witness {
    path: PathBuf,
    before: Vec<String>,
}

impl Witness {
    fn new(bed: &Bed) -> Self {
        let path = bed.directory.path().join("outside");
        std::fs::create_dir_all(path.join("deep/er")).unwrap();
        for name in ["console", "null", "deep/file"] {
            std::fs::write(path.join(name), name).unwrap();
        }
        let before = listing(&path);
        Self { path, before }
    }

    /// What is in it is what was in it, and nothing is mounted on it.
    #[track_caller]
    fn check(&self, attack: &str) {
        assert_eq!(listing(&self.path), self.before, "{attack}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let name = self.path.parent().unwrap().to_str().unwrap();
        assert!(!mounts.contains(name), "{attack}: a mount on the host");
    }
}

/// Everything about all files below `path`.
fn listing(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = vec![path.to_owned()];
    while let Some(path) = rest.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let text = std::fs::read(&path).ok().filter(|_| meta.is_file());
        found.push(format!(
            "{} {:o} {}:{} {} {} {text:?}",
            path.display(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime_nsec(),
            meta.rdev(),
        ));
        if meta.is_dir() {
            rest.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    found.sort();
    found
}

fn process(spec: &mut Spec) -> &mut Process {
    spec.process_mut().as_mut().unwrap()
}

fn linux(spec: &mut Spec) -> &mut Linux {
    spec.linux_mut().as_mut().unwrap()
}

fn mounts(spec: &mut Spec) -> &mut Vec<Mount> {
    spec.mounts_mut().as_mut().unwrap()
}

/// Adds a mount at the end.
fn add_mount(spec: &mut Spec, destination: &str, kind: &str, source: &Path, options: &[&str]) {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.into())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.to_owned()))
        .set_options(Some(
            options.iter().map(|word| (*word).to_owned()).collect(),
        ));
    mounts(spec).push(mount);
}
