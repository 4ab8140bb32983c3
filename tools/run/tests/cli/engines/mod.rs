//! Other people's engines from their packages, offline, with our binary as their runtime.

mod containerd;
mod cri;
mod docker;
mod podman;

use crate::support::program;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trimaran_testkit::image::Tree;
use trimaran_testkit::{Outcome, is_root, run, skip};

/// How long a server may take until it answers: it starts on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was called, what it ended with, and what its output or its complaint contains.
type Row<'r> = (&'r [&'r str], i32, &'r str);

/// A directory with everything an engine needs: our binary under a runtime's name, and a busybox.
struct Place {
    dir: TempDir,
}

impl Place {
    /// `None` after a counted skip.
    fn new(programs: &[&str]) -> Option<Self> {
        if !is_root() {
            skip("needs root");
            return None;
        }
        if let Some(missing) = programs.iter().find(|name| !installed(name)) {
            skip(&format!("needs {missing}"));
            return None;
        }
        let dir = tempfile::Builder::new().prefix("engine").tempdir().unwrap();
        Self::fill(dir)
    }

    fn fill(dir: TempDir) -> Option<Self> {
        let Some(tree) = Tree::busybox() else {
            skip("needs busybox-static");
            return None;
        };
        std::fs::write(dir.path().join("root.tar"), tree.tar()).unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        for name in ["runc", "crun"] {
            std::os::unix::fs::symlink(program(), dir.path().join("bin").join(name)).unwrap();
        }
        Some(Self { dir })
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn directory(&self) -> &Path {
        self.dir.path()
    }
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.any(|place| place.join(program).exists())
}

/// Calls an engine with every row, and compares.
fn check(call: impl Fn(&[&str]) -> Command, rows: &[Row<'_>]) {
    for (words, code, text) in rows {
        let outcome: Outcome = run(&mut call(words));
        let both = format!("{}\n{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.code(), *code, "{words:?}\n{both}");
        assert!(
            both.contains(text),
            "{words:?} does not say {text:?}:\n{both}"
        );
    }
}

/// A server that is ended by its own number, with its log for whoever has to find out why it does not work.
struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    fn start(mut command: Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).unwrap();
        let child = command
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let log = log.to_owned();
        Self { child, log }
    }

    /// Waits until `ask` succeeds; its last words if it never does.
    fn answers(&mut self, ask: impl Fn() -> Command) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if run(&mut ask()).code() == 0 {
                return Ok(());
            }
            let ended = self.child.try_wait().unwrap().is_some();
            if ended || Instant::now() > end {
                let text = std::fs::read_to_string(&self.log).unwrap_or_default();
                return Err(text.lines().last().unwrap_or_default().to_owned());
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        // It may have ended by itself.
        Command::new("kill").arg(pid).status().ok();
        let end = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() > end {
                self.child.kill().ok();
                self.child.wait().ok();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Removes the cgroups that an engine puts its containers below, in every hierarchy, unless somebody is in them.
fn remove_cgroups(name: &str) {
    fn remove(directory: &Path) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
        // Another test may have a container there.
        std::fs::remove_dir(directory).ok();
    }
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    for hierarchy in hierarchies {
        remove(&hierarchy.path().join(name));
    }
}

/// Detaches what an engine left mounted below a directory that is going to be removed.
fn unmount_below(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let prefix = directory.to_str().unwrap();
    let mut below: Vec<_> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|place| place.starts_with(prefix))
        .collect();
    below.reverse();
    for place in below {
        Command::new("umount").args(["-l", place]).status().ok();
    }
}
