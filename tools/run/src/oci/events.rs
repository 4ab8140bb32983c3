//! `events`: what a container uses, and when it runs out of memory.

use super::{Ended, global::Face};
use clap::Parser;
use libcontainer::cgroup::{Amount, OomWatch, Stats};
use libcontainer::runtime::Container;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use trimaran_cli::{human, output};

/// Print what a container uses and when it runs out of memory, one JSON object a line, until it stops
#[derive(Debug, Parser)]
pub(crate) struct EventsArgs {
    /// Print what it uses now, and end
    #[arg(long)]
    stats: bool,
    /// Time between two statistics
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = human::parse_duration)]
    interval: Duration,
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
}

pub(crate) fn events(face: &Face, args: &EventsArgs) -> Result<u8, Ended> {
    if args.interval.is_zero() {
        return Err(Ended::Failed(
            "--interval must be longer than nothing".to_owned(),
        ));
    }
    let mut container = face.load(&args.id)?;
    if args.stats {
        print(&args.id, "stats", &of(&container.stats()?))?;
        return Ok(0);
    }
    // A container whose memory is not counted still has statistics.
    let watch = container.watch_oom().ok();
    follow(&mut container, watch, args)?;
    Ok(0)
}

fn follow(
    container: &mut Container,
    mut watch: Option<OomWatch>,
    args: &EventsArgs,
) -> Result<(), Ended> {
    container.init()?;
    let mut next = Instant::now() + args.interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        let init = container.init()?;
        let mut polled = vec![PollFd::from_borrowed_fd(init.pidfd(), PollFlags::IN)];
        if let Some(watch) = &watch {
            polled.push(PollFd::from_borrowed_fd(watch.as_fd(), watch.events()));
        }
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                let error = std::io::Error::from(errno);
                return Err(Ended::Failed(format!("wait for events: {error}")));
            }
        }
        let ended = polled
            .first()
            .is_some_and(|init| !init.revents().is_empty());
        drop(polled);
        if let Some(watch) = &mut watch
            && watch.happened()
        {
            print(&args.id, "oom", &Value::Null)?;
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            next += args.interval;
            match container.stats() {
                Ok(stats) => print(&args.id, "stats", &of(&stats))?,
                // It may end, and its cgroups go, while they are read.
                Err(_) if has_ended(container)? => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn has_ended(container: &mut Container) -> Result<bool, Ended> {
    let mut polled = [PollFd::from_borrowed_fd(
        container.init()?.pidfd(),
        PollFlags::IN,
    )];
    Ok(poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0))
}

fn print(id: &str, kind: &str, data: &Value) -> Result<(), Ended> {
    // In this order, which others search for: a map would sort its keys.
    let head = format!("{{\"type\":{},\"id\":{}", json!(kind), json!(id));
    Ok(if data.is_null() {
        output::line(format_args!("{head}}}"))
    } else {
        output::line(format_args!("{head},\"data\":{data}}}"))
    }?)
}

/// The form that runc gives statistics, which its callers read.
fn of(stats: &Stats) -> Value {
    let (cpu, memory) = (&stats.cpu, &stats.memory);
    let io = |pick: fn(&libcontainer::cgroup::IoStats) -> [(&'static str, u64); 2]| {
        let entries = stats.io.iter().flat_map(|device| {
            pick(device).map(|(op, value)| {
                json!({"major": device.major, "minor": device.minor, "op": op, "value": value})
            })
        });
        Value::Array(entries.collect())
    };
    let hugetlb: serde_json::Map<_, _> = stats
        .hugetlb
        .iter()
        .map(|(size, one)| (size.clone(), amount(one)))
        .collect();
    json!({
        "cpu": {
            "usage": {"total": cpu.usage_ns, "percpu": cpu.per_cpu_ns, "kernel": cpu.system_ns, "user": cpu.user_ns},
            "throttling": {"periods": cpu.periods, "throttledPeriods": cpu.throttled_periods, "throttledTime": cpu.throttled_ns},
        },
        "cpuset": {},
        "memory": {
            "cache": memory.cache,
            "usage": amount(&memory.memory),
            "swap": amount(&memory.with_swap),
            "kernel": amount(&memory.kernel),
            "kernelTCP": amount(&memory.kernel_tcp),
            "raw": memory.raw,
        },
        "pids": {"current": stats.pids.current, "limit": stats.pids.limit.unwrap_or(0)},
        "blkio": {
            "ioServiceBytesRecursive": io(|one| [("Read", one.read_bytes), ("Write", one.written_bytes)]),
            "ioServicedRecursive": io(|one| [("Read", one.reads), ("Write", one.writes)]),
        },
        "hugetlb": hugetlb,
        "intel_rdt": {},
        "network_interfaces": null,
    })
}

/// Unlimited is the kernel's largest number of whole pages, as version 1 writes it.
fn amount(amount: &Amount) -> Value {
    const UNLIMITED: u64 = 9_223_372_036_854_771_712;
    json!({
        "usage": amount.usage,
        "max": amount.max,
        "failcnt": amount.failures,
        "limit": amount.limit.unwrap_or(UNLIMITED),
    })
}
