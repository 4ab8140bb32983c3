//! What this crate can do, in the words of the runtime specification ("Features Structure"). Only what works is listed.

use oci_spec::runtime::{Capability, Features};
use serde_json::json;

use crate::capability::{self, CapabilitySet};
use crate::mount::MountOptions;
use crate::seccomp::FilterArch;

/// The oldest version of the specification that is followed.
pub const SPEC_VERSION_MIN: &str = "1.0.0";

/// The newest version of the specification that is followed.
pub const SPEC_VERSION_MAX: &str = "1.3.0";

/// An annotation that crun has brought up, and podman writes: a value but `0` keeps the first process in the caller's groups.
pub(crate) const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// What this crate can do.
///
/// It says what is compiled in, not what the host has: security modules and memory nodes may be missing there, and asking for them is
/// refused then.
///
/// # References
/// Runtime specification, "Features Structure".
#[must_use]
pub fn features() -> Features {
    let all = CapabilitySet::from_bits(u64::MAX);
    let capabilities: Vec<&str> = all
        .iter()
        .map(|one: Capability| capability::name(one))
        .collect();
    let whole = json!({
        "ociVersionMin": SPEC_VERSION_MIN,
        "ociVersionMax": SPEC_VERSION_MAX,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": MountOptions::words(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": seccomp(),
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": false},
            "memoryPolicy": {
                "modes": [
                    "MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED",
                    "MPOL_PREFERRED_MANY", "MPOL_LOCAL",
                ],
                "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"],
            },
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
        },
        // By the first, who may not choose groups leaves a process in those of the caller; the others tell systemd and CRIU what to do.
        "potentiallyUnsafeConfigAnnotations": [KEEP_GROUPS, "org.systemd.property.", "org.criu.config"],
        "annotations": {"org.trimaran.version": env!("CARGO_PKG_VERSION")},
    });
    serde_json::from_value(whole).expect("a test reads it")
}

fn seccomp() -> serde_json::Value {
    let Some(arch) = FilterArch::native() else {
        return json!({"enabled": false});
    };
    let flags = [
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ];
    json!({
        "enabled": true,
        "actions": [
            "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY",
            "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
        ],
        "operators": [
            "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
        ],
        "archs": arch.with_sub_architectures(),
        "knownFlags": flags,
        "supportedFlags": flags,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_specification_describes() {
        let features = features();
        let linux = features.linux().as_ref().unwrap();
        assert_eq!(
            linux.namespaces().as_ref().unwrap().len(),
            crate::namespace::Kind::ALL.len()
        );
        assert!(linux.capabilities().as_ref().unwrap().len() >= 41);
        assert!(linux.seccomp().as_ref().unwrap().enabled().unwrap());
    }
}
