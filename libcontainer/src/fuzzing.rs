//! What the fuzz targets call of what is nobody else's. Only there with feature `_fuzzing`.

use crate::id::ContainerId;
use crate::idmap::{IdMap, IdMaps};
use crate::plan::{self, Facts};
use crate::record::Record;
use crate::seccomp::FilterArch;
use crate::spec::{load, validate};

/// Reads, checks and plans a `config.json`.
pub fn plan(raw: &[u8]) {
    let Ok((spec, warnings)) = load(raw) else {
        return;
    };
    if validate(&spec, &warnings).is_err() {
        return;
    }
    let map = IdMap {
        container: 0,
        host: 1000,
        size: 1,
    };
    let rootless = IdMaps {
        uid: vec![map],
        gid: vec![map],
    };
    for ids in [None, Some(rootless)] {
        let facts = Facts {
            in_user_namespace: ids.is_some(),
            ids,
            arch: Some(FilterArch::X86_64),
            ..Facts::default()
        };
        let id = ContainerId::parse("fuzz").expect("it is one");
        if let Some(text) = plan::explained(&id, &spec, &facts) {
            assert!(!text.is_empty());
        }
    }
}

/// Reads a container's record.
pub fn record(raw: &[u8]) {
    if let Ok(record) = Record::parse(raw) {
        let text = serde_json::to_vec(&record).expect("it was read from JSON");
        let again = Record::parse(&text).expect("what was written can be read");
        assert_eq!(serde_json::to_vec(&again).expect("as above"), text);
    }
}
