//! Copying files into a working container.

use crate::lab::{Lab, plain_image, sh, write};
use libbuild::{Base, CopyFiles, ErrorKind};
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn destinations_follow_the_rules_of_a_containerfile() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    let sources = lab.sources();
    for name in ["one.txt", "two.txt", "tree/a", "tree/sub/b", "[odd]"] {
        write(&sources, name, name);
    }
    let container = lab.container();
    sh(
        &container,
        "mkdir -p /there /real; ln -s /real /link; ln -s /nowhere /dangling; echo old > /file",
    );
    let table: &[(&[&str], &str, &str)] = &[
        (&["one.txt"], "/new-file", "/new-file"),
        (&["one.txt"], "/made/", "/made/one.txt"),
        (&["one.txt"], "/there", "/there/one.txt"),
        (&["one.txt"], "relative/", "/relative/one.txt"),
        (&["one.txt"], "/link", "/real/one.txt"),
        (&["one.txt"], "/file", "/file"),
        (&["one.txt"], "/deep/er/file", "/deep/er/file"),
        (&["*.txt"], "/all", "/all/one.txt /all/two.txt"),
        (
            &["one.txt", "tree"],
            "/both",
            "/both/one.txt /both/a /both/sub/b",
        ),
        (&["tree"], "/tree", "/tree/a /tree/sub/b"),
        (&["tree/"], "/tree2/", "/tree2/a /tree2/sub/b"),
        (&["."], "/dot", "/dot/one.txt /dot/tree/a"),
        (&["[odd]"], "/odd", "/odd"),
    ];
    for (from, to, expected) in table {
        container
            .copy(CopyFiles::new(&sources, from.iter().copied(), *to))
            .unwrap_or_else(|e| panic!("{from:?} {to}: {e}"));
        sh(
            &container,
            &format!(
                "for f in {expected}; do test -f $f || {{ echo {to}: no $f >&2; exit 1; }}; done"
            ),
        );
    }
    assert_eq!(sh(&container, "cat /file"), "one.txt");
}

#[test]
fn files_look_as_they_should() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    let sources = lab.sources();
    write(&sources, "t/exe", "x");
    write(&sources, "t/secret", "x");
    std::fs::set_permissions(sources.join("t/secret"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::set_permissions(sources.join("t"), PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(sources.join("t/exe"), Some(7), Some(8)).unwrap();
    std::fs::set_permissions(sources.join("t/exe"), PermissionsExt::from_mode(0o4755)).unwrap();
    std::fs::hard_link(sources.join("t/exe"), sources.join("t/other")).unwrap();
    symlink("/absolute/target", sources.join("t/link")).unwrap();
    let container = lab.container();
    sh(
        &container,
        "mkdir /existing; chmod 711 /existing; chown 5:6 /existing",
    );
    container
        .copy(CopyFiles::new(&sources, ["t"], "/plain"))
        .unwrap();
    container
        .copy(CopyFiles::new(&sources, ["t"], "/existing"))
        .unwrap();
    container
        .copy(
            CopyFiles::new(&sources, ["t"], "/owned")
                .chown("app:staff")
                .chmod(0o640),
        )
        .unwrap();
    container
        .copy(CopyFiles::new(&sources, ["t/exe"], "/number").chown("123"))
        .unwrap();
    let stat = |path: &str| sh(&container, &format!("stat -c '%a %u:%g %Y' {path}"));
    let table = [
        ("/plain/exe", "4755 0:0 1735689600\n"),
        ("/plain/secret", "600 0:0 1735689600\n"),
        ("/plain", "755 0:0 1735689600\n"),
        ("/existing", "711 5:6 1735689600\n"),
        ("/owned/secret", "640 1000:50 1735689600\n"),
        ("/owned", "755 1000:50 1735689600\n"),
        ("/number", "4755 123:123 1735689600\n"),
    ];
    for (path, expected) in table {
        assert_eq!(stat(path), expected, "{path}");
    }
    assert_eq!(sh(&container, "readlink /plain/link"), "/absolute/target\n");
    assert_eq!(
        sh(
            &container,
            "test /plain/exe -ef /plain/other; echo $?; stat -c %h /plain/exe"
        ),
        "0\n2\n"
    );
}

#[test]
fn other_roots_and_archives_are_sources_too() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    lab.put("localhost/plain:1", &plain_image());
    let container = lab.container();
    container
        .copy(CopyFiles::new("/", ["/etc/*"], "/from-image/").from("localhost/plain:1"))
        .unwrap();
    assert_eq!(
        sh(&container, "ls /from-image"),
        "a\nc\n",
        "and not what a whiteout hides"
    );
    let other = lab.container();
    other
        .copy(CopyFiles::new("/", ["from-image"], "/again").from(container.name()))
        .unwrap();
    assert_eq!(sh(&other, "cat /again/a"), "a");

    let tree = trimaran_testkit::Tree::new()
        .dir("d", 0o750)
        .owner(3, 4)
        .file("d/f", 0o640, "content")
        .owner(1, 2);
    std::fs::write(lab.sources().join("x.tar"), tree.tar()).unwrap();
    std::fs::write(lab.sources().join("plain.txt"), "no archive").unwrap();
    container
        .copy(CopyFiles::new(lab.sources(), ["x.tar", "plain.txt"], "/unpacked").unpack())
        .unwrap();
    assert_eq!(
        sh(
            &container,
            "stat -c '%n %a %u:%g' /unpacked/d /unpacked/d/f"
        ),
        "/unpacked/d 750 3:4\n/unpacked/d/f 640 1:2\n"
    );
    assert_eq!(sh(&container, "cat /unpacked/plain.txt"), "no archive");
    let empty = lab.session.from(Base::scratch()).unwrap();
    empty
        .copy(CopyFiles::new(lab.sources(), ["x.tar"], "/").unpack())
        .unwrap();
    let layer = lab.commit(&empty, "localhost/unpacked:1").layer.unwrap();
    assert_eq!(layer.stats.entries, 2, "{:?}", layer.stats);
}

#[test]
fn what_cannot_be_copied_is_told() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    let sources = lab.sources();
    write(&sources, "file", "x");
    write(&sources, "dir/file", "x");
    std::fs::write(sources.join("x.tar.xz"), b"\xfd7zXZ\0......").unwrap();
    let container = lab.container();
    sh(
        &container,
        "mkdir -p /d/file; echo x > /f; ln -s /nowhere /dangling",
    );
    let copy = |from: &str, to: &str| CopyFiles::new(&sources, [from], to);
    let table = [
        (copy("missing", "/x"), ErrorKind::NotFound),
        (copy("*.rs", "/x"), ErrorKind::NotFound),
        (copy("[", "/x"), ErrorKind::InvalidInput),
        (copy("file", "/f/"), ErrorKind::InvalidInput),
        (copy("dir", "/f"), ErrorKind::InvalidInput),
        (copy("dir", "/d"), ErrorKind::InvalidInput),
        (copy("file", "/dangling/x"), ErrorKind::InvalidInput),
        (
            copy("file", "/x").chown("nobody-knows"),
            ErrorKind::UnknownUser,
        ),
        (
            copy("file", "/x").from("localhost/missing:1"),
            ErrorKind::Image(libimage::ErrorKind::NotFound),
        ),
        (
            copy("file", "/x").from(container.name()),
            ErrorKind::InvalidInput,
        ),
        (copy("x.tar.xz", "/x").unpack(), ErrorKind::Unsupported),
        (
            CopyFiles::new("/dev", ["null"], "/x"),
            ErrorKind::InvalidInput,
        ),
        (
            CopyFiles::new(&sources, Vec::<String>::new(), "/x"),
            ErrorKind::InvalidInput,
        ),
        (copy("file", ""), ErrorKind::InvalidInput),
        (
            CopyFiles::new("/", [lab.store.path().to_str().unwrap()], "/x"),
            ErrorKind::InvalidInput,
        ),
    ];
    for (copy, kind) in table {
        let shown = format!("{copy:?}");
        let error = container.copy(copy).unwrap_err();
        assert_eq!(*error.kind(), kind, "{shown}: {error}");
    }
}

#[test]
fn no_destination_leads_out_of_the_container() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    let sources = lab.sources();
    write(&sources, "file", "x");
    let prey = lab.sources().join("prey");
    std::fs::create_dir(&prey).unwrap();
    let container = lab.container();
    sh(
        &container,
        &format!(
            "mkdir -p /a/b; ln -s {} /out; ln -s ../../../../../../../../{} /a/b/up",
            prey.display(),
            prey.display()
        ),
    );
    for destination in [
        "/out/",
        "/a/b/up/",
        "/../../../../../../x/",
        "a/../../../y/",
    ] {
        // Leading nowhere inside is an error, leading inside is fine; the host is never touched.
        let _outcome = container.copy(CopyFiles::new(&sources, ["file"], destination));
    }
    assert_eq!(std::fs::read_dir(&prey).unwrap().count(), 0);
    assert_eq!(sh(&container, "cat /x/file /y/file"), "xx");
}
