//! Which capabilities exist, which a container gets, and how a user's words for them are read.
//!
//! Everything here is data but [`CapabilitySet::bounding`] and [`CapabilitySet::effective`], which ask the kernel about the
//! calling thread.

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};
use std::fmt;
use thiserror::Error;

/// Every capability Linux knows (41 since 5.9), in the order of its number.
const NAMES: [(&str, Capability); 41] = [
    ("CAP_CHOWN", Capability::Chown),
    ("CAP_DAC_OVERRIDE", Capability::DacOverride),
    ("CAP_DAC_READ_SEARCH", Capability::DacReadSearch),
    ("CAP_FOWNER", Capability::Fowner),
    ("CAP_FSETID", Capability::Fsetid),
    ("CAP_KILL", Capability::Kill),
    ("CAP_SETGID", Capability::Setgid),
    ("CAP_SETUID", Capability::Setuid),
    ("CAP_SETPCAP", Capability::Setpcap),
    ("CAP_LINUX_IMMUTABLE", Capability::LinuxImmutable),
    ("CAP_NET_BIND_SERVICE", Capability::NetBindService),
    ("CAP_NET_BROADCAST", Capability::NetBroadcast),
    ("CAP_NET_ADMIN", Capability::NetAdmin),
    ("CAP_NET_RAW", Capability::NetRaw),
    ("CAP_IPC_LOCK", Capability::IpcLock),
    ("CAP_IPC_OWNER", Capability::IpcOwner),
    ("CAP_SYS_MODULE", Capability::SysModule),
    ("CAP_SYS_RAWIO", Capability::SysRawio),
    ("CAP_SYS_CHROOT", Capability::SysChroot),
    ("CAP_SYS_PTRACE", Capability::SysPtrace),
    ("CAP_SYS_PACCT", Capability::SysPacct),
    ("CAP_SYS_ADMIN", Capability::SysAdmin),
    ("CAP_SYS_BOOT", Capability::SysBoot),
    ("CAP_SYS_NICE", Capability::SysNice),
    ("CAP_SYS_RESOURCE", Capability::SysResource),
    ("CAP_SYS_TIME", Capability::SysTime),
    ("CAP_SYS_TTY_CONFIG", Capability::SysTtyConfig),
    ("CAP_MKNOD", Capability::Mknod),
    ("CAP_LEASE", Capability::Lease),
    ("CAP_AUDIT_WRITE", Capability::AuditWrite),
    ("CAP_AUDIT_CONTROL", Capability::AuditControl),
    ("CAP_SETFCAP", Capability::Setfcap),
    ("CAP_MAC_OVERRIDE", Capability::MacOverride),
    ("CAP_MAC_ADMIN", Capability::MacAdmin),
    ("CAP_SYSLOG", Capability::Syslog),
    ("CAP_WAKE_ALARM", Capability::WakeAlarm),
    ("CAP_BLOCK_SUSPEND", Capability::BlockSuspend),
    ("CAP_AUDIT_READ", Capability::AuditRead),
    ("CAP_PERFMON", Capability::Perfmon),
    ("CAP_BPF", Capability::Bpf),
    ("CAP_CHECKPOINT_RESTORE", Capability::CheckpointRestore),
];

/// What a container gets unless told otherwise: podman's eleven.
///
/// docker and containerd add MKNOD, NET_RAW and AUDIT_WRITE; none of the three is needed by ordinary images.
const DEFAULT: [Capability; 11] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::NetBindService,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// Why a user's choice of capabilities cannot be followed.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CapabilityError {
    /// No capability has this name.
    #[error("unknown capability {name:?}")]
    Unknown {
        /// As it was typed.
        name: String,
    },
}

/// The kernel's number of a capability (`CAP_CHOWN` is 0).
pub fn number(capability: Capability) -> u8 {
    NAMES
        .iter()
        .position(|(_, known)| *known == capability)
        .expect("the table holds every variant, and a test counts them") as u8
}

/// The capability with this number, if it is one of the 41 known here.
pub fn from_number(number: u8) -> Option<Capability> {
    NAMES
        .get(usize::from(number))
        .map(|(_, capability)| *capability)
}

/// The kernel's name, with its prefix: `CAP_CHOWN`.
pub fn name(capability: Capability) -> &'static str {
    NAMES[usize::from(number(capability))].0
}

/// Reads a name with or without `CAP_`, in any case.
pub fn parse(word: &str) -> Option<Capability> {
    let upper = word.trim().to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES
        .iter()
        .find(|(name, _)| name.strip_prefix("CAP_") == Some(bare))
        .map(|(_, capability)| *capability)
}

/// A set of capabilities as the kernel keeps it: bit n is capability n.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// No capability.
    pub const EMPTY: Self = Self(0);
    /// The 41 capabilities known here.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// From the kernel's bits; bits of capabilities newer than this table are kept.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The kernel's bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The default set of a container.
    pub fn container_default() -> Self {
        DEFAULT.into_iter().collect()
    }

    /// The bounding set of the calling thread: nothing outside it can ever be given to a container.
    pub fn bounding() -> Self {
        // A number the kernel does not know is EINVAL, which is as good as "not in the set".
        (0..64_u8)
            .filter(|number| {
                rustix::thread::CapabilitySet::from_bits(1 << number).is_some_and(|one| {
                    rustix::thread::capability_is_in_bounding_set(one).unwrap_or(false)
                })
            })
            .fold(Self::EMPTY, |set, number| Self(set.0 | 1 << number))
    }

    /// The effective set of the calling thread.
    ///
    /// # Errors
    /// Only what `capget(2)` returns, which for the calling thread is nothing.
    pub fn effective() -> std::io::Result<Self> {
        Ok(Self(rustix::thread::capabilities(None)?.effective.bits()))
    }

    /// Whether `capability` is in the set.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << number(capability)) != 0
    }

    /// The set with `capability` in it.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << number(capability))
    }

    /// The set with `capability` not in it.
    #[must_use]
    pub fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << number(capability)))
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        NAMES
            .iter()
            .map(|(_, capability)| *capability)
            .filter(move |one| self.contains(*one))
    }

    /// The specification's form of the set.
    pub fn to_oci(self) -> Capabilities {
        self.iter().collect()
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(iter: I) -> Self {
        iter.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl From<&Capabilities> for CapabilitySet {
    fn from(set: &Capabilities) -> Self {
        set.iter().copied().collect()
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(name)).finish()
    }
}

/// What the user asked for, and of it what was added by name (that part becomes ambient for users other than uid 0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The bounding set of the container.
    pub bounding: CapabilitySet,
    /// The capabilities that `--cap-add` named, as far as they are in `bounding`.
    pub added: CapabilitySet,
}

/// Applies `--cap-add` and `--cap-drop` words to `base`, and takes away what `host_bounding` does not hold.
///
/// `ALL` in `add` starts from everything, `ALL` in `drop` from nothing; single names then win over `ALL`, and a name in both
/// lists is dropped.
///
/// # Errors
/// A word that names no capability.
pub fn select(
    base: CapabilitySet,
    add: &[String],
    drop: &[String],
    host_bounding: CapabilitySet,
) -> Result<Selection, CapabilityError> {
    let (add_all, add) = words(add)?;
    let (drop_all, drop) = words(drop)?;
    let start = match (drop_all, add_all) {
        (true, _) => CapabilitySet::EMPTY,
        (false, true) => CapabilitySet::ALL,
        (false, false) => base,
    };
    let dropped = CapabilitySet::from_bits(!drop.bits());
    let bounding = start
        .union(add)
        .intersection(dropped)
        .intersection(host_bounding);
    let added = if add_all && !drop_all {
        CapabilitySet::ALL
    } else {
        add
    };
    Ok(Selection {
        bounding,
        added: added.intersection(bounding),
    })
}

fn words(words: &[String]) -> Result<(bool, CapabilitySet), CapabilityError> {
    let mut all = false;
    let mut set = CapabilitySet::EMPTY;
    for word in words {
        if word.eq_ignore_ascii_case("ALL") || word.eq_ignore_ascii_case("CAP_ALL") {
            all = true;
        } else {
            let one = parse(word).ok_or_else(|| CapabilityError::Unknown { name: word.clone() })?;
            set = set.with(one);
        }
    }
    Ok((all, set))
}

impl Selection {
    /// The five sets of a process that runs as `uid`.
    ///
    /// uid 0: permitted and effective are the bounding set, nothing is inheritable or ambient. Any other user starts with
    /// nothing but what was added by name, which is then also ambient (and inheritable, the kernel asks for both), or an
    /// `execve` would lose it.
    pub fn for_uid(&self, uid: u32) -> LinuxCapabilities {
        let (held, kept) = if uid == 0 {
            (self.bounding, CapabilitySet::EMPTY)
        } else {
            (self.added, self.added)
        };
        let mut sets = LinuxCapabilities::default();
        sets.set_bounding(Some(self.bounding.to_oci()))
            .set_effective(Some(held.to_oci()))
            .set_permitted(Some(held.to_oci()))
            .set_inheritable(Some(kept.to_oci()))
            .set_ambient(Some(kept.to_oci()));
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_table_holds_each_capability_once_at_its_number() {
        for (index, (name, capability)) in NAMES.iter().enumerate() {
            assert_eq!(usize::from(number(*capability)), index, "{name}");
            assert_eq!(parse(name), Some(*capability));
            assert_eq!(
                name.parse::<String>().as_deref(),
                Ok(super::name(*capability))
            );
        }
        assert_eq!(number(Capability::SysAdmin), 21);
        assert_eq!(number(Capability::CheckpointRestore), 40);
        assert_eq!(CapabilitySet::ALL.iter().count(), 41);
    }

    #[test]
    fn names_are_read_in_any_spelling_and_nothing_else_is() {
        for word in [
            "NET_RAW",
            "net_raw",
            "CAP_NET_RAW",
            "cap_net_raw",
            " Net_Raw ",
        ] {
            assert_eq!(parse(word), Some(Capability::NetRaw), "{word:?}");
        }
        for word in [
            "",
            "CAP_",
            "NETRAW",
            "CAP_CAP_NET_RAW",
            "ALL",
            "NET_RAW,CHOWN",
        ] {
            assert_eq!(parse(word), None, "{word:?}");
        }
    }

    #[test]
    fn selection_follows_docker() {
        let base = CapabilitySet::container_default();
        let all = CapabilitySet::ALL;
        let cases: &[(&[&str], &[&str], CapabilitySet, CapabilitySet)] = &[
            (&[], &[], base, CapabilitySet::EMPTY),
            (
                &["net_raw"],
                &[],
                base.with(Capability::NetRaw),
                CapabilitySet::EMPTY.with(Capability::NetRaw),
            ),
            (
                &[],
                &["CAP_KILL"],
                base.without(Capability::Kill),
                CapabilitySet::EMPTY,
            ),
            (&[], &["all"], CapabilitySet::EMPTY, CapabilitySet::EMPTY),
            (
                &["CHOWN"],
                &["ALL"],
                CapabilitySet::EMPTY.with(Capability::Chown),
                CapabilitySet::EMPTY.with(Capability::Chown),
            ),
            (&["ALL"], &[], all, all),
            (
                &["ALL"],
                &["SYS_ADMIN"],
                all.without(Capability::SysAdmin),
                all.without(Capability::SysAdmin),
            ),
            (
                &["CHOWN"],
                &["CHOWN"],
                base.without(Capability::Chown),
                CapabilitySet::EMPTY,
            ),
        ];
        for (add, drop, bounding, added) in cases {
            let selection = select(base, &strings(add), &strings(drop), all).unwrap();
            assert_eq!(selection.bounding, *bounding, "+{add:?} -{drop:?}");
            assert_eq!(selection.added, *added, "+{add:?} -{drop:?}");
        }
    }

    #[test]
    fn nothing_outside_our_own_bounding_set_is_given() {
        let host = CapabilitySet::container_default();
        let selection = select(host, &strings(&["ALL"]), &[], host).unwrap();
        assert_eq!(selection.bounding, host);
        assert_eq!(selection.added, host);
    }

    #[test]
    fn a_typed_name_nobody_knows_is_an_error() {
        let error = select(
            CapabilitySet::EMPTY,
            &strings(&["CAP_FLY"]),
            &[],
            CapabilitySet::ALL,
        )
        .unwrap_err();
        assert_eq!(
            error,
            CapabilityError::Unknown {
                name: "CAP_FLY".to_owned()
            }
        );
    }

    #[test]
    fn other_users_keep_only_what_was_added_by_name() {
        let selection = select(
            CapabilitySet::container_default(),
            &strings(&["NET_RAW"]),
            &[],
            CapabilitySet::ALL,
        )
        .unwrap();
        let root = selection.for_uid(0);
        assert_eq!(
            CapabilitySet::from(root.effective().as_ref().unwrap()),
            selection.bounding
        );
        assert!(root.ambient().as_ref().unwrap().is_empty());
        assert!(root.inheritable().as_ref().unwrap().is_empty());
        let user = selection.for_uid(1000);
        let raw = CapabilitySet::EMPTY.with(Capability::NetRaw);
        for set in [
            user.effective(),
            user.permitted(),
            user.ambient(),
            user.inheritable(),
        ] {
            assert_eq!(CapabilitySet::from(set.as_ref().unwrap()), raw);
        }
        assert_eq!(
            CapabilitySet::from(user.bounding().as_ref().unwrap()),
            selection.bounding
        );
    }

    #[test]
    fn our_own_sets_are_read_without_privilege() {
        let effective = CapabilitySet::effective().unwrap();
        let bounding = CapabilitySet::bounding();
        // The kernel keeps no such rule for effective sets after a drop of the bounding set, but a test runner never did that.
        assert_eq!(effective.intersection(bounding), effective);
    }
}
