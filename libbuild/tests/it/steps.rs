//! Running commands in a working container.

use crate::lab::{Lab, run, sh, write};
use libbuild::{ErrorKind, Network, Run, Volume};

#[test]
fn a_step_sees_its_surroundings() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    let container = lab.container();
    let table = [
        ("hostname", "trimaran\n"),
        ("id -u; id -g", "0\n0\n"),
        ("echo $SOURCE_DATE_EPOCH", "1735689600\n"),
        ("echo $$", "1\n"),
        ("pwd", "/\n"),
        ("echo $HOME", "/root\n"),
        ("grep -c trimaran /etc/hosts", "1\n"),
    ];
    for (line, expected) in table {
        assert_eq!(sh(&container, line), expected, "{line}");
    }
    let step = Run::sh("id -un; echo $A; pwd; hostname")
        .env("A", "b")
        .user("app")
        .workdir("/srv/new")
        .hostname("other");
    let output = run(&container, step);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "app\nb\n/srv/new\nother\n"
    );
    let output = run(
        &container,
        Run::sh("ls /sys/class/net").network(Network::None),
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "lo\n");
}

#[test]
fn changes_stay_and_streams_are_separate() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    let container = lab.container();
    let output = run(
        &container,
        Run::sh("echo out; echo err >&2; echo kept > /kept; exit 7"),
    );
    assert_eq!(
        (output.status.code(), &output.stdout[..], &output.stderr[..]),
        (Some(7), &b"out\n"[..], &b"err\n"[..])
    );
    assert_eq!(
        sh(&container, "cat /kept"),
        "kept\n",
        "also what a failed step wrote"
    );
    let killed = run(&container, Run::sh("sh -c 'kill -9 $$'; exit $?"));
    assert_eq!(killed.status.code(), Some(137));
    let large = run(&container, Run::sh("head -c 20000000 /dev/zero"));
    assert!(large.truncated && large.stdout.len() == libbuild::run::CAPTURE_BYTES);
}

#[test]
fn what_cannot_run_is_told_apart() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    let container = lab.container();
    let table = [
        (Run::argv(["no-such-command"]), ErrorKind::ExecNotFound),
        (Run::argv(["/no/such/command"]), ErrorKind::ExecNotFound),
        (
            Run::argv(["/etc/not-executable"]),
            ErrorKind::ExecNotPermitted,
        ),
        (
            Run::argv(["true"]).user("nobody-knows"),
            ErrorKind::UnknownUser,
        ),
        (Run::argv(Vec::<String>::new()), ErrorKind::InvalidInput),
        (Run::argv(["true"]).env("", "x"), ErrorKind::InvalidInput),
    ];
    for (step, kind) in table {
        let shown = format!("{step:?}");
        let error = container.run(step).unwrap_err();
        assert_eq!(*error.kind(), kind, "{shown}: {error}");
    }
    assert_eq!(
        sh(&container, "echo fine"),
        "fine\n",
        "a step that failed to start leaves a container that works"
    );
}

#[test]
fn mount_points_do_not_end_up_in_the_layer() {
    let Some(lab) = Lab::empty() else { return };
    // A root file system with nothing but a program: every mount point is missing.
    let Some(tree) = trimaran_testkit::Tree::busybox() else {
        return trimaran_testkit::skip("needs busybox-static");
    };
    let mut bare = trimaran_testkit::Tree::new();
    for entry in tree
        .entries()
        .iter()
        .filter(|entry| ["bin", "bin/busybox", "bin/sh"].contains(&entry.path.as_str()))
    {
        bare = bare.entry(entry.clone());
    }
    lab.put(
        "localhost/busybox:1",
        &trimaran_testkit::ImageMaker::new()
            .layer(&bare, trimaran_testkit::Packing::Gzip)
            .make(),
    );
    let container = lab.container();
    sh(&container, "echo scribble >> /etc/hosts; : > /dev/shm/x");
    let built = lab.commit(&container, "localhost/empty:1");
    assert!(
        built.layer.is_none(),
        "nothing but mount points was touched: {:?}",
        built.layer
    );
    let other = lab.container();
    sh(&other, "/bin/busybox mkdir -p /run; echo kept > /run/kept");
    let layer = lab.commit(&other, "localhost/kept:1").layer.unwrap();
    assert_eq!(
        layer.stats.entries, 2,
        "the directory and the file the step made: {:?}",
        layer.stats
    );
}

#[test]
fn volumes_are_the_hosts() {
    let Some(lab) = Lab::with_busybox() else {
        return;
    };
    let container = lab.container();
    write(&lab.sources(), "in", "from the host");
    let volume: Volume = format!("{}:/mnt/host", lab.sources().display())
        .parse()
        .unwrap();
    let read_only: Volume = format!("{}:/mnt/other:ro", lab.sources().display())
        .parse()
        .unwrap();
    let step = Run::sh("cat /mnt/host/in; echo back > /mnt/host/out; ! echo x > /mnt/other/no")
        .volume(volume)
        .volume(read_only);
    let output = run(&container, step);
    assert!(output.status.success());
    assert_eq!(output.stdout, b"from the host");
    assert_eq!(
        std::fs::read_to_string(lab.sources().join("out")).unwrap(),
        "back\n"
    );
    assert!(
        lab.commit(&container, "localhost/x:1").layer.is_none(),
        "the mount points are gone again"
    );
}
