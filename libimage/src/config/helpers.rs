//! Programs that keep credentials: how they are found and for how long they are waited for.

use std::{path::PathBuf, time::Duration};

/// How the programs `docker-credential-NAME` are executed. Files of credentials name them; they are executed for who says so by
/// handing this in, and only when a registry wants credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helpers {
    /// Where the programs are looked for, in this order.
    pub path: Vec<PathBuf>,
    /// How long one is waited for: it may ask a person to unlock something.
    pub patience: Duration,
}

impl Helpers {
    /// Looks for programs in the directories of a variable like `PATH`.
    #[must_use]
    pub fn in_path(path: &std::ffi::OsStr) -> Self {
        Self {
            path: std::env::split_paths(path)
                .filter(|directory| directory.is_absolute())
                .collect(),
            patience: Duration::from_secs(60),
        }
    }
}
