//! Limits as the files of v2 take them. Pure.

use super::{
    CgroupError, Write,
    limits::*,
    v1::{cpuset, hugetlb, pids, rdma},
};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

/// The kernel's default period, in microseconds.
pub(super) const PERIOD: u64 = 100_000;

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
        CPU => resources
            .cpu()
            .as_ref()
            .map(cpu)
            .transpose()?
            .unwrap_or_default(),
        CPUSET => resources.cpu().as_ref().map(cpuset).unwrap_or_default(),
        PIDS => pids(resources),
        BLOCK_IO => resources
            .block_io()
            .as_ref()
            .map(block_io)
            .unwrap_or_default(),
        HUGETLB => hugetlb(resources, "max")?,
        RDMA => rdma(resources),
        _ => Vec::new(),
    })
}

/// The specification's own way to say v2: names of files and their text.
pub(super) fn raw(resources: &LinuxResources) -> Result<Vec<Write>, CgroupError> {
    let mut writes: Vec<Write> = Vec::new();
    for (file, value) in resources.unified().iter().flatten() {
        let name = file
            .split_once('.')
            .is_some_and(|(controller, rest)| !controller.is_empty() && !rest.is_empty());
        let plain = file
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && !file.contains("..");
        if !name || !plain {
            return Err(CgroupError::Resource {
                field: "unified",
                reason: format!("holds {file:?}, which is no file of a controller"),
            });
        }
        writes.extend(value.lines().map(|line| Write::new(file.clone(), line)));
    }
    writes.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(writes)
}

fn memory(memory: &LinuxMemory) -> Result<Vec<Write>, CgroupError> {
    let mut writes = Vec::new();
    let limit = asked(memory.limit());
    writes.extend(limit.map(|limit| Write::new("memory.max", or_unlimited(limit, "max"))));
    if let Some(swap) = asked(memory.swap()) {
        let value = swap_alone(swap, limit)?;
        let write = Write::new("memory.swap.max", &value);
        // Without the file there is no swap.
        let holds = matches!(value.as_str(), "max" | "0");
        writes.push(if holds { write.or_skipped() } else { write });
    }
    writes.extend(
        asked(memory.reservation()).map(|low| Write::new("memory.low", or_unlimited(low, "max"))),
    );
    Ok(writes)
}

/// v1's number, and the specification's, is memory and swap together.
pub(super) fn swap_alone(both: i64, memory: Option<i64>) -> Result<String, CgroupError> {
    let wrong = |reason: String| {
        Err(CgroupError::Resource {
            field: "memory.swap",
            reason,
        })
    };
    match (both, memory) {
        (..0, _) => Ok("max".to_owned()),
        (both, Some(memory @ 0..)) if both >= memory => Ok((both - memory).to_string()),
        (both, Some(memory @ 0..)) => {
            wrong(format!("is {both}, below the limit of memory, {memory}"))
        }
        _ => wrong("is memory and swap together, and memory has no limit".to_owned()),
    }
}

fn cpu(cpu: &LinuxCpu) -> Result<Vec<Write>, CgroupError> {
    if asked(cpu.realtime_period()).is_some() || asked(cpu.realtime_runtime()).is_some() {
        return Err(CgroupError::Unsupported(
            "a limit of real-time scheduling on cgroup v2",
        ));
    }
    let mut writes = Vec::new();
    // Idle comes first: the kernel refuses a weight for an idle cgroup.
    writes.extend(asked(cpu.idle()).map(|idle| Write::new("cpu.idle", idle)));
    if asked(cpu.idle()).is_none() {
        writes.extend(asked(cpu.shares()).map(|shares| Write::new("cpu.weight", weight(shares))));
    }
    let (quota, period) = (asked(cpu.quota()), asked(cpu.period()));
    if quota.is_some() || period.is_some() {
        let quota = or_unlimited(quota.unwrap_or(-1), "max");
        writes.push(Write::new(
            "cpu.max",
            format!("{quota} {}", period.unwrap_or(PERIOD)),
        ));
    }
    writes.extend(asked(cpu.burst()).map(|burst| Write::new("cpu.max.burst", burst)));
    Ok(writes)
}

/// v1's shares (2 to 262144, usually 1024) as v2's weight (1 to 10000, usually 100), so that all three land on their counterparts:
/// the formula runc and crun share.
pub(super) fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil() as u64
}

fn block_io(io: &LinuxBlockIo) -> Vec<Write> {
    // 10 to 1000 become 1 to 10000.
    let scale = |weight: u16| 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990;
    // The scheduler BFQ has a file of its own, with the specification's numbers; where it is, the other has no effect.
    let weight = |what: &str, weight: u16| {
        let other = Write::new("io.weight", format!("{what} {}", scale(weight)));
        Write::new("io.bfq.weight", format!("{what} {weight}")).or(other)
    };
    let mut writes = Vec::new();
    writes.extend(asked(io.weight()).map(|asked| weight("default", asked)));
    for device in io.weight_device().iter().flatten() {
        let number = format!("{}:{}", device.major(), device.minor());
        writes.extend(asked(device.weight()).map(|asked| weight(&number, asked)));
    }
    let mut throttle = |key: &str, devices: &Option<Vec<LinuxThrottleDevice>>| {
        let line = |device: &LinuxThrottleDevice| {
            format!(
                "{}:{} {key}={}",
                device.major(),
                device.minor(),
                device.rate()
            )
        };
        writes.extend(
            devices
                .iter()
                .flatten()
                .map(|device| Write::new("io.max", line(device))),
        );
    };
    throttle("rbps", io.throttle_read_bps_device());
    throttle("wbps", io.throttle_write_bps_device());
    throttle("riops", io.throttle_read_iops_device());
    throttle("wiops", io.throttle_write_iops_device());
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_that_fit_at_three_points() {
        for (shares, expected) in [
            (1, 1),
            (2, 1),
            (1024, 100),
            (262_144, 10_000),
            (u64::MAX, 10_000),
            (512, 59),
            (2048, 174),
        ] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
        assert!((3..262_144).step_by(97).is_sorted_by_key(weight));
    }

    #[test]
    fn swap_is_what_is_left() {
        assert_eq!(swap_alone(-1, None).unwrap(), "max");
        assert_eq!(swap_alone(300, Some(100)).unwrap(), "200");
        assert_eq!(swap_alone(100, Some(100)).unwrap(), "0");
        assert!(swap_alone(99, Some(100)).is_err());
        assert!(swap_alone(99, None).is_err());
        assert!(swap_alone(99, Some(-1)).is_err());
    }
}
