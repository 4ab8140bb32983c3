//! A bundle with busybox in it, and the tool called on it with systemd as the maker of cgroups.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use trimaran_testkit::{Outcome, User, command, run};

/// The directory of a container that sleeps.
pub(crate) struct Bundle {
    dir: tempfile::TempDir,
    user: Option<User>,
    /// What the tool is called behind.
    pub(crate) wrapper: Vec<&'static str>,
}

impl Bundle {
    /// A bundle of root, or of a user with a session.
    pub(crate) fn new(user: Option<User>, path: &str, resources: Value) -> Self {
        let dir = match &user {
            Some(user) => user.tempdir(),
            None => tempfile::tempdir().unwrap(),
        };
        let rootfs = dir.path().join("rootfs");
        for name in ["bin", "dev", "proc", "sys"] {
            std::fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
        for name in ["sh", "cat", "head", "sleep", "true"] {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).unwrap();
        }
        let bundle = Self {
            dir,
            user,
            wrapper: Vec::new(),
        };
        bundle.configure(|config| {
            config["linux"]["cgroupsPath"] = path.into();
            config["linux"]["resources"] = resources;
        });
        bundle
    }

    pub(crate) fn configure(&self, change: impl FnOnce(&mut Value)) {
        let file = self.dir.path().join("config.json");
        let mut config = match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).unwrap(),
            Err(_) => self.config(),
        };
        change(&mut config);
        std::fs::write(file, config.to_string()).unwrap();
    }

    fn config(&self) -> Value {
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["sleep", "10000"], "env": ["PATH=/bin"], "cwd": "/"},
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            ],
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]},
        });
        if let Some(user) = &self.user {
            let linux = config["linux"].as_object_mut().unwrap();
            linux["namespaces"]
                .as_array_mut()
                .unwrap()
                .push(json!({"type": "user"}));
            for (name, id) in [("uidMappings", user.uid), ("gidMappings", user.gid)] {
                let map = json!([{"containerID": 0, "hostID": id, "size": 1}]);
                linux.insert(name.to_owned(), map);
            }
        }
        config
    }

    /// A program as the bundle's owner calls it.
    pub(crate) fn call(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut words: Vec<&std::ffi::OsStr> =
            self.wrapper.iter().map(|one| one.as_ref()).collect();
        words.push(program.as_os_str());
        words.extend(arguments.iter().map(std::ffi::OsStr::new));
        let mut called = match &self.user {
            Some(user) => {
                let runtime = format!("/run/user/{}", user.uid);
                user.command(words[0], self.dir.path(), &[("XDG_RUNTIME_DIR", &runtime)])
            }
            None => command(Path::new(words[0]), self.dir.path()),
        };
        called.args(&words[1..]).current_dir(self.dir.path());
        called
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_trimaran-run"));
        let program = match &self.user {
            Some(user) => user.reachable(&program, self.dir.path()),
            None => program,
        };
        let root = self.dir.path().join("state");
        let globals = ["oci", "--systemd-cgroup", "--root", root.to_str().unwrap()];
        self.call(&program, &[&globals, arguments].concat())
    }

    #[track_caller]
    pub(crate) fn oci(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.command(arguments))
    }

    /// Creates and starts a container.
    #[track_caller]
    pub(crate) fn start(&self, id: &str) {
        self.leave(&["create", id]);
        self.oci(&["start", id]).expect_code(0);
    }

    /// Leaves a container behind, which would keep our pipes open.
    #[track_caller]
    pub(crate) fn leave(&self, arguments: &[&str]) {
        let errors = self.dir.path().join("errors");
        let left = self
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&errors).unwrap())
            .status()
            .unwrap();
        let errors = std::fs::read_to_string(errors).unwrap();
        assert!(left.success(), "{errors}");
    }

    /// What a shell line prints inside.
    #[track_caller]
    pub(crate) fn inside(&self, id: &str, line: &str) -> String {
        let outcome = self.oci(&["exec", id, "sh", "-c", line]);
        outcome.expect_code(0).stdout.trim().to_owned()
    }

    #[track_caller]
    pub(crate) fn status(&self, id: &str) -> String {
        let state: Value =
            serde_json::from_str(&self.oci(&["state", id]).expect_code(0).stdout).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }

    /// Properties of a unit, in the order asked for.
    #[track_caller]
    pub(crate) fn show(&self, unit: &str, names: &[&str]) -> Vec<String> {
        let mut arguments = vec!["show", unit];
        arguments.splice(0..0, self.user.iter().map(|_| "--user"));
        let list = format!("--property={}", names.join(","));
        arguments.push(&list);
        let outcome = run(&mut self.call(Path::new("/usr/bin/systemctl"), &arguments));
        let text = &outcome.expect_code(0).stdout;
        let value = |name: &&str| {
            let lines = text.lines().filter_map(|line| {
                let (known, value) = line.split_once('=')?;
                (known == *name).then(|| value.to_owned())
            });
            lines.collect::<Vec<_>>().join(" ")
        };
        names.iter().map(value).collect()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let list = self.oci(&["list", "-q"]);
        for id in list.stdout.lines() {
            self.oci(&["delete", "--force", id]);
        }
    }
}

/// Files of a directory of the unified hierarchy.
#[track_caller]
pub(crate) fn check(directory: &str, files: &[(&str, &str)]) {
    for (file, expected) in files {
        let path = Path::new("/sys/fs/cgroup").join(directory).join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim(), *expected, "{}", path.display());
    }
}
