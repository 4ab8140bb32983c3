//! Network devices that move into a container.

use std::path::Path;
use std::process::Command;

use libcontainer::{ErrorKind, ExitStatus};
use serde_json::json;

use super::{refused, user_namespace, with};
use crate::bed::Bed;

/// A device of the host, removed when it is dropped if it is still there.
struct Device(String);

impl Device {
    fn new(purpose: &str, setup: &[&str]) -> Option<Self> {
        let name = format!("{purpose}{}", std::process::id() % 100_000);
        let ip = |words: &str| {
            let words = words.replace('@', &name);
            Command::new("ip")
                .args(words.split(' '))
                .stderr(std::process::Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        // Not every kernel has the module for dummies.
        if !ip("link add @ type dummy") && !ip("link add @ type ifb") {
            trimaran_testkit::skip("the kernel makes no network devices, or there is no ip");
            return None;
        }
        let device = Self(name.clone());
        for words in setup {
            assert!(ip(words), "{words}");
        }
        Some(device)
    }

    fn is_on_the_host(&self) -> bool {
        Path::new("/sys/class/net").join(&self.0).exists()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        Command::new("ip")
            .args(["link", "del", &self.0])
            .stderr(std::process::Stdio::null())
            .status()
            .ok();
    }
}

#[test]
fn a_device_moves_with_its_addresses() {
    let Some(bed) = Bed::new() else { return };
    let setup = [
        "addr add 10.123.4.5/24 brd + dev @",
        "addr add 2001:db8:77::5/64 nodad dev @",
        "addr add 169.254.7.7/16 scope link dev @",
    ];
    for (user, wished, name) in [(false, Some("eth7"), "eth7"), (true, None, "")] {
        let Some(device) = Device::new("tm", &setup) else {
            return;
        };
        let name = if name.is_empty() { &device.0 } else { name };
        let spec = bed.shell(&format!(
            "ip -o addr show dev {name}; ip link show dev {name}"
        ));
        let mut asked = json!({});
        asked[&device.0] = wished.map_or(json!({}), |wished| json!({"name": wished}));
        let mut spec = with(&spec, &[("linux.netDevices", asked)]);
        if user {
            std::fs::set_permissions(
                bed.directory.path(),
                std::os::unix::fs::PermissionsExt::from_mode(0o755),
            )
            .unwrap();
            spec = user_namespace(&spec, 100_000);
        }
        let outcome = bed.run(spec).unwrap();
        assert_eq!(outcome.status, ExitStatus::Exited(0), "{outcome:?}");
        for part in [
            "inet 10.123.4.5/24 brd 10.123.4.255 scope global",
            "inet6 2001:db8:77::5/64 scope global",
            ",UP",
        ] {
            assert!(outcome.output.contains(part), "{part}: {outcome:?}");
        }
        assert!(
            !outcome.output.contains("169.254.7.7"),
            "addresses of the link stay behind"
        );
        assert!(!device.is_on_the_host());
    }
}

#[test]
fn what_cannot_move_is_said() {
    let Some(bed) = Bed::new() else { return };
    let run = |asked: serde_json::Value| {
        bed.run(with(&bed.shell("true"), &[("linux.netDevices", asked)]))
            .unwrap_err()
    };
    let error = run(json!({"no-such-device": {}}));
    assert_eq!(*error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no-such-device"), "{error}");
    assert_eq!(refused(&run(json!({"a/b": {}}))), "linux.netDevices.a/b");
    assert_eq!(
        refused(&run(json!({"a": {"name": "much-too-long-name"}}))),
        "linux.netDevices.a"
    );
    let mut spec = bed.shell("true");
    let list = spec.linux_mut().as_mut().unwrap();
    list.set_sysctl(None);
    let kept =
        list.namespaces().iter().flatten().filter(|one| {
            one.typ() != libcontainer::oci_spec::runtime::LinuxNamespaceType::Network
        });
    let kept = serde_json::to_value(kept.collect::<Vec<_>>()).unwrap();
    let host = with(
        &spec,
        &[
            ("linux.namespaces", kept),
            ("linux.netDevices", json!({"a": {}})),
        ],
    );
    assert_eq!(refused(&bed.run(host).unwrap_err()), "linux.netDevices");
    // The device stays where it is if its new name is taken.
    let Some(device) = Device::new("tn", &[]) else {
        return;
    };
    let mut asked = json!({});
    asked[&device.0] = json!({"name": "lo"});
    let error = run(asked);
    assert!(
        error.hint().unwrap().contains("named lo already"),
        "{error:?}"
    );
    assert!(device.is_on_the_host());
}
