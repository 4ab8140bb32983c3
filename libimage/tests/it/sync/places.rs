//! Where images go, and where they come from: names, directories, layouts, whole registries.

use std::path::Path;

use libimage::{
    ErrorKind,
    sync::{
        Age, Newest, Outcome, Place, Selection, SyncEntry, SyncOptions, SyncSource, SyncTarget,
    },
};
use trimaran_testkit::{Content, ImageMaker, Index, Layout, Registry};

use super::{below, destinations, image, mirror, plan, repository, run, source, words};
use crate::net::assert_holds;

#[test]
fn names_at_the_destination() {
    let (from, to) = (source(&["1.0"]), Registry::start());
    let scope = from.host().replace(':', "_");
    let scoped = SyncTarget::Below {
        place: Place::Registry(to.host()),
        scoped: true,
    };
    let exact = SyncTarget::parse_repository(&format!("docker://{}/x/y", to.host())).unwrap();
    let other = SyncTarget::parse_repository(&format!("docker://{}/x/z", to.host())).unwrap();
    let digest = image("1.0").digest().to_owned();
    let by_digest = Selection {
        digests: vec![digest.parse().unwrap()],
        ..Selection::default()
    };
    for (target, suffix, selection, expected) in [
        (
            mirror(&to),
            "",
            Selection::default(),
            "mirror/app:1.0".to_owned(),
        ),
        (
            mirror(&to),
            "-new",
            Selection::default(),
            "mirror/app:1.0-new".to_owned(),
        ),
        (
            scoped,
            "",
            Selection::default(),
            format!("{scope}/team/app:1.0"),
        ),
        (exact, "", Selection::default(), "x/y:1.0".to_owned()),
        (other, "-x", by_digest, format!("x/z:{digest}")),
    ] {
        let entry = SyncEntry {
            suffix: suffix.to_owned(),
            selection,
            ..SyncEntry::new(repository(&from, "team/app"), target)
        };
        let report = run(&plan([entry]), &SyncOptions::default());
        assert_eq!(
            (words(&report), destinations(&report)),
            (vec!["copied"], vec![expected.clone()])
        );
        let (path, tag) = expected.split_once(':').unwrap();
        assert_holds(&to, path, tag, &image("1.0"));
    }
}

#[test]
fn two_images_never_become_one() {
    let (from, to) = (source(&["a"]), Registry::start());
    from.add("other/app", "a", &image("other"));
    let entries = ["team/app", "team/app", "other/app"]
        .map(|path| SyncEntry::new(repository(&from, path), mirror(&to)));
    let options = SyncOptions {
        keep_going: true,
        ..SyncOptions::default()
    };
    let report = run(&plan(entries), &options);
    assert_eq!(words(&report), ["copied", "failed"]);
    let Outcome::Failed { kind, message } = &report.images[1].outcome else {
        panic!("it failed")
    };
    assert_eq!(*kind, ErrorKind::Conflict);
    assert!(
        message.contains("team/app:a") && message.contains("other/app:a"),
        "{message}"
    );
    assert_holds(&to, "mirror/app", "a", &image("a"));
}

#[test]
fn there_and_back_over_directories_and_layouts() {
    let from = source(&["1.0", "2.0"]);
    let index = Index::new(vec![
        image("here"),
        ImageMaker::sample().platform("linux", "s390x", None).make(),
    ]);
    from.add("team/index", "all", &index);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (place, source, names) in [
        (
            Place::Dirs(path("deep/dirs")),
            SyncSource::Dirs(path("deep/dirs")),
            ["app:1.0", "app:2.0"],
        ),
        (
            Place::Layout(path("deep/layout")),
            SyncSource::Layouts(path("deep/layout")),
            ["", ""],
        ),
        (
            Place::Layouts(path("deep/layouts")),
            SyncSource::Layouts(path("deep/layouts")),
            ["app", "index"],
        ),
    ] {
        let entries = ["team/app", "team/index"]
            .map(|path| SyncEntry::new(repository(&from, path), below(place.clone())));
        let there = plan(entries);
        assert_eq!(
            words(&run(&there, &SyncOptions::default())),
            ["copied"; 3],
            "{place}"
        );
        assert_eq!(
            words(&run(&there, &SyncOptions::default())),
            ["unchanged"; 3],
            "{place}"
        );
        let (Place::Dirs(root) | Place::Layout(root) | Place::Layouts(root)) = &place else {
            panic!("it is a path")
        };
        for name in names {
            assert!(root.join(name).is_dir(), "{}", root.join(name).display());
        }
        if let Place::Layout(root) = &place {
            assert_eq!(
                Layout::open(root).tag("app:1.0").as_deref(),
                Some(image("1.0").digest())
            );
        }
        let to = Registry::start();
        let back = plan([SyncEntry::new(source.clone(), mirror(&to))]);
        assert_eq!(
            words(&run(&back, &SyncOptions::default())),
            ["copied"; 3],
            "{place}"
        );
        assert_holds(&to, "mirror/app", "1.0", &image("1.0"));
        assert_holds(&to, "mirror/index", "all", &index);
        // Each repository is selected from by itself.
        let newest = Selection {
            newest: Some(Newest {
                count: 1,
                age: Age::Version,
            }),
            ..Selection::default()
        };
        let to = Registry::start();
        let back = plan([SyncEntry {
            selection: newest,
            ..SyncEntry::new(source, mirror(&to))
        }]);
        let report = run(&back, &SyncOptions::default());
        let mut found = destinations(&report);
        found.sort();
        assert_eq!(found, ["mirror/app:2.0", "mirror/index:all"]);
    }
}

#[test]
fn names_in_a_layout_are_tags_or_whole_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app");
    let layout = Layout::create(&path);
    layout.add("1.0", &image("plain"));
    layout.add("docker.io/library/debian:12", &image("whole"));
    layout.add("../../../escape:1", &image("escape"));
    let to = Registry::start();
    let from = SyncSource::Layouts(path);
    let options = SyncOptions {
        keep_going: true,
        ..SyncOptions::default()
    };
    let report = run(&plan([SyncEntry::new(from.clone(), mirror(&to))]), &options);
    assert_eq!(
        destinations(&report),
        ["mirror/app:1.0", "mirror/debian:12", "mirror/escape:1"]
    );

    // A name from outside leads nowhere else on disk either.
    let outside = directory.path().join("a/b/c");
    for place in [Place::Dirs, Place::Layouts] {
        let target = SyncTarget::Below {
            place: place(outside.clone()),
            scoped: true,
        };
        let report = run(&plan([SyncEntry::new(from.clone(), target)]), &options);
        assert_eq!(words(&report), ["copied", "copied", "failed"]);
    }
    assert!(!Path::new(directory.path()).join("escape:1").exists());
    let nothing = SyncSource::Layouts(directory.path().join("a"));
    let report = run(&plan([SyncEntry::new(nothing, mirror(&to))]), &options);
    assert_eq!(
        report.failed_sources.len(),
        0,
        "the layouts below are found: {report:?}"
    );
    let empty = tempfile::tempdir().unwrap();
    let nothing = SyncSource::Dirs(empty.path().to_owned());
    let report = run(&plan([SyncEntry::new(nothing, mirror(&to))]), &options);
    assert_eq!(report.failed_sources[0].kind, ErrorKind::NotFound);
}

#[test]
fn all_repositories_of_a_registry() {
    let (from, to) = (source(&["a", "b"]), Registry::start());
    from.add("team/tool", "x", &image("x"));
    from.add("private/app", "z", &image("z"));
    let all = |patterns: &[&str]| SyncSource::Registry {
        host: from.host(),
        repositories: patterns.iter().map(|text| text.parse().unwrap()).collect(),
    };
    let scoped = SyncTarget::Below {
        place: Place::Registry(to.host()),
        scoped: true,
    };
    let report = run(
        &plan([SyncEntry::new(all(&["team/*"]), scoped.clone())]),
        &SyncOptions::default(),
    );
    let scope = from.host().replace(':', "_");
    assert_eq!(
        destinations(&report),
        ["app:a", "app:b", "tool:x"].map(|name| format!("{scope}/team/{name}"))
    );
    let report = run(
        &plan([SyncEntry::new(all(&[]), scoped)]),
        &SyncOptions::default(),
    );
    assert_eq!(report.totals().unchanged, 3);
    assert_eq!(report.totals().copied, 1);
}
