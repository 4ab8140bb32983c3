//! `update`: other limits for a running container.

use super::{Ended, global::Face};
use clap::Parser;
use libcontainer::oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};
use std::io::Read as _;
use std::path::PathBuf;

/// Largest file of limits that is read.
const RESOURCES_BYTES: u64 = 1 << 20;

/// Change the limits of a running container
#[derive(Debug, Parser)]
pub(crate) struct UpdateArgs {
    /// File with limits (the `resources` of a config.json), - for stdin; the flags are then not looked at
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Weight of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Period of the processor quota in microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<u64>,
    /// Processor time in a period, in microseconds; -1 is unlimited
    #[arg(long, value_name = "US", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Processor time that may be saved up, in microseconds
    #[arg(long, value_name = "US")]
    cpu_burst: Option<u64>,
    /// Weight of the processor
    #[arg(long, visible_alias = "cpu-shares", value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// Period of real-time scheduling in microseconds
    #[arg(long, value_name = "US")]
    cpu_rt_period: Option<u64>,
    /// Real-time processor time in a period, in microseconds
    #[arg(long, value_name = "US")]
    cpu_rt_runtime: Option<i64>,
    /// Processors, such as 0-3,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes, such as 0-1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// 1 runs the container only when nobody else wants the processor
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// Memory in bytes, with k, m or g; -1 is unlimited
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    memory: Option<i64>,
    /// Memory in bytes that is left to the container when memory is short
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    memory_reservation: Option<i64>,
    /// Memory and swap together in bytes; -1 is unlimited
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    memory_swap: Option<i64>,
    /// Number of processes; -1 is unlimited
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
}

pub(crate) fn update(face: &Face, args: &UpdateArgs) -> Result<u8, Ended> {
    let container = face.load(&args.id)?;
    let wanted = match &args.resources {
        Some(path) => read(path)?,
        None => of_flags(args),
    };
    let wanted: LinuxResources = serde_json::from_value(wanted)
        .map_err(|error| Ended::Failed(format!("the limits cannot be used: {error}")))?;
    container.update(&wanted)?;
    Ok(0)
}

fn read(path: &std::path::Path) -> Result<Value, Ended> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin()
            .take(RESOURCES_BYTES)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(RESOURCES_BYTES).read_to_string(&mut text))
    };
    read.map_err(|error| Ended::Failed(format!("the limits in {}: {error}", path.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| Ended::Failed(format!("the limits in {}: {error}", path.display())))
}

fn of_flags(args: &UpdateArgs) -> Value {
    let object = |members: &[(&str, Option<Value>)]| {
        let named = members
            .iter()
            .filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?)));
        Value::Object(named.collect::<Map<_, _>>())
    };
    let number = |value: Option<i64>| value.map(Value::from);
    let unsigned = |value: Option<u64>| value.map(Value::from);
    let text = |value: &Option<String>| value.clone().map(Value::from);
    let mut all = json!({
        "memory": object(&[
            ("limit", number(args.memory)),
            ("reservation", number(args.memory_reservation)),
            ("swap", number(args.memory_swap)),
        ]),
        "cpu": object(&[
            ("shares", unsigned(args.cpu_share)),
            ("quota", number(args.cpu_quota)),
            ("burst", unsigned(args.cpu_burst)),
            ("period", unsigned(args.cpu_period)),
            ("realtimePeriod", unsigned(args.cpu_rt_period)),
            ("realtimeRuntime", number(args.cpu_rt_runtime)),
            ("cpus", text(&args.cpuset_cpus)),
            ("mems", text(&args.cpuset_mems)),
            ("idle", number(args.cpu_idle)),
        ]),
        "blockIO": object(&[("weight", args.blkio_weight.map(Value::from))]),
    });
    if let Some(limit) = args.pids_limit {
        all["pids"] = json!({"limit": limit});
    }
    all
}

/// A size as docker and runc take it: bytes, or with k, m, g.
fn bytes(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no size: write 268435456, 256m or 1g");
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let lower = lower.strip_suffix('i').unwrap_or(lower);
    let (number, shift) = match lower.char_indices().last() {
        Some((at, 'k')) => (&lower[..at], 10),
        Some((at, 'm')) => (&lower[..at], 20),
        Some((at, 'g')) => (&lower[..at], 30),
        Some((at, 't')) => (&lower[..at], 40),
        _ => (lower, 0),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("1024", Some(1024)),
            ("1k", Some(1024)),
            ("256M", Some(256 << 20)),
            ("1gb", Some(1 << 30)),
            ("2MiB", Some(2 << 20)),
            ("-1", Some(-1)),
            ("", None),
            ("m", None),
            ("1.5m", None),
            ("9223372036854775807k", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text:?}");
        }
    }
}
