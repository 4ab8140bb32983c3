//! What is asked of CRIU, and what it answers. Pure.
//!
//! # References
//! CRIU's "RPC" page; the numbers are those of `images/rpc.proto` in its sources, which never change their meaning.

use std::path::Path;

use super::wire::{Damaged, Fields, Message};

/// What CRIU shall do, or what it answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dump,
    Restore,
    PreDump,
    Notify,
    FeatureCheck,
    Version,
}

impl Kind {
    const ALL: [(Self, i32); 6] = [
        (Self::Dump, 1),
        (Self::Restore, 2),
        (Self::PreDump, 4),
        (Self::Notify, 6),
        (Self::FeatureCheck, 9),
        (Self::Version, 10),
    ];

    fn number(self) -> i32 {
        let mut all = Self::ALL.iter();
        all.find(|(kind, _)| *kind == self)
            .map_or(0, |(_, number)| *number)
    }

    fn of(number: i32) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(_, one)| *one == number).map(|(kind, _)| *kind)
    }
}

/// How CRIU treats cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CgroupsMode {
    /// They are neither saved nor made: restored processes are where the container's cgroup is.
    Ignore,
    /// Limits of cgroups that exist are set again, and none is made.
    Properties,
    /// Those that are missing are made, with their limits.
    Soft,
    /// Also the limits of those that exist are set again.
    Full,
    /// They are made, and none may exist.
    Strict,
}

impl CgroupsMode {
    fn number(self) -> i32 {
        match self {
            Self::Ignore => 0,
            Self::Properties => 2,
            Self::Soft => 3,
            Self::Full => 4,
            Self::Strict => 5,
        }
    }
}

/// A request with its options.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    options: Message,
}

/// The fields of `criu_opts`.
pub(super) mod field {
    pub(in crate::criu) const IMAGES_DIR_FD: u32 = 1;
    pub(in crate::criu) const PID: u32 = 2;
    pub(in crate::criu) const LEAVE_RUNNING: u32 = 3;
    pub(in crate::criu) const EXT_UNIX_SK: u32 = 4;
    pub(in crate::criu) const TCP_ESTABLISHED: u32 = 5;
    pub(in crate::criu) const EVASIVE_DEVICES: u32 = 6;
    pub(in crate::criu) const SHELL_JOB: u32 = 7;
    pub(in crate::criu) const FILE_LOCKS: u32 = 8;
    pub(in crate::criu) const LOG_LEVEL: u32 = 9;
    pub(in crate::criu) const LOG_FILE: u32 = 10;
    pub(in crate::criu) const PAGE_SERVER: u32 = 11;
    pub(in crate::criu) const NOTIFY_SCRIPTS: u32 = 12;
    pub(in crate::criu) const ROOT: u32 = 13;
    pub(in crate::criu) const PARENT_IMG: u32 = 14;
    pub(in crate::criu) const TRACK_MEM: u32 = 15;
    pub(in crate::criu) const AUTO_DEDUP: u32 = 16;
    pub(in crate::criu) const WORK_DIR_FD: u32 = 17;
    pub(in crate::criu) const EXT_MNT: u32 = 23;
    pub(in crate::criu) const MANAGE_CGROUPS: u32 = 24;
    pub(in crate::criu) const CG_ROOT: u32 = 25;
    pub(in crate::criu) const RST_SIBLING: u32 = 26;
    pub(in crate::criu) const INHERIT_FD: u32 = 27;
    pub(in crate::criu) const MANAGE_CGROUPS_MODE: u32 = 34;
    pub(in crate::criu) const EXTERNAL: u32 = 37;
    pub(in crate::criu) const EMPTY_NS: u32 = 38;
    pub(in crate::criu) const JOIN_NS: u32 = 39;
    pub(in crate::criu) const FREEZE_CGROUP: u32 = 44;
    pub(in crate::criu) const LAZY_PAGES: u32 = 48;
    pub(in crate::criu) const ORPHAN_PTS_MASTER: u32 = 50;
    pub(in crate::criu) const CONFIG_FILE: u32 = 51;
    pub(in crate::criu) const TCP_CLOSE: u32 = 52;
    pub(in crate::criu) const LSM_PROFILE: u32 = 53;
    pub(in crate::criu) const LSM_MOUNT_CONTEXT: u32 = 63;
}
use field::*;

/// A message of two texts.
fn pair(first: impl AsRef<[u8]>, second: impl AsRef<[u8]>) -> Message {
    let mut message = Message::default();
    message.text(1, first).text(2, second);
    message
}

impl Request {
    pub(super) fn flag(&mut self, field: u32, value: bool) -> &mut Self {
        self.options.flag(field, value);
        self
    }

    pub(super) fn number(&mut self, field: u32, value: impl Into<i64>) -> &mut Self {
        self.options.number(field, value);
        self
    }

    pub(super) fn text(&mut self, field: u32, text: impl AsRef<[u8]>) -> &mut Self {
        self.options.text(field, text);
        self
    }

    pub(super) fn path(&mut self, field: u32, path: &Path) -> &mut Self {
        self.text(field, path.as_os_str().as_encoded_bytes())
    }

    /// A mount that is not CRIU's: saved under a name, restored by binding a path of the host.
    pub(super) fn external_mount(&mut self, key: &Path, value: &Path) -> &mut Self {
        let bytes = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
        self.options
            .message(EXT_MNT, &pair(bytes(key), bytes(value)));
        self
    }

    /// A descriptor, by its number in CRIU, that takes the place of what had this name.
    pub(super) fn inherit(&mut self, name: &str, number: i32) -> &mut Self {
        let mut message = Message::default();
        message.text(1, name).number(2, number);
        self.options.message(INHERIT_FD, &message);
        self
    }

    /// A namespace that is joined.
    pub(super) fn join(&mut self, kind: &str, path: &Path) -> &mut Self {
        let message = pair(kind, path.as_os_str().as_encoded_bytes());
        self.options.message(JOIN_NS, &message);
        self
    }

    /// Where the cgroups of the hierarchy with a controller begin, or those of all that are not named.
    pub(super) fn cgroup_root(&mut self, controller: Option<&str>, path: &Path) -> &mut Self {
        let mut message = Message::default();
        if let Some(controller) = controller {
            message.text(1, controller);
        }
        message.text(2, path.as_os_str().as_encoded_bytes());
        self.options.message(CG_ROOT, &message);
        self
    }

    pub(super) fn page_server(&mut self, address: &str, port: u16) -> &mut Self {
        let mut message = Message::default();
        message.text(1, address).number(2, port);
        self.options.message(PAGE_SERVER, &message);
        self
    }

    pub(super) fn cgroups(&mut self, mode: CgroupsMode) -> &mut Self {
        self.flag(MANAGE_CGROUPS, true)
            .number(MANAGE_CGROUPS_MODE, mode.number())
    }

    /// The bytes of the whole request.
    pub(super) fn bytes(&self, kind: Kind) -> Vec<u8> {
        let mut message = Message::default();
        message.number(1, kind.number()).message(2, &self.options);
        message.bytes().to_vec()
    }
}

/// Asks whether this CRIU, on this kernel, can track memory and restore it lazily.
pub(super) fn feature_check() -> Vec<u8> {
    let (mut message, mut features) = (Message::default(), Message::default());
    features.flag(1, true).flag(2, true);
    message
        .number(1, Kind::FeatureCheck.number())
        .message(5, &features);
    message.bytes().to_vec()
}

/// Asks for the version.
pub(super) fn version() -> Vec<u8> {
    let mut message = Message::default();
    message.number(1, Kind::Version.number());
    message.bytes().to_vec()
}

/// The answer to a notification.
pub(super) fn acknowledge(success: bool) -> Vec<u8> {
    let mut message = Message::default();
    message.number(1, Kind::Notify.number());
    message.number(3, i32::from(success));
    message.bytes().to_vec()
}

/// What CRIU says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Response {
    /// What it answers to; `None` if that is something we never asked for.
    pub(super) kind: Option<Kind>,
    pub(super) success: bool,
    /// The name of a notification, and the process it is about.
    pub(super) notification: String,
    /// Of a notification: the first process; of a restore: the restored one.
    pub(super) pid: i32,
    pub(super) errno: i32,
    pub(super) message: String,
    /// As one number: 31700 is 3.17.
    pub(super) version: i32,
    pub(super) tracks_memory: bool,
    pub(super) lazy_pages: bool,
}

impl Response {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut response = Self::default();
        for field in Fields::of(bytes) {
            let (field, value) = field?;
            match field {
                1 => response.kind = Kind::of(value.number()),
                2 => response.success = value.is_true(),
                4 => {
                    for field in Fields::of(value.bytes()) {
                        if let (1, value) = field? {
                            response.pid = value.number();
                        }
                    }
                }
                5 => {
                    for field in Fields::of(value.bytes()) {
                        match field? {
                            (1, value) => response.notification = text(value.bytes()),
                            (2, value) => response.pid = value.number(),
                            _ => {}
                        }
                    }
                }
                7 => response.errno = value.number(),
                8 => {
                    for field in Fields::of(value.bytes()) {
                        match field? {
                            (1, value) => response.tracks_memory = value.is_true(),
                            (2, value) => response.lazy_pages = value.is_true(),
                            _ => {}
                        }
                    }
                }
                9 => response.message = text(value.bytes()),
                10 => response.version = parse_version(value.bytes())?,
                _ => {}
            }
        }
        Ok(response)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parse_version(bytes: &[u8]) -> Result<i32, Damaged> {
    let mut version = 0_i32;
    for field in Fields::of(bytes) {
        let factor = match field? {
            (1, value) => value.number().saturating_mul(10_000),
            (2, value) => value.number().saturating_mul(100),
            (4, value) => value.number(),
            _ => 0,
        };
        version = version.saturating_add(factor);
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_its_kind_and_options() {
        let mut request = Request::default();
        request
            .number(IMAGES_DIR_FD, 5)
            .flag(LEAVE_RUNNING, true)
            .flag(SHELL_JOB, false)
            .external_mount(Path::new("/a"), Path::new("/b"))
            .cgroups(CgroupsMode::Soft);
        assert_eq!(
            request.bytes(Kind::Dump),
            [
                &[8, 1, 0x12, 21, 8, 5, 0x18, 1][..],
                &[0xba, 1, 8, 0xa, 2, b'/', b'a', 0x12, 2, b'/', b'b'],
                &[0xc0, 1, 1, 0x90, 2, 3]
            ]
            .concat()
        );
        assert_eq!(version(), [8, 10]);
        assert_eq!(acknowledge(true), [8, 6, 0x18, 1]);
        assert_eq!(acknowledge(false), [8, 6, 0x18, 0]);
        assert_eq!(feature_check(), [8, 9, 0x2a, 4, 8, 1, 0x10, 1]);
    }

    #[test]
    fn answers_are_read() {
        // VERSION, success, 3.17.1.
        let version = Response::parse(&[8, 10, 0x10, 1, 0x52, 6, 8, 3, 0x10, 17, 0x20, 1]).unwrap();
        assert_eq!(
            (version.kind, version.version),
            (Some(Kind::Version), 31701)
        );
        // NOTIFY, success, a script with a process.
        let notification =
            Response::parse(&[8, 6, 0x10, 1, 0x2a, 6, 0xa, 2, b'o', b'k', 0x10, 7]).unwrap();
        assert_eq!(notification.kind, Some(Kind::Notify));
        assert_eq!(
            (notification.notification.as_str(), notification.pid),
            ("ok", 7)
        );
        // RESTORE failed with EPERM and a message.
        let failed = Response::parse(&[8, 2, 0x10, 0, 0x38, 1, 0x4a, 2, b'n', b'o']).unwrap();
        assert!(!failed.success);
        assert_eq!((failed.errno, failed.message.as_str()), (1, "no"));
        let restored = Response::parse(&[8, 2, 0x10, 1, 0x22, 2, 8, 42]).unwrap();
        assert_eq!((restored.success, restored.pid), (true, 42));
        // An answer to what was never asked.
        assert_eq!(Response::parse(&[8, 3, 0x10, 1]).unwrap().kind, None);
        assert!(Response::parse(&[8]).is_err());
    }
}
