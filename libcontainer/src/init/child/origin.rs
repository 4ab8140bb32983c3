//! What the caller passed on to the child by being who it is.

use crate::plan::{Script, Step};
use crate::procfs;

/// What is known about the child without asking, because it began as a copy of its parent.
///
/// One read tells it; without it the child would set a number of things to what they are already.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The signals that are ignored, bit n - 1 for signal n.
    pub(super) ignored: u64,
    /// Who the child is; unknown in another user namespace than the caller's.
    pub(super) credentials: Option<procfs::Credentials>,
}

impl Origin {
    /// What a child of the calling thread has that will interpret `script`.
    pub(crate) fn of_caller(script: &Script) -> Self {
        // Without an answer everything is set.
        let (ignored, credentials) = match procfs::own_status() {
            Some(status) => (status.ignored, Some(status.credentials)),
            None => (u64::MAX, None),
        };
        let stays = |steps: &[Step]| !steps.iter().any(|step| matches!(step, Step::BecomeRoot));
        Self {
            ignored,
            credentials: credentials.filter(|_| stays(&script.steps)),
        }
    }
}
