//! Architectures: their audit numbers and their tables of system calls.

/// The architecture the filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterArch {
    /// x86-64, with i386 and x32 beside it when the profile lists them.
    X86_64,
    /// 64-bit ARM.
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
}
