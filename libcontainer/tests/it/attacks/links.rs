//! Symlinks of the image in the place of what the runtime mounts (CVE-2023-27561, CVE-2023-28642, CVE-2026-41579, CVE-2026-88264).

use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Witness, add_mount, mounts};
use crate::bed::Bed;

/// Where a link leads, from the image's root.
fn targets(outside: &Path) -> [(&'static str, String); 8] {
    let outside = outside.to_str().unwrap();
    [
        ("absolute", outside.to_owned()),
        ("relative", format!("../../../../../../../..{outside}")),
        ("within the image", "/etc".to_owned()),
        ("dangling", "/nowhere/at/all".to_owned()),
        ("looping", "loop".to_owned()),
        ("a procfs", "/proc/self".to_owned()),
        ("a root by magic", "/proc/self/root".to_owned()),
        ("a directory by magic", "/proc/self/cwd".to_owned()),
    ]
}

fn replace(root: &Path, name: &str, target: &str) {
    let place = root.join(name);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::remove_dir_all(&place).ok();
    let target = if target == "loop" {
        place.file_name().unwrap().to_str().unwrap()
    } else {
        target
    };
    symlink(target, &place).unwrap();
}

#[test]
fn in_the_place_of_kernel_file_systems() {
    for name in ["proc", "sys", "dev"] {
        let Some(bed) = Bed::new() else { return };
        let witness = Witness::new(&bed);
        for (kind, target) in targets(&witness.path) {
            let attack = format!("/{name} is a link: {kind}");
            replace(&bed.root(), name, &target);
            let outcome = bed.run(bed.shell("true"));
            assert_eq!(
                outcome.expect_err(&attack).errno(),
                Some(libc::ELOOP),
                "{attack}"
            );
            witness.check(&attack);
        }
    }
}

/// Where the links of an image's own /dev must not lead.
const IN_DEV: [&str; 8] = [
    "dev",
    "dev/pts",
    "dev/shm",
    "dev/mqueue",
    "dev/null",
    "dev/console",
    "dev/fd",
    "dev/ptmx",
];

#[test]
fn in_a_dev_that_is_the_images_own() {
    for name in IN_DEV {
        let Some(bed) = Bed::new() else { return };
        let witness = Witness::new(&bed);
        for (kind, target) in targets(&witness.path) {
            for terminal in [false, true] {
                let attack = format!("/{name} is a link: {kind}, terminal: {terminal}");
                replace(&bed.root(), name, &target);
                let mut spec = bed.shell("true");
                mounts(&mut spec).retain(|mount| mount.destination() != Path::new("/dev"));
                super::process(&mut spec).set_terminal(Some(terminal));
                let outcome = bed.run(spec);
                witness.check(&attack);
                if name != "dev" {
                    let etc = std::fs::read_dir(bed.root().join("etc")).unwrap().count();
                    assert_eq!(etc, 2, "{attack}: made in another directory of the image");
                }
                // What is made by name is refused; what is found there stays as it is.
                let refused =
                    name == "dev" || name == "dev/null" || (name == "dev/console" && terminal);
                assert!(!refused || outcome.is_err(), "{attack}: {outcome:?}");
            }
        }
    }
}

#[test]
fn on_the_way_to_a_mount_point() {
    for (below, options) in [
        ("", "rw"),
        ("/new", "rw"),
        ("/new/deep/er", "ro"),
        ("/../up", "rw"),
        ("/./new/../..//x", "rw"),
    ] {
        let Some(bed) = Bed::new() else { return };
        let witness = Witness::new(&bed);
        let volume = bed.directory.path().join("volume");
        std::fs::create_dir_all(&volume).unwrap();
        std::fs::write(volume.join("here"), "").unwrap();
        for (kind, target) in targets(&witness.path) {
            let attack = format!("a mount on /link{below}, which leads to: {kind}");
            replace(&bed.root(), "link", &target);
            let mut spec = bed.shell(&format!("test -e /link{below}/here"));
            add_mount(
                &mut spec,
                &format!("/link{below}"),
                "bind",
                &volume,
                &["bind", options],
            );
            let outcome = bed.run(spec);
            witness.check(&attack);
            // In the container the same path leads to the volume, whether its directories were there or not.
            let sound = ["absolute", "relative", "within the image", "dangling"].contains(&kind)
                && !below.contains("..");
            match outcome {
                Ok(outcome) => assert!(!sound || outcome.status.success(), "{attack}: {outcome:?}"),
                Err(error) => assert!(!sound, "{attack}: {error}"),
            }
        }
    }
}
