//! Plans of the specifications that engines write, as far as they differ: a base, and what each one changes in it.
//!
//! Nothing here asks the host: what the plans depend on is given.

use serde_json::{Value, json};

use super::super::compile::{Wishes, compile};
use super::super::exec::{Entering, compile as compile_exec};
use super::super::facts::{Facts, HostHierarchy};
use super::{compare, facts, rootless_facts};
use crate::id::ContainerId;
use crate::namespace::Kind;

/// What `spec` writes for a new bundle, in short.
pub(super) fn base() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/sys"],
        },
    })
}

/// Merges `change` into `document`: objects member by member, `null` removes, and a member whose name ends in `+` is appended.
fn merge(document: &mut Value, change: Value) {
    let Value::Object(change) = change else {
        *document = change;
        return;
    };
    if !document.is_object() {
        *document = json!({});
    }
    for (name, value) in change {
        if value.is_null() {
            document.as_object_mut().unwrap().remove(&name);
        } else if let Some(name) = name.strip_suffix('+') {
            let list = &mut document[name];
            let mut whole = list.as_array().cloned().unwrap_or_default();
            whole.extend(value.as_array().unwrap().iter().cloned());
            *list = Value::from(whole);
        } else {
            merge(&mut document[&name], value);
        }
    }
}

fn plan(change: Value, facts: &Facts, wishes: &Wishes) -> String {
    let mut document = base();
    merge(&mut document, change);
    let (spec, warnings) = crate::spec::load(document.to_string().as_bytes()).unwrap();
    crate::spec::validate(&spec, &warnings).unwrap();
    let id = ContainerId::parse("name").unwrap();
    compile(&id, &spec, facts, wishes)
        .unwrap_or_else(|error| panic!("{error}: {:?}", error.hint()))
        .to_string()
}

fn mapping(host: u32) -> Value {
    json!([{"containerID": 0, "hostID": host, "size": 65536}])
}

/// Those that need nothing but the specification.
#[test]
fn what_engines_ask_for() {
    let hook = json!([{"path": "/usr/bin/hook", "args": ["hook", "x"], "timeout": 5}]);
    let cases = [
        ("oci-spec", json!({})),
        (
            "oci-minimal",
            json!({"hostname": null, "mounts": [], "root": {"readonly": false},
                "process": {"rlimits": null, "capabilities": null, "noNewPrivileges": false, "args": ["/hello", "a b"]},
                "linux": {"namespaces": [{"type": "mount"}], "maskedPaths": null, "readonlyPaths": null}}),
        ),
        (
            "oci-terminal",
            json!({"process": {"terminal": true, "consoleSize": {"height": 25, "width": 80}}}),
        ),
        (
            "oci-user-namespace",
            json!({"linux": {"namespaces+": [{"type": "user"}, {"type": "cgroup"}],
                "uidMappings": mapping(100_000), "gidMappings": mapping(200_000)}}),
        ),
        (
            "oci-hooks",
            json!({"hooks": {"prestart": hook, "createRuntime": hook, "createContainer": hook, "startContainer": hook,
                "poststart": hook, "poststop": hook}}),
        ),
        (
            "oci-devices",
            json!({"linux": {"devices": [
                {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 7, "gid": 8},
                {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200},
                {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 432},
                {"path": "/run/pipe", "type": "p"}]}}),
        ),
        (
            "oci-binds",
            json!({"mounts+": [
                {"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind", "ro", "rprivate"]},
                {"destination": "relative", "source": "here", "options": ["bind", "nosuid", "nodev", "noexec", "noatime"]},
                {"destination": "/all", "type": "none", "source": "/srv", "options": ["rbind", "rro", "rnosuid", "rshared", "slave"]},
                {"destination": "/proc/uptime", "type": "bind", "source": "/var/lib/lxcfs/uptime", "options": ["bind"]}]}),
        ),
        (
            "oci-shared-root",
            json!({"linux": {"rootfsPropagation": "shared"}, "root": {"readonly": false}}),
        ),
        (
            "docker-user",
            json!({"process": {"user": {"uid": 1000, "gid": 1000, "additionalGids": [1000, 27], "umask": 63}, "cwd": "/srv/dir",
                "noNewPrivileges": false, "oomScoreAdj": 500,
                "capabilities": {"inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]},
                "rlimits": [{"type": "RLIMIT_CORE", "hard": 18_446_744_073_709_551_615_u64, "soft": 0}]},
                "linux": {"sysctl": {"net.ipv4.ping_group_range": "0 0", "kernel.shmmax": "68719476736", "fs.mqueue.msg_max": "10"}}}),
        ),
        (
            "docker-filter",
            json!({"process": {"noNewPrivileges": false}, "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO",
                "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [{"names": ["read", "write", "execve"], "action": "SCMP_ACT_ALLOW"}]}}}),
        ),
        (
            "podman-host-everything",
            json!({"hostname": null, "linux": {"namespaces": [{"type": "mount"}], "readonlyPaths": [], "maskedPaths": []},
                "process": {"capabilities": {"bounding": [], "effective": [], "permitted": []}}}),
        ),
        (
            "buildah-run",
            json!({"root": {"readonly": false}, "process": {"cwd": "/src", "noNewPrivileges": false, "args": ["/bin/sh", "-c", "make"]},
                "linux": {"namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}]},
                "mounts+": [{"destination": "/etc/resolv.conf", "type": "bind", "source": "/run/b/resolv.conf", "options": ["rbind", "ro"]}]}),
        ),
        (
            "kubernetes-pod-sandbox",
            json!({"process": {"args": ["/pause"], "user": {"uid": 65535, "gid": 65535}, "oomScoreAdj": -998},
                "annotations": {"io.kubernetes.cri.container-type": "sandbox"},
                "linux": {"cgroupsPath": "/kubepods/pod1/sandbox", "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"}}}),
        ),
        (
            "kubernetes-container",
            json!({"hostname": null, "process": {"oomScoreAdj": 1000, "user": {"additionalGids": [1, 2, 3]}},
                "linux": {"cgroupsPath": "/kubepods/pod1/one", "namespaces": [{"type": "pid"}, {"type": "mount"},
                    {"type": "ipc", "path": "/proc/41/ns/ipc"}, {"type": "uts", "path": "/proc/41/ns/uts"},
                    {"type": "network", "path": "/proc/41/ns/net"}]}}),
        ),
        (
            "kubernetes-shared-user-namespace",
            json!({"hostname": null, "linux": {"namespaces": [{"type": "mount"}, {"type": "user", "path": "/proc/41/ns/user"},
                {"type": "network", "path": "/proc/41/ns/net"}, {"type": "pid", "path": "/proc/41/ns/pid"}],
                "uidMappings": mapping(100_000), "gidMappings": mapping(100_000)}}),
        ),
    ];
    for (name, change) in cases {
        compare(name, &plan(change, &facts(), &Wishes::default()));
    }
}

#[test]
fn what_depends_on_the_caller() {
    let wishes = Wishes {
        parent_death_signal: Some(15),
        no_new_keyring: true,
        ..Wishes::default()
    };
    let devices = json!({"linux": {"devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]}});
    compare(
        "caller-rootless",
        &plan(devices, &rootless_facts(), &wishes),
    );
}

#[test]
fn views_of_the_control_groups() {
    let hierarchy = |name: &str, option: &str, unified| HostHierarchy {
        name: name.into(),
        options: vec![(option.to_owned(), None)],
        unified,
    };
    let (v1, v2) = (
        hierarchy("memory", "memory", false),
        HostHierarchy {
            options: Vec::new(),
            ..hierarchy("unified", "", true)
        },
    );
    let view = json!([{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}]);
    let own = json!({"mounts+": view, "linux": {"namespaces+": [{"type": "cgroup"}]}});
    let shared = json!({"mounts+": view});
    for (name, change, cgroups) in [
        ("cgroup-v2-own", own.clone(), vec![v2.clone()]),
        ("cgroup-v1-own", own, vec![v1.clone()]),
        ("cgroup-hybrid-shared", shared, vec![v1, v2]),
    ] {
        let facts = Facts { cgroups, ..facts() };
        compare(name, &plan(change, &facts, &Wishes::default()));
    }
}

#[test]
fn further_processes() {
    let (spec, _) = crate::spec::load(base().to_string().as_bytes()).unwrap();
    let mut process = spec.process().clone().unwrap();
    process.set_oom_score_adj(Some(10));
    let id = ContainerId::parse("name").unwrap();
    let most = [Kind::Mount, Kind::Pid, Kind::Network, Kind::Uts, Kind::Ipc];
    let flags = most.iter().fold(0, |flags, kind| flags | kind.flag());
    for (name, entering) in [
        (
            "exec",
            Entering {
                flags,
                ..Entering::default()
            },
        ),
        (
            "exec-user-namespace-terminal",
            Entering {
                flags: flags | Kind::User.flag(),
                terminal: true,
                parent_death_signal: Some(9),
                ..Entering::default()
            },
        ),
    ] {
        let script = compile_exec(&id, &spec, &process, &facts(), &entering).unwrap();
        compare(name, &script.to_string());
    }
}
