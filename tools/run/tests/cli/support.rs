//! Where a test runs containers: a store of its own with a busybox image in it, as root or as an ordinary user.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use trimaran_testkit::{ImageMaker, Layout, Outcome, User, command, is_root, run, skip};

/// The name a layout's image gets in the store: directory and tag.
pub(crate) const IMAGE: &str = "localhost/images:busybox";

/// A directory with a layout, and a store that has pulled from it.
pub(crate) struct Home {
    dir: TempDir,
    user: Option<User>,
    program: PathBuf,
}

/// The program under test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_trimaran-run"))
}

impl Home {
    /// A home of whoever runs the tests, with the image pulled. `None` after a counted skip.
    pub(crate) fn ready() -> Option<Self> {
        let home = Self::empty(None)?;
        home.pull();
        Some(home)
    }

    /// As [`Home::ready`], for what only root can show.
    pub(crate) fn ready_as_root() -> Option<Self> {
        if !is_root() {
            skip("needs root");
            return None;
        }
        Self::ready()
    }

    /// A home of this user, with the image pulled.
    pub(crate) fn ready_as(user: User) -> Option<Self> {
        let home = Self::empty(Some(user))?;
        home.pull();
        Some(home)
    }

    /// A home whose store is empty.
    pub(crate) fn empty(user: Option<User>) -> Option<Self> {
        let Some(maker) = ImageMaker::busybox() else {
            skip("needs busybox-static");
            return None;
        };
        let dir = match &user {
            Some(user) => user.tempdir(),
            None => tempfile::tempdir().unwrap(),
        };
        let program = match &user {
            Some(user) => user.reachable(program(), dir.path()),
            None => program().to_owned(),
        };
        Layout::create(&dir.path().join("images")).add("busybox", &maker.make());
        Some(Self { dir, user, program })
    }

    fn pull(&self) {
        self.call(&["pull", "-q", &self.source()]).expect_code(0);
    }

    /// The image in the layout, as a reference.
    pub(crate) fn source(&self) -> String {
        format!("oci:{}:busybox", self.path().join("images").display())
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// The tool on this home's store.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let store = self.store();
        let root = ("TRIMARAN_ROOT", store.to_str().unwrap());
        let mut command = match &self.user {
            Some(user) => user.command(&self.program, self.path(), &[root]),
            None => {
                let mut command = command(&self.program, self.path());
                command.env(root.0, root.1).current_dir(self.path());
                command
            }
        };
        command.args(arguments);
        command
    }

    /// Calls the tool and waits for it.
    #[track_caller]
    pub(crate) fn call(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.command(arguments))
    }

    /// Runs a shell line in the image.
    #[track_caller]
    pub(crate) fn shell(&self, flags: &[&str], line: &str) -> Outcome {
        self.call(&[flags, &[IMAGE, "sh", "-c", line]].concat())
    }

    /// Starts the tool with its stdout in our hands.
    pub(crate) fn start(&self, arguments: &[&str]) -> std::process::Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// What containers left in the store.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let list = |directory: &'static str| {
            std::fs::read_dir(self.store().join(directory))
                .into_iter()
                .flatten()
                .map(move |entry| format!("{directory}/{}", entry.unwrap().file_name().display()))
        };
        list("containers")
            .chain(list("names"))
            .filter(|path| path != "names/.lock")
            .collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Files of subordinate ids are not ours to remove as an ordinary user: the tool's own namespace is the way.
        if !is_root() && self.store().exists() {
            let removed = self.call(&["rmi", "--force", IMAGE]);
            drop(removed);
        }
    }
}
