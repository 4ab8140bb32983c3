//! Who calls the tool: root, or an ordinary user with or without subordinate ids.

use std::path::{Path, PathBuf};
use std::process::Command;
use trimaran_testkit::{ImageMaker, Layout, Outcome, User, command, is_root, run, skip};

/// Whom to act as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    WithSubids,
    WithoutSubids,
}

/// Everybody.
pub(crate) const ALL: [Who; 3] = [Who::Root, Who::WithSubids, Who::WithoutSubids];

/// A caller with a home and a store of its own.
pub(crate) struct Actor {
    user: Option<User>,
    home: tempfile::TempDir,
    program: PathBuf,
}

impl Actor {
    /// Becomes somebody; `None` (and a counted skip) where that cannot be.
    pub(crate) fn new(who: Who) -> Option<Actor> {
        if !is_root() {
            skip("needs root, also to become other users");
            return None;
        }
        let user = match who {
            Who::Root => None,
            Who::WithSubids => Some(User::with_subids()),
            Who::WithoutSubids => Some(User::without_subids()),
        };
        let Some(user) = user.map_or(Some(None), |user| user.map(Some)) else {
            skip(&format!("no account for {who:?}: `make test` makes them"));
            return None;
        };
        let home = match &user {
            Some(user) => user.tempdir(),
            None => tempfile::tempdir_in("/var/tmp").unwrap(),
        };
        let built = Path::new(env!("CARGO_BIN_EXE_trimaran-build"));
        let program = user
            .as_ref()
            .map_or(built.to_owned(), |user| user.reachable(built, home.path()));
        Some(Actor {
            user,
            home,
            program,
        })
    }

    /// Becomes somebody who has the busybox image as `oci:base:1` in the home directory.
    pub(crate) fn with_base(who: Who) -> Option<Actor> {
        let actor = Actor::new(who)?;
        let Some(maker) = ImageMaker::busybox() else {
            skip("needs busybox-static");
            return None;
        };
        Layout::create(&actor.home.path().join("base")).add("1", &maker.make());
        Some(actor)
    }

    /// The home directory, and the current one of every command.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A command in the home directory.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let root = self.home.path().join("root");
        let root = root.to_str().unwrap();
        let build = self.program.to_str().unwrap();
        match &self.user {
            Some(user) => user.command(
                program,
                self.home.path(),
                &[("TRIMARAN_ROOT", root), ("BUILD", build)],
            ),
            None => {
                let mut command = command(program, self.home.path());
                command
                    .env("TRIMARAN_ROOT", root)
                    .env("BUILD", build)
                    .current_dir(self.home.path());
                command
            }
        }
    }

    /// The tool with arguments.
    pub(crate) fn build(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.program);
        command.args(arguments);
        command
    }

    /// Runs the tool to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.build(arguments))
    }

    /// Runs the tool, which must succeed, and returns what it printed, without the newline at the end.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments)
            .expect_code(0)
            .stdout
            .trim_end_matches('\n')
            .to_owned()
    }

    /// A shell line where the tool is `$BUILD`.
    #[track_caller]
    pub(crate) fn sh(&self, line: &str) -> Outcome {
        let mut command = self.command("/bin/sh");
        command.args(["-c", line]);
        run(&mut command)
    }

    /// Writes a file into the home directory that everybody can read.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // An ordinary user's store belongs to subordinate ids, which root may remove.
        drop(self.run(&["umount", "--all"]));
    }
}
