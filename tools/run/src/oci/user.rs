//! The user namespace that crun gives the containers of ordinary users, who could not make any without.

use libcontainer::idmap::IdMap;
use libcontainer::oci_spec::runtime::{LinuxIdMapping, LinuxNamespace, LinuxNamespaceType, Spec};
use libcontainer::rootless;
use std::path::Path;

/// Adds what is missing: the namespace, and maps in which the process's user is the caller and the sub-ids are all others.
pub(super) fn complete(spec: &mut Spec) {
    let Some(facts) = rootless::facts().ok().filter(|facts| facts.must_enter()) else {
        return;
    };
    let (uid, gid) = spec.process().as_ref().map_or((0, 0), |process| {
        (process.user().uid(), process.user().gid())
    });
    let mut linux = spec.linux().clone().unwrap_or_default();
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    let known = |one: &&LinuxNamespace| one.typ() == LinuxNamespaceType::User;
    match namespaces.iter().find(known) {
        // It is another's, with maps of its own.
        Some(one)
            if one
                .path()
                .as_deref()
                .is_some_and(|path| path != Path::new("")) =>
        {
            return;
        }
        Some(_) => {}
        None => {
            let mut added = LinuxNamespace::default();
            added.set_typ(LinuxNamespaceType::User);
            namespaces.push(added);
            linux.set_namespaces(Some(namespaces));
        }
    }
    let lacks = |maps: &Option<Vec<LinuxIdMapping>>| maps.as_ref().is_none_or(Vec::is_empty);
    if lacks(linux.uid_mappings()) && lacks(linux.gid_mappings()) {
        let maps = rootless::caller_maps(&facts);
        linux.set_uid_mappings(Some(written(&placed(&maps.uid, uid))));
        linux.set_gid_mappings(Some(written(&placed(&maps.gid, gid))));
    }
    spec.set_linux(Some(linux));
}

fn written(maps: &[IdMap]) -> Vec<LinuxIdMapping> {
    maps.iter().map(Into::into).collect()
}

/// The map in which the caller, who is 0 in `maps`, is `place`; who was below that moves down by one.
fn placed(maps: &[IdMap], place: u32) -> Vec<IdMap> {
    let Some((caller, others)) = maps.split_first() else {
        return Vec::new();
    };
    let mut placed = Vec::new();
    for other in others {
        let start = other.container - 1;
        let below = place.saturating_sub(start).min(other.size);
        let mut piece = |container: u32, skipped: u32, size: u32| {
            if size > 0 {
                placed.push(IdMap {
                    container,
                    host: other.host + skipped,
                    size,
                });
            }
        };
        piece(start, 0, below);
        piece(start + below + 1, below, other.size - below);
    }
    placed.push(IdMap {
        container: place,
        ..*caller
    });
    placed.sort_by_key(|map| map.container);
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container: u32, host: u32, size: u32) -> IdMap {
        IdMap {
            container,
            host,
            size,
        }
    }

    #[test]
    fn the_caller_is_whom_the_process_runs_as() {
        let maps = [map(0, 1000, 1), map(1, 100_000, 10), map(11, 300_000, 5)];
        for (place, wanted) in [
            (0, maps.to_vec()),
            (
                3,
                vec![
                    map(0, 100_000, 3),
                    map(3, 1000, 1),
                    map(4, 100_003, 7),
                    map(11, 300_000, 5),
                ],
            ),
            (
                10,
                vec![map(0, 100_000, 10), map(10, 1000, 1), map(11, 300_000, 5)],
            ),
            (
                99,
                vec![map(0, 100_000, 10), map(10, 300_000, 5), map(99, 1000, 1)],
            ),
        ] {
            assert_eq!(placed(&maps, place), wanted, "{place}");
        }
        assert_eq!(placed(&maps[..1], 7), [map(7, 1000, 1)]);
    }
}
