//! System call filters: names and numbers, the default profile, and the compiler from the specification's rules to BPF. Pure.

mod arch;
mod compile;
mod emit;
mod names;
mod profile;
#[cfg(test)]
mod tests;

pub use arch::FilterArch;
pub use compile::{SeccompError, compile};
pub use profile::{ProfileFacts, default_profile};

/// One BPF instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// A compiled filter, ready for `seccomp(SECCOMP_SET_MODE_FILTER)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// At most 4096 of them, or the kernel refuses the program.
    pub instructions: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` bits.
    pub flags: u32,
    /// Whether a rule asks for a user space listener (`SCMP_ACT_NOTIFY`).
    pub needs_listener: bool,
    /// Names in the profile that no architecture of the filter knows; they were skipped.
    pub unknown: Vec<String>,
}
