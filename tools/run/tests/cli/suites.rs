//! What the conformance suites of other runtimes check, and engines rely on little.

use crate::oci::Bundle;
use crate::support::program;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use trimaran_testkit::{command, run, skip};

/// Where crun and runc differ, the name we are called by decides.
#[test]
fn who_calls_crun_gets_what_crun_does() {
    let Some(bundle) = Bundle::new() else { return };
    let seen = "grep -c /run/host/socket /proc/self/mountinfo; echo $NOTIFY_SOCKET; ls -A ${NOTIFY_SOCKET%/*}";
    bundle.configure(&["sh", "-c", seen], |config| {
        config["annotations"] = json!({"run.oci.keep_original_groups": "1"});
    });
    let call = |name: &str, arguments: &[&str]| {
        let link = bundle.path().join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(program(), &link).unwrap();
        }
        let root = bundle.path().join(format!("state-{name}"));
        let mut call = command(link.to_str().unwrap(), Path::new("/"));
        call.arg("--root").arg(root).args(arguments);
        run(call
            .current_dir(bundle.path())
            .env("NOTIFY_SOCKET", "/run/host/socket"))
    };
    for (name, features, preserved, notify) in [
        ("crun", true, 0, "1\n/run/host/socket/notify\nnotify\n"),
        (
            "runc",
            false,
            1,
            "0\n/run/notify/notify.sock\nnotify.sock\n",
        ),
    ] {
        let version = call(name, &["--version"]).expect_code(0).stdout;
        assert!(
            version.starts_with(&format!("{name} version ")),
            "{version}"
        );
        assert_eq!(version.contains("+SYSTEMD "), features, "{version}");
        let id = format!("named-{name}");
        call(name, &["run", "--preserve-fds", "90", &id]).expect_code(preserved);
        assert_eq!(call(name, &["run", &id]).expect_code(0).stdout, notify);
    }
}

/// Others read it, so a container without it is none.
#[test]
fn crun_s_status_is_beside_the_record() {
    let Some(bundle) = Bundle::new() else { return };
    let crun = bundle.path().join("crun");
    std::os::unix::fs::symlink(program(), &crun).unwrap();
    let root = bundle.path().join("state-crun");
    let call = |arguments: &[&str]| {
        let mut call = command(&crun, bundle.path());
        run(call.arg("--root").arg(&root).args(arguments))
    };
    let place = bundle.path().to_str().unwrap();
    let id = format!("status-{}", std::process::id());
    bundle.configure(&["true"], |_| {});
    // It would keep our pipes open.
    let mut create = command(&crun, bundle.path());
    create
        .arg("--root")
        .arg(&root)
        .args(["create", "-b", place, &id]);
    let created = create.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(created.unwrap().success());
    let status = std::fs::read(root.join(&id).join("status"));
    let state: Value = serde_json::from_str(&call(&["state", &id]).stdout).unwrap();
    call(&["delete", "--force", &id]).expect_code(0);
    let status: Value = serde_json::from_slice(&status.unwrap()).unwrap();
    assert_eq!(status["pid"], state["pid"]);
    let streams = status["external_descriptors"].as_str().unwrap();
    let streams: Vec<String> = serde_json::from_str(streams).unwrap();
    assert_eq!(streams.len(), 3);
    // Something is in its place.
    bundle.configure(&["true"], |config| {
        let directory = root.join(&id).join("status");
        let hook = json!({"path": "/bin/mkdir", "args": ["mkdir", directory]});
        config["hooks"] = json!({"createRuntime": [hook]});
    });
    let failed = call(&["create", "-b", place, &id]).expect_code(1);
    assert!(failed.stderr.contains("/status"), "{}", failed.stderr);
    call(&["state", &id]).expect_code(1);
    assert!(!root.join(&id).exists());
}

#[test]
fn the_callers_groups_are_kept_where_an_annotation_says_so() {
    let Some(bundle) = Bundle::new() else { return };
    let groups = |annotation: Value, user: Value| {
        bundle.configure(&["id", "-G"], |config| {
            config["annotations"] = annotation;
            config["process"]["user"] = user;
        });
        let line = format!(
            "exec {} oci --root {}/state run groups",
            program().display(),
            bundle.path().display()
        );
        let mut call = command("setpriv", Path::new("/"));
        call.args(["--groups", "1234,1235", "sh", "-c", &line]);
        run(call.current_dir(bundle.path())).expect_code(0).stdout
    };
    let key = "run.oci.keep_original_groups";
    let root = json!({"uid": 0, "gid": 0});
    let other = json!({"uid": 5, "gid": 6, "additionalGids": [7]});
    assert_eq!(groups(json!({}), root.clone()), "0\n");
    assert_eq!(groups(json!({key: "0"}), other.clone()), "6 7\n");
    assert_eq!(groups(json!({key: "1"}), root), "0 1234 1235\n");
    assert_eq!(groups(json!({key: "1"}), other), "6 1234 1235\n");
}

/// A cgroup of the freezer that is nobody's container.
struct Frozen(std::path::PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        std::fs::write(self.0.join("freezer.state"), "THAWED").ok();
        std::fs::remove_dir(&self.0).ok();
    }
}

#[test]
fn a_container_that_somebody_else_has_frozen_is_deleted() {
    let Some(bundle) = Bundle::new() else { return };
    let place = std::path::PathBuf::from("/sys/fs/cgroup/freezer/suites-frozen");
    if !place.with_file_name("cgroup.procs").exists() {
        return skip("needs the freezer of cgroup version 1");
    }
    bundle.configure(&["sleep", "1000"], |_| {});
    assert!(
        bundle
            .quiet(&["run", "-d", "frozen"])
            .status()
            .unwrap()
            .success()
    );
    std::fs::create_dir(&place).unwrap();
    let frozen = Frozen(place);
    let pid = bundle.state("frozen")["pid"].to_string();
    std::fs::write(frozen.0.join("cgroup.procs"), pid).unwrap();
    std::fs::write(frozen.0.join("freezer.state"), "FROZEN").unwrap();
    bundle.oci(&["delete", "--force", "frozen"]).expect_code(0);
    std::fs::remove_dir(&frozen.0).unwrap();
    bundle.oci(&["state", "frozen"]).expect_code(1);
}

#[test]
fn devices_that_the_host_lacks_are_made_for_a_user_namespace() {
    let Some(bundle) = Bundle::new() else { return };
    let probe = "stat -c '%F %a %u:%g' /dev/made; head -c 2 /dev/made | wc -c";
    bundle.configure(&["sh", "-c", probe], |config| {
        let maps = json!([{"containerID": 0, "hostID": 0, "size": 4_294_967_295_u32}]);
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = maps.clone();
        config["linux"]["gidMappings"] = maps;
        config["linux"]["devices"] = json!([{"path": "/dev/made", "type": "c", "major": 1, "minor": 5,
            "fileMode": 0o457, "uid": 10, "gid": 11}]);
    });
    let outcome = bundle.oci(&["run", "made"]).expect_code(0);
    let wanted = "character special file 457 10:11\n2\n";
    assert_eq!(outcome.stdout, wanted, "{}", outcome.stderr);
}

#[test]
fn what_a_filter_forbids_does_not_keep_a_container_from_starting() {
    let Some(bundle) = Bundle::new() else { return };
    for no_new_privileges in [false, true] {
        bundle.configure(&["sh", "-c", "echo in $PWD"], |config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["process"]["cwd"] = json!("/tmp");
            config["process"]["env"] = json!(["PATH=/bin", "PWD=/tmp"]);
            config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["getcwd", "chdir", "fchdir"], "action": "SCMP_ACT_ERRNO"}]});
        });
        let outcome = bundle.oci(&["run", "filtered"]).expect_code(0);
        assert_eq!(outcome.stdout, "in /tmp\n");
    }
}

#[test]
fn the_last_home_counts() {
    let Some(bundle) = Bundle::new() else { return };
    for (environment, home) in [
        (json!(["HOME=/one", "HOME="]), "/root"),
        (json!(["HOME=", "HOME=/two"]), "/two"),
        (json!(["HOME=/one", "HOME=/two"]), "/two"),
        (json!([]), "/root"),
    ] {
        bundle.configure(&["/bin/sh", "-c", "echo $HOME"], |config| {
            config["process"]["env"] = environment;
        });
        let outcome = bundle.oci(&["run", "home"]).expect_code(0);
        assert_eq!(outcome.stdout, format!("{home}\n"));
    }
}

#[test]
fn mounts_are_listed_in_the_order_of_the_specification() {
    let Some(bundle) = Bundle::new() else { return };
    let look = "awk '$5 ~ \"^/mnt\" { print $5 }' /proc/self/mountinfo";
    bundle.configure(&["sh", "-c", look], |config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        for (kind, options, name) in [
            ("tmpfs", json!([]), "one"),
            ("bind", json!(["bind"]), "two"),
            ("tmpfs", json!([]), "three"),
            ("bind", json!(["rbind", "shared"]), "four"),
        ] {
            let source = if kind == "bind" { "/etc" } else { "tmpfs" };
            mounts.push(json!({"destination": format!("/mnt/{name}"), "type": kind, "source": source, "options": options}));
        }
    });
    let outcome = bundle.oci(&["run", "listed"]).expect_code(0);
    assert_eq!(
        outcome.stdout,
        "/mnt/one\n/mnt/two\n/mnt/three\n/mnt/four\n"
    );
}
