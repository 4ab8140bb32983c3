//! sys

pub mod signal;
pub mod userns;
