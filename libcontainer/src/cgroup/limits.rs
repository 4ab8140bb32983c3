//! `linux.resources` cut into what each controller is asked for.

use super::{CgroupError, Hierarchies};
use oci_spec::runtime::LinuxResources;

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

/// On v2 there is no such controller, but a program.
pub(super) const DEVICES: Controller = Controller {
    v1: "devices",
    v2: "devices",
    field: "devices",
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

/// What is asked for and means nothing, here or on any kernel of today.
pub(super) fn warnings(resources: &LinuxResources, host: &Hierarchies) -> Vec<String> {
    let mut found = Vec::new();
    let Some(memory) = resources.memory() else {
        return found;
    };
    let mut ignored = |asked: bool, field: &str, reason: &str| {
        if asked {
            found.push(format!(
                "linux.resources.memory.{field} is ignored: {reason}"
            ));
        }
    };
    let kernel = asked(memory.kernel()).is_some();
    ignored(kernel, "kernel", "the kernel has no such limit any more");
    let hierarchy = memory.use_hierarchy() == Some(false);
    ignored(
        hierarchy,
        "useHierarchy",
        "the kernel always counts what is below",
    );
    if host.v1_with("memory").is_none() {
        const NONE: &str = "cgroup v2 has no such setting";
        ignored(asked(memory.kernel_tcp()).is_some(), "kernelTCP", NONE);
        ignored(memory.swappiness().is_some(), "swappiness", NONE);
        let kept = memory.disable_oom_killer() == Some(true);
        ignored(kept, "disableOOMKiller", NONE);
    }
    found
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

#[cfg(test)]
mod tests {
    use super::*;

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
