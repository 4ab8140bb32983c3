//! Dying of the signal that interrupted us.
//!
//! A shell stops a loop on Ctrl-C only if the program it ran was *killed* by SIGINT; an exit code of 130 looks like an
//! ordinary failure to it. So a tool that caught the signal to undo its work raises it again at the end.

use crate::exit::ExitCode;

/// Ends this process by `signal` (a number) with its default action.
///
/// Returns only if the kernel refuses: then the code is `128 + signal`.
pub fn reraise(signal: i32) -> ExitCode {
    // The only failure is a signal that does not exist, and the code says the same then.
    signal_hook::low_level::emulate_default_handler(signal).ok();
    ExitCode::Container(u8::try_from(128 + signal).unwrap_or(130))
}

/// SIGINT, as [`reraise`] takes it.
pub const SIGINT: i32 = signal_hook::consts::SIGINT;
/// SIGTERM, as [`reraise`] takes it.
pub const SIGTERM: i32 = signal_hook::consts::SIGTERM;
