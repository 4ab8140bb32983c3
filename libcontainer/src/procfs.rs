//! What `/proc` says about a process.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// When a process started, in clock ticks since the machine did; `None` if there is no such process.
///
/// Number and start time together name a process for as long as the machine runs.
///
/// # Errors
/// `/proc` cannot be read.
pub fn start_time(pid: i32) -> Result<Option<u64>> {
    Ok(stat(pid)?.and_then(|stat| stat.start_time))
}

/// What is known about a process at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) start_time: Option<u64>,
    /// Its first thread has not ended.
    pub(crate) lives: bool,
}

/// A process at a glance; `None` if there is none.
pub(crate) fn stat(pid: i32) -> Result<Option<Stat>> {
    // The kernel gives all of it in one piece, which is a third of this.
    let mut text = [0_u8; 1024];
    let path = format!("/proc/{pid}/stat");
    match std::fs::File::open(&path).and_then(|mut file| file.read(&mut text)) {
        Ok(length) => {
            let text = text.get(..length).unwrap_or_default();
            let text = String::from_utf8_lossy(text);
            let state = text.rsplit_once(')').map(|(_, rest)| rest.trim_start());
            Ok(Some(Stat {
                start_time: parse_start_time(&text),
                lives: state.is_some_and(|state| !state.starts_with(['Z', 'X'])),
            }))
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(error) => Err(Error::from_io(error, "read the state of the process").with_path(path)),
    }
}

/// The 22nd field. The second one is a name in parentheses that may hold anything, so fields are counted from its end.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// What the kernel tells about the calling thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// The signals that are ignored, bit n - 1 for signal n.
    pub(crate) ignored: u64,
    pub(crate) credentials: Credentials,
}

/// Who a thread is and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Real, effective, saved, and that of file systems.
    pub(crate) uids: [u32; 4],
    pub(crate) gids: [u32; 4],
    pub(crate) groups: Vec<u32>,
    /// Capabilities, bit n for number n.
    pub(crate) permitted: u64,
    pub(crate) bounding: u64,
}

/// The status of the calling thread, if `/proc` tells.
#[must_use]
pub(crate) fn own_status() -> Option<Status> {
    let text = read_record("/proc/thread-self/status").ok()?;
    parse_status(&text)
}

fn parse_status(text: &str) -> Option<Status> {
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let bits = |name| u64::from_str_radix(field(name)?.trim(), 16).ok();
    let numbers = |name| -> Option<Vec<u32>> {
        let mut words = field(name)?.split_ascii_whitespace();
        words.by_ref().map(|word| word.parse().ok()).collect()
    };
    Some(Status {
        ignored: bits("SigIgn")?,
        credentials: Credentials {
            uids: numbers("Uid")?.try_into().ok()?,
            gids: numbers("Gid")?.try_into().ok()?,
            groups: numbers("Groups")?,
            permitted: bits("CapPrm")?,
            bounding: bits("CapBnd")?,
        },
    })
}

/// The signals that this process ignores, bit n - 1 for signal n; all of them if `/proc` does not tell.
#[must_use]
pub(crate) fn ignored_signals() -> u64 {
    own_status().map_or(u64::MAX, |status| status.ignored)
}

/// Room for what the kernel says in one go.
const USUAL_BYTES: usize = 16 << 10;

/// Reads a file of a kernel file system that is written as one record, and so is read in one go as long as there is room for all of it.
pub(crate) fn read_record(path: impl AsRef<std::path::Path>) -> std::io::Result<String> {
    let mut bytes = vec![0; USUAL_BYTES];
    let mut file = std::fs::File::open(path)?;
    let mut length = 0;
    loop {
        match file.read(bytes.get_mut(length..).unwrap_or_default()) {
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if length < bytes.len() {
            break;
        }
        bytes.resize(length * 2, 0);
    }
    bytes.truncate(length);
    text(bytes)
}

fn text(bytes: Vec<u8>) -> std::io::Result<String> {
    String::from_utf8(bytes)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

/// Reads a file of a kernel file system, which does not know its own size: mostly in one go.
pub(crate) fn read_text(path: impl AsRef<std::path::Path>) -> std::io::Result<String> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    // Through `take`, or `File` would ask for the size first.
    std::fs::File::open(path)?
        .take(u64::MAX)
        .read_to_end(&mut bytes)?;
    text(bytes)
}

/// Writes a file of a process: in a procfs, and in nothing that was mounted over it or put in its place (CVE-2025-52881).
pub(crate) fn write(pid: i32, file: &str, text: &str) -> std::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::openat(CWD, "/proc", flags, Mode::empty())?;
    Ok(write_in(proc.as_fd(), &format!("{pid}/{file}"), text)?)
}

fn write_in(proc: BorrowedFd<'_>, path: &str, text: &str) -> Result<(), Errno> {
    /// `PROC_SUPER_MAGIC`.
    const PROC: i64 = 0x9fa0;
    if rustix::fs::fstatfs(proc)?.f_type as i64 != PROC {
        return Err(Errno::XDEV);
    }
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(proc, path, flags, Mode::empty(), resolve)?;
    // The kernel takes these in one piece or not at all.
    rustix::io::write(&file, text.as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_procfs_is_written() {
        let own = std::process::id();
        let score = format!("{own}/oom_score_adj");
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(own.to_string())).unwrap();
        let fake = directory.path().join(&score);
        std::fs::write(&fake, "").unwrap();
        let open = |path: &std::path::Path| {
            rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
        };
        let place = open(directory.path());
        assert_eq!(write_in(place.as_fd(), &score, "7"), Err(Errno::XDEV));
        assert_eq!(std::fs::read_to_string(fake).unwrap(), "");
        let proc = open("/proc".as_ref());
        // Through links of the kernel there is a way to anywhere.
        for path in [
            "self/oom_score_adj".to_owned(),
            format!("{own}/root/etc/passwd"),
            format!("{own}/cwd/x"),
        ] {
            assert_eq!(
                write_in(proc.as_fd(), &path, "7"),
                Err(Errno::LOOP),
                "{path}"
            );
        }
        assert_eq!(write_in(proc.as_fd(), "0/uid_map", "7"), Err(Errno::NOENT));
        let before = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        write(i32::try_from(own).unwrap(), "oom_score_adj", before.trim()).unwrap();
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_confuses_nobody() {
        let fields = (3..=52)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(
            parse_start_time(&format!("7 (a) b (c)) {fields}")),
            Some(22)
        );
        assert_eq!(parse_start_time("7 (a"), None);
    }

    #[test]
    fn a_status_is_understood_or_not_there() {
        let text = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nSigIgn:\t0000000000001000\n\
                    CapInh:\t0\nCapPrm:\t000001ffffffffff\nCapBnd:\t00000000000000ff\n";
        let status = parse_status(text).unwrap();
        let Credentials {
            uids,
            gids,
            groups,
            permitted,
            bounding,
        } = status.credentials;
        assert_eq!((uids, gids), ([1, 2, 3, 4], [5, 6, 7, 8]));
        assert_eq!((status.ignored, groups), (0x1000, vec![9, 10]));
        assert_eq!((permitted, bounding), (0x1ff_ffff_ffff, 0xff));
        for cut in ["Uid", "Groups", "CapBnd", "SigIgn"] {
            assert_eq!(parse_status(&text.replace(cut, "x")), None, "{cut}");
        }
        let own = own_status().unwrap().credentials;
        assert_eq!(own.uids[1], rustix::process::geteuid().as_raw());
    }

    #[test]
    fn our_own_start_time_is_known() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(own).unwrap().is_some());
        assert_eq!(start_time(i32::MAX).unwrap(), None);
    }
}
