//! `linux.resources` cut into what each controller is asked for.

use super::CgroupError;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// A controller that something is asked of: its names in both versions, and the member of `linux.resources` that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Controller {
    pub(super) v1: &'static str,
    pub(super) v2: &'static str,
    pub(super) field: &'static str,
}

pub(super) const MEMORY: Controller = Controller {
    v1: "memory",
    v2: "memory",
    field: "memory",
};
pub(super) const CPU: Controller = Controller {
    v1: "cpu",
    v2: "cpu",
    field: "cpu",
};
pub(super) const CPUSET: Controller = Controller {
    v1: "cpuset",
    v2: "cpuset",
    field: "cpu",
};
pub(super) const PIDS: Controller = Controller {
    v1: "pids",
    v2: "pids",
    field: "pids",
};
pub(super) const BLOCK_IO: Controller = Controller {
    v1: "blkio",
    v2: "io",
    field: "blockIO",
};
pub(super) const HUGETLB: Controller = Controller {
    v1: "hugetlb",
    v2: "hugetlb",
    field: "hugepageLimits",
};
pub(super) const RDMA: Controller = Controller {
    v1: "rdma",
    v2: "rdma",
    field: "rdma",
};
pub(super) const NET_CLS: Controller = Controller {
    v1: "net_cls",
    v2: "net_cls",
    field: "network",
};
pub(super) const NET_PRIO: Controller = Controller {
    v1: "net_prio",
    v2: "net_prio",
    field: "network",
};

pub(super) const CONTROLLERS: [Controller; 9] = [
    MEMORY, CPU, CPUSET, PIDS, BLOCK_IO, HUGETLB, RDMA, NET_CLS, NET_PRIO,
];

/// A number that is asked for: zero is what callers send for "nothing asked".
pub(super) fn asked<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

/// `max` or `-1` for everything below zero.
pub(super) fn or_unlimited(value: i64, unlimited: &str) -> String {
    if value < 0 {
        unlimited.to_owned()
    } else {
        value.to_string()
    }
}

/// The sizes of huge pages end up in file names.
pub(super) fn page_size(size: &str) -> Result<&str, CgroupError> {
    let number = size
        .strip_suffix("KB")
        .or_else(|| size.strip_suffix("MB"))
        .or_else(|| size.strip_suffix("GB"));
    match number {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(size)
        }
        _ => Err(CgroupError::Resource {
            field: "hugepageLimits",
            reason: format!("holds the page size {size:?}, which is none"),
        }),
    }
}

/// One line of `devices.allow` or `devices.deny`.
pub(super) fn device_line(rule: &LinuxDeviceCgroup) -> Result<String, CgroupError> {
    let kind = match rule.typ().unwrap_or(LinuxDeviceType::A) {
        // The kernel then reads nothing more.
        LinuxDeviceType::A => return Ok("a".to_owned()),
        LinuxDeviceType::B => 'b',
        LinuxDeviceType::C | LinuxDeviceType::U => 'c',
        LinuxDeviceType::P => {
            return Err(CgroupError::Resource {
                field: "devices",
                reason: "holds a rule for a FIFO, which is no device".to_owned(),
            });
        }
    };
    let number = |number: Option<i64>| {
        number
            .filter(|number| *number >= 0)
            .map_or("*".to_owned(), |number| number.to_string())
    };
    let access = rule
        .access()
        .as_deref()
        .filter(|access| !access.is_empty())
        .unwrap_or("rwm");
    if !access.bytes().all(|byte| b"rwm".contains(&byte)) {
        return Err(CgroupError::Resource {
            field: "devices",
            reason: format!("holds the access {access:?}, which is not of r, w, m"),
        });
    }
    Ok(format!(
        "{kind} {}:{} {access}",
        number(rule.major()),
        number(rule.minor())
    ))
}

/// Whether the rules leave a container no more than every container has: making nodes, and using the harmless ones. Mounts without
/// device nodes and the missing CAP_MKNOD come to the same.
pub(super) fn are_default_rules(rules: &[LinuxDeviceCgroup]) -> Result<bool, CgroupError> {
    /// null, zero, full, random, urandom, tty, console, ptmx, terminals, and tun, which runc allows too.
    const HARMLESS: [&str; 10] = [
        "c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:1", "c 5:2", "c 136:*",
        "c 10:200",
    ];
    let mut others = rules.iter();
    let denies_all = others.next().is_some_and(|rule| {
        !rule.allow() && rule.typ().unwrap_or(LinuxDeviceType::A) == LinuxDeviceType::A
    });
    for rule in others {
        let line = device_line(rule)?;
        let device = line
            .rsplit_once(' ')
            .map_or(line.as_str(), |(device, _)| device);
        let harmless = HARMLESS.contains(&device) || matches!(line.as_str(), "c *:* m" | "b *:* m");
        if !rule.allow() || !harmless {
            return Ok(false);
        }
    }
    Ok(denies_all)
}

/// Whether the rules allow everything, as privileged containers have them.
pub(super) fn allow_everything(rules: &[LinuxDeviceCgroup]) -> bool {
    rules.iter().all(LinuxDeviceCgroup::allow)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// What containerd writes for an ordinary container.
    pub(in super::super) fn usual_rules() -> Vec<LinuxDeviceCgroup> {
        let mut rules = vec![
            json!({"allow": false, "access": "rwm"}),
            json!({"allow": true, "type": "c", "access": "m"}),
            json!({"allow": true, "type": "b", "access": "m"}),
            json!({"allow": true, "type": "c", "major": 136, "access": "rwm"}),
        ];
        for (major, minor) in [
            (1, 3),
            (1, 5),
            (1, 7),
            (1, 8),
            (1, 9),
            (5, 0),
            (5, 1),
            (5, 2),
        ] {
            rules.push(
                json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rw"}),
            );
        }
        serde_json::from_value(rules.into()).unwrap()
    }

    #[test]
    fn only_harmless_rules_need_no_filter() {
        let with = |rule: serde_json::Value| {
            let mut rules = usual_rules();
            rules.push(serde_json::from_value(rule).unwrap());
            are_default_rules(&rules).unwrap()
        };
        assert!(are_default_rules(&usual_rules()).unwrap());
        assert!(are_default_rules(&usual_rules()[..1]).unwrap());
        assert!(
            !are_default_rules(&usual_rules()[1..]).unwrap(),
            "nothing denies the rest"
        );
        assert!(!with(
            json!({"allow": true, "type": "b", "major": 8, "minor": 0, "access": "rwm"})
        ));
        assert!(!with(json!({"allow": true, "type": "c", "access": "rwm"})));
        assert!(
            !with(json!({"allow": false, "type": "c", "major": 1, "minor": 3, "access": "w"})),
            "a denial is not harmless"
        );
    }

    #[test]
    fn page_sizes_are_no_paths() {
        for size in ["2MB", "1GB", "64KB"] {
            assert_eq!(page_size(size).unwrap(), size);
        }
        for size in ["", "MB", "../2MB", "2MB/..", "2 MB", "2mb", "-2MB"] {
            assert!(page_size(size).is_err(), "{size}");
        }
    }
}
