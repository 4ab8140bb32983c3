//! Limits as the files of v1 take them. Pure.

use super::{CgroupError, Write, limits::*};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

/// What is to be written for one controller; nothing if nothing is asked of it.
pub(super) fn writes(
    controller: Controller,
    resources: &LinuxResources,
) -> Result<Vec<Write>, CgroupError> {
    Ok(match controller {
        MEMORY => resources
            .memory()
            .as_ref()
            .map(memory)
            .transpose()?
            .unwrap_or_default(),
        CPU => resources.cpu().as_ref().map(cpu).unwrap_or_default(),
        CPUSET => resources.cpu().as_ref().map(cpuset).unwrap_or_default(),
        PIDS => pids(resources),
        BLOCK_IO => resources
            .block_io()
            .as_ref()
            .map(block_io)
            .unwrap_or_default(),
        HUGETLB => hugetlb(resources, "limit_in_bytes")?,
        RDMA => rdma(resources),
        NET_CLS => {
            let id = resources
                .network()
                .as_ref()
                .and_then(|network| network.class_id());
            asked(id)
                .map(|id| Write::new("net_cls.classid", id))
                .into_iter()
                .collect()
        }
        NET_PRIO => {
            let priorities = resources
                .network()
                .as_ref()
                .and_then(|network| network.priorities().as_ref());
            let line = |one: &oci_spec::runtime::LinuxInterfacePriority| {
                Write::new(
                    "net_prio.ifpriomap",
                    format!("{} {}", one.name(), one.priority()),
                )
            };
            priorities.into_iter().flatten().map(line).collect()
        }
        _ => Vec::new(),
    })
}

fn memory(memory: &LinuxMemory) -> Result<Vec<Write>, CgroupError> {
    let mut writes = Vec::new();
    let mut limit = |file: &str, value: Option<i64>| {
        if let Some(value) = asked(value) {
            writes.push(Write::new(file, or_unlimited(value, "-1")));
        }
    };
    // The kernel wants the limit of both together never below the one of memory alone: in a new cgroup the small one comes first.
    limit("memory.limit_in_bytes", memory.limit());
    limit("memory.memsw.limit_in_bytes", memory.swap());
    limit("memory.soft_limit_in_bytes", memory.reservation());
    limit("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp());
    if let Some(swappiness) = memory.swappiness() {
        if swappiness > 100 {
            return Err(CgroupError::Resource {
                field: "memory.swappiness",
                reason: format!("is {swappiness}, above 100"),
            });
        }
        writes.push(Write::new("memory.swappiness", swappiness));
    }
    if memory.disable_oom_killer() == Some(true) {
        writes.push(Write::new("memory.oom_control", 1));
    }
    Ok(writes)
}

fn cpu(cpu: &LinuxCpu) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut push = |file: &str, value: Option<String>| {
        writes.extend(value.map(|value| Write::new(file, value)))
    };
    push(
        "cpu.shares",
        asked(cpu.shares()).map(|value| value.to_string()),
    );
    push(
        "cpu.cfs_period_us",
        asked(cpu.period()).map(|value| value.to_string()),
    );
    push(
        "cpu.cfs_quota_us",
        asked(cpu.quota()).map(|value| or_unlimited(value, "-1")),
    );
    push(
        "cpu.cfs_burst_us",
        asked(cpu.burst()).map(|value| value.to_string()),
    );
    push(
        "cpu.rt_period_us",
        asked(cpu.realtime_period()).map(|value| value.to_string()),
    );
    push(
        "cpu.rt_runtime_us",
        asked(cpu.realtime_runtime()).map(|value| value.to_string()),
    );
    push("cpu.idle", asked(cpu.idle()).map(|value| value.to_string()));
    writes
}

pub(super) fn cpuset(cpu: &LinuxCpu) -> Vec<Write> {
    let one = |file: &str, value: &Option<String>| {
        value
            .as_deref()
            .filter(|value| !value.is_empty())
            .map(|value| Write::new(file, value))
    };
    one("cpuset.cpus", cpu.cpus())
        .into_iter()
        .chain(one("cpuset.mems", cpu.mems()))
        .collect()
}

/// The file has one name in both versions.
pub(super) fn pids(resources: &LinuxResources) -> Vec<Write> {
    let limit = asked(resources.pids().map(|pids| pids.limit()));
    limit
        .map(|limit| Write::new("pids.max", or_unlimited(limit, "max")))
        .into_iter()
        .collect()
}

pub(super) fn hugetlb(resources: &LinuxResources, file: &str) -> Result<Vec<Write>, CgroupError> {
    let mut writes = Vec::new();
    for limit in resources.hugepage_limits().iter().flatten() {
        let size = page_size(limit.page_size())?;
        writes.push(Write::new(format!("hugetlb.{size}.{file}"), limit.limit()));
        // What is reserved and not used yet is not counted by the other; without a reservation a use is refused by a signal.
        let reserved = format!("hugetlb.{size}.rsvd.{file}");
        writes.push(Write::new(reserved, limit.limit()).or_skipped());
    }
    Ok(writes)
}

/// The file has one name in both versions.
pub(super) fn rdma(resources: &LinuxResources) -> Vec<Write> {
    let mut writes = Vec::new();
    for (device, limit) in resources.rdma().iter().flatten() {
        let mut line = device.clone();
        for (name, value) in [
            ("hca_handle", limit.hca_handles()),
            ("hca_object", limit.hca_objects()),
        ] {
            if let Some(value) = value {
                line.push_str(&format!(" {name}={value}"));
            }
        }
        writes.push(Write::new("rdma.max", line));
    }
    writes
}

fn block_io(io: &LinuxBlockIo) -> Vec<Write> {
    let mut writes = Vec::new();
    // The first is the completely fair queuing's, which Linux 5.0 dropped; the second its successor's.
    writes.extend(asked(io.weight()).map(|weight| {
        Write::new("blkio.weight", weight).or(Write::new("blkio.bfq.weight", weight))
    }));
    writes.extend(asked(io.leaf_weight()).map(|weight| Write::new("blkio.leaf_weight", weight)));
    for device in io.weight_device().iter().flatten() {
        let line = |weight: u16| format!("{}:{} {weight}", device.major(), device.minor());
        writes.extend(asked(device.weight()).map(|weight| {
            let line = line(weight);
            Write::new("blkio.weight_device", &line).or(Write::new("blkio.bfq.weight_device", line))
        }));
        writes.extend(
            asked(device.leaf_weight())
                .map(|weight| Write::new("blkio.leaf_weight_device", line(weight))),
        );
    }
    let mut throttle = |file: &str, devices: &Option<Vec<LinuxThrottleDevice>>| {
        let line = |device: &LinuxThrottleDevice| {
            format!("{}:{} {}", device.major(), device.minor(), device.rate())
        };
        writes.extend(
            devices
                .iter()
                .flatten()
                .map(|device| Write::new(file, line(device))),
        );
    };
    throttle(
        "blkio.throttle.read_bps_device",
        io.throttle_read_bps_device(),
    );
    throttle(
        "blkio.throttle.write_bps_device",
        io.throttle_write_bps_device(),
    );
    throttle(
        "blkio.throttle.read_iops_device",
        io.throttle_read_iops_device(),
    );
    throttle(
        "blkio.throttle.write_iops_device",
        io.throttle_write_iops_device(),
    );
    writes
}
