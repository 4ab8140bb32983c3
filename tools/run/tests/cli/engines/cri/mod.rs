//! containerd as Kubernetes drives it: pods and containers over its runtime interface.

mod api;
mod grpc;
mod kubelet;
mod message;

use api::{Container, EXITED, Mode, NOT_READY, Pod, Profile, RUNNING, Resources, Security};
use kubelet::{Kubelet, PLUGINS, only};
use message::Message;
use std::path::Path;
use trimaran_testkit::skip;

const SLEEP: &[&str] = &["sleep", "1000000"];

#[test]
fn a_pod_lives() {
    let Some(kubelet) = Kubelet::new("life") else {
        return;
    };
    if !Path::new(PLUGINS).join("bridge").exists() {
        return skip("needs containernetworking-plugins");
    }
    let version = kubelet.call("Version", &Message::new());
    assert_eq!(version.text(2), "containerd");
    let conditions = kubelet.call("Status", &Message::new()).part(1).parts(1);
    for condition in &conditions {
        assert_eq!(condition.number(2), 1, "{}", condition.text(1));
    }
    assert_eq!(conditions.len(), 2, "the runtime and the network");
    let pod = Pod {
        network: Mode::Pod,
        seccomp: Profile::RuntimeDefault,
        sysctls: &[("net.ipv4.ip_unprivileged_port_start", "80")],
        ..kubelet.describe("alive")
    };
    let sandbox = kubelet.run_pod(&pod);
    let address = kubelet.pod_status(&sandbox).part(1).part(5).text(1);
    assert!(address.starts_with("10."), "{address:?}");
    let container = Container {
        name: "first",
        command: SLEEP,
        variables: &[("GREETING", "hello")],
        ..Container::default()
    };
    let id = kubelet.create(&sandbox, &pod, &container);
    assert_eq!(kubelet.status(&id).number(3), 0, "created");
    kubelet.call("StartContainer", &only(&id));
    assert_eq!(kubelet.status(&id).number(3), RUNNING);
    let list = kubelet.call("ListContainers", &Message::new()).parts(1);
    assert_eq!(
        list.iter().map(|one| one.text(1)).collect::<Vec<_>>(),
        [id.as_str()]
    );
    let inside = kubelet.shell(
        &id,
        "ip -o -4 addr show dev eth0; hostname; grep cluster /etc/resolv.conf; echo $GREETING; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    );
    assert!(inside.contains(&format!("inet {address}/24")), "{inside}");
    assert!(
        inside.ends_with("\nalive\nsearch cluster.test\nhello\n80\n"),
        "{inside}"
    );
    let found = kubelet.exec(&id, &["sh", "-c", "echo out; echo err >&2; exit 4"]);
    assert_eq!(found, ("out\n".to_owned(), "err\n".to_owned(), 4));
    let stats = kubelet.call("ContainerStats", &only(&id)).part(1);
    assert!(stats.part(2).part(2).number(1) > 0, "time on processors");
    assert!(stats.part(3).part(2).number(1) > 0, "bytes in memory");
    // A second one beside it shares the network and the processes of the first.
    let second = Container {
        name: "second",
        ..container
    };
    let second = kubelet.start(&sandbox, &pod, &second);
    let both = kubelet.shell(&second, "ps -o pid,args; ip -o -4 addr show dev eth0");
    assert_eq!(
        both.matches("sleep 1000000").count(),
        3,
        "with the first of the pod: {both}"
    );
    assert!(both.contains(&address), "{both}");
    kubelet.call("RemoveContainer", &only(&second));
    kubelet.call("StopContainer", &only(&id).number(2, 0));
    let status = kubelet.status(&id);
    assert_eq!((status.number(3), status.number(7)), (EXITED, 137));
    kubelet.call("RemoveContainer", &only(&id));
    assert!(
        kubelet
            .call("ListContainers", &Message::new())
            .parts(1)
            .is_empty()
    );
    kubelet.call("StopPodSandbox", &only(&sandbox));
    assert_eq!(kubelet.pod_status(&sandbox).part(1).number(3), NOT_READY);
    kubelet.call("RemovePodSandbox", &only(&sandbox));
    assert!(
        kubelet
            .call("ListPodSandbox", &Message::new())
            .parts(1)
            .is_empty()
    );
}

#[test]
fn what_a_pod_asks_for() {
    let Some(kubelet) = Kubelet::new("wishes") else {
        return;
    };
    let pod = Pod {
        privileged: true,
        ..kubelet.describe("wishes")
    };
    let sandbox = kubelet.run_pod(&pod);
    let volume = kubelet.path("volume");
    std::fs::write(format!("{volume}/file"), "from the host\n").unwrap();
    let base = Container::default();
    let rows: &[(Container<'_>, &str, i64, &str)] = &[
        (base.clone(), "echo out; exit 3", 3, "stdout out\n"),
        (base.clone(), "echo err >&2", 0, "stderr err\n"),
        (base.clone(), "kill -9 $$", 137, ""),
        (
            Container {
                directory: "/tmp/made",
                terminal: true,
                ..base.clone()
            },
            "pwd; test -t 1 && echo terminal",
            0,
            "stdout /tmp/made\nstdout terminal\n",
        ),
        (
            Container {
                mounts: &[("/ro", &volume, true), ("/rw", &volume, false)],
                ..base.clone()
            },
            "cat /ro/file; touch /rw/new; touch /ro/no 2>/dev/null || echo refused",
            0,
            "stdout from the host\nstdout refused\n",
        ),
        (
            Container {
                devices: &[("/dev/nothing", "/dev/null")],
                ..base.clone()
            },
            "test -c /dev/nothing && echo x >/dev/nothing && echo device",
            0,
            "stdout device\n",
        ),
        (
            Container {
                resources: Resources {
                    quota: 50_000,
                    shares: 512,
                    memory: 64 << 20,
                    oom_score: 777,
                    cpus: "0",
                },
                ..base.clone()
            },
            "cat /proc/self/oom_score_adj; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
             grep Cpus_allowed_list /proc/self/status",
            0,
            "stdout 777\nstdout 67108864\nstdout Cpus_allowed_list:\t0\n",
        ),
        (
            secured(Security {
                user: Some(1000),
                group: Some(50),
                groups: &[7],
                ..Security::default()
            }),
            "id -u; id -g; id -G; grep CapEff /proc/self/status",
            0,
            "stdout 1000\nstdout 50\nstdout 50 7 2000\nstdout CapEff:\t0000000000000000\n",
        ),
        (
            secured(Security {
                user_name: "app",
                ..Security::default()
            }),
            "id -un; echo $HOME",
            0,
            "stdout app\nstdout /home/app\n",
        ),
        (
            secured(Security {
                add: &["SYS_ADMIN", "NET_ADMIN"],
                drop: &["ALL"],
                ..Security::default()
            }),
            "grep CapBnd /proc/self/status",
            0,
            "stdout CapBnd:\t0000000000201000\n",
        ),
        (
            secured(Security {
                read_only: true,
                no_new_privileges: true,
                ..Security::default()
            }),
            "touch /x 2>/dev/null || echo refused; grep NoNewPrivs /proc/self/status",
            0,
            "stdout refused\nstdout NoNewPrivs:\t1\n",
        ),
        (
            secured(Security {
                seccomp: Profile::RuntimeDefault,
                ..Security::default()
            }),
            "grep Seccomp: /proc/self/status; unshare -U true 2>/dev/null || echo refused",
            0,
            "stdout Seccomp:\t2\nstdout refused\n",
        ),
        (
            secured(Security {
                masked: &["/etc/passwd", "/proc/timer_list", "/proc/not-there"],
                protected: &["/proc/sys", "/home"],
                ..Security::default()
            }),
            "cat /etc/passwd /proc/timer_list; touch /home/x 2>/dev/null || echo refused; echo x 2>/dev/null >/proc/sys/kernel/hostname || echo too",
            0,
            "stdout refused\nstdout too\n",
        ),
        (
            secured(Security {
                privileged: true,
                ..Security::default()
            }),
            "mount -t tmpfs x /mnt && echo mounted; test -c /dev/kmsg && echo devices; mkdir /sys/fs/cgroup/x && rmdir /sys/fs/cgroup/x && echo groups",
            0,
            "stdout mounted\nstdout devices\nstdout groups\n",
        ),
        (
            secured(Security {
                pid: Mode::Container,
                ..Security::default()
            }),
            "echo $$",
            0,
            "stdout 1\n",
        ),
    ];
    for (number, (container, line, code, log)) in rows.iter().enumerate() {
        let name = format!("row{number}");
        let command = ["sh", "-c", line];
        let container = Container {
            name: &name,
            command: &command,
            ..container.clone()
        };
        let id = kubelet.start(&sandbox, &pod, &container);
        let status = kubelet.ended(&id);
        let found = kubelet.log(&name);
        assert_eq!(status.number(7), *code, "{line}\n{found}");
        assert!(found.starts_with(log), "{line}\n{found}");
        let reason = if *code == 0 { "Completed" } else { "Error" };
        assert_eq!(status.text(10), reason, "{line}");
        kubelet.call("RemoveContainer", &only(&id));
    }
    assert!(Path::new(&volume).join("new").exists());
}

#[test]
fn a_pod_with_the_processes_of_the_host() {
    let Some(kubelet) = Kubelet::new("host") else {
        return;
    };
    let pod = Pod {
        pid: Mode::Node,
        ..kubelet.describe("host")
    };
    let sandbox = kubelet.run_pod(&pod);
    let container = Container {
        name: "inside",
        command: SLEEP,
        security: Security {
            pid: Mode::Node,
            ..Security::default()
        },
        ..Container::default()
    };
    let id = kubelet.start(&sandbox, &pod, &container);
    let host = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let shown = kubelet.shell(&id, "readlink /proc/self/ns/pid");
    assert_eq!(shown.trim_end(), host.to_str().unwrap());
    kubelet.call("StopContainer", &only(&id).number(2, 0));
    assert_eq!(kubelet.status(&id).number(7), 137);
}

fn secured(security: Security) -> Container<'static> {
    Container {
        security,
        ..Container::default()
    }
}

#[test]
fn what_goes_wrong_is_told() {
    let Some(kubelet) = Kubelet::new("wrong") else {
        return;
    };
    let pod = kubelet.describe("wrong");
    let sandbox = kubelet.run_pod(&pod);
    for (name, command, words) in [
        ("missing", "nope", "executable file not found in $PATH"),
        ("closed", "/etc/passwd", "permission denied"),
    ] {
        let container = Container {
            name,
            command: &[command],
            ..Container::default()
        };
        let id = kubelet.create(&sandbox, &pod, &container);
        let failed = kubelet.attempt("StartContainer", &only(&id)).unwrap_err();
        assert!(failed.message.contains(words), "{failed:?}");
        let status = kubelet.status(&id);
        assert_eq!(
            (status.number(3), status.number(7)),
            (EXITED, 128),
            "{command}"
        );
        assert_eq!(status.text(10), "StartError");
    }
    // More memory than it may have.
    let hungry = Container {
        name: "hungry",
        command: &["sh", "-c", "exec tail -c 200000000 /dev/zero"],
        resources: Resources {
            memory: 16 << 20,
            ..Resources::default()
        },
        ..Container::default()
    };
    let id = kubelet.start(&sandbox, &pod, &hungry);
    assert_eq!(kubelet.ended(&id).number(7), 137);
    kubelet.until("OOMKilled", || kubelet.status(&id).text(10) == "OOMKilled");
    // A container that wants to end, and one that does not.
    for (name, trap, code) in [
        ("polite", "trap 'exit 7' TERM", 7),
        ("stubborn", "trap '' TERM", 137),
    ] {
        let line = format!("{trap}; touch /ready; while :; do sleep 0.01; done");
        let container = Container {
            name,
            command: &["sh", "-c", &line],
            ..Container::default()
        };
        let id = kubelet.start(&sandbox, &pod, &container);
        kubelet.until("the trap is set", || {
            kubelet.exec(&id, &["test", "-e", "/ready"]).2 == 0
        });
        let patience = if code == 7 { 100 } else { 1 };
        kubelet.call("StopContainer", &only(&id).number(2, patience));
        assert_eq!(kubelet.status(&id).number(7), code, "{name}");
    }
    kubelet.call("StopPodSandbox", &only(&sandbox));
}

#[test]
fn a_container_is_probed_and_changed() {
    let Some(kubelet) = Kubelet::new("probes") else {
        return;
    };
    let pod = kubelet.describe("probes");
    let sandbox = kubelet.run_pod(&pod);
    let container = Container {
        name: "probed",
        command: SLEEP,
        resources: Resources {
            memory: 32 << 20,
            shares: 100,
            ..Resources::default()
        },
        ..Container::default()
    };
    let id = kubelet.start(&sandbox, &pod, &container);
    for round in 0..40 {
        let line = format!("echo {round}; exit {round}");
        let found = kubelet.exec(&id, &["sh", "-c", &line]);
        assert_eq!(found, (format!("{round}\n"), String::new(), round));
    }
    let missing = kubelet
        .attempt("ExecSync", &only(&id).text(2, "nope"))
        .unwrap_err();
    assert!(
        missing
            .message
            .contains("executable file not found in $PATH"),
        "{missing:?}"
    );
    let long = only(&id).texts(2, &["sleep", "4321"]).number(3, 1);
    let late = kubelet.attempt("ExecSync", &long).unwrap_err();
    assert_eq!(late.code, 4, "{late:?}");
    let left = kubelet.shell(&id, "ps -o args");
    assert!(!left.contains("4321"), "{left}");
    // More memory, and less time.
    let limit =
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
    assert_eq!(kubelet.shell(&id, limit), "33554432\n");
    let resources = Resources {
        memory: 48 << 20,
        shares: 200,
        quota: 20_000,
        cpus: "0",
        ..Resources::default()
    };
    kubelet.call(
        "UpdateContainerResources",
        &only(&id).part(2, resources.message()),
    );
    assert_eq!(kubelet.shell(&id, limit), "50331648\n");
    assert!(
        kubelet
            .shell(&id, "grep Cpus_allowed_list /proc/self/status")
            .ends_with("\t0\n")
    );
    assert_eq!(kubelet.status(&id).number(3), RUNNING);
}

#[test]
fn a_pod_whose_first_process_dies() {
    let Some(kubelet) = Kubelet::new("dead") else {
        return;
    };
    let pod = kubelet.describe("dead");
    let sandbox = kubelet.run_pod(&pod);
    let container = Container {
        name: "inside",
        command: SLEEP,
        ..Container::default()
    };
    let id = kubelet.start(&sandbox, &pod, &container);
    let info = kubelet.pod_status(&sandbox).part(2).text(2);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let first = i32::try_from(info["pid"].as_i64().unwrap()).unwrap();
    let first = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(first, rustix::process::Signal::KILL).unwrap();
    kubelet.until("the pod is not ready", || {
        kubelet.pod_status(&sandbox).part(1).number(3) == NOT_READY
    });
    // It was the first process of their common pid namespace.
    assert_eq!(kubelet.ended(&id).number(7), 137);
    for method in [
        "StopPodSandbox",
        "StopPodSandbox",
        "RemovePodSandbox",
        "RemovePodSandbox",
    ] {
        kubelet.call(method, &only(&sandbox));
    }
    assert!(
        kubelet
            .call("ListContainers", &Message::new())
            .parts(1)
            .is_empty()
    );
    // Another attempt in its place.
    let sandbox = kubelet.run_pod(&pod);
    assert_eq!(kubelet.pod_status(&sandbox).part(1).text(1), sandbox);
}
