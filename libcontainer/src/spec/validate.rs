//! What a specification must hold before anything is done with it. Pure.

use super::Warning;
use crate::{
    error::{Error, ErrorKind},
    idmap::{self, IdMap},
};
use oci_spec::runtime::{Linux, LinuxNamespaceType as Namespace, Mount, Process, Spec};
use std::{collections::HashSet, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};
use thiserror::Error;

const PROPAGATIONS: [&str; 9] = [
    "",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "unbindable",
    "runbindable",
];

/// What is wrong with a specification.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{field} {reason}")]
pub struct ValidateError {
    /// Path of names: `process.args`.
    pub field: String,
    /// What is wrong there.
    pub reason: String,
}

impl From<ValidateError> for Error {
    fn from(error: ValidateError) -> Self {
        Self::new(
            ErrorKind::InvalidSpec {
                field: error.field.clone(),
            },
            "check the specification",
        )
        .with_source(error)
    }
}

type Checked = Result<(), ValidateError>;

fn wrong(field: impl Into<String>, reason: impl Into<String>) -> Checked {
    Err(ValidateError {
        field: field.into(),
        reason: reason.into(),
    })
}

/// Checks a specification, and what [`super::load`] had to leave out of it.
///
/// What needs facts of the host (sysctls, features that are not supported) is checked when the plan is made.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate(spec: &Spec, warnings: &[Warning]) -> Checked {
    if let Some(warning) = warnings.iter().find(|warning| warning.refused) {
        return wrong(
            &warning.field,
            format!("is {}, which is not known", warning.value),
        );
    }
    version(spec.version())?;
    match spec.root() {
        Some(root) => path("root.path", root.path())?,
        None => return wrong("root", "is missing"),
    }
    match spec.process() {
        Some(process) => check_process(process)?,
        None => return wrong("process", "is missing"),
    }
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        check_mount(&format!("mounts[{index}]"), mount)?;
    }
    let Some(linux) = spec.linux() else {
        return wrong("linux", "is missing");
    };
    namespaces(linux)?;
    hooks(spec)?;
    names(spec, linux)?;
    mappings(linux)?;
    linux_paths(linux)
}

/// Any 1.x: a newer minor version only adds fields.
fn version(version: &str) -> Checked {
    if version.split('.').next() == Some("1") {
        Ok(())
    } else {
        wrong(
            "ociVersion",
            format!("is {version:?}, only versions 1.x are supported"),
        )
    }
}

fn check_process(process: &Process) -> Checked {
    let args = process.args().as_deref().unwrap_or_default();
    if args.first().is_none_or(String::is_empty) {
        return wrong("process.args", "names no program");
    }
    if args.iter().any(|arg| arg.contains('\0')) {
        return wrong("process.args", "holds a NUL byte");
    }
    for variable in process.env().iter().flatten() {
        if variable.contains('\0')
            || variable.split('=').next().is_none_or(str::is_empty)
            || !variable.contains('=')
        {
            return wrong(
                "process.env",
                format!("holds {variable:?}, which is not NAME=VALUE"),
            );
        }
    }
    absolute("process.cwd", process.cwd())?;
    if process
        .oom_score_adj()
        .is_some_and(|score| !(-1000..=1000).contains(&score))
    {
        return wrong("process.oomScoreAdj", "is not between -1000 and 1000");
    }
    let mut kinds = HashSet::new();
    for limit in process.rlimits().iter().flatten() {
        if !kinds.insert(limit.typ().to_string()) {
            return wrong("process.rlimits", format!("holds {} twice", limit.typ()));
        }
        if limit.soft() > limit.hard() {
            return wrong(
                "process.rlimits",
                format!("has a soft {} above the hard one", limit.typ()),
            );
        }
    }
    Ok(())
}

fn check_mount(field: &str, mount: &Mount) -> Checked {
    // Relative destinations are those of version 1.2: below the root.
    path(&format!("{field}.destination"), mount.destination())?;
    let has = |word: &str| {
        mount
            .options()
            .iter()
            .flatten()
            .any(|option| option == word)
    };
    let bind = mount.typ().as_deref() == Some("bind") || has("bind") || has("rbind");
    match mount.source() {
        Some(source) => path(&format!("{field}.source"), source)?,
        None if bind => {
            return wrong(
                format!("{field}.source"),
                "is missing, and a bind mount needs one",
            );
        }
        None => {}
    }
    if mount
        .options()
        .iter()
        .flatten()
        .any(|option| option.contains('\0'))
    {
        return wrong(format!("{field}.options"), "hold a NUL byte");
    }
    let (uids, gids) = (
        mount.uid_mappings().iter().flatten().count(),
        mount.gid_mappings().iter().flatten().count(),
    );
    if (uids == 0) != (gids == 0) {
        return wrong(field, "has mappings of one kind only");
    }
    Ok(())
}

fn namespaces(linux: &Linux) -> Checked {
    let mut kinds = HashSet::new();
    for namespace in linux.namespaces().iter().flatten() {
        if !kinds.insert(namespace.typ()) {
            return wrong(
                "linux.namespaces",
                format!("holds {} twice", namespace.typ()),
            );
        }
        // An empty one is none: a new namespace.
        let path = namespace.path().as_ref();
        if let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) {
            absolute("linux.namespaces", path)?;
        }
    }
    Ok(())
}

fn hooks(spec: &Spec) -> Checked {
    let Some(hooks) = spec.hooks() else {
        return Ok(());
    };
    for (kind, list) in [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ] {
        for (index, hook) in list.iter().flatten().enumerate() {
            let field = format!("hooks.{kind}[{index}]");
            absolute(&format!("{field}.path"), hook.path())?;
            if hook.timeout().is_some_and(|seconds| seconds <= 0) {
                return wrong(
                    format!("{field}.timeout"),
                    "is not a number of seconds above zero",
                );
            }
        }
    }
    Ok(())
}

fn has_namespace(linux: &Linux, kind: Namespace) -> bool {
    linux
        .namespaces()
        .iter()
        .flatten()
        .any(|namespace| namespace.typ() == kind)
}

/// Names that would otherwise change the host's.
fn names(spec: &Spec, linux: &Linux) -> Checked {
    for (field, name) in [
        ("hostname", spec.hostname()),
        ("domainname", spec.domainname()),
    ] {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else {
            continue;
        };
        if !has_namespace(linux, Namespace::Uts) {
            return wrong(field, "cannot be set without a UTS namespace");
        }
        // __NEW_UTS_LEN of the kernel.
        if name.len() > 64 || name.contains('\0') {
            return wrong(field, "has more than 64 bytes or a NUL byte");
        }
    }
    Ok(())
}

fn mappings(linux: &Linux) -> Checked {
    let user = linux
        .namespaces()
        .iter()
        .flatten()
        .find(|namespace| namespace.typ() == Namespace::User);
    let make = user.is_some_and(|namespace| namespace.path().is_none());
    for (field, mappings) in [
        ("linux.uidMappings", linux.uid_mappings()),
        ("linux.gidMappings", linux.gid_mappings()),
    ] {
        let maps: Vec<IdMap> = mappings.iter().flatten().map(IdMap::from).collect();
        if maps.is_empty() && make {
            return wrong(field, "is missing, and a new user namespace needs it");
        }
        if !maps.is_empty() && user.is_none() {
            return wrong(field, "is set without a user namespace");
        }
        if !maps.is_empty()
            && let Err(error) = idmap::validate(&maps)
        {
            return wrong(field, error.to_string());
        }
    }
    Ok(())
}

fn linux_paths(linux: &Linux) -> Checked {
    for (field, paths) in [
        ("linux.maskedPaths", linux.masked_paths()),
        ("linux.readonlyPaths", linux.readonly_paths()),
    ] {
        for path in paths.iter().flatten() {
            absolute(field, Path::new(path))?;
        }
    }
    for device in linux.devices().iter().flatten() {
        absolute("linux.devices", device.path())?;
    }
    let propagation = linux.rootfs_propagation().as_deref().unwrap_or_default();
    if !PROPAGATIONS.contains(&propagation) {
        return wrong("linux.rootfsPropagation", format!("is {propagation:?}"));
    }
    Ok(())
}

fn absolute(field: &str, given: &Path) -> Checked {
    path(field, given)?;
    if given.is_absolute() {
        Ok(())
    } else {
        wrong(
            field,
            format!("is {}, which is not absolute", given.display()),
        )
    }
}

fn path(field: &str, path: &Path) -> Checked {
    let bytes = OsStr::as_bytes(path.as_os_str());
    if bytes.is_empty() {
        return wrong(field, "is empty");
    }
    if bytes.contains(&0) {
        wrong(field, "holds a NUL byte")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::load;
    use serde_json::{Value, json};

    fn base() -> Value {
        json!({
            "ociVersion": "1.2.0",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/", "env": ["A=b", "EMPTY="]},
            "root": {"path": "rootfs"},
            "hostname": "box",
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "network"}, {"type": "ipc"}],
                "sysctl": {"net.ipv4.ping_group_range": "0 0", "kernel.sem": "1 2 3 4", "net/ipv4/conf/eth0.1/mtu": "5"},
            },
        })
    }

    fn check(value: &Value) -> Checked {
        let (spec, warnings) = load(&serde_json::to_vec(value).unwrap()).unwrap();
        validate(&spec, &warnings)
    }

    #[test]
    fn a_usual_specification_passes() {
        assert_eq!(check(&base()), Ok(()));
        assert_eq!(validate(&Spec::default(), &[]), Ok(()));
    }

    #[test]
    fn what_cannot_be_done_safely_is_refused() {
        type Edit = fn(&mut Value);
        let cases: &[(Edit, &str)] = &[
            (|v| v["ociVersion"] = json!("2.0.0"), "ociVersion"),
            (|v| v["ociVersion"] = json!(""), "ociVersion"),
            (|v| drop(v.as_object_mut().unwrap().remove("root")), "root"),
            (|v| v["root"]["path"] = json!(""), "root.path"),
            (
                |v| drop(v.as_object_mut().unwrap().remove("process")),
                "process",
            ),
            (
                |v| drop(v.as_object_mut().unwrap().remove("linux")),
                "linux",
            ),
            (|v| v["process"]["args"] = json!([]), "process.args"),
            (|v| v["process"]["args"] = json!([""]), "process.args"),
            (|v| v["process"]["args"] = json!(["a\0b"]), "process.args"),
            (|v| v["process"]["env"] = json!(["NOVALUE"]), "process.env"),
            (|v| v["process"]["env"] = json!(["=x"]), "process.env"),
            (|v| v["process"]["cwd"] = json!("tmp"), "process.cwd"),
            (|v| v["process"]["cwd"] = json!(""), "process.cwd"),
            (
                |v| v["process"]["oomScoreAdj"] = json!(1001),
                "process.oomScoreAdj",
            ),
            (
                |v| v["process"]["rlimits"] = json!([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]),
                "process.rlimits",
            ),
            (
                |v| {
                    let limit = json!({"type": "RLIMIT_CPU", "soft": 1, "hard": 1});
                    v["process"]["rlimits"] = json!([limit, limit]);
                },
                "process.rlimits",
            ),
            (
                |v| v["process"]["rlimits"] = json!([{"type": "RLIMIT_X", "soft": 2, "hard": 1}]),
                "process.rlimits[0].type",
            ),
            (
                |v| v["mounts"][0]["destination"] = json!(""),
                "mounts[0].destination",
            ),
            (
                |v| v["mounts"][0] = json!({"destination": "/x", "options": ["rbind"]}),
                "mounts[0].source",
            ),
            (
                |v| v["linux"]["namespaces"] = json!([{"type": "uts"}, {"type": "uts"}]),
                "linux.namespaces",
            ),
            (
                |v| v["linux"]["namespaces"] = json!([{"type": "uts", "path": "ns"}]),
                "linux.namespaces",
            ),
            (
                |v| v["linux"]["namespaces"] = json!([{"type": "galaxy"}]),
                "linux.namespaces[0].type",
            ),
            (
                |v| v["linux"]["namespaces"] = json!([{"type": "network"}, {"type": "ipc"}]),
                "hostname",
            ),
            (|v| v["hostname"] = json!("x".repeat(65)), "hostname"),
            (
                |v| v["linux"]["uidMappings"] = json!([{"hostID": 0, "containerID": 0, "size": 1}]),
                "linux.uidMappings",
            ),
            (
                |v| {
                    v["linux"]["namespaces"]
                        .as_array_mut()
                        .unwrap()
                        .push(json!({"type": "user"}))
                },
                "linux.uidMappings",
            ),
            (
                |v| v["hooks"] = json!({"poststop": [{"path": "/bin/true"}, {"path": "true"}]}),
                "hooks.poststop[1].path",
            ),
            (
                |v| v["hooks"] = json!({"prestart": [{"path": "/bin/true", "timeout": 0}]}),
                "hooks.prestart[0].timeout",
            ),
            (
                |v| v["linux"]["maskedPaths"] = json!(["proc/kcore"]),
                "linux.maskedPaths",
            ),
            (
                |v| v["linux"]["rootfsPropagation"] = json!("public"),
                "linux.rootfsPropagation",
            ),
        ];
        for (index, (edit, field)) in cases.iter().enumerate() {
            let mut value = base();
            edit(&mut value);
            let error = check(&value).unwrap_err();
            assert_eq!(error.field, *field, "case {index}: {error}");
            assert_eq!(
                *Error::from(error).kind(),
                ErrorKind::InvalidSpec {
                    field: (*field).to_owned()
                }
            );
        }
    }

    #[test]
    fn a_user_namespace_with_mappings_passes() {
        let mut value = base();
        value["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "user"}));
        let map = json!([{"hostID": 100_000, "containerID": 0, "size": 65_536}]);
        value["linux"]["uidMappings"] = map.clone();
        value["linux"]["gidMappings"] = map;
        assert_eq!(check(&value), Ok(()));
        value["linux"]["gidMappings"][0]["size"] = json!(0);
        assert_eq!(check(&value).unwrap_err().field, "linux.gidMappings");
    }
}
