//! Names of units, and what systemd is asked to set for them. Pure.

use super::wire::Value;
use crate::cgroup::devices::{ALL_ACCESS, Kind, MAKE, Rule, Rules};
use crate::cgroup::limits::asked;
use crate::cgroup::{CgroupError, v2};
use oci_spec::runtime::LinuxResources;
use std::collections::HashMap;

/// Annotations whose rest is the name of a property.
const ANNOTATION: &str = "org.systemd.property.";

/// A unit that is started for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Unit {
    pub(super) name: String,
    pub(super) slice: String,
    /// `/machine.slice/x.scope`, below the manager's own cgroup.
    pub(in super::super) path: String,
    pub(super) properties: Vec<(String, Value)>,
}

impl Unit {
    /// Reads `slice:prefix:name`; nothing is a scope of the default slice.
    pub(super) fn parse(path: &str, id: &str, user: bool) -> Result<Self, CgroupError> {
        let wrong = || CgroupError::Path(path.into());
        let default = if user { "user.slice" } else { "system.slice" };
        let (slice, prefix, name) = if path.is_empty() {
            (default, "trimaran", id)
        } else {
            let mut parts = path.split(':');
            let parts = (parts.next(), parts.next(), parts.next(), parts.next());
            let (Some(slice), Some(prefix), Some(name), None) = parts else {
                return Err(wrong());
            };
            (if slice.is_empty() { default } else { slice }, prefix, name)
        };
        let plain = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b":_.\\-@+".contains(&byte))
        };
        if name.is_empty() || name.starts_with('.') || !plain(prefix) || !plain(name) {
            return Err(wrong());
        }
        let unit = match prefix {
            _ if name.ends_with(".slice") => name.to_owned(),
            "" => format!("{name}.scope"),
            _ => format!("{prefix}-{name}.scope"),
        };
        let path = match unit.ends_with(".slice") {
            true => expanded(&unit),
            false => expanded(slice).map(|above| format!("{above}/{unit}")),
        };
        Ok(Self {
            name: unit,
            slice: slice.to_owned(),
            path: path.ok_or_else(wrong)?,
            properties: Vec::new(),
        })
    }

    /// Adds what every container's unit has, the limits, and what the annotations ask for, which comes last and wins.
    pub(super) fn describe(
        &mut self,
        id: &str,
        resources: &LinuxResources,
        annotations: &HashMap<String, String>,
        v1: bool,
    ) -> Result<(), CgroupError> {
        let is_slice = self.name.ends_with(".slice");
        let mut all = vec![(
            "Description".to_owned(),
            Value::Text(format!("trimaran container {id}")),
        )];
        let mut put = |name: &str, value| all.push((name.to_owned(), value));
        if is_slice {
            put("Wants", Value::Texts(vec![self.slice.clone()]));
        } else {
            put("Slice", Value::Text(self.slice.clone()));
            // What is below the scope's cgroup is ours and the container's.
            put("Delegate", Value::Bool(true));
        }
        put("DefaultDependencies", Value::Bool(false));
        for name in ["CPUAccounting", "MemoryAccounting", "TasksAccounting"] {
            put(name, Value::Bool(true));
        }
        put(
            if v1 {
                "BlockIOAccounting"
            } else {
                "IOAccounting"
            },
            Value::Bool(true),
        );
        all.extend(limits(resources, v1)?);
        for (name, text) in annotations {
            if let Some(name) = name.strip_prefix(ANNOTATION) {
                let (name, value) = annotated(name, text)?;
                all.retain(|(known, _)| *known != name);
                all.push((name, value));
            }
        }
        self.properties = all;
        Ok(())
    }
}

/// Where a slice is: each `-` in its name is a level.
pub(super) fn expanded(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(String::new());
    }
    let mut path = String::new();
    let mut above = String::new();
    for part in name.split('-') {
        if part.is_empty() || part.contains('/') {
            return None;
        }
        above.push_str(part);
        path.push_str(&format!("/{above}.slice"));
        above.push('-');
    }
    Some(path)
}

/// The limits that systemd knows by itself: it would write over what it was not told. The rest is in the files alone.
pub(super) fn limits(
    resources: &LinuxResources,
    v1: bool,
) -> Result<Vec<(String, Value)>, CgroupError> {
    let mut found: Vec<(String, Value)> = Vec::new();
    let mut put = |name: &str, value| found.push((name.to_owned(), value));
    // Below zero is no limit, which is the largest number.
    let number = |value: i64| Value::U64(u64::try_from(value).unwrap_or(u64::MAX));
    if let Some(memory) = resources.memory() {
        if let Some(limit) = asked(memory.limit()) {
            put(if v1 { "MemoryLimit" } else { "MemoryMax" }, number(limit));
        }
        if !v1 {
            if let Some(low) = asked(memory.reservation()) {
                put("MemoryLow", number(low));
            }
            if let Some(swap) = asked(memory.swap()) {
                let alone = v2::swap_alone(swap, asked(memory.limit()))?;
                put(
                    "MemorySwapMax",
                    Value::U64(alone.parse().unwrap_or(u64::MAX)),
                );
            }
        }
    }
    if let Some(limit) = asked(resources.pids().map(|pids| pids.limit())) {
        put("TasksMax", number(limit));
    }
    if let Some(cpu) = resources.cpu() {
        if let Some(shares) = asked(cpu.shares()) {
            match v1 {
                true => put("CPUShares", Value::U64(shares)),
                false => put("CPUWeight", Value::U64(v2::weight(shares))),
            }
        }
        let period = asked(cpu.period());
        if let Some(quota) = asked(cpu.quota()) {
            put(
                "CPUQuotaPerSecUSec",
                Value::U64(per_second(quota, period.unwrap_or(v2::PERIOD))),
            );
        }
        if let Some(period) = period {
            put("CPUQuotaPeriodUSec", Value::U64(period));
        }
        if !v1 {
            for (name, list) in [
                ("AllowedCPUs", cpu.cpus()),
                ("AllowedMemoryNodes", cpu.mems()),
            ] {
                if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
                    put(name, Value::Bytes(mask(list)?));
                }
            }
        }
    }
    found.extend(device_rules(resources, v1)?);
    if !v1 {
        for (file, text) in resources.unified().iter().flatten() {
            for (name, value) in raw(file, text.trim()) {
                found.retain(|(known, _)| known != name);
                found.push((name.to_owned(), value));
            }
        }
    }
    Ok(found)
}

/// A file of v2 as properties. What systemd has none for it leaves alone; what cannot be read the kernel will refuse.
fn raw(file: &str, text: &str) -> Vec<(&'static str, Value)> {
    let amount = |text: &str| match text {
        "max" => Some(u64::MAX),
        _ => bytes(text),
    };
    let one = |name, value: Option<Value>| value.map(|value| (name, value)).into_iter().collect();
    let list = || mask(text).ok().filter(|_| !text.is_empty());
    let name = match file {
        "memory.min" => "MemoryMin",
        "memory.low" => "MemoryLow",
        "memory.high" => "MemoryHigh",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        "cpu.weight" => return one("CPUWeight", text.parse().ok().map(Value::U64)),
        "cpuset.cpus" => return one("AllowedCPUs", list().map(Value::Bytes)),
        "cpuset.mems" => return one("AllowedMemoryNodes", list().map(Value::Bytes)),
        "cpu.max" => {
            let mut words = text.split_ascii_whitespace();
            let quota = words.next().map_or(-1, |word| word.parse().unwrap_or(-1));
            let period = words.next().and_then(|word| word.parse().ok());
            let period = period.unwrap_or(v2::PERIOD);
            return vec![
                ("CPUQuotaPerSecUSec", Value::U64(per_second(quota, period))),
                ("CPUQuotaPeriodUSec", Value::U64(period)),
            ];
        }
        _ => return Vec::new(),
    };
    one(name, amount(text).map(Value::U64))
}

/// A number as the kernel reads it, which may end with a unit.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)? {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// What may be used. Rules that begin by allowing everything are in the files, or in our program, alone.
fn device_rules(resources: &LinuxResources, v1: bool) -> Result<Vec<(String, Value)>, CgroupError> {
    let Some(rules) = Rules::of(resources, false)?.filter(|rules| !rules.otherwise) else {
        return Ok(Vec::new());
    };
    let allowed = rules.rules.iter().filter(|rule| rule.allow);
    let allowed = Value::TextPairs(merged(allowed.filter_map(|rule| device(rule, v1))));
    Ok(vec![
        ("DevicePolicy".to_owned(), Value::Text("strict".to_owned())),
        ("DeviceAllow".to_owned(), allowed),
    ])
}

/// One line for each name: a later one of the same name replaces what systemd knows, and does not add to it.
fn merged(lines: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, access) in lines {
        match merged.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => {
                let missing: String = access.chars().filter(|one| !known.contains(*one)).collect();
                known.push_str(&missing);
            }
            None => merged.push((name, access)),
        }
    }
    merged
}

/// Microseconds of processor time in a second, in whole hundredths: so precise is systemd.
fn per_second(quota: i64, period: u64) -> u64 {
    let Ok(quota) = u64::try_from(quota) else {
        return u64::MAX;
    };
    let all = quota.saturating_mul(1_000_000) / period.max(1);
    all.div_ceil(10_000).saturating_mul(10_000)
}

/// A list such as `0-3,7` as bits, the lowest first.
fn mask(list: &str) -> Result<Vec<u8>, CgroupError> {
    /// The kernel itself has room for fewer.
    const MOST: usize = 8192;
    let wrong = || CgroupError::Resource {
        field: "cpu",
        reason: format!("holds the list {list:?}, which is not of numbers and ranges"),
    };
    let mut bits: Vec<u8> = Vec::new();
    for part in list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|one| *one < MOST);
        let (first, last) = (
            number(first).ok_or_else(wrong)?,
            number(last).ok_or_else(wrong)?,
        );
        for one in first..=last {
            if bits.len() <= one / 8 {
                bits.resize(one / 8 + 1, 0);
            }
            if let Some(byte) = bits.get_mut(one / 8) {
                *byte |= 1 << (one % 8);
            }
        }
    }
    Ok(bits)
}

/// A rule as systemd takes it, which cannot say all numbers but by a driver's name. On v2 both its program and ours are asked, so what it
/// cannot say is left to ours.
fn device(rule: &Rule, v1: bool) -> Option<(String, String)> {
    let kind = match rule.kind {
        Kind::Block => "block",
        Kind::Char => "char",
    };
    let name = match (rule.major, rule.minor) {
        (None, None) => format!("{kind}-*"),
        (Some(136), None) if rule.kind == Kind::Char => "char-pts".to_owned(),
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        // All of one major number: systemd looks the driver's name up, which may not be loaded.
        _ if v1 => return None,
        _ => format!("{kind}-*"),
    };
    let line = rule.line();
    let access = line.rsplit(' ').next().unwrap_or_default().to_owned();
    debug_assert!(rule.access & (ALL_ACCESS | MAKE) != 0);
    Some((name, access))
}

/// A property as an annotation gives it: the name may count in seconds, the text is a value as GVariant writes it.
fn annotated(name: &str, text: &str) -> Result<(String, Value), CgroupError> {
    let wrong = || CgroupError::Annotation {
        name: format!("{ANNOTATION}{name}"),
        value: text.to_owned(),
    };
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(wrong());
    }
    let value = parsed(text.trim()).ok_or_else(wrong)?;
    match (name.strip_suffix("Sec"), &value) {
        // systemd's own names of times on the bus count microseconds.
        (Some(stem), Value::Int(seconds)) if !name.ends_with("USec") => {
            let seconds = u64::try_from(*seconds).map_err(|_| wrong())?;
            Ok((
                format!("{stem}USec"),
                Value::U64(seconds.saturating_mul(1_000_000)),
            ))
        }
        (Some(stem), Value::U64(seconds)) if !name.ends_with("USec") => Ok((
            format!("{stem}USec"),
            Value::U64(seconds.saturating_mul(1_000_000)),
        )),
        _ => Ok((name.to_owned(), value)),
    }
}

fn parsed(text: &str) -> Option<Value> {
    let quoted = |text: &str| {
        let inner = text
            .strip_prefix('\'')
            .and_then(|text| text.strip_suffix('\''))
            .or_else(|| {
                text.strip_prefix('"')
                    .and_then(|text| text.strip_suffix('"'))
            })?;
        (!inner.contains(['\'', '"', '\\'])).then(|| inner.to_owned())
    };
    if let Some(list) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    {
        let list: Option<Vec<String>> = list.split(',').map(|one| quoted(one.trim())).collect();
        return list.map(Value::Texts);
    }
    if let Some((kind, number)) = text.split_once(' ') {
        let number = number.trim();
        return match kind {
            "uint32" => number.parse().ok().map(Value::U32),
            "int32" => number.parse().ok().map(Value::Int),
            "uint64" => number.parse().ok().map(Value::U64),
            "int64" => number.parse().ok().map(Value::I64),
            _ => quoted(text).map(Value::Text),
        };
    }
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => quoted(text)
            .map(Value::Text)
            .or_else(|| text.parse().ok().map(Value::Int)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_name_units() {
        for (path, user, name, expected) in [
            (
                "machine.slice:libpod:abc",
                false,
                "libpod-abc.scope",
                "/machine.slice/libpod-abc.scope",
            ),
            (
                "a-b.slice:crio:x",
                false,
                "crio-x.scope",
                "/a.slice/a-b.slice/crio-x.scope",
            ),
            ("-.slice::x", false, "x.scope", "/x.scope"),
            (":p:x", true, "p-x.scope", "/user.slice/p-x.scope"),
            (
                "",
                false,
                "trimaran-box.scope",
                "/system.slice/trimaran-box.scope",
            ),
            (
                "ignored.slice:p:pod-1.slice",
                false,
                "pod-1.slice",
                "/pod.slice/pod-1.slice",
            ),
        ] {
            let unit = Unit::parse(path, "box", user).unwrap();
            assert_eq!(
                (unit.name.as_str(), unit.path.as_str()),
                (name, expected),
                "{path}"
            );
        }
        for path in [
            "/a/b",
            "a:b",
            "a.slice:b:c:d",
            "a.slice:b:",
            "a:b:c",
            "a/b.slice:c:d",
            "a.slice:b:../x",
            "--.slice:b:c",
        ] {
            assert!(
                matches!(Unit::parse(path, "box", false), Err(CgroupError::Path(_))),
                "{path}"
            );
        }
    }

    #[test]
    fn limits_become_properties() {
        let resources: LinuxResources = serde_json::from_value(json!({
            "memory": {"limit": 1000, "swap": 3000}, "pids": {"limit": -1},
            "cpu": {"shares": 1024, "quota": 5000, "period": 20_000, "cpus": "0-1,9"},
            "devices": [{"allow": false}, {"allow": true, "type": "b", "major": 8, "access": "r"}],
            "unified": {"memory.high": "2M", "memory.low": "max", "cpuset.mems": "0", "memory.oom.group": "1", "memory.min": "x"},
        }))
        .unwrap();
        let found = limits(&resources, false).unwrap();
        let get = |name: &str| {
            found
                .iter()
                .find(|(one, _)| one == name)
                .map(|(_, value)| value.clone())
        };
        assert_eq!(get("MemoryMax"), Some(Value::U64(1000)));
        assert_eq!(get("MemorySwapMax"), Some(Value::U64(2000)));
        assert_eq!(get("TasksMax"), Some(Value::U64(u64::MAX)));
        assert_eq!(get("CPUWeight"), Some(Value::U64(100)));
        assert_eq!(get("CPUQuotaPerSecUSec"), Some(Value::U64(250_000)));
        assert_eq!(get("AllowedCPUs"), Some(Value::Bytes(vec![3, 2])));
        assert_eq!(get("DevicePolicy"), Some(Value::Text("strict".to_owned())));
        let Some(Value::TextPairs(devices)) = get("DeviceAllow") else {
            panic!()
        };
        assert!(devices.contains(&("/dev/char/1:3".to_owned(), "rwm".to_owned())));
        assert!(devices.contains(&("char-*".to_owned(), "m".to_owned())));
        // Making nodes is among the defaults; the rule's access is added to it.
        assert!(devices.contains(&("block-*".to_owned(), "rm".to_owned())));
        let names: std::collections::HashSet<_> = devices.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), devices.len());
        assert_eq!(get("MemoryHigh"), Some(Value::U64(2 << 20)));
        assert_eq!(get("MemoryLow"), Some(Value::U64(u64::MAX)));
        assert_eq!(get("AllowedMemoryNodes"), Some(Value::Bytes(vec![1])));
        assert_eq!(get("MemoryMin"), None);
        let names: Vec<_> = limits(&resources, true)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert!(
            names.contains(&"MemoryLimit".to_owned()) && !names.contains(&"AllowedCPUs".to_owned())
        );
    }

    #[test]
    fn files_are_properties() {
        for (file, text, expected) in [
            ("cpu.weight", "7", vec![("CPUWeight", Value::U64(7))]),
            ("pids.max", "max", vec![("TasksMax", Value::U64(u64::MAX))]),
            (
                "cpu.max",
                "max",
                vec![
                    ("CPUQuotaPerSecUSec", Value::U64(u64::MAX)),
                    ("CPUQuotaPeriodUSec", Value::U64(100_000)),
                ],
            ),
            (
                "cpu.max",
                "5000 10000",
                vec![
                    ("CPUQuotaPerSecUSec", Value::U64(500_000)),
                    ("CPUQuotaPeriodUSec", Value::U64(10_000)),
                ],
            ),
            ("cpuset.cpus", "", vec![]),
            ("io.max", "8:0 rbps=1", vec![]),
        ] {
            assert_eq!(raw(file, text), expected, "{file} {text}");
        }
    }

    #[test]
    fn annotations_are_properties() {
        for (name, text, expected) in [
            (
                "TimeoutStopSec",
                "uint64 7",
                ("TimeoutStopUSec", Value::U64(7_000_000)),
            ),
            (
                "TimeoutStopUSec",
                "uint64 7",
                ("TimeoutStopUSec", Value::U64(7)),
            ),
            (
                "CollectMode",
                "'inactive-or-failed'",
                ("CollectMode", Value::Text("inactive-or-failed".into())),
            ),
            (
                "After",
                "['a.service', 'b.service']",
                (
                    "After",
                    Value::Texts(vec!["a.service".into(), "b.service".into()]),
                ),
            ),
            ("X", "true", ("X", Value::Bool(true))),
            ("X", "-5", ("X", Value::Int(-5))),
        ] {
            let (got, value) = annotated(name, text).unwrap();
            assert_eq!((got.as_str(), value), expected);
        }
        for (name, text) in [
            ("", "true"),
            ("a b", "true"),
            ("X", "nope"),
            ("X", "uint64 -1"),
            ("X", "['a"),
        ] {
            assert!(annotated(name, text).is_err(), "{name} {text}");
        }
    }
}
