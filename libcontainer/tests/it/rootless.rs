//! Containers of ordinary users, with and without subordinate ids.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

use std::path::Path;
use std::process::Output;

use libcontainer::bundle::Bundle;
use libcontainer::idmap;
use libcontainer::oci_spec::image::ImageConfiguration;
use libcontainer::rootfs::{Overlay, PreparedRoot, Root};
use libcontainer::rootless;
use libcontainer::runtime::{CgroupManager, Runtime};
use libcontainer::spec::{HostFacts, Network, RunOptions, UserFiles, from_image};
use trimaran_testkit::User;

use crate::bed::{Bed, make_root, run_to_end};

/// Runs one test of this binary as `user`, in a user namespace that the program before it has entered: a test has threads.
pub(crate) fn as_user(user: &User, entering: Option<&Path>, test: &str) -> Output {
    let home = user.tempdir();
    make_root(&home.path().join("rootfs"));
    own(&home.path().join("rootfs"), user);
    let binary = user.reachable(&std::env::current_exe().unwrap(), home.path());
    let entering = entering.map(|program| user.reachable(program, home.path()));
    let mut command = user.command(
        entering.as_ref().unwrap_or(&binary),
        home.path(),
        &[("TRIMARAN_INNER_TEST", "1")],
    );
    if entering.is_some() {
        command.arg(&binary);
    }
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .output()
        .unwrap()
}

fn own(path: &Path, user: &User) {
    std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            own(&entry.unwrap().path(), user);
        }
    }
}

/// The example that enters a user namespace and executes a program there.
pub(crate) fn unshare() -> Option<std::path::PathBuf> {
    let path = std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/unshare");
    if !path.exists() {
        trimaran_testkit::skip(
            "the example is not built: cargo test builds it, --test alone does not",
        );
    }
    path.exists().then_some(path)
}

pub(crate) fn inner() -> bool {
    std::env::var_os("TRIMARAN_INNER_TEST").is_some()
}

/// Enters a user namespace, and runs a container with a filter, an overlay root and the given network.
pub(crate) fn run(network: Network, command: &str) -> String {
    let home = std::path::PathBuf::from(std::env::var_os("HOME").unwrap());
    assert!(
        !rootless::facts().unwrap().must_enter(),
        "the program `unshare` has entered a user namespace"
    );
    for name in ["upper", "work"] {
        std::fs::create_dir_all(home.join(name)).unwrap();
    }
    let read_map = |path: &str| idmap::parse_map(&std::fs::read_to_string(path).unwrap());
    let ids = idmap::IdMaps {
        uid: read_map("/proc/self/uid_map"),
        gid: read_map("/proc/self/gid_map"),
    };
    let host = HostFacts {
        rootless: true,
        ids: Some(ids),
        cgroup: false,
        ..HostFacts::default()
    };
    let options = RunOptions {
        args: ["/bin/sh", "-c", command].map(str::to_owned).into(),
        network,
        host,
        ..RunOptions::default()
    };
    let spec = from_image(
        &ImageConfiguration::default(),
        &options,
        &UserFiles::default(),
    )
    .unwrap();
    let overlay = Overlay {
        lowers: vec![home.join("rootfs")],
        upper: Some(home.join("upper")),
        work: Some(home.join("work")),
        userxattr: true,
        volatile: true,
    };
    let root = PreparedRoot::open(&Root::Overlay(overlay)).unwrap();
    let runtime = Runtime::builder()
        .cgroup_manager(CgroupManager::Disabled)
        .build()
        .unwrap();
    let outcome = run_to_end(&runtime, Bundle::from_spec(spec, root)).unwrap();
    assert!(outcome.status.success(), "{outcome:?}");
    outcome.output
}

const COMMAND: &str = "id -u; echo changed > /made; echo x > /dev/null; head -c 3 /dev/zero | wc -c; cat /proc/self/status | grep Seccomp:; \
     ls /sys/class/net | head -c 2; mount -t tmpfs t /tmp 2>/dev/null || echo; echo $$";

fn check(output: &str) {
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines, ["0", "3", "Seccomp:\t2", "lo", "1"], "{output}");
}

#[test]
fn with_subordinate_ids() {
    if inner() {
        return check(&run(Network::None, COMMAND));
    }
    if Bed::new().is_none() {
        return;
    }
    let Some(user) = User::with_subids() else {
        return trimaran_testkit::skip("needs a user with subordinate ids");
    };
    let Some(program) = unshare() else { return };
    let output = as_user(&user, Some(&program), "rootless::with_subordinate_ids");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn without_subordinate_ids() {
    if inner() {
        return check(&run(Network::None, COMMAND));
    }
    if Bed::new().is_none() {
        return;
    }
    let Some(user) = User::without_subids() else {
        return trimaran_testkit::skip("needs a user without subordinate ids");
    };
    let Some(program) = unshare() else { return };
    let output = as_user(&user, Some(&program), "rootless::without_subordinate_ids");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn with_the_network_of_the_host() {
    if inner() {
        // The kernel's own view of the devices cannot be mounted here; the host's is shown, read-only.
        let output = run(
            Network::Host,
            "readlink /proc/self/ns/net; echo 2>&1 > /sys/kernel/mm/transparent_hugepage/enabled; ls /sys/class >/dev/null",
        );
        assert!(
            output.starts_with(
                std::fs::read_link("/proc/self/ns/net")
                    .unwrap()
                    .to_str()
                    .unwrap()
            ),
            "{output}"
        );
        assert!(output.contains("Read-only file system"), "{output}");
        return;
    }
    if Bed::new().is_none() {
        return;
    }
    let Some(user) = User::with_subids() else {
        return trimaran_testkit::skip("needs a user with subordinate ids");
    };
    let Some(program) = unshare() else { return };
    let output = as_user(
        &user,
        Some(&program),
        "rootless::with_the_network_of_the_host",
    );
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn without_a_namespace_the_hint_says_what_to_do() {
    if inner() {
        let error = PreparedRoot::open(&Root::Path("/".into())).unwrap_err();
        assert!(
            error.hint().unwrap().contains("user namespace"),
            "{error:?}"
        );
        return;
    }
    if Bed::new().is_none() {
        return;
    }
    let Some(user) = User::without_subids() else {
        return trimaran_testkit::skip("needs a user without subordinate ids");
    };
    let output = as_user(
        &user,
        None,
        "rootless::without_a_namespace_the_hint_says_what_to_do",
    );
    assert!(output.status.success(), "{output:?}");
}
