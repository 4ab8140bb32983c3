//! Fields of the specification, one after the other: what each does, and what refuses it.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

mod features;
mod hooks;
mod mounts;
mod namespaces;
mod network;
mod process;
mod propagation;

use libcontainer::ErrorKind;
use libcontainer::oci_spec::runtime::Spec;
use serde_json::{Value, json};

/// A specification with fields changed: names separated by dots, and what they shall be; `+name` appends to a list.
pub(crate) fn with(spec: &Spec, changes: &[(&str, Value)]) -> Spec {
    let mut whole = serde_json::to_value(spec).unwrap();
    for (path, value) in changes {
        let mut place = &mut whole;
        let parts: Vec<&str> = path.split('.').collect();
        let (last, parents) = parts.split_last().unwrap();
        for part in parents {
            place = &mut place[*part];
        }
        match last.strip_prefix('+') {
            Some(name) => {
                if place[name].is_null() {
                    place[name] = json!([]);
                }
                place[name].as_array_mut().unwrap().push(value.clone());
            }
            None => place[*last] = value.clone(),
        }
    }
    serde_json::from_value(whole).unwrap()
}

/// A mount of the specification.
pub(crate) fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}

/// A new user namespace in which root is `host`, and the namespace's maps.
pub(crate) fn user_namespace(spec: &Spec, host: u32) -> Spec {
    let map = json!([{"containerID": 0, "hostID": host, "size": 65_536}]);
    with(
        spec,
        &[
            ("linux.+namespaces", json!({"type": "user"})),
            ("linux.uidMappings", map.clone()),
            ("linux.gidMappings", map),
        ],
    )
}

/// The field that an error says is wrong, or the feature that it says is missing.
pub(crate) fn refused(error: &libcontainer::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidSpec { field } => field.clone(),
        ErrorKind::Unsupported { feature } => feature.clone(),
        other => panic!("{other:?}: {error}"),
    }
}
