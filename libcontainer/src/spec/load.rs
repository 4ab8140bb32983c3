//! Reading a `config.json` that may name what this crate does not know.
//!
//! The types of the specification are closed enums: one new word would make the whole file unreadable. So a file that does not
//! parse is searched for such words; what holds one is left out with a [`Warning`], and the rest is read again. Leaving out
//! must never remove a restriction: where it could, the warning says [`Warning::refused`], and [`super::validate`] refuses the
//! specification because of it.

use crate::error::{Error, ErrorKind};
use oci_spec::runtime::{
    Arch, Capability, IOPriorityClass, LinuxDeviceType, LinuxNamespaceType, LinuxPersonalityDomain,
    LinuxSchedulerFlag, LinuxSchedulerPolicy, LinuxSeccompAction, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, MemoryPolicyFlagType, MemoryPolicyModeType, PosixRlimitType, Spec,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;
use thiserror::Error;

/// A larger file is no specification: podman writes some 20 KB, and the longest seccomp profiles some 100 KB.
const CONFIG_BYTES: usize = 16 << 20;

/// Something in the file that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where, as a path of names: `process.capabilities.bounding`.
    pub field: String,
    /// What was found there.
    pub value: String,
    /// Whether leaving it out could have removed a restriction, so that the specification must not be used.
    pub refused: bool,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} is not known and left out",
            self.field, self.value
        )
    }
}

/// Why the file cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Not JSON, or not a specification.
    #[error("it is no runtime specification")]
    Parse(#[source] serde_json::Error),
    /// Too much to be a specification.
    #[error("it has {0} bytes, more than the {CONFIG_BYTES} that are read")]
    TooLarge(usize),
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        Self::new(
            ErrorKind::InvalidSpec {
                field: "config.json".to_owned(),
            },
            "read config.json",
        )
        .with_source(error)
    }
}

/// A place whose words come from a closed list.
struct Closed {
    /// Names separated by dots; `*` is any member, `[]` any element.
    path: &'static str,
    known: fn(&Value) -> bool,
    refused: bool,
}

const fn skipped(path: &'static str, known: fn(&Value) -> bool) -> Closed {
    Closed {
        path,
        known,
        refused: false,
    }
}

const fn refused(path: &'static str, known: fn(&Value) -> bool) -> Closed {
    Closed {
        path,
        known,
        refused: true,
    }
}

const CLOSED: [Closed; 16] = [
    // A container with a capability less is a container with a capability less.
    skipped("process.capabilities.*.[]", is::<Capability>),
    refused("process.rlimits.[].type", is::<PosixRlimitType>),
    skipped("process.ioPriority.class", is::<IOPriorityClass>),
    skipped("process.scheduler.policy", is::<LinuxSchedulerPolicy>),
    skipped("process.scheduler.flags.[]", is::<LinuxSchedulerFlag>),
    refused("linux.namespaces.[].type", is::<LinuxNamespaceType>),
    refused("linux.devices.[].type", is::<LinuxDeviceType>),
    refused("linux.resources.devices.[].type", is::<LinuxDeviceType>),
    refused("linux.seccomp.defaultAction", is::<LinuxSeccompAction>),
    refused("linux.seccomp.syscalls.[].action", is::<LinuxSeccompAction>),
    refused(
        "linux.seccomp.syscalls.[].args.[].op",
        is::<LinuxSeccompOperator>,
    ),
    // Programs of an architecture that is not listed are killed.
    skipped("linux.seccomp.architectures.[]", is::<Arch>),
    skipped("linux.seccomp.flags.[]", is::<LinuxSeccompFilterFlag>),
    skipped("linux.personality.domain", is::<LinuxPersonalityDomain>),
    skipped("linux.memoryPolicy.mode", is::<MemoryPolicyModeType>),
    skipped("linux.memoryPolicy.flags.[]", is::<MemoryPolicyFlagType>),
];

fn is<T: DeserializeOwned>(value: &Value) -> bool {
    T::deserialize(value).is_ok()
}

/// Reads a specification.
///
/// One parse in the normal case; only a file that does not parse is searched.
///
/// # Errors
/// Not JSON; a field of the wrong type; more than 16 MiB.
pub fn load(raw: &[u8]) -> Result<(Spec, Vec<Warning>), LoadError> {
    if raw.len() > CONFIG_BYTES {
        return Err(LoadError::TooLarge(raw.len()));
    }
    let first = match serde_json::from_slice::<Spec>(raw) {
        Ok(spec) => return Ok((spec, Vec::new())),
        Err(error) => error,
    };
    let Ok(mut value) = serde_json::from_slice::<Value>(raw) else {
        return Err(LoadError::Parse(first));
    };
    fill(&mut value);
    let mut warnings = Vec::new();
    for closed in &CLOSED {
        let path: Vec<&str> = closed.path.split('.').collect();
        let mut found = Vec::new();
        drop_unknown(&mut value, &path, String::new(), closed.known, &mut found);
        warnings.extend(found.into_iter().map(|(field, value)| Warning {
            field,
            value,
            refused: closed.refused,
        }));
    }
    let spec = serde_json::from_value(value).map_err(LoadError::Parse)?;
    Ok((spec, warnings))
}

/// Words of the specification that its Rust types spell otherwise.
const SPELLINGS: [(&str, &str); 2] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

/// Spells as the types do.
fn respell(value: &mut Value) {
    let flags = value.pointer_mut("/process/scheduler/flags");
    for flag in flags.and_then(Value::as_array_mut).into_iter().flatten() {
        let known = SPELLINGS
            .iter()
            .find(|(word, _)| flag.as_str() == Some(word));
        if let Some((_, word)) = known {
            *flag = json!(word);
        }
    }
    // An empty list of processors is as good as none.
    let affinity = value.pointer_mut("/process/execCPUAffinity");
    if let Some(affinity) = affinity.and_then(Value::as_object_mut) {
        affinity.retain(|_, list| list.as_str() != Some(""));
    }
}

/// Puts in what the specification allows to be missing and its Rust types do not: the user is 0:0, as in runc.
fn fill(value: &mut Value) {
    respell(value);
    if let Some(process) = value.get_mut("process").and_then(Value::as_object_mut) {
        let user = process.entry("user").or_insert_with(|| json!({}));
        if let Some(user) = user.as_object_mut() {
            for id in ["uid", "gid"] {
                user.entry(id).or_insert_with(|| json!(0));
            }
        }
    }
}

/// Removes what holds an unknown word: the innermost array element on the path, else the object around the word. Returns whether
/// the caller must remove `value` itself.
fn drop_unknown(
    value: &mut Value,
    path: &[&str],
    at: String,
    known: fn(&Value) -> bool,
    found: &mut Vec<(String, String)>,
) -> bool {
    let Some((first, rest)) = path.split_first() else {
        if !known(value) && !value.is_null() {
            found.push((at, value.to_string()));
            return true;
        }
        return false;
    };
    match (*first, value) {
        ("[]", Value::Array(elements)) => {
            let mut index = 0;
            elements.retain_mut(|element| {
                let inner = drop_unknown(element, rest, format!("{at}[{index}]"), known, found);
                index += 1;
                !inner
            });
            false
        }
        ("*", Value::Object(members)) => {
            for (name, member) in members.iter_mut() {
                drop_unknown(member, rest, join(&at, name), known, found);
            }
            false
        }
        (name, Value::Object(members)) => {
            let Some(member) = members.get_mut(name) else {
                return false;
            };
            let remove = drop_unknown(member, rest, join(&at, name), known, found);
            // A word takes the object around it with it; that object's own holder just forgets it.
            if remove && !rest.is_empty() {
                members.remove(name);
                return false;
            }
            remove
        }
        _ => false,
    }
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut value = json!({
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
            "root": {"path": "rootfs"},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
        });
        edit(&mut value);
        serde_json::to_vec(&value).unwrap()
    }

    #[test]
    fn a_known_file_is_read_as_it_is() {
        let (spec, warnings) = load(&config(|_| {})).unwrap();
        assert_eq!(warnings, []);
        assert_eq!(
            spec.process().as_ref().unwrap().args().as_deref(),
            Some(&["sh".to_owned()][..])
        );
    }

    #[test]
    fn unknown_words_are_left_out_and_named() {
        type Edit = fn(&mut Value);
        let cases: &[(Edit, &str, bool)] = &[
            (
                |v| v["process"]["capabilities"] = json!({"bounding": ["CAP_KILL", "CAP_FLY"]}),
                "process.capabilities.bounding[1]",
                false,
            ),
            (
                |v| v["process"]["rlimits"] = json!([{"type": "RLIMIT_X", "soft": 1, "hard": 1}]),
                "process.rlimits[0].type",
                true,
            ),
            (
                |v| v["process"]["ioPriority"] = json!({"class": "IOPRIO_X", "priority": 1}),
                "process.ioPriority.class",
                false,
            ),
            (
                |v| v["process"]["scheduler"] = json!({"policy": "SCHED_X"}),
                "process.scheduler.policy",
                false,
            ),
            (
                |v| v["linux"]["namespaces"][1]["type"] = json!("galaxy"),
                "linux.namespaces[1].type",
                true,
            ),
            (
                |v| {
                    v["linux"]["devices"] =
                        json!([{"type": "z", "path": "/dev/x", "major": 1, "minor": 1}])
                },
                "linux.devices[0].type",
                true,
            ),
            (
                |v| {
                    v["linux"]["resources"] =
                        json!({"devices": [{"allow": false, "type": "z", "access": "rwm"}]})
                },
                "linux.resources.devices[0].type",
                true,
            ),
            (
                |v| v["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_X"}),
                "linux.seccomp.defaultAction",
                true,
            ),
            (
                |v| {
                    v["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO"}, {"names": ["write"], "action": "SCMP_ACT_X"}]});
                },
                "linux.seccomp.syscalls[1].action",
                true,
            ),
            (
                |v| {
                    v["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"],
                        "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_X"}]}]});
                },
                "linux.seccomp.syscalls[0].args[0].op",
                true,
            ),
            (
                |v| {
                    v["linux"]["seccomp"] =
                        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X"]})
                },
                "linux.seccomp.architectures[0]",
                false,
            ),
            (
                |v| v["linux"]["personality"] = json!({"domain": "LINUX64"}),
                "linux.personality.domain",
                false,
            ),
        ];
        for (edit, field, refused) in cases {
            let (_, warnings) =
                load(&config(edit)).unwrap_or_else(|error| panic!("{field}: {error:?}"));
            assert_eq!(warnings.len(), 1, "{field}: {warnings:?}");
            assert_eq!(
                (warnings[0].field.as_str(), warnings[0].refused),
                (*field, *refused)
            );
        }
    }

    #[test]
    fn the_rest_of_the_file_stays() {
        let (spec, warnings) = load(&config(|v| {
            v["process"]["capabilities"] =
                json!({"bounding": ["CAP_KILL", "CAP_FLY"], "effective": ["CAP_SWIM"]});
            v["linux"]["namespaces"] = json!([{"type": "galaxy"}, {"type": "pid"}]);
            v["hostname"] = json!("box");
        }))
        .unwrap();
        assert_eq!(warnings.len(), 3);
        assert_eq!(spec.hostname().as_deref(), Some("box"));
        assert_eq!(
            spec.linux()
                .as_ref()
                .unwrap()
                .namespaces()
                .as_ref()
                .unwrap()
                .len(),
            1
        );
        let process = spec.process().as_ref().unwrap();
        assert_eq!(
            process
                .capabilities()
                .as_ref()
                .unwrap()
                .bounding()
                .as_ref()
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn a_user_may_be_missing() {
        let (spec, warnings) = load(&config(|v| {
            drop(v["process"].as_object_mut().unwrap().remove("user"))
        }))
        .unwrap();
        assert_eq!(warnings, []);
        assert_eq!(spec.process().as_ref().unwrap().user().uid(), 0);
    }

    #[test]
    fn what_is_no_specification_is_refused() {
        for raw in [
            &b""[..],
            b"{",
            b"5",
            b"null",
            b"{\"ociVersion\": 5}",
            b"\xff",
            &config(|v| v["mounts"] = json!("x")),
        ] {
            let error = load(raw).unwrap_err();
            assert!(matches!(error, LoadError::Parse(_)));
            assert!(matches!(
                Error::from(error).kind(),
                ErrorKind::InvalidSpec { .. }
            ));
        }
        assert!(matches!(
            load(&vec![b' '; CONFIG_BYTES + 1]),
            Err(LoadError::TooLarge(_))
        ));
        // Deep nesting is an error of the parser, not of the stack.
        assert!(load("[".repeat(100_000).as_bytes()).is_err());
    }
}
