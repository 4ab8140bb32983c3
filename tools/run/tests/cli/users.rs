//! The OCI face as ordinary users call it: with bundles of their own, and no rights but those of new user namespaces.

use crate::support::program;
use serde_json::{Value, json};
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use trimaran_testkit::image::Tree;
use trimaran_testkit::{Outcome, User, run, skip};

/// A bundle with busybox in it that belongs to a user, and a state directory.
struct Bundle {
    dir: tempfile::TempDir,
    user: User,
    program: PathBuf,
}

impl Bundle {
    fn of(user: User) -> Option<Self> {
        let Some(tree) = Tree::busybox() else {
            skip("needs busybox-static");
            return None;
        };
        let dir = user.tempdir();
        let program = user.reachable(program(), dir.path());
        std::fs::write(dir.path().join("root.tar"), tree.tar()).unwrap();
        let bundle = Self { dir, user, program };
        let unpack = "mkdir rootfs && tar -xf root.tar -C rootfs --exclude './dev/*'";
        run(bundle
            .user
            .command("sh", bundle.path(), &[])
            .args(["-c", unpack]))
        .expect_code(0);
        Some(bundle)
    }

    fn configure(&self, args: &[&str], change: impl FnOnce(&mut Value)) {
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": args,
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
                "cwd": "/",
            },
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}, {"type": "user"}],
                "uidMappings": [{"containerID": 0, "hostID": self.user.uid, "size": 1}],
                "gidMappings": [{"containerID": 0, "hostID": self.user.gid, "size": 1}],
            },
        });
        change(&mut config);
        std::fs::write(self.path().join("config.json"), config.to_string()).unwrap();
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let root = self.path().join("state");
        let mut command = self.user.command(&self.program, self.path(), &[]);
        command
            .args(["oci", "--root", root.to_str().unwrap()])
            .args(arguments);
        command
    }

    #[track_caller]
    fn oci(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.command(arguments))
    }

    /// A verb that leaves a process behind, which would keep our pipes open. Gives what it said.
    #[track_caller]
    fn leaves(&self, arguments: &[&str]) -> String {
        let said = self.path().join("said");
        let file = std::fs::File::create(&said).unwrap();
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(file);
        let status = command.status().unwrap();
        let said = std::fs::read_to_string(said).unwrap();
        assert!(status.success(), "{arguments:?}: {said}");
        said
    }

    fn pid(&self, id: &str) -> String {
        let state = self.oci(&["state", id]).expect_code(0).stdout;
        let state: Value = serde_json::from_str(&state).unwrap();
        state["pid"].to_string()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for id in self.oci(&["list", "-q"]).stdout.lines() {
            self.oci(&["delete", "--force", id]);
        }
    }
}

/// Does something for a user with subordinate ids, and for one without.
fn for_each_user(test: impl Fn(&Bundle)) {
    let (Some(with), Some(without)) = (User::with_subids(), User::without_subids()) else {
        return skip("needs root, and the users trimaran-sub and trimaran-nosub");
    };
    for user in [with, without] {
        let Some(bundle) = Bundle::of(user) else {
            return;
        };
        test(&bundle);
    }
}

#[test]
fn processes_and_hooks_get_in_before_the_start() {
    for_each_user(|bundle| {
        bundle.configure(&["sh", "-c", "sleep 1000"], |config| {
            config["hooks"] = json!({"startContainer": [
                {"path": "/bin/sh", "args": ["sh", "-c", "echo $A > /tmp/hooked"]}]});
            config["process"]["env"] = json!(["PATH=/usr/bin:/bin", "A=before"]);
        });
        bundle.leaves(&["create", "early"]);
        let outcome = bundle.oci(&["exec", "early", "id", "-u"]).expect_code(0);
        assert_eq!(outcome.stdout, "0\n");
        bundle.oci(&["start", "early"]).expect_code(0);
        let outcome = bundle.oci(&["exec", "early", "cat", "/tmp/hooked"]);
        assert_eq!(outcome.expect_code(0).stdout, "before\n");
        bundle.oci(&["kill", "early", "KILL"]).expect_code(0);
        bundle.oci(&["delete", "--force", "early"]).expect_code(0);
    });
}

/// The process's user is somebody else on the host, and so nobody whom the caller may look at by itself.
#[test]
fn they_get_in_to_users_that_are_not_the_caller_as_well() {
    let Some(user) = User::with_subids() else {
        return skip("needs root, and the user trimaran-sub");
    };
    let Some(first) = first_subordinate(&user) else {
        return skip("needs subordinate ids");
    };
    let Some(bundle) = Bundle::of(user) else {
        return;
    };
    bundle.configure(&["sleep", "1000"], |config| {
        config["process"]["user"] = json!({"uid": 1, "gid": 1});
        for name in ["uidMappings", "gidMappings"] {
            let maps = config["linux"][name].as_array_mut().unwrap();
            maps.push(json!({"containerID": 1, "hostID": first, "size": 1000}));
        }
        config["hooks"] = json!({"startContainer": [{"path": "/bin/true"}]});
    });
    bundle.leaves(&["create", "other"]);
    let outcome = bundle.oci(&["exec", "other", "id", "-u"]).expect_code(0);
    assert_eq!(outcome.stdout, "1\n");
    bundle.oci(&["start", "other"]).expect_code(0);
}

fn first_subordinate(user: &User) -> Option<u32> {
    let line = |file: &str| {
        let text = std::fs::read_to_string(file).ok()?;
        let mut lines = text.lines();
        lines.find_map(|line| {
            let rest = line.strip_prefix(&user.name)?.strip_prefix(':')?;
            rest.split(':').next()?.parse::<u32>().ok()
        })
    };
    // The test maps both alike.
    line("/etc/subuid").filter(|first| line("/etc/subgid") == Some(*first))
}

#[test]
fn a_container_joins_the_user_namespace_of_another() {
    for_each_user(|bundle| {
        bundle.configure(&["sleep", "1000"], |_| {});
        bundle.leaves(&["run", "-d", "target"]);
        let pid = bundle.pid("target");
        let look = "hostname; readlink /proc/self/ns/user; cat /proc/1/comm; ls /rootfs 2>&1";
        bundle.configure(&["sh", "-c", look], |config| {
            for one in config["linux"]["namespaces"].as_array_mut().unwrap() {
                let kind = one["type"].as_str().unwrap().to_owned();
                if kind != "mount" {
                    let file = kind.replace("network", "net");
                    one["path"] = json!(format!("/proc/{pid}/ns/{file}"));
                }
            }
            let linux = config["linux"].as_object_mut().unwrap();
            linux.remove("uidMappings");
            linux.remove("gidMappings");
        });
        let wanted = format!(
            "{}{}sleep\n",
            bundle.oci(&["exec", "target", "hostname"]).stdout,
            bundle
                .oci(&["exec", "target", "readlink", "/proc/self/ns/user"])
                .stdout,
        );
        let outcome = bundle.oci(&["run", "joined"]);
        assert!(
            outcome.stdout.starts_with(&wanted),
            "{} {}",
            outcome.stdout,
            outcome.stderr
        );
    });
}

#[test]
fn a_cgroup_that_is_asked_for_by_name_is_not_done_without() {
    for_each_user(|bundle| {
        bundle.configure(&["true"], |config| {
            config["linux"]["cgroupsPath"] = json!("/users-not-ours/box");
        });
        let said = bundle.oci(&["run", "placed"]).expect_code(1).stderr;
        for words in ["unable to apply cgroup configuration", "permission denied"] {
            assert!(said.contains(words), "{said}");
        }
        bundle.configure(&["true"], |config| {
            config["linux"]["resources"] = json!({"pids": {"limit": 10}});
        });
        let said = bundle.oci(&["run", "limited"]).expect_code(1).stderr;
        assert!(said.contains("no limits + no cgrouppath"), "{said}");
    });
}

/// Cgroups of root, in every hierarchy, with the name that a user's container would have.
struct Taken(Vec<PathBuf>);

impl Taken {
    fn by_root(name: &str) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let below = std::fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let hierarchies = below.chain([root.to_owned()]);
        let is_one = |path: &PathBuf| path.join("cgroup.procs").exists();
        let places = hierarchies.filter(is_one).map(|path| path.join(name));
        let taken = Self(places.collect());
        for place in &taken.0 {
            std::fs::create_dir(place).unwrap();
        }
        taken
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for place in &self.0 {
            std::fs::remove_dir(place).ok();
        }
    }
}

#[test]
fn the_cgroup_of_another_users_container_of_this_name_is_left_alone() {
    for_each_user(|bundle| {
        let taken = Taken::by_root("users-taken");
        bundle.configure(&["true"], |_| {});
        bundle.oci(&["run", "users-taken"]).expect_code(0);
        assert!(taken.0.iter().all(|place| place.exists()));
    });
}

#[test]
fn who_cannot_end_all_processes_is_warned() {
    const WORDS: &str = "strongly discouraged";
    for_each_user(|bundle| {
        bundle.configure(&["true"], |_| {});
        assert_eq!(bundle.leaves(&["create", "own"]), "");
        bundle.configure(&["true"], |config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|one| one["type"] != "pid");
            config["mounts"] = json!([{"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}]);
        });
        let said = bundle.leaves(&["create", "shared"]);
        assert!(said.contains(WORDS), "{said}");
    });
}

#[test]
fn the_callers_cgroups_are_seen_where_the_container_has_none() {
    if !Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists() {
        return skip("needs the pids controller of cgroup version 1");
    }
    for_each_user(|bundle| {
        let look = "grep -q . /sys/fs/cgroup/pids/tasks && touch /sys/fs/cgroup/pids/x";
        bundle.configure(&["sh", "-c", look], |config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.push(
                json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "ro"]}),
            );
        });
        let outcome = bundle.oci(&["run", "seen"]).expect_code(1);
        assert!(outcome.stderr.contains("Read-only"), "{}", outcome.stderr);
    });
}

#[test]
fn listeners_of_filters_are_fetched_from_hooks_and_processes_too() {
    for_each_user(|bundle| {
        let socket = bundle.path().join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&socket, all).unwrap();
        // Who is said to be there: for each kind of filter the first process, the hook, and a further process.
        let agent = std::thread::spawn(move || {
            let mut said = Vec::new();
            for _ in 0..6 {
                let mut text = String::new();
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_to_string(&mut text).unwrap();
                let state: Value = serde_json::from_str(&text).unwrap();
                said.push(state["state"]["status"].as_str().unwrap().to_owned());
            }
            said
        });
        for no_new_privileges in [false, true] {
            bundle.configure(&["sleep", "1000"], |config| {
                config["process"]["noNewPrivileges"] = json!(no_new_privileges);
                config["hooks"] = json!({"startContainer": [{"path": "/bin/true"}]});
                config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket,
                    "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
            });
            bundle.leaves(&["run", "-d", "asked"]);
            bundle.oci(&["exec", "asked", "true"]).expect_code(0);
            bundle.oci(&["delete", "--force", "asked"]).expect_code(0);
        }
        let wanted = ["creating", "created", "running"];
        assert_eq!(agent.join().unwrap(), [wanted, wanted].concat());
    });
}

#[test]
fn who_calls_crun_gets_a_user_namespace() {
    for_each_user(|bundle| {
        let link = bundle.path().join("crun");
        std::os::unix::fs::symlink(&bundle.program, &link).unwrap();
        let call = |id: &str| {
            let state = bundle.path().join("state-crun");
            let mut call = bundle.user.command(&link, bundle.path(), &[]);
            run(call.arg("--root").arg(state).args(["run", id]))
        };
        let look = "id -u; stat -c %u /";
        // Without sub-ids there is no root beside the process's user, who has to be it then.
        let others = first_subordinate(&bundle.user).is_some();
        for (uid, seen) in [(0, "0\n0\n"), (5, "5\n5\n")] {
            if uid != 0 && !others {
                continue;
            }
            bundle.configure(&["sh", "-c", look], |config| {
                config["process"]["user"] = json!({"uid": uid, "gid": uid});
                let linux = config["linux"].as_object_mut().unwrap();
                linux.remove("uidMappings");
                linux.remove("gidMappings");
                let namespaces = linux["namespaces"].as_array_mut().unwrap();
                namespaces.retain(|one| one["type"] != "user");
            });
            // runc wants it said.
            bundle.oci(&["run", "without"]).expect_code(1);
            assert_eq!(call("with").expect_code(0).stdout, seen);
        }
    });
}
