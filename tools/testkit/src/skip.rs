//! What happens to a test that cannot run here?
//!
//! A skipped test that looks like a passed one hides a hole, so each skip is a line on stderr and a line in the file named by
//! `TRIMARAN_SKIP_LOG`, which `make test` counts.

use std::fs::OpenOptions;
use std::io::Write;

/// Records that the calling test cannot run here; the test returns after it.
///
/// The test's name is the thread's name, which the test harness sets.
///
/// ```no_run
/// # fn user() -> Option<()> { None }
/// let Some(user) = user() else {
///     return trimaran_testkit::skip("needs the user trimaran-sub");
/// };
/// ```
///
/// # Panics
/// When the file named by `TRIMARAN_SKIP_LOG` cannot be written: an uncounted skip is a failure.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("SKIP: {}: {reason}\n", thread.name().unwrap_or("main"));
    // Written to the descriptor itself, so that the harness's capture of passed tests does not swallow it.
    std::io::stderr()
        .write_all(line.as_bytes())
        .expect("stderr is writable");
    let Some(path) = std::env::var_os("TRIMARAN_SKIP_LOG") else {
        return;
    };
    // One write in append mode: lines of parallel tests do not mix.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("TRIMARAN_SKIP_LOG names a writable file");
}
