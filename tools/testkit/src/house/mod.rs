//! The house: which module may import which, read from `ARCHITECTURE.md` and checked against the sources.
//!
//! `tests/house.rs` applies these functions to the repository. They live in the library so that each has tests of its own with
//! broken samples: a checker that cannot fail proves nothing.

mod arrows;
mod files;
mod imports;
mod levels;
mod source;

pub use arrows::{Finding, check_crate};
pub use files::{repository, sources, text_files};
pub use imports::{Import, imports};
pub use levels::{Levels, LevelsError};
pub use source::Source;
