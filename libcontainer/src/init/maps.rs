//! The id maps of a child's new user namespace, written by its parent.

use std::path::Path;
use std::process::{Command, Stdio};

use oci_spec::runtime::Capability;

use crate::capability::CapabilitySet;
use crate::error::{Error, ErrorKind, Result};
use crate::idmap::{self, IdMap, IdMaps};
use crate::procfs;
use crate::rootless::Helpers;

const STEP: &str = "write the id maps";

/// Where the set-uid helpers of an ordinary user are looked for: not where the environment says.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Writes both maps: directly where the kernel allows it, else through `newuidmap(1)` and `newgidmap(1)`.
pub(super) fn write(pid: i32, maps: &IdMaps) -> Result<()> {
    let ours = CapabilitySet::effective().map_err(|error| Error::from_io(error, STEP))?;
    let may = |capability| ours.contains(capability);
    let may_all = may(Capability::Setuid) && may(Capability::Setgid);
    if !may_all && !maps.is_single() {
        return with_helpers(pid, maps);
    }
    let write = |file: &str, text: String| {
        procfs::write(pid, file, &text).map_err(|error| {
            let path = format!("/proc/{pid}/{file}");
            Error::from_io(error, STEP).with_path(path).with_hint(
                "the ids on the host side must exist in the caller's user namespace, and it needs CAP_SETUID and CAP_SETGID",
            )
        })
    };
    write("uid_map", idmap::map_text(&maps.uid))?;
    if !may(Capability::Setgid) {
        // The kernel demands it of the unprivileged, who could otherwise drop a group that denies them something.
        write("setgroups", "deny".to_owned())?;
    }
    write("gid_map", idmap::map_text(&maps.gid))
}

fn with_helpers(pid: i32, maps: &IdMaps) -> Result<()> {
    let helpers = Helpers::find(DIRECTORIES.map(Path::new));
    let run = |helper: Option<&Path>, name: &str, file: &str, maps: &[IdMap]| {
        let Some(helper) = helper else {
            let feature = format!("{name}, which is not installed");
            return Err(Error::new(ErrorKind::Unsupported { feature }, STEP)
                .with_hint("install newuidmap and newgidmap (package uidmap)"));
        };
        let numbers = maps
            .iter()
            .flat_map(|map| [map.container, map.host, map.size]);
        let output = Command::new(helper)
            .arg(pid.to_string())
            .args(numbers.map(|number| number.to_string()))
            .stdin(Stdio::null())
            .output();
        let path = format!("/proc/{pid}/{file}");
        // The map itself is the proof: the helper's exit code may have gone to somebody else's reaper.
        if procfs::read_text(&path).is_ok_and(|text| !text.trim().is_empty()) {
            return Ok(());
        }
        let said = output.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned());
        let said = said.unwrap_or_else(|error| error.to_string());
        Err(Error::new(ErrorKind::PermissionDenied, STEP)
            .with_path(helper)
            .with_hint(format!(
                "{said}: the ranges must be the user's in /etc/subuid and /etc/subgid"
            )))
    };
    run(
        helpers.newuidmap.as_deref(),
        "newuidmap",
        "uid_map",
        &maps.uid,
    )?;
    run(
        helpers.newgidmap.as_deref(),
        "newgidmap",
        "gid_map",
        &maps.gid,
    )
}
