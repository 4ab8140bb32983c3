//! `features`: what containerd, docker and CRI-O ask before they use us. Only what works is listed.

use super::Ended;
use clap::Parser;
use serde_json::json;
use trimaran_cli::output;

/// The runtime specification that is followed.
pub(crate) const SPEC_VERSION: &str = "1.2.0";

/// Print what this runtime can do
#[derive(Debug, Parser)]
pub(crate) struct FeaturesArgs {}

pub(crate) fn features(_args: &FeaturesArgs) -> Result<u8, Ended> {
    output::json(&json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": {"enabled": true},
            "apparmor": {"enabled": false},
            "selinux": {"enabled": false},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": false}},
        },
        "annotations": {"org.trimaran.version": env!("CARGO_PKG_VERSION")},
    }))?;
    Ok(0)
}
