//! What a container sees, and what it cannot change.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

use std::os::unix::fs::symlink;
use std::path::Path;

use libcontainer::bundle::Bundle;
use libcontainer::oci_spec::runtime::{
    LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, MountBuilder, Spec,
};
use libcontainer::rootfs::{Overlay, PreparedRoot, Root};
use libcontainer::{ErrorKind, ExitStatus};

use crate::bed::Bed;

fn linux(spec: &mut Spec) -> &mut libcontainer::oci_spec::runtime::Linux {
    spec.linux_mut().as_mut().unwrap()
}

fn add_mount(spec: &mut Spec, destination: &str, kind: &str, source: &str, options: &[&str]) {
    let mount = MountBuilder::default()
        .destination(destination)
        .typ(kind)
        .source(source)
        .options(
            options
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        )
        .build()
        .unwrap();
    spec.mounts_mut().get_or_insert_default().push(mount);
}

#[test]
fn namespaces_are_new() {
    let Some(bed) = Bed::new() else { return };
    let output = bed.output(
        "cd /proc/self/ns; for n in mnt pid ipc uts net cgroup; do readlink $n; done; echo $$",
    );
    let inside: Vec<_> = output.lines().collect();
    for (name, inside) in ["mnt", "pid", "ipc", "uts", "net", "cgroup"]
        .iter()
        .zip(&inside)
    {
        let outside = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(outside.to_str().unwrap(), *inside, "{name}");
    }
    assert_eq!(inside[6], "1");
    assert_eq!(
        bed.output("ip -o addr show lo | grep -c 127.0.0.1").trim(),
        "1",
        "loopback is up"
    );
}

#[test]
fn a_namespace_can_be_joined() {
    let Some(bed) = Bed::new() else { return };
    // The caller's own network namespace, by path. Its settings are not the container's to change.
    let mut spec = bed.shell("readlink /proc/self/ns/net");
    linux(&mut spec).set_sysctl(None);
    let list = linux(&mut spec).namespaces_mut().as_mut().unwrap();
    list.retain(|one| one.typ() != LinuxNamespaceType::Network);
    let joined = LinuxNamespaceBuilder::default()
        .typ(LinuxNamespaceType::Network)
        .path("/proc/self/ns/net")
        .build()
        .unwrap();
    list.push(joined);
    let outside = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(
        bed.run(spec).unwrap().output.trim(),
        outside.to_str().unwrap()
    );
    // A pid namespace by path needs another process to go on in it.
    let mut spec = bed.shell("readlink /proc/self/ns/pid");
    let list = linux(&mut spec).namespaces_mut().as_mut().unwrap();
    list.retain(|one| one.typ() != LinuxNamespaceType::Pid);
    list.push(
        LinuxNamespaceBuilder::default()
            .typ(LinuxNamespaceType::Pid)
            .path("/proc/self/ns/pid")
            .build()
            .unwrap(),
    );
    let outside = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let outcome = bed.run(spec).unwrap();
    assert_eq!(
        outcome.output.trim(),
        outside.to_str().unwrap(),
        "{outcome:?}"
    );
    // A file that is no namespace.
    let mut spec = bed.shell("true");
    let list = linux(&mut spec).namespaces_mut().as_mut().unwrap();
    list.retain(|one| one.typ() != LinuxNamespaceType::Network);
    list.push(
        LinuxNamespaceBuilder::default()
            .typ(LinuxNamespaceType::Network)
            .path("/etc/passwd")
            .build()
            .unwrap(),
    );
    bed.run(spec).unwrap_err();
}

#[test]
fn a_user_namespace_maps_ids() {
    let Some(bed) = Bed::new() else { return };
    let mut spec = bed.shell("cat /proc/self/uid_map /proc/self/gid_map; id -u; cat /proc/mounts; ls -ln /dev; echo x > /dev/null; readlink /proc/self/ns/user");
    let map = |size| {
        LinuxIdMappingBuilder::default()
            .container_id(0_u32)
            .host_id(0_u32)
            .size(size as u32)
            .build()
            .unwrap()
    };
    linux(&mut spec)
        .set_uid_mappings(Some(vec![map(70_000)]))
        .set_gid_mappings(Some(vec![map(70_000)]));
    linux(&mut spec).namespaces_mut().as_mut().unwrap().push(
        LinuxNamespaceBuilder::default()
            .typ(LinuxNamespaceType::User)
            .build()
            .unwrap(),
    );
    let outcome = bed.run(spec).unwrap();
    assert_eq!(outcome.status, ExitStatus::Exited(0), "{outcome:?}");
    let words: Vec<_> = outcome.output.split_whitespace().collect();
    assert_eq!(
        &words[..6],
        ["0", "0", "70000", "0", "0", "70000"],
        "{outcome:?}"
    );
    let outside = std::fs::read_link("/proc/self/ns/user").unwrap();
    assert_ne!(words.last().unwrap(), &outside.to_str().unwrap());
}

#[test]
fn masked_and_read_only_paths() {
    let Some(bed) = Bed::new() else { return };
    std::fs::create_dir_all(bed.root().join("secret")).unwrap();
    std::fs::write(bed.root().join("secret/key"), "x").unwrap();
    std::fs::write(bed.root().join("hidden"), "x").unwrap();
    let mut spec = bed.shell(
        "ls -A /secret | wc -l; cat /hidden | wc -c; cat /proc/keys | head -c 1 | wc -c; ls -A /proc/acpi /proc/scsi 2>/dev/null | grep -v : | wc -w; \
         touch /bin/x 2>&1; echo 1 2>&1 > /proc/sys/kernel/panic; touch /secret/y; touch /tmp/fine && echo fine",
    );
    let mut masked = linux(&mut spec).masked_paths().clone().unwrap();
    masked.extend(["/secret", "/hidden", "/does/not/exist", "/etc/passwd/x"].map(str::to_owned));
    linux(&mut spec).set_masked_paths(Some(masked));
    let mut read_only = linux(&mut spec).readonly_paths().clone().unwrap();
    read_only.extend(["/bin", "/does/not/exist"].map(str::to_owned));
    linux(&mut spec).set_readonly_paths(Some(read_only));
    let output = bed.run(spec).unwrap().output;
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(&lines[..3], ["0", "0", "0"], "{output}");
    assert_eq!(
        output.matches("Read-only file system").count(),
        3,
        "{output}"
    );
    assert!(output.ends_with("fine\n"), "{output}");
}

#[test]
fn a_read_only_root_and_a_read_only_volume() {
    let Some(bed) = Bed::new() else { return };
    let volume = bed.directory.path().join("volume");
    std::fs::create_dir_all(&volume).unwrap();
    std::fs::write(volume.join("file"), "from the host").unwrap();
    let mut spec =
        bed.shell("touch /x; touch /vol/x; cat /vol/file; touch /rw/made; mount | grep -c /vol");
    spec.root_mut().as_mut().unwrap().set_readonly(Some(true));
    std::fs::create_dir_all(bed.root().join("vol")).unwrap();
    std::fs::create_dir_all(bed.root().join("rw")).unwrap();
    add_mount(
        &mut spec,
        "/vol",
        "bind",
        volume.to_str().unwrap(),
        &["rbind", "ro", "rprivate"],
    );
    add_mount(
        &mut spec,
        "/rw",
        "bind",
        volume.to_str().unwrap(),
        &["bind"],
    );
    let output = bed.run(spec).unwrap().output;
    assert_eq!(
        output.matches("Read-only file system").count(),
        2,
        "{output}"
    );
    assert!(output.contains("from the host"), "{output}");
    assert!(volume.join("made").exists());
}

#[test]
fn mount_points_are_made_inside_and_nowhere_else() {
    let Some(bed) = Bed::new() else { return };
    let outside = bed.directory.path().join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    symlink(&outside, bed.root().join("escape")).unwrap();
    symlink("/../../../../../../tmp", bed.root().join("updown")).unwrap();
    let file = bed.directory.path().join("file");
    std::fs::write(&file, "payload").unwrap();
    let source = file.to_str().unwrap();
    let mut spec = bed.shell("cat /a/b/c /tmp/new");
    add_mount(&mut spec, "/a/b/c", "bind", source, &["bind"]);
    add_mount(&mut spec, "/updown/new", "bind", source, &["bind"]);
    assert_eq!(bed.run(spec).unwrap().output, "payloadpayload");
    assert!(!Path::new("/tmp/new").exists());
    // An absolute symlink means a place in the container, which does not exist here.
    let mut spec = bed.shell("true");
    add_mount(&mut spec, "/escape/x", "bind", source, &["bind"]);
    bed.run(spec).ok();
    assert_eq!(
        std::fs::read_dir(&outside).unwrap().count(),
        0,
        "nothing is made on the host"
    );
    // A missing source, and a directory on a file.
    let mut spec = bed.shell("true");
    add_mount(&mut spec, "/x", "bind", "/no/such/source", &["bind"]);
    assert_eq!(*bed.run(spec).unwrap_err().kind(), ErrorKind::NotFound);
    let mut spec = bed.shell("true");
    add_mount(
        &mut spec,
        "/etc/passwd",
        "bind",
        outside.to_str().unwrap(),
        &["bind"],
    );
    bed.run(spec).unwrap_err();
}

#[test]
fn symlinks_in_the_place_of_kernel_file_systems_are_refused() {
    for name in ["proc", "sys", "dev"] {
        let Some(bed) = Bed::new() else { return };
        let outside = bed.directory.path().join("outside");
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::remove_dir(bed.root().join(name)).unwrap();
        symlink(&outside, bed.root().join(name)).unwrap();
        let outcome = bed.run(bed.shell("true"));
        // A tmpfs on a /dev that leads elsewhere in the container harms nobody, but nothing may reach the host.
        if name != "dev" {
            let error = outcome.unwrap_err();
            assert_eq!(error.errno(), Some(libc::ELOOP), "{name}: {error}");
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "{name}");
    }
    // Without a mount on it, /dev has to be a directory of the image.
    let Some(bed) = Bed::new() else { return };
    std::fs::remove_dir(bed.root().join("dev")).unwrap();
    symlink("/etc", bed.root().join("dev")).unwrap();
    let mut spec = bed.shell("true");
    spec.mounts_mut()
        .as_mut()
        .unwrap()
        .retain(|mount| !mount.destination().starts_with("/dev"));
    assert_eq!(bed.run(spec).unwrap_err().errno(), Some(libc::ELOOP));
}

#[test]
fn nothing_is_mounted_into_proc() {
    let Some(bed) = Bed::new() else { return };
    symlink("/proc/self", bed.root().join("link")).unwrap();
    for target in ["/proc/self/attr", "/proc/sys/kernel", "/link/attr", "/proc"] {
        let mut spec = bed.shell("true");
        add_mount(&mut spec, target, "tmpfs", "tmpfs", &[]);
        assert_eq!(
            bed.run(spec).expect_err(target).errno(),
            Some(libc::EPERM),
            "{target}"
        );
    }
    let file = bed.directory.path().join("file");
    std::fs::write(&file, "1.00 1.00\n").unwrap();
    let mut spec = bed.shell("cat /proc/uptime");
    add_mount(
        &mut spec,
        "/proc/uptime",
        "bind",
        file.to_str().unwrap(),
        &["bind", "ro"],
    );
    assert_eq!(bed.run(spec).unwrap().output, "1.00 1.00\n");
}

#[test]
fn dev_holds_what_every_container_has() {
    let Some(bed) = Bed::new() else { return };
    let output = bed.output(
        "cd /dev; stat -c '%n %F %t:%T %a' null zero full random urandom tty; for l in fd stdin stdout stderr ptmx core; do readlink $l; done; \
         head -c 4 /dev/zero | wc -c; echo x > /dev/null; ls /dev/pts /dev/shm /dev/mqueue",
    );
    for line in [
        "null character special file 1:3 666",
        "zero character special file 1:5 666",
        "full character special file 1:7 666",
        "random character special file 1:8 666",
        "urandom character special file 1:9 666",
        "tty character special file 5:0 666",
    ] {
        assert!(output.contains(line), "{line}: {output}");
    }
    assert!(output.contains("/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n/proc/kcore\n4\n"), "{output}");
}

#[test]
fn hostname_and_sysctl_are_the_containers_own() {
    let Some(bed) = Bed::new() else { return };
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut spec = bed.shell("hostname; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni /proc/self/oom_score_adj");
    spec.set_hostname(Some("inside".into()));
    spec.process_mut()
        .as_mut()
        .unwrap()
        .set_oom_score_adj(Some(321));
    let sysctl = [("net.ipv4.ip_forward", "1"), ("kernel.shmmni", "123")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    linux(&mut spec).set_sysctl(Some(sysctl.into()));
    assert_eq!(bed.run(spec).unwrap().output, "inside\n1\n123\n321\n");
    assert_eq!(
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        before
    );
    let mut spec = bed.shell("true");
    linux(&mut spec).set_sysctl(Some([("kernel.panic".to_owned(), "1".to_owned())].into()));
    assert!(matches!(
        bed.run(spec).unwrap_err().kind(),
        ErrorKind::InvalidSpec { .. }
    ));
}

#[test]
fn an_overlay_takes_the_changes() {
    let Some(bed) = Bed::new() else { return };
    let path = |name: &str| bed.directory.path().join(name);
    for name in ["lower", "upper", "work"] {
        std::fs::create_dir_all(path(name)).unwrap();
    }
    std::fs::write(path("lower/top"), "top").unwrap();
    let overlay = Overlay {
        lowers: vec![path("lower"), bed.root()],
        upper: Some(path("upper")),
        work: Some(path("work")),
        volatile: true,
        ..Overlay::default()
    };
    let root = match PreparedRoot::open(&Root::Overlay(overlay.clone())) {
        Ok(root) => root,
        // The temporary directory may itself lie on an overlay.
        Err(error) if error.errno() == Some(libc::EINVAL) => {
            return trimaran_testkit::skip(
                "the temporary directory cannot hold an upper directory",
            );
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(root.read_file("/top", 10).unwrap().unwrap(), b"top");
    assert!(root.read_file("/nothing", 10).unwrap().is_none());
    root.read_file("/bin", 10).expect_err("a directory");
    root.read_file("/bin/busybox", 10).expect_err("too large");
    let bundle = Bundle::from_spec(
        bed.shell("cat /top; echo new > /made; rm /top 2>/dev/null; true"),
        root,
    );
    assert_eq!(bed.run_bundle(bundle).unwrap().output, "top");
    assert_eq!(
        std::fs::read_to_string(path("upper/made")).unwrap(),
        "new\n"
    );
    assert!(!path("lower/made").exists());
    let missing = Overlay {
        lowers: vec![path("nowhere")],
        ..Overlay::default()
    };
    assert_eq!(
        *PreparedRoot::open(&Root::Overlay(missing))
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn nothing_is_left_on_the_host() {
    let Some(bed) = Bed::new() else { return };
    let mounts = || {
        std::fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
            .filter(|line| line.contains(bed.directory.path().to_str().unwrap()))
            .count()
    };
    let before = mounts();
    bed.output("mount -t tmpfs t /tmp 2>/dev/null; true");
    bed.run(bed.spec(&["/bin/nothing"])).unwrap_err();
    assert_eq!(mounts(), before);
}

#[test]
fn a_rule_against_all_devices_leaves_the_default_ones() {
    let Some(bed) = Bed::new() else { return };
    let runtime = libcontainer::runtime::Runtime::builder()
        .cgroup_parent("/trimaran-test-devices")
        .build()
        .unwrap();
    let mut spec = bed.shell("echo x > /dev/null; head -c 2 /dev/zero | wc -c; mknod /dev/kmsg2 c 1 11; cat /dev/kmsg2 2>&1 | head -c 300");
    let capabilities = spec
        .process_mut()
        .as_mut()
        .unwrap()
        .capabilities()
        .clone()
        .map(|mut sets| {
            for set in [sets.bounding().clone(), sets.effective().clone()] {
                let mut set = set.unwrap();
                set.insert(libcontainer::oci_spec::runtime::Capability::Mknod);
                sets.set_bounding(Some(set.clone()))
                    .set_effective(Some(set.clone()))
                    .set_permitted(Some(set));
            }
            sets
        });
    spec.process_mut()
        .as_mut()
        .unwrap()
        .set_capabilities(capabilities);
    let mut rule = libcontainer::oci_spec::runtime::LinuxDeviceCgroup::default();
    rule.set_access(Some("rwm".to_owned()));
    let mut resources = libcontainer::oci_spec::runtime::LinuxResources::default();
    resources.set_devices(Some(vec![rule]));
    linux(&mut spec).set_resources(Some(resources));
    let outcome = match crate::bed::run_to_end(&runtime, bed.bundle(spec)) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::Unsupported { .. }
            ) =>
        {
            return trimaran_testkit::skip("device rules cannot be set here");
        }
        other => other.unwrap(),
    };
    assert!(outcome.output.starts_with("2\n"), "{outcome:?}");
    assert!(
        outcome.output.contains("Operation not permitted"),
        "{outcome:?}"
    );
}
