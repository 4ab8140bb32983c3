//! Mounts.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;

use libcontainer::bundle::Bundle;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::{ErrorKind, ExitStatus};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use serde_json::json;

use super::{mount, user_namespace, with};
use crate::bed::{Bed, Outcome};

/// A mount of the host, which is there until it is dropped.
pub(super) struct HostMount(pub(super) PathBuf);

impl HostMount {
    pub(super) fn tmpfs(path: PathBuf, flags: MountFlags) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        rustix::mount::mount("tmpfs", &path, "tmpfs", flags, None).unwrap();
        Self(path)
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).ok();
    }
}

/// The root file system belongs to the container's root, who may make mount points in it then.
fn give_to(bed: &Bed, id: u32) {
    std::fs::set_permissions(bed.directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    chown(bed.root(), Some(id), Some(id)).unwrap();
}

fn fine(outcome: Outcome) -> String {
    assert_eq!(outcome.status, ExitStatus::Exited(0), "{outcome:?}");
    outcome.output
}

/// The attributes of mounts in the container, by the words of `/proc/self/mountinfo`.
fn words_of(bed: &Bed, mounts: &[serde_json::Value], below: &str) -> Vec<String> {
    let mut spec = bed.shell(&format!("grep ' {below}[ /]' /proc/self/mountinfo"));
    for one in mounts {
        spec = with(&spec, &[("+mounts", one.clone())]);
    }
    let output = fine(bed.run(spec).unwrap());
    let field = |line: &str, number: usize| line.split(' ').nth(number).unwrap().to_owned();
    output
        .lines()
        .map(|line| format!("{} {}", field(line, 4), field(line, 5)))
        .collect()
}

#[test]
fn attributes_of_one_mount_and_of_a_whole_tree() {
    let Some(bed) = Bed::new() else { return };
    let top = HostMount::tmpfs(bed.directory.path().join("top"), MountFlags::empty());
    let below = HostMount::tmpfs(top.0.join("below"), MountFlags::NOEXEC);
    let source = top.0.to_str().unwrap();
    for (options, wanted) in [
        (&["rbind"][..], ["rw,relatime", "rw,noexec,relatime"]),
        (&["rbind", "ro"], ["ro,relatime", "rw,noexec,relatime"]),
        (&["rbind", "rro"], ["ro,relatime", "ro,noexec,relatime"]),
        (
            &["rbind", "rro", "rw"],
            ["rw,relatime", "ro,noexec,relatime"],
        ),
        (
            &["rbind", "rexec", "rnosuid"],
            ["rw,nosuid,relatime", "rw,nosuid,relatime"],
        ),
        (
            &["rbind", "rnodev", "rnoexec"],
            ["rw,nodev,noexec,relatime"; 2],
        ),
        (&["rbind", "rnoatime"], ["rw,noatime", "rw,noexec,noatime"]),
        (&["rbind", "rstrictatime"], ["rw", "rw,noexec"]),
        (
            &["rbind", "noatime", "rnodiratime"],
            ["rw,noatime,nodiratime", "rw,noexec,nodiratime,relatime"],
        ),
        (
            &["rbind", "rnosymfollow"],
            ["rw,relatime,nosymfollow", "rw,noexec,relatime,nosymfollow"],
        ),
        (
            &[
                "rbind",
                "rnoatime",
                "rrelatime",
                "rdiratime",
                "rsymfollow",
                "rsuid",
                "rdev",
                "rrw",
            ],
            ["rw,relatime", "rw,noexec,relatime"],
        ),
    ] {
        let found = words_of(&bed, &[mount("/vol", "bind", source, options)], "/vol");
        let wanted = [
            format!("/vol {}", wanted[0]),
            format!("/vol/below {}", wanted[1]),
        ];
        assert_eq!(found, wanted, "{options:?}");
    }
    drop(below);
    for (options, wanted) in [
        (
            &["nosuid", "nosymfollow", "silent"][..],
            "rw,nosuid,relatime,nosymfollow",
        ),
        (&["rnoexec", "ro", "mode=700"], "ro,noexec,relatime"),
        (
            &["lazytime", "iversion", "nodiratime"],
            "rw,nodiratime,relatime",
        ),
    ] {
        let found = words_of(&bed, &[mount("/vol", "tmpfs", "tmpfs", options)], "/vol");
        assert_eq!(found, [format!("/vol {wanted}")], "{options:?}");
    }
}

#[test]
fn a_relative_destination_is_below_the_root() {
    let Some(bed) = Bed::new() else { return };
    let spec = with(
        &bed.shell("stat -f -c %T /made/here"),
        &[("+mounts", mount("made/here", "tmpfs", "tmpfs", &[]))],
    );
    assert_eq!(fine(bed.run(spec).unwrap()).trim(), "tmpfs");
}

#[test]
fn a_tmpfs_without_a_mode_has_that_of_the_directory() {
    let Some(bed) = Bed::new() else { return };
    std::fs::create_dir(bed.root().join("kept")).unwrap();
    std::fs::set_permissions(bed.root().join("kept"), PermissionsExt::from_mode(0o710)).unwrap();
    for (target, options, wanted) in [
        ("/kept", &[][..], "710"),
        ("/kept", &["ro"], "710"),
        ("/kept", &["mode=0410"], "410"),
        ("/new", &["mode=0444"], "444"),
        ("/newer", &[], "1777"),
    ] {
        let spec = with(
            &bed.shell(&format!(
                "stat -c %a {target}; grep ' {target} ' /proc/self/mountinfo"
            )),
            &[("+mounts", mount(target, "tmpfs", "tmpfs", options))],
        );
        let output = fine(bed.run(spec).unwrap());
        let (mode, shown) = output.split_once('\n').unwrap();
        assert_eq!(mode, wanted, "{target} {options:?}");
        // It can be seen where it is not what a tmpfs has by itself.
        let word = format!("mode={wanted}");
        assert_eq!(shown.contains(&word), wanted != "1777", "{shown}");
    }
}

#[test]
fn tmpcopyup_copies_what_is_below() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.root().join("image");
    std::fs::create_dir_all(image.join("deep/er")).unwrap();
    std::fs::write(image.join("deep/er/file"), "x".repeat(100_000)).unwrap();
    chown(image.join("deep/er/file"), Some(12), Some(34)).unwrap();
    std::fs::set_permissions(
        image.join("deep/er/file"),
        PermissionsExt::from_mode(0o4750),
    )
    .unwrap();
    symlink("deep/er/file", image.join("link")).unwrap();
    symlink("/nowhere", image.join("dangling")).unwrap();
    for number in 0..200 {
        std::fs::write(image.join(format!("many-{number}-{}", "y".repeat(100))), "").unwrap();
    }
    std::fs::set_permissions(&image, PermissionsExt::from_mode(0o751)).unwrap();
    let look = "stat -f -c %T /image; stat -c %a /image; stat -c '%a %u:%g %s' /image/deep/er/file; readlink /image/link; readlink /image/dangling; ls /image | grep -c many; \
                touch /image/new 2>&1; rm -f /image/link; true";
    for (options, new) in [
        (&["tmpcopyup"][..], ""),
        (
            &["tmpcopyup", "ro"],
            "touch: /image/new: Read-only file system\n",
        ),
    ] {
        let spec = with(
            &bed.shell(look),
            &[("+mounts", mount("/image", "tmpfs", "tmpfs", options))],
        );
        let output = bed.run(spec).unwrap().output;
        let wanted = format!("tmpfs\n751\n4750 12:34 100000\ndeep/er/file\n/nowhere\n200\n{new}");
        assert!(output.starts_with(&wanted), "{output}");
    }
    assert!(
        !image.join("new").exists() && image.join("link").is_symlink(),
        "the image is as it was"
    );
    let small = mount("/image", "tmpfs", "tmpfs", &["tmpcopyup", "size=16k"]);
    let error = bed
        .run(with(&bed.shell("true"), &[("+mounts", small)]))
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.path().unwrap().to_str()),
        (&ErrorKind::NoSpace, Some("/image"))
    );
    let spec = with(
        &bed.shell("true"),
        &[("+mounts", mount("/image", "bind", "/etc", &["tmpcopyup"]))],
    );
    assert!(matches!(
        bed.run(spec).unwrap_err().kind(),
        ErrorKind::InvalidSpec { .. }
    ));
    // In a user namespace owners that do not exist are left out.
    let spec = with(
        &bed.shell("cat /image/deep/er/file | wc -c"),
        &[("+mounts", mount("/image", "tmpfs", "tmpfs", &["tmpcopyup"]))],
    );
    give_to(&bed, 100_000);
    std::fs::set_permissions(&image, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(image.join("deep/er/file"), PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(
        fine(bed.run(user_namespace(&spec, 100_000)).unwrap()).trim(),
        "100000"
    );
}

#[test]
fn owners_of_an_idmapped_mount_are_others() {
    let Some(bed) = Bed::new() else { return };
    let volume = bed.directory.path().join("volume");
    std::fs::create_dir_all(volume.join("below")).unwrap();
    std::fs::write(volume.join("file"), "").unwrap();
    chown(volume.join("file"), Some(1000), Some(1000)).unwrap();
    let below = HostMount::tmpfs(volume.join("below"), MountFlags::empty());
    std::fs::write(below.0.join("file"), "").unwrap();
    chown(below.0.join("file"), Some(1000), Some(1000)).unwrap();
    let source = volume.to_str().unwrap();
    let map = json!([{"containerID": 1000, "hostID": 2000, "size": 10}]);
    let mapped = |options: &[&str]| {
        let mut one = mount("/vol", "bind", source, options);
        (one["uidMappings"], one["gidMappings"]) = (map.clone(), map.clone());
        one
    };
    let look = "stat -c %u:%g /vol/file /vol/below/file";
    for (options, wanted) in [
        (&["rbind", "idmap"][..], "2000:2000\n1000:1000\n"),
        (&["rbind", "ridmap"], "2000:2000\n2000:2000\n"),
        (&["rbind"], "2000:2000\n1000:1000\n"),
    ] {
        match bed.run(with(&bed.shell(look), &[("+mounts", mapped(options))])) {
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported { .. }) => {
                return trimaran_testkit::skip(
                    "the temporary directory's file system cannot be id-mapped",
                );
            }
            outcome => assert_eq!(fine(outcome.unwrap()), wanted, "{options:?}"),
        }
    }
    // Written through the mount, files belong to the host's side of the map.
    let spec = with(
        &bed.shell(
            "touch /vol/made && chown 1003:1004 /vol/made; busybox chown 2003:2004 /vol/made",
        ),
        &[("+mounts", mapped(&["rbind", "idmap"]))],
    );
    bed.run(spec).unwrap();
    let made = std::fs::metadata(volume.join("made"));
    assert!(made.is_err() || made.unwrap().uid() == 1003);
    // Without maps of its own: those of the container's user namespace.
    give_to(&bed, 100_000);
    let spec = with(
        &bed.shell("stat -c %u:%g /vol/file"),
        &[("+mounts", mount("/vol", "bind", source, &["bind", "idmap"]))],
    );
    assert_eq!(
        fine(bed.run(user_namespace(&spec, 100_000)).unwrap()),
        "1000:1000\n"
    );
    // Nothing to map with, nothing that can be mapped.
    let refused = |one| {
        bed.run(with(&bed.shell("true"), &[("+mounts", one)]))
            .unwrap_err()
    };
    let error = refused(mount("/vol", "bind", source, &["bind", "idmap"]));
    assert!(
        matches!(error.kind(), ErrorKind::InvalidSpec { .. }),
        "{error}"
    );
    let mut proc = mapped(&["rbind", "idmap"]);
    proc["source"] = json!("/proc");
    let error = refused(proc);
    assert!(error.to_string().contains("type proc"), "{error}");
}

/// What runc's users write: paths on the host that lead into the root file system mean what the mounts before have made there.
#[test]
fn a_path_in_the_root_is_the_containers() {
    let Some(bed) = Bed::new() else { return };
    let volume = bed.directory.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("file"), "").unwrap();
    chown(volume.join("file"), Some(100_005), Some(100_005)).unwrap();
    // The image must not lead the source out of the container.
    symlink("/secret", bed.root().join("link")).unwrap();
    std::fs::create_dir(bed.root().join("secret")).unwrap();
    let root = bed.root().canonicalize().unwrap();
    let inside = |path: &str| root.join(path).to_str().unwrap().to_owned();
    give_to(&bed, 100_000);
    let run = |spec: &Spec| {
        let spec = with(spec, &[("root.path", json!("rootfs"))]);
        let config = bed.directory.path().join("config.json");
        std::fs::write(config, serde_json::to_vec(&spec).unwrap()).unwrap();
        bed.run_bundle(Bundle::open(bed.directory.path())?)
    };
    for (mapped, own_users, wanted) in [
        (false, false, "100005"),
        (true, false, "200005"),
        (false, true, "5"),
        (true, true, "100005"),
    ] {
        let mut again = mount(&inside("again"), "bind", &inside("vol"), &["rbind"]);
        if mapped {
            let map = json!([{"containerID": 100_000, "hostID": 200_000, "size": 65_536}]);
            (again["uidMappings"], again["gidMappings"]) = (map.clone(), map);
        }
        let mut spec = with(
            &bed.shell("stat -c %u /again/file; stat -f -c %T /made; ls /leads"),
            &[
                (
                    "+mounts",
                    mount("/vol", "bind", volume.to_str().unwrap(), &["bind"]),
                ),
                ("+mounts", again),
                ("+mounts", mount("/secret", "tmpfs", "tmpfs", &[])),
                (
                    "+mounts",
                    mount("/made", "bind", &inside("link"), &["bind"]),
                ),
                (
                    "+mounts",
                    mount("/leads", "bind", &inside("link"), &["bind"]),
                ),
            ],
        );
        if own_users {
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 165_536}]);
            spec = user_namespace(&spec, 100_000);
            spec = with(
                &spec,
                &[
                    ("linux.uidMappings", map.clone()),
                    ("linux.gidMappings", map),
                ],
            );
        }
        assert_eq!(
            fine(run(&spec).unwrap()),
            format!("{wanted}\ntmpfs\n"),
            "{mapped} {own_users}"
        );
    }
    let missing = mount("/x", "bind", &inside("missing"), &["bind"]);
    let error = run(&with(&bed.shell("true"), &[("+mounts", missing)])).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn symlinks_at_both_ends_of_a_mount() {
    let Some(bed) = Bed::new() else { return };
    let volume = bed.directory.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("file"), "host").unwrap();
    symlink("file", volume.join("link")).unwrap();
    symlink("tmp", bed.root().join("target")).unwrap();
    let link = volume.join("link");
    let link = link.to_str().unwrap();
    let run = |command: &str, one| {
        fine(
            bed.run(with(&bed.shell(command), &[("+mounts", one)]))
                .unwrap(),
        )
    };
    assert_eq!(
        run("cat /to", mount("/to", "bind", link, &["bind"])),
        "host"
    );
    assert_eq!(
        run(
            "readlink /nf",
            mount("/nf", "bind", link, &["bind", "src-nofollow"])
        ),
        "file\n"
    );
    assert_eq!(
        run(
            "readlink /made/copied",
            mount("/made/copied", "bind", link, &["bind", "copy-symlink"])
        ),
        "file\n"
    );
    assert_eq!(
        std::fs::read_link(bed.root().join("made/copied")).unwrap(),
        PathBuf::from("file")
    );
    let file = volume.join("file");
    let file = file.to_str().unwrap();
    assert_eq!(
        run(
            "cat /file",
            mount("/file", "bind", file, &["bind", "copy-symlink"])
        ),
        "host"
    );
    let covered = run(
        "cat /target; test -d /tmp && echo still",
        mount("/target", "bind", file, &["bind", "dest-nofollow"]),
    );
    assert_eq!(covered, "hoststill\n");
}

#[test]
fn sources_that_the_containers_root_cannot_reach() {
    let Some(bed) = Bed::new() else { return };
    let hidden = bed.directory.path().join("hidden");
    std::fs::create_dir_all(hidden.join("volume")).unwrap();
    std::fs::write(hidden.join("volume/file"), "reached").unwrap();
    std::fs::set_permissions(&hidden, PermissionsExt::from_mode(0o700)).unwrap();
    give_to(&bed, 100_000);
    let volume = hidden.join("volume");
    let spec = with(
        &bed.shell("cat /vol/file"),
        &[(
            "+mounts",
            mount("/vol", "bind", volume.to_str().unwrap(), &["rbind"]),
        )],
    );
    assert_eq!(
        fine(bed.run(user_namespace(&spec, 100_000)).unwrap()),
        "reached"
    );
}

#[test]
fn propagation_of_mounts_and_of_the_root() {
    let Some(bed) = Bed::new() else { return };
    let volume = HostMount::tmpfs(bed.directory.path().join("volume"), MountFlags::empty());
    rustix::mount::mount_change(&volume.0, MountPropagationFlags::SHARED).unwrap();
    let source = volume.0.to_str().unwrap();
    let look = |target: &str| {
        format!(
            "awk '$5 == \"{target}\"' /proc/self/mountinfo | sed 's/ - .*//' | cut -d' ' -f7- | sed 's/[0-9]*//g'"
        )
    };
    for name in ["sed", "cut"] {
        symlink("busybox", bed.root().join("bin").join(name)).unwrap();
    }
    for (options, wanted) in [
        (&["bind"][..], "master:"),
        (&["bind", "private"], ""),
        // The root's comes first, as with runc: it is a slave.
        (&["bind", "shared"], "shared: master:"),
        (&["bind", "rslave"], "master:"),
        (&["bind", "slave", "shared"], "shared: master:"),
        (&["bind", "unbindable"], "unbindable"),
        (&["bind", "runbindable"], "unbindable"),
    ] {
        let spec = with(
            &bed.shell(&look("/vol")),
            &[("+mounts", mount("/vol", "bind", source, options))],
        );
        assert_eq!(fine(bed.run(spec).unwrap()).trim(), wanted, "{options:?}");
    }
    for (word, wanted) in [
        ("", ""),
        ("private", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        let spec = with(
            &bed.shell(&look("/")),
            &[("linux.rootfsPropagation", json!(word))],
        );
        assert_eq!(fine(bed.run(spec).unwrap()).trim(), wanted, "{word:?}");
    }
    // What is private to the container does not come back to the host, and what the host mounts later arrives in a slave.
    let spec = with(
        &bed.shell("mount -t tmpfs inside /vol && mount | grep -c inside"),
        &[("+mounts", mount("/vol", "bind", source, &["bind"]))],
    );
    let spec = with(
        &spec,
        &[
            ("process.capabilities.bounding", json!(["CAP_SYS_ADMIN"])),
            ("process.capabilities.permitted", json!(["CAP_SYS_ADMIN"])),
            ("process.capabilities.effective", json!(["CAP_SYS_ADMIN"])),
        ],
    );
    assert_eq!(fine(bed.run(spec).unwrap()).trim(), "1");
    assert!(
        !std::fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains("inside")
    );
}

#[test]
fn locked_attributes_stay() {
    let Some(bed) = Bed::new() else { return };
    let volume = HostMount::tmpfs(
        bed.directory.path().join("volume"),
        MountFlags::NOSUID | MountFlags::NOEXEC,
    );
    give_to(&bed, 100_000);
    let look = bed.shell("grep ' /vol ' /proc/self/mountinfo | awk '{print $6}'");
    let source = volume.0.to_str().unwrap();
    let run = |options: &[&str]| {
        let spec = with(
            &look,
            &[("+mounts", mount("/vol", "bind", source, options))],
        );
        bed.run(user_namespace(&spec, 100_000))
            .map(|outcome| fine(outcome).trim().to_owned())
    };
    // What is not named stays as it is on the host.
    assert_eq!(run(&["bind"]).unwrap(), "rw,nosuid,noexec,relatime");
    assert_eq!(
        run(&["bind", "ro", "nodev"]).unwrap(),
        "ro,nosuid,nodev,noexec,relatime"
    );
    assert_eq!(
        run(&["bind", "rw", "relatime"]).unwrap(),
        "rw,nosuid,noexec,relatime"
    );
}
