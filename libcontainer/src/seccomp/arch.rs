//! Architectures: their audit numbers and their tables of system calls.

use oci_spec::runtime::Arch;
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};
use syscalls::{aarch64, arm, x86, x86_64};

/// The bit that marks an x32 call; the audit number is that of x86-64.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// The calls x32 numbers differently from x86-64, from 512 on.
const X32_FIRST: u32 = 512;
const X32_NAMES: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// The calls i386 also offers through `socketcall(2)`, by the number in its first argument.
const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// The same for `ipc(2)`.
const IPC: [(&str, u32); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// The architecture the filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterArch {
    /// x86-64, with i386 and x32 beside it when the profile lists them.
    X86_64,
    /// 64-bit ARM, with 32-bit ARM beside it when the profile lists it.
    Aarch64,
}

impl FilterArch {
    /// The architecture this was compiled for, if filters are supported on it.
    pub const fn native() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else {
            None
        }
    }

    /// The architectures whose programs such a machine runs, as the specification names them; the machine's own first.
    pub fn with_sub_architectures(self) -> Vec<Arch> {
        match self {
            Self::X86_64 => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
            Self::Aarch64 => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        }
    }

    /// The tables a filter with these architectures needs. The machine's own is always among them; architectures whose programs
    /// the machine cannot run need none.
    pub(super) fn abis(self, listed: &[Arch]) -> Vec<Abi> {
        let has = |arch: Arch| listed.contains(&arch);
        let (own, sub) = match self {
            Self::X86_64 => (
                Abi::X86_64 {
                    x32: has(Arch::ScmpArchX32),
                },
                has(Arch::ScmpArchX86).then_some(Abi::X86),
            ),
            Self::Aarch64 => (Abi::Aarch64, has(Arch::ScmpArchArm).then_some(Abi::Arm)),
        };
        std::iter::once(own).chain(sub).collect()
    }
}

/// One audit architecture: the kernel tells a filter apart by these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abi {
    /// x32 has the same audit number, and shares the table: a number means the same call in both, or no call at all in one.
    X86_64 {
        x32: bool,
    },
    X86,
    Aarch64,
    Arm,
}

impl Abi {
    /// `AUDIT_ARCH_*` of the kernel.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 { .. } => 0xC000_003E,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xC000_00B7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments have 32 bits: the kernel then leaves the upper half of each at zero.
    pub(super) const fn is_32_bit(self) -> bool {
        matches!(self, Self::X86 | Self::Arm)
    }

    /// The names this architecture knows.
    ///
    /// Made for each program that is compiled: finding 400 names one by one in the list of all takes three times as long.
    pub(super) fn names(self) -> Names {
        let mut names = Names {
            own: ByName::with_capacity_and_hasher(512, BuildHasherDefault::default()),
            x32: ByName::default(),
            multiplexed: ByName::default(),
        };
        match self {
            Self::X86_64 { x32 } => {
                names
                    .own
                    .extend(x86_64::Sysno::iter().map(|call| (call.name(), call as u32)));
                if x32 {
                    names.x32.extend(X32_NAMES.into_iter().zip(X32_FIRST..));
                }
            }
            Self::X86 => {
                names
                    .own
                    .extend(x86::Sysno::iter().map(|call| (call.name(), call as u32)));
                let socketcall = x86::Sysno::socketcall as u32;
                let ipc = x86::Sysno::ipc as u32;
                let sockets = SOCKETCALL
                    .into_iter()
                    .zip(1..)
                    .map(|(name, call)| (name, (socketcall, call)));
                names.multiplexed.extend(sockets);
                names
                    .multiplexed
                    .extend(IPC.map(|(name, call)| (name, (ipc, call))));
            }
            Self::Aarch64 => names
                .own
                .extend(aarch64::Sysno::iter().map(|call| (call.name(), call as u32))),
            Self::Arm => names
                .own
                .extend(arm::Sysno::iter().map(|call| (call.name(), call as u32))),
        }
        names
    }
}

/// The names one architecture knows.
#[derive(Debug)]
pub(super) struct Names {
    own: ByName<u32>,
    x32: ByName<u32>,
    multiplexed: ByName<(u32, u32)>,
}

type ByName<T> = HashMap<&'static str, T, BuildHasherDefault<ShortHasher>>;

/// FNV-1a. The keys are the kernel's short names, so nobody can choose colliding ones, and the standard hasher would take a third
/// of the whole time.
#[derive(Debug)]
struct ShortHasher(u64);

impl Default for ShortHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for ShortHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Names {
    /// The numbers of a call: none if this architecture does not have it, two if x32 has one of its own.
    pub(super) fn numbers(&self, name: &str) -> impl Iterator<Item = u32> {
        self.own
            .get(name)
            .into_iter()
            .chain(self.x32.get(name))
            .copied()
    }

    /// The call that also carries `name`, and the value of its first argument that says so (i386 only).
    pub(super) fn multiplexer(&self, name: &str) -> Option<(u32, u32)> {
        self.multiplexed.get(name).copied()
    }

    /// How many calls there are.
    pub(super) fn count(&self) -> usize {
        self.own.len() + self.x32.len() + self.multiplexed.len()
    }

    /// Whether there is such a call.
    pub(super) fn know(&self, name: &str) -> bool {
        self.own.contains_key(name)
            || self.x32.contains_key(name)
            || self.multiplexed.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        let x64 = Abi::X86_64 { x32: false };
        for (abi, name, numbers) in [
            (x64, "read", vec![0]),
            (x64, "execve", vec![59]),
            (x64, "socketcall", vec![]),
            (Abi::X86_64 { x32: true }, "execve", vec![59, 520]),
            (Abi::X86_64 { x32: true }, "pwritev2", vec![328, 547]),
            (Abi::X86, "socketcall", vec![102]),
            (Abi::X86, "execve", vec![11]),
            (Abi::Aarch64, "execve", vec![221]),
            (Abi::Aarch64, "open", vec![]),
            (Abi::Arm, "execve", vec![11]),
            (x64, "no_such_call", vec![]),
        ] {
            assert_eq!(
                abi.names().numbers(name).collect::<Vec<_>>(),
                numbers,
                "{abi:?} {name}"
            );
        }
        assert_eq!(Abi::X86.names().multiplexer("socket"), Some((102, 1)));
        assert_eq!(Abi::X86.names().multiplexer("sendmmsg"), Some((102, 20)));
        assert_eq!(Abi::X86.names().multiplexer("shmctl"), Some((117, 24)));
        assert_eq!(Abi::X86.names().multiplexer("read"), None);
        assert_eq!(x64.names().multiplexer("socket"), None);
    }
}
