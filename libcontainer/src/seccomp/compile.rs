//! From the specification's rules to a BPF program.

use super::{FilterArch, Program};
use oci_spec::runtime::LinuxSeccomp;
use thiserror::Error;

/// Why a profile cannot be compiled.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeccompError {
    /// The program would be longer than the kernel accepts.
    #[error("the filter needs {0} instructions, the kernel accepts 4096")]
    TooLong(usize),
}

/// Compiles a profile.
///
/// # Errors
/// The profile asks for what no filter can do.
pub fn compile(profile: &LinuxSeccomp, arch: FilterArch) -> Result<Program, SeccompError> {
    let _unused = (profile, arch);
    unimplemented!()
}
