//! The home directory that a process's environment gets if it names none.

use std::path::Path;

use oci_spec::runtime::Process;

use super::user::resolve;
use crate::error::Result;

/// Where a container says who its users are.
pub(crate) const PASSWD: &str = "/etc/passwd";
/// Where it says which groups there are.
pub(crate) const GROUP: &str = "/etc/group";
/// Largest passwd or group file that is read.
pub(crate) const PASSWD_BYTES: usize = 1 << 20;

/// The home directory of the process's user, `None` if its environment has one. `passwd` reads the container's file; without an
/// entry there it is `/`.
pub(crate) fn home(
    process: &Process,
    passwd: impl FnOnce() -> Result<Option<Vec<u8>>>,
) -> Option<String> {
    // The last one counts.
    let mut named = process.env().iter().flatten().rev();
    let set = named.find_map(|entry| entry.strip_prefix("HOME="));
    if set.is_some_and(|value| !value.is_empty()) {
        return None;
    }
    let passwd = passwd().unwrap_or_default().unwrap_or_default();
    let user = resolve(&process.user().uid().to_string(), &passwd, b"").ok();
    let home = user
        .map(|user| user.home)
        .filter(|home| Path::new(home).is_absolute());
    Some(home.unwrap_or_else(|| "/".to_owned()))
}
