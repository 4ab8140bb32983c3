//! What the processes of a cgroup use.

use super::{Cgroup, CgroupError};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// Nanoseconds of a microsecond.
const NANOSECONDS: u64 = 1000;
/// Version 1 tells user and system time in ticks of this length: `USER_HZ` is 100 on every architecture that matters.
const TICK_NANOSECONDS: u64 = 10_000_000;
/// What version 1 shows where there is no limit: the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 62;

/// What a container uses. What its cgroups do not count is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Processors.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes.
    pub pids: PidsStats,
    /// Block devices.
    pub io: Vec<IoStats>,
    /// Huge pages, by size as in the kernel's file names (`2MB`).
    pub hugetlb: BTreeMap<String, Amount>,
}

/// Use of the processors, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuStats {
    /// All of it.
    pub usage_ns: u64,
    /// Time in user mode.
    pub user_ns: u64,
    /// Time in the kernel.
    pub system_ns: u64,
    /// By processor (version 1 only).
    pub per_cpu_ns: Vec<u64>,
    /// Periods in which the quota was in force.
    pub periods: u64,
    /// Periods in which it was used up.
    pub throttled_periods: u64,
    /// How long processes had to wait because of it.
    pub throttled_ns: u64,
}

/// An amount, its limit, its highest value, and how often the limit was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Amount {
    /// Now.
    pub usage: u64,
    /// `None` is unlimited.
    pub limit: Option<u64>,
    /// The highest, where the kernel remembers it.
    pub max: u64,
    /// How often the limit was reached.
    pub failures: u64,
}

/// Use of memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Memory.
    pub memory: Amount,
    /// Memory and swap together, as version 1 counts it.
    pub with_swap: Amount,
    /// The kernel's own memory (version 1).
    pub kernel: Amount,
    /// Buffers of TCP (version 1).
    pub kernel_tcp: Amount,
    /// The page cache.
    pub cache: u64,
    /// Everything of `memory.stat`, under the kernel's names.
    pub raw: BTreeMap<String, u64>,
}

/// Number of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// `None` is unlimited.
    pub limit: Option<u64>,
}

/// Use of one block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoStats {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

impl Cgroup {
    /// Reads what the kernel counts.
    ///
    /// # Errors
    /// A file cannot be read. One that is not there is not counted.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let mut stats = Stats::default();
        for directory in &self.v1 {
            of_v1(&Directory(directory), &mut stats)?;
        }
        if let Some(unified) = &self.unified {
            of_v2(&Directory(unified), &mut stats)?;
        }
        Ok(stats)
    }
}

/// A cgroup's files.
struct Directory<'a>(&'a Path);

impl Directory<'_> {
    fn text(&self, file: &str) -> Result<Option<String>, CgroupError> {
        let path = self.0.join(file);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if is_uncounted(&error) => Ok(None),
            Err(source) => Err(CgroupError::Open { path, source }),
        }
    }

    /// A file with one number; `max` and what version 1 writes for it are none.
    fn number(&self, file: &str) -> Result<Option<u64>, CgroupError> {
        let text = self.text(file)?;
        Ok(text.and_then(|text| text.trim().parse().ok()))
    }

    /// A file of names and numbers.
    fn table(&self, file: &str) -> Result<BTreeMap<String, u64>, CgroupError> {
        Ok(self
            .text(file)?
            .as_deref()
            .map(parse_table)
            .unwrap_or_default())
    }

    /// Version 1's four files about one amount.
    fn amount(&self, prefix: &str) -> Result<Amount, CgroupError> {
        let number = |name: &str| self.number(&format!("{prefix}.{name}"));
        Ok(Amount {
            usage: number("usage_in_bytes")?.unwrap_or(0),
            limit: number("limit_in_bytes")?.filter(|limit| *limit < NO_LIMIT),
            max: number("max_usage_in_bytes")?.unwrap_or(0),
            failures: number("failcnt")?.unwrap_or(0),
        })
    }
}

/// The file is not there, or the cgroup is gone, or the kernel does not count here.
fn is_uncounted(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EOPNOTSUPP))
}

fn parse_table(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn of_v1(directory: &Directory<'_>, stats: &mut Stats) -> Result<(), CgroupError> {
    if let Some(usage_ns) = directory.number("cpuacct.usage")? {
        stats.cpu.usage_ns = usage_ns;
        let times = directory.table("cpuacct.stat")?;
        let ticks = |name: &str| times.get(name).copied().unwrap_or(0) * TICK_NANOSECONDS;
        (stats.cpu.user_ns, stats.cpu.system_ns) = (ticks("user"), ticks("system"));
        let each = directory.text("cpuacct.usage_percpu")?.unwrap_or_default();
        let each = each.split_ascii_whitespace();
        stats.cpu.per_cpu_ns = each.filter_map(|number| number.parse().ok()).collect();
    }
    let throttling = directory.table("cpu.stat")?;
    if !throttling.is_empty() && directory.0.join("cpu.shares").exists() {
        of_throttling(&throttling, "throttled_time", 1, &mut stats.cpu);
    }
    if directory.0.join("memory.usage_in_bytes").exists() {
        let raw = directory.table("memory.stat")?;
        stats.memory = MemoryStats {
            memory: directory.amount("memory")?,
            with_swap: directory.amount("memory.memsw")?,
            kernel: directory.amount("memory.kmem")?,
            kernel_tcp: directory.amount("memory.kmem.tcp")?,
            cache: raw.get("cache").copied().unwrap_or(0),
            raw,
        };
    }
    of_pids(directory, stats)?;
    let bytes = directory.text("blkio.throttle.io_service_bytes_recursive")?;
    let operations = directory.text("blkio.throttle.io_serviced_recursive")?;
    let mut devices: BTreeMap<(u64, u64), IoStats> = BTreeMap::new();
    for (device, name, value) in bytes.iter().flat_map(|text| parse_blkio(text)) {
        let device = entry(&mut devices, device);
        match name {
            "Read" => device.read_bytes = value,
            "Write" => device.written_bytes = value,
            _ => {}
        }
    }
    for (device, name, value) in operations.iter().flat_map(|text| parse_blkio(text)) {
        let device = entry(&mut devices, device);
        match name {
            "Read" => device.reads = value,
            "Write" => device.writes = value,
            _ => {}
        }
    }
    stats.io.extend(devices.into_values());
    of_hugetlb(directory, stats, "usage_in_bytes", "limit_in_bytes")
}

fn of_v2(directory: &Directory<'_>, stats: &mut Stats) -> Result<(), CgroupError> {
    let cpu = directory.table("cpu.stat")?;
    // On a hybrid host the unified hierarchy tells the basic times too, and version 1 has told them already.
    if stats.cpu.usage_ns == 0 {
        let time = |name: &str| cpu.get(name).copied().unwrap_or(0) * NANOSECONDS;
        stats.cpu.usage_ns = time("usage_usec");
        (stats.cpu.user_ns, stats.cpu.system_ns) = (time("user_usec"), time("system_usec"));
    }
    if cpu.contains_key("nr_periods") && stats.cpu.periods == 0 {
        of_throttling(&cpu, "throttled_usec", NANOSECONDS, &mut stats.cpu);
    }
    if let Some(usage) = directory.number("memory.current")? {
        let events = directory.table("memory.events")?;
        let raw = directory.table("memory.stat")?;
        let memory = Amount {
            usage,
            limit: directory.number("memory.max")?,
            max: directory.number("memory.peak")?.unwrap_or(0),
            failures: events.get("max").copied().unwrap_or(0),
        };
        let swap = directory.number("memory.swap.max")?;
        stats.memory = MemoryStats {
            memory,
            with_swap: Amount {
                usage: usage + directory.number("memory.swap.current")?.unwrap_or(0),
                limit: memory.limit.zip(swap).map(|(memory, swap)| memory + swap),
                ..Amount::default()
            },
            cache: raw.get("file").copied().unwrap_or(0),
            raw,
            ..MemoryStats::default()
        };
    }
    of_pids(directory, stats)?;
    let io = directory.text("io.stat")?.unwrap_or_default();
    stats.io.extend(io.lines().filter_map(parse_io));
    of_hugetlb(directory, stats, "current", "max")
}

fn of_throttling(table: &BTreeMap<String, u64>, time: &str, unit: u64, cpu: &mut CpuStats) {
    let number = |name: &str| table.get(name).copied().unwrap_or(0);
    cpu.periods = number("nr_periods");
    cpu.throttled_periods = number("nr_throttled");
    cpu.throttled_ns = number(time) * unit;
}

/// The files have one name in both versions.
fn of_pids(directory: &Directory<'_>, stats: &mut Stats) -> Result<(), CgroupError> {
    if let Some(current) = directory.number("pids.current")? {
        let limit = directory.number("pids.max")?;
        stats.pids = PidsStats { current, limit };
    }
    Ok(())
}

fn of_hugetlb(
    directory: &Directory<'_>,
    stats: &mut Stats,
    usage: &str,
    limit: &str,
) -> Result<(), CgroupError> {
    for (size, path) in page_sizes(directory.0, usage) {
        let number = |path: PathBuf| {
            let text = std::fs::read_to_string(path).ok()?;
            text.trim().parse().ok()
        };
        let amount = Amount {
            usage: number(path).unwrap_or(0),
            limit: number(directory.0.join(format!("hugetlb.{size}.{limit}")))
                .filter(|limit| *limit < NO_LIMIT),
            ..Amount::default()
        };
        stats.hugetlb.insert(size, amount);
    }
    Ok(())
}

/// The sizes of huge pages for which there are files.
fn page_sizes(directory: &Path, usage: &str) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let size = name
            .strip_prefix("hugetlb.")?
            .strip_suffix(usage)?
            .strip_suffix('.')?;
        // `hugetlb.2MB.rsvd.current` counts something else.
        (!size.contains('.')).then(|| (size.to_owned(), entry.path()))
    };
    entries.filter_map(size).collect()
}

fn entry(devices: &mut BTreeMap<(u64, u64), IoStats>, number: (u64, u64)) -> &mut IoStats {
    let (major, minor) = number;
    devices.entry(number).or_insert(IoStats {
        major,
        minor,
        ..IoStats::default()
    })
}

/// `8:0 Read 4096`, and a last line with the sum.
fn parse_blkio(text: &str) -> Vec<((u64, u64), &str, u64)> {
    let line = |line| {
        let mut words = str::split_ascii_whitespace(line);
        let device = parse_device(words.next()?)?;
        Some((device, words.next()?, words.next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn parse_io(line: &str) -> Option<IoStats> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = parse_device(words.next()?)?;
    let mut found = IoStats {
        major,
        minor,
        ..IoStats::default()
    };
    for (name, value) in words.filter_map(|word| word.split_once('=')) {
        let value = value.parse().unwrap_or(0);
        match name {
            "rbytes" => found.read_bytes = value,
            "wbytes" => found.written_bytes = value,
            "rios" => found.reads = value,
            "wios" => found.writes = value,
            _ => {}
        }
    }
    Some(found)
}

fn parse_device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn version_two_in_its_own_words() {
        let files = directory(&[
            (
                "cpu.stat",
                "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 7\nnr_throttled 1\nthrottled_usec 9\n",
            ),
            ("memory.current", "4096\n"),
            ("memory.max", "max\n"),
            ("memory.peak", "8192\n"),
            ("memory.swap.current", "100\n"),
            ("memory.events", "low 0\nmax 3\noom_kill 1\n"),
            ("memory.stat", "anon 1\nfile 2\n"),
            ("pids.current", "4\n"),
            ("pids.max", "10\n"),
            (
                "io.stat",
                "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n259:1 \n",
            ),
            ("hugetlb.2MB.current", "0\n"),
            ("hugetlb.2MB.max", "4194304\n"),
            ("hugetlb.2MB.rsvd.current", "7\n"),
        ]);
        let cgroup = Cgroup {
            unified: Some(files.path().to_owned()),
            ..Cgroup::default()
        };
        let stats = cgroup.stats().unwrap();
        assert_eq!((stats.cpu.usage_ns, stats.cpu.throttled_ns), (5000, 9000));
        let memory = &stats.memory;
        assert_eq!(
            (
                memory.memory.usage,
                memory.memory.limit,
                memory.memory.max,
                memory.memory.failures
            ),
            (4096, None, 8192, 3)
        );
        assert_eq!((memory.with_swap.usage, memory.cache), (4196, 2));
        assert_eq!((stats.pids.current, stats.pids.limit), (4, Some(10)));
        assert_eq!(stats.io.len(), 2);
        assert_eq!((stats.io[0].read_bytes, stats.io[0].writes), (1, 4));
        assert_eq!(stats.hugetlb.len(), 1);
        assert_eq!(stats.hugetlb["2MB"].limit, Some(4_194_304));
    }

    #[test]
    fn version_one_in_its_own_words() {
        let files = directory(&[
            ("cpuacct.usage", "50\n"),
            ("cpuacct.stat", "user 1\nsystem 2\n"),
            ("cpuacct.usage_percpu", "20 30 \n"),
            ("memory.usage_in_bytes", "4096\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.stat", "cache 5\n"),
            (
                "blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n",
            ),
            (
                "blkio.throttle.io_serviced_recursive",
                "8:0 Read 7\nTotal 7\n",
            ),
        ]);
        let cgroup = Cgroup {
            v1: vec![files.path().to_owned()],
            ..Cgroup::default()
        };
        let stats = cgroup.stats().unwrap();
        assert_eq!(
            (stats.cpu.user_ns, stats.cpu.system_ns),
            (10_000_000, 20_000_000)
        );
        assert_eq!(stats.cpu.per_cpu_ns, [20, 30]);
        assert_eq!((stats.memory.memory.limit, stats.memory.cache), (None, 5));
        let io = stats.io[0];
        assert_eq!(
            (io.read_bytes, io.written_bytes, io.reads, io.writes),
            (1, 2, 7, 0)
        );
    }
}
