//! What Kubernetes asks of a runtime for pods and containers: the fields of its `runtime.v1` interface that the tests use.

use super::message::Message;

/// Where a namespace is from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Mode {
    #[default]
    Pod = 0,
    Container = 1,
    Node = 2,
}

/// States of a container.
pub(super) const RUNNING: i64 = 1;
pub(super) const EXITED: i64 = 2;

/// States of a pod's sandbox.
pub(super) const READY: i64 = 0;
pub(super) const NOT_READY: i64 = 1;

/// Where a profile is from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Profile {
    RuntimeDefault = 0,
    #[default]
    Unconfined = 1,
}

impl Profile {
    fn message(self) -> Message {
        Message::new().number(1, self as i64)
    }
}

/// A pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Pod {
    pub(super) name: &'static str,
    pub(super) network: Mode,
    pub(super) pid: Mode,
    pub(super) privileged: bool,
    pub(super) sysctls: &'static [(&'static str, &'static str)],
    pub(super) seccomp: Profile,
    /// The pod's cgroup.
    pub(super) group: String,
    pub(super) logs: String,
}

fn namespaces(network: Mode, pid: Mode) -> Message {
    Message::new()
        .number(1, network as i64)
        .number(2, pid as i64)
}

impl Pod {
    /// `PodSandboxConfig`
    pub(super) fn message(&self) -> Message {
        let metadata = Message::new()
            .text(1, self.name)
            .text(2, &format!("uid-of-{}", self.name))
            .text(3, "tests");
        let security = Message::new()
            .part(1, namespaces(self.network, self.pid))
            .flag(6, self.privileged)
            .part(9, self.seccomp.message());
        let mut linux = Message::new().text(1, &self.group).part(2, security);
        for (key, value) in self.sysctls {
            linux = linux.entry(3, key, value);
        }
        let dns = Message::new().text(1, "192.0.2.1").text(2, "cluster.test");
        Message::new()
            .part(1, metadata)
            // With the host's network goes the host's name.
            .text(
                2,
                if self.network == Mode::Node {
                    ""
                } else {
                    self.name
                },
            )
            .text(3, &self.logs)
            .part(4, dns)
            .entry(6, "app", self.name)
            .entry(7, "tests/annotation", "kept")
            .part(8, linux)
    }
}

/// What a container may use; zero is not said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resources {
    pub(super) quota: i64,
    pub(super) shares: i64,
    pub(super) memory: i64,
    pub(super) oom_score: i64,
    pub(super) cpus: &'static str,
}

impl Resources {
    /// `LinuxContainerResources`
    pub(super) fn message(self) -> Message {
        Message::new()
            .number(1, if self.quota == 0 { 0 } else { 100_000 })
            .number(2, self.quota)
            .number(3, self.shares)
            .number(4, self.memory)
            .number(5, self.oom_score)
            .text(6, self.cpus)
    }
}

/// What a container may do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Security {
    pub(super) add: &'static [&'static str],
    pub(super) drop: &'static [&'static str],
    pub(super) privileged: bool,
    pub(super) pid: Mode,
    pub(super) user: Option<i64>,
    pub(super) group: Option<i64>,
    pub(super) user_name: &'static str,
    pub(super) groups: &'static [i64],
    pub(super) read_only: bool,
    pub(super) no_new_privileges: bool,
    pub(super) masked: &'static [&'static str],
    pub(super) protected: &'static [&'static str],
    pub(super) seccomp: Profile,
}

impl Security {
    /// `LinuxContainerSecurityContext`
    fn message(self, network: Mode) -> Message {
        let capabilities = Message::new().texts(1, self.add).texts(2, self.drop);
        let mut message = Message::new()
            .part(1, capabilities)
            .flag(2, self.privileged)
            .part(3, namespaces(network, self.pid))
            .text(6, self.user_name)
            .flag(7, self.read_only)
            .flag(11, self.no_new_privileges)
            .texts(13, self.masked)
            .texts(14, self.protected)
            .part(15, self.seccomp.message());
        // Numbers in a message of their own: zero is root, and not nothing.
        for (field, id) in [(5, self.user), (12, self.group)] {
            if let Some(id) = id {
                message = message.part(field, Message::new().number(1, id));
            }
        }
        let groups = self.groups.iter();
        groups.fold(message, |message, group| message.number(8, *group))
    }
}

/// A container of a pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Container<'c> {
    pub(super) name: &'c str,
    pub(super) command: &'c [&'c str],
    pub(super) directory: &'c str,
    pub(super) variables: &'c [(&'c str, &'c str)],
    /// Place in the container, place on the host, whether it is read-only.
    pub(super) mounts: &'c [(&'c str, &'c str, bool)],
    /// Place in the container, place on the host.
    pub(super) devices: &'c [(&'c str, &'c str)],
    pub(super) terminal: bool,
    pub(super) resources: Resources,
    pub(super) security: Security,
}

impl Container<'_> {
    /// `ContainerConfig`
    fn message(&self, image: &str, network: Mode) -> Message {
        let mut message = Message::new()
            .part(1, Message::new().text(1, self.name))
            .part(2, Message::new().text(1, image))
            .texts(3, self.command)
            .text(5, self.directory);
        for (key, value) in self.variables {
            message = message.part(6, Message::new().text(1, key).text(2, value));
        }
        for (inside, outside, read_only) in self.mounts {
            let mount = Message::new()
                .text(1, inside)
                .text(2, outside)
                .flag(3, *read_only);
            message = message.part(7, mount);
        }
        for (inside, outside) in self.devices {
            let device = Message::new()
                .text(1, inside)
                .text(2, outside)
                .text(3, "rwm");
            message = message.part(8, device);
        }
        let linux = Message::new()
            .part(1, self.resources.message())
            .part(2, self.security.message(network));
        message
            .entry(9, "part", self.name)
            .text(11, &format!("{}.log", self.name))
            .flag(14, self.terminal)
            .part(15, linux)
    }

    /// `CreateContainerRequest`
    pub(super) fn request(&self, sandbox: &str, pod: &Pod, image: &str) -> Message {
        Message::new()
            .text(1, sandbox)
            .part(2, self.message(image, pod.network))
            .part(3, pod.message())
    }
}
