//! Resource limits: the kernel's numbers, and cutting a wish down to what we may set. Pure but for [`HardLimits::of_caller`].

use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};
use rustix::process::Resource;

/// The limits by their number in `setrlimit(2)` on every architecture supported here.
const RESOURCES: [(PosixRlimitType, Resource); 16] = [
    (PosixRlimitType::RlimitCpu, Resource::Cpu),
    (PosixRlimitType::RlimitFsize, Resource::Fsize),
    (PosixRlimitType::RlimitData, Resource::Data),
    (PosixRlimitType::RlimitStack, Resource::Stack),
    (PosixRlimitType::RlimitCore, Resource::Core),
    (PosixRlimitType::RlimitRss, Resource::Rss),
    (PosixRlimitType::RlimitNproc, Resource::Nproc),
    (PosixRlimitType::RlimitNofile, Resource::Nofile),
    (PosixRlimitType::RlimitMemlock, Resource::Memlock),
    (PosixRlimitType::RlimitAs, Resource::As),
    (PosixRlimitType::RlimitLocks, Resource::Locks),
    (PosixRlimitType::RlimitSigpending, Resource::Sigpending),
    (PosixRlimitType::RlimitMsgqueue, Resource::Msgqueue),
    (PosixRlimitType::RlimitNice, Resource::Nice),
    (PosixRlimitType::RlimitRtprio, Resource::Rtprio),
    (PosixRlimitType::RlimitRttime, Resource::Rttime),
];

/// The value that means "no limit".
pub const INFINITY: u64 = u64::MAX;

/// The number `setrlimit(2)` knows the limit by (`RLIMIT_NOFILE` is 7).
pub fn number(kind: PosixRlimitType) -> u32 {
    index(kind) as u32
}

/// rustix's name of the limit.
pub fn resource(kind: PosixRlimitType) -> Resource {
    RESOURCES[index(kind)].1
}

/// Reads `RLIMIT_NOFILE`, `nofile` and every spelling between.
pub fn parse(word: &str) -> Option<PosixRlimitType> {
    let upper = word.trim().to_ascii_uppercase();
    let full = if upper.starts_with("RLIMIT_") {
        upper
    } else {
        format!("RLIMIT_{upper}")
    };
    RESOURCES
        .iter()
        .map(|(kind, _)| *kind)
        .find(|kind| kind.to_string() == full)
}

/// The limit that `setrlimit(2)` knows by this number.
pub fn kind(number: u32) -> Option<PosixRlimitType> {
    RESOURCES
        .get(usize::try_from(number).ok()?)
        .map(|(kind, _)| *kind)
}

fn index(kind: PosixRlimitType) -> usize {
    RESOURCES
        .iter()
        .position(|(known, _)| *known == kind)
        .expect("the table holds every variant")
}

/// A limit in the specification's form.
pub fn limit_of(kind: PosixRlimitType, soft: u64, hard: u64) -> PosixRlimit {
    PosixRlimitBuilder::default()
        .typ(kind)
        .soft(soft)
        .hard(hard)
        .build()
        .expect("every field has a default")
}

/// The hard limits of a process, by number: what it may set without CAP_SYS_RESOURCE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardLimits([u64; RESOURCES.len()]);

impl Default for HardLimits {
    /// No limit anywhere.
    fn default() -> Self {
        Self([INFINITY; RESOURCES.len()])
    }
}

impl HardLimits {
    /// The hard limits of the calling process.
    pub fn of_caller() -> Self {
        Self(RESOURCES.map(|(_, resource)| {
            rustix::process::getrlimit(resource)
                .maximum
                .unwrap_or(INFINITY)
        }))
    }

    /// One hard limit.
    pub fn get(&self, kind: PosixRlimitType) -> u64 {
        self.0[index(kind)]
    }

    /// The same limits with one changed.
    #[must_use]
    pub fn with(mut self, kind: PosixRlimitType, hard: u64) -> Self {
        self.0[index(kind)] = hard;
        self
    }
}

/// The limits that can really be set: neither value above our own hard limit, the soft one not above the hard one.
///
/// A container without CAP_SYS_RESOURCE must start with less rather than not at all.
pub fn clamp(wanted: &[PosixRlimit], host: &HardLimits) -> Vec<PosixRlimit> {
    wanted
        .iter()
        .map(|limit| {
            let hard = limit.hard().min(host.get(limit.typ()));
            limit_of(limit.typ(), limit.soft().min(hard), hard)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::limit_of as limit;

    #[test]
    fn the_numbers_are_the_kernels() {
        for (kind, wanted) in [
            (PosixRlimitType::RlimitCpu, libc::RLIMIT_CPU),
            (PosixRlimitType::RlimitNproc, libc::RLIMIT_NPROC),
            (PosixRlimitType::RlimitNofile, libc::RLIMIT_NOFILE),
            (PosixRlimitType::RlimitAs, libc::RLIMIT_AS),
            (PosixRlimitType::RlimitNice, libc::RLIMIT_NICE),
            (PosixRlimitType::RlimitRttime, libc::RLIMIT_RTTIME),
        ] {
            assert_eq!(u64::from(number(kind)), u64::from(wanted), "{kind}");
        }
    }

    #[test]
    fn names_are_read_with_and_without_prefix() {
        assert_eq!(parse("RLIMIT_NOFILE"), Some(PosixRlimitType::RlimitNofile));
        assert_eq!(parse("nofile"), Some(PosixRlimitType::RlimitNofile));
        assert_eq!(parse("files"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_wish_is_cut_down_never_raised() {
        let host = HardLimits::default().with(PosixRlimitType::RlimitNofile, 1024);
        let nofile = PosixRlimitType::RlimitNofile;
        for (wish, given) in [
            ((10, 20), (10, 20)),
            ((10, 5000), (10, 1024)),
            ((5000, 5000), (1024, 1024)),
            ((30, 20), (20, 20)),
        ] {
            assert_eq!(
                clamp(&[limit(nofile, wish.0, wish.1)], &host),
                [limit(nofile, given.0, given.1)]
            );
        }
        let core = limit(PosixRlimitType::RlimitCore, INFINITY, INFINITY);
        assert_eq!(clamp(&[core], &host), [core]);
    }
}
