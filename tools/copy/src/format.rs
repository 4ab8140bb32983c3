//! How is a result printed, and how is a number of jobs read?

use clap::ValueEnum;

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people and simple scripts
    #[default]
    Text,
    /// For programs
    Json,
}

/// More would open more connections than a registry likes.
const JOBS: usize = 64;

/// Reads a number of jobs.
pub(crate) fn jobs(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|_| "not a number".to_owned())?;
    match number {
        1..=JOBS => Ok(number),
        _ => Err(format!("must be between 1 and {JOBS}")),
    }
}
