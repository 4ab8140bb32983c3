//! sys

pub mod userns;
