//! Making, finding, changing and removing working containers.

use crate::lab::{Lab, sh};
use libbuild::{Base, Change, Clues, ErrorKind};

#[test]
fn containers_are_named_found_and_removed() {
    let Some(lab) = Lab::empty() else { return };
    let one = lab.session.from(Base::scratch()).unwrap();
    let two = lab.session.from(Base::scratch()).unwrap();
    let named = lab.session.from(Base::scratch().name("mine")).unwrap();
    assert_eq!(
        [one.name(), two.name(), named.name()],
        [
            "scratch-working-container",
            "scratch-working-container-1",
            "mine"
        ]
    );
    assert_eq!(lab.session.find("mine").unwrap().id(), named.id());
    assert_eq!(
        lab.session.find(&one.id()[..20]).unwrap().name(),
        one.name()
    );
    let kind = |name: &str| lab.session.find(name).unwrap_err().kind().clone();
    assert_eq!(
        [kind("nobody"), kind(""), kind("zz")],
        [
            ErrorKind::NotFound,
            ErrorKind::NotFound,
            ErrorKind::NotFound
        ]
    );
    let taken = lab.session.from(Base::scratch().name("mine")).unwrap_err();
    assert_eq!(*taken.kind(), ErrorKind::Exists);
    assert_eq!(
        *lab.session
            .from(Base::scratch().name("a/b"))
            .unwrap_err()
            .kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        *lab.session
            .from(Base::image("localhost/no"))
            .unwrap_err()
            .kind(),
        ErrorKind::Image(libimage::ErrorKind::NotFound)
    );
    two.rename("other").unwrap();
    assert_eq!(*two.rename("mine").unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(lab.session.list().unwrap().len(), 3);
    for container in lab.session.list().unwrap() {
        lab.session.remove(&container).unwrap();
    }
    assert!(lab.session.list().unwrap().is_empty());
    assert_eq!(
        *one.commit(libbuild::Commit::unnamed()).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn many_at_once_get_different_names() {
    let Some(lab) = Lab::empty() else { return };
    let names: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| lab.session.from(Base::scratch()).unwrap().name().to_owned()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), 8, "{names:?}");
}

#[test]
fn configuration_changes_all_or_nothing() {
    let Some(lab) = Lab::empty() else { return };
    let container = lab.session.from(Base::scratch()).unwrap();
    let bad = [Change::User("me".into()), Change::Port("none".into())];
    assert_eq!(
        *container.config(bad).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(container.record().unwrap().settings.text("User"), "");
    container.config([Change::Cmd(vec!["a".into()])]).unwrap();
    container
        .config([Change::Entrypoint(vec!["b".into()])])
        .unwrap();
    assert_eq!(
        container.record().unwrap().settings.list("Cmd"),
        ["a"],
        "ours stays"
    );
    lab.commit(&container, "localhost/cmd:1");
    let next = lab.session.from(Base::image("localhost/cmd:1")).unwrap();
    next.config([Change::Entrypoint(vec!["c".into()])]).unwrap();
    assert!(
        next.record().unwrap().settings.list("Cmd").is_empty(),
        "the base's goes"
    );
}

#[test]
fn the_epoch_is_fixed_at_the_beginning() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    let clues = Clues {
        environment: Some(1_000_000_000),
        ..Clues::default()
    };
    let container = lab
        .session
        .from(Base::image("localhost/busybox:1").clues(clues))
        .unwrap();
    assert_eq!(sh(&container, "echo $SOURCE_DATE_EPOCH"), "1000000000\n");
    assert_eq!(
        container.record().unwrap().epoch.rfc3339(),
        "2001-09-09T01:46:40Z"
    );
}

#[test]
fn a_mount_shows_and_takes_changes() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    let container = lab.container();
    let path = container.mount().unwrap();
    assert!(container.is_mounted() && path.join("bin/busybox").exists());
    assert_eq!(container.mount().unwrap(), path, "twice is once");
    std::fs::write(path.join("made-outside"), "x").unwrap();
    assert_eq!(
        sh(&container, "cat /made-outside; echo y > /made-inside"),
        "x"
    );
    assert_eq!(
        std::fs::read_to_string(path.join("made-inside")).unwrap(),
        "y\n"
    );
    let held = std::fs::File::open(path.join("etc")).unwrap();
    assert_eq!(*container.umount().unwrap_err().kind(), ErrorKind::InUse);
    drop(held);
    assert!(container.umount().unwrap() && !container.umount().unwrap());
    assert!(!path.join("bin").exists());
    lab.commit(&container, "localhost/edited:1");
    assert_eq!(
        lab.look("localhost/edited:1", "cat /made-outside /made-inside"),
        "xy\n"
    );
    container.mount().unwrap();
    lab.session.remove(&container).unwrap();
    assert!(!path.exists(), "removing unmounts");
}
