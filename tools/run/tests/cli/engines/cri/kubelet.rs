//! Who calls: as Kubernetes' agent on a node does, and with a containerd of the test's own.

use super::api::{Container, EXITED, Mode, Pod, READY};
use super::grpc::{Client, Status};
use super::message::{Message, Reply};
use crate::engines::containerd::{Containerd, PROGRAMS};
use crate::engines::{PATIENCE, Place, remove_cgroups};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};
use trimaran_testkit::ImageMaker;

/// Where Debian keeps the programs that connect pods.
pub(super) const PLUGINS: &str = "/usr/lib/cni";

const IMAGE: &str = "localhost/base:busybox";
const NAMESPACE: &str = "k8s.io";

pub(super) struct Kubelet {
    containerd: Containerd,
    client: Client,
    /// The cgroup of all pods of this test.
    group: String,
}

impl Kubelet {
    /// `None` after a counted skip.
    pub(super) fn new(name: &str) -> Option<Self> {
        let place = Place::new(&PROGRAMS)?;
        let config = configuration(&place);
        for directory in ["net.d", "logs", "volume"] {
            std::fs::create_dir(place.directory().join(directory)).unwrap();
        }
        std::fs::write(place.directory().join("net.d/10.conflist"), network(&place)).unwrap();
        let containerd = Containerd::start(place, &config)?;
        let client = Client::new(containerd.place.directory().join("sock"));
        let group = format!("trimaran-cri-{name}-{}", std::process::id());
        let kubelet = Self {
            containerd,
            client,
            group,
        };
        let maker = ImageMaker::busybox().expect("the place has found it");
        kubelet.containerd.import(NAMESPACE, "busybox", &maker);
        let pause = maker.cmd(&["sleep", "1000000"]);
        kubelet.containerd.import(NAMESPACE, "pause", &pause);
        // The interface hears of images some time after they have come.
        for image in [IMAGE, "localhost/base:pause"] {
            let request = Message::new().part(1, Message::new().text(1, image));
            kubelet.until(image, || {
                let status = kubelet.image("ImageStatus", &request);
                !status.parts(1).is_empty()
            });
        }
        Some(kubelet)
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.containerd.place.path(name)
    }

    /// A pod, which is not made yet.
    pub(super) fn describe(&self, name: &'static str) -> Pod {
        Pod {
            name,
            network: Mode::Node,
            group: format!("/{}/{name}", self.group),
            logs: self.path("logs"),
            ..Pod::default()
        }
    }

    /// Calls a method that succeeds.
    #[track_caller]
    pub(super) fn call(&self, method: &str, request: &Message) -> Reply {
        match self.attempt(method, request) {
            Ok(reply) => reply,
            Err(status) => panic!("{method}: {status:?}\n{}", self.containerd.log()),
        }
    }

    #[track_caller]
    pub(super) fn attempt(&self, method: &str, request: &Message) -> Result<Reply, Status> {
        let method = format!("/runtime.v1.RuntimeService/{method}");
        self.client.call(&method, &request.0).map(Reply)
    }

    #[track_caller]
    fn image(&self, method: &str, request: &Message) -> Reply {
        let method = format!("/runtime.v1.ImageService/{method}");
        Reply(self.client.call(&method, &request.0).unwrap())
    }

    /// Waits for what the server hears of later.
    #[track_caller]
    pub(super) fn until(&self, what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(
                Instant::now() < end,
                "never: {what}\n{}",
                self.containerd.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub(super) fn run_pod(&self, pod: &Pod) -> String {
        let request = Message::new().part(1, pod.message());
        let sandbox = self.call("RunPodSandbox", &request).text(1);
        assert_eq!(self.pod_status(&sandbox).part(1).number(3), READY);
        sandbox
    }

    /// `PodSandboxStatusResponse`, with all that is known.
    #[track_caller]
    pub(super) fn pod_status(&self, sandbox: &str) -> Reply {
        self.call(
            "PodSandboxStatus",
            &Message::new().text(1, sandbox).flag(2, true),
        )
    }

    #[track_caller]
    pub(super) fn create(&self, sandbox: &str, pod: &Pod, container: &Container<'_>) -> String {
        let request = container.request(sandbox, pod, IMAGE);
        self.call("CreateContainer", &request).text(1)
    }

    /// Creates and starts a container.
    #[track_caller]
    pub(super) fn start(&self, sandbox: &str, pod: &Pod, container: &Container<'_>) -> String {
        let id = self.create(sandbox, pod, container);
        self.call("StartContainer", &only(&id));
        id
    }

    /// `ContainerStatus`
    #[track_caller]
    pub(super) fn status(&self, id: &str) -> Reply {
        self.call("ContainerStatus", &only(id)).part(1)
    }

    /// Waits for the end of a container.
    #[track_caller]
    pub(super) fn ended(&self, id: &str) -> Reply {
        self.until("the end of a container", || {
            self.status(id).number(3) == EXITED
        });
        self.status(id)
    }

    /// Standard output, standard error, and exit code of a command in a container.
    #[track_caller]
    pub(super) fn exec(&self, id: &str, command: &[&str]) -> (String, String, i64) {
        let reply = self.call("ExecSync", &only(id).texts(2, command));
        (reply.text(1), reply.text(2), reply.number(3))
    }

    /// What a shell line in a container prints.
    #[track_caller]
    pub(super) fn shell(&self, id: &str, line: &str) -> String {
        self.exec(id, &["sh", "-c", line]).0
    }

    /// Name of the stream and text of each line that a container has logged.
    #[track_caller]
    pub(super) fn log(&self, name: &str) -> String {
        let path = self.path(&format!("logs/{name}.log"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = String::new();
        for line in text.lines() {
            // Time, stream, whether the line is whole, text.
            let words: Vec<_> = line.splitn(4, ' ').collect();
            lines.push_str(&format!("{} {}\n", words[1], words[3]));
        }
        lines
    }
}

/// A message whose first field is an id, and that has no others.
pub(super) fn only(id: &str) -> Message {
    Message::new().text(1, id)
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        let pods = self.attempt("ListPodSandbox", &Message::new());
        for pod in pods.iter().flat_map(|pods| pods.parts(1)) {
            for method in ["StopPodSandbox", "RemovePodSandbox"] {
                // The test has failed already if this is not possible.
                self.attempt(method, &only(&pod.text(1))).ok();
            }
        }
        remove_cgroups(&self.group);
        // Where no pod had a network of its own there is none.
        Command::new("ip")
            .args(["link", "del", &bridge()])
            .stderr(std::process::Stdio::null())
            .status()
            .ok();
    }
}

/// The server with its part for Kubernetes, and with our program.
fn configuration(place: &Place) -> String {
    let plugin = "plugins.\"io.containerd.grpc.v1.cri\"";
    format!(
        "disabled_plugins = [\"io.containerd.internal.v1.opt\"]\n\
         [{plugin}]\n  sandbox_image = \"localhost/base:pause\"\n  stream_server_address = \"127.0.0.1\"\n  stream_server_port = \"0\"\n\
         # Where root itself lacks CAP_SYS_RESOURCE.\n  restrict_oom_score_adj = true\n\
         [{plugin}.containerd]\n  snapshotter = \"native\"\n  default_runtime_name = \"ours\"\n\
         [{plugin}.containerd.runtimes.ours]\n  runtime_type = \"io.containerd.runc.v2\"\n\
         [{plugin}.containerd.runtimes.ours.options]\n  BinaryName = {:?}\n\
         [{plugin}.cni]\n  bin_dir = \"{PLUGINS}\"\n  conf_dir = {:?}\n",
        place.path("bin/runc"),
        place.path("net.d"),
    )
}

/// A network of the test's own. Without a gateway, or the host would become a router.
fn network(place: &Place) -> String {
    let number = std::process::id();
    let addresses = json!({
        "type": "host-local",
        "dataDir": place.path("addresses"),
        "ranges": [[{"subnet": format!("10.{}.{}.0/24", 128 + (number >> 8) % 128, number % 256)}]],
    });
    let bridge = json!({"type": "bridge", "bridge": bridge(), "ipam": addresses});
    json!({"cniVersion": "0.4.0", "name": "tests", "plugins": [bridge]}).to_string()
}

fn bridge() -> String {
    format!("tri{}", std::process::id())
}
