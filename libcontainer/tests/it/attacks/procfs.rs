//! Writes to /proc that end elsewhere (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).

use std::path::Path;

use libcontainer::Signal;
use libcontainer::oci_spec::runtime::{Capability, LinuxCapabilities};

use super::{Witness, add_mount, linux, mounts, process};
use crate::bed::Bed;
use crate::sleeper::Sleeper;

/// What a runtime writes, and what others read.
const FILES: [&str; 7] = [
    "self/oom_score_adj",
    "self/attr/exec",
    "1/oom_score_adj",
    "sys/net/ipv4/ip_forward",
    "self/uid_map",
    "self/setgroups",
    "net/dev",
];

/// A directory that looks like a procfs.
fn fake(bed: &Bed) -> std::path::PathBuf {
    let path = bed.directory.path().join("fake");
    for name in [
        "self/attr",
        "thread-self/attr",
        "1/attr",
        "sys/net/ipv4",
        "sys/kernel",
        "net",
    ] {
        std::fs::create_dir_all(path.join(name)).unwrap();
    }
    for name in FILES {
        std::fs::write(path.join(name), "untouched").unwrap();
    }
    path
}

fn untouched(path: &Path) {
    for name in FILES {
        assert_eq!(
            std::fs::read_to_string(path.join(name)).unwrap(),
            "untouched",
            "{name}"
        );
    }
}

#[test]
fn a_volume_in_the_place_of_proc() {
    let Some(bed) = Bed::new() else { return };
    let witness = Witness::new(&bed);
    let fake = fake(&bed);
    for remove in [true, false] {
        let mut spec = bed.shell("true");
        if remove {
            mounts(&mut spec).retain(|mount| mount.destination() != Path::new("/proc"));
            let linux = linux(&mut spec);
            linux.set_masked_paths(None);
            linux.set_readonly_paths(None);
        }
        add_mount(&mut spec, "/proc", "bind", &fake, &["rbind", "rw"]);
        process(&mut spec).set_oom_score_adj(Some(345));
        linux(&mut spec).set_sysctl(Some(
            [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into(),
        ));
        // Whether the container is refused or not: what is written goes into a procfs of our own.
        let outcome = bed.run(spec);
        assert!(remove || outcome.is_err(), "{outcome:?}");
        untouched(&fake);
        witness.check("a volume in the place of /proc");
    }
}

#[test]
fn a_volume_inside_of_proc() {
    let Some(bed) = Bed::new() else { return };
    let fake = fake(&bed);
    for below in [
        "self",
        "self/attr",
        "self/attr/exec",
        "self/oom_score_adj",
        "thread-self",
        "1",
        "sys",
        "sys/net",
        "sys/kernel",
        "net",
        "net/dev",
        "../proc/self",
        "./self/./attr",
        "self/../self/attr",
        "tty",
        "acpi",
    ] {
        let source = fake.join(below);
        let source = if source.exists() {
            source
        } else {
            fake.clone()
        };
        let mut spec = bed.shell("true");
        add_mount(
            &mut spec,
            &format!("/proc/{below}"),
            "bind",
            &source,
            &["bind"],
        );
        let outcome = bed.run(spec);
        assert!(outcome.is_err(), "/proc/{below}: {outcome:?}");
    }
    untouched(&fake);
}

#[test]
fn a_container_that_replaced_its_proc() {
    let Some(bed) = Bed::new() else { return };
    let mut spec = bed.shell(
        "mount -t tmpfs x /proc && mkdir -p /proc/self/attr /proc/thread-self && for f in oom_score_adj attr/exec uid_map; do echo untouched >/proc/self/$f; done; \
         touch /tmp/done; exec sleep 1000",
    );
    let mut sets = LinuxCapabilities::default();
    let all = Some(
        [
            Capability::SysAdmin,
            Capability::DacOverride,
            Capability::SysResource,
        ]
        .into(),
    );
    sets.set_bounding(all.clone())
        .set_effective(all.clone())
        .set_permitted(all)
        .set_inheritable(None)
        .set_ambient(None);
    process(&mut spec).set_capabilities(Some(sets));
    let sleeper = Sleeper::start(&bed, &bed.runtime, spec);
    let done = bed.root().join("tmp/done");
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !done.exists() {
        assert!(
            std::time::Instant::now() < limit,
            "the container did not start"
        );
        std::thread::yield_now();
    }
    let mut description = sleeper.describe(&[
        "/bin/sh",
        "-c",
        "cat /proc/self/oom_score_adj /proc/self/attr/exec /proc/self/uid_map",
    ]);
    description.set_oom_score_adj(Some(456));
    assert_eq!(
        sleeper.exec(&description).unwrap().0,
        "untouched\n".repeat(3)
    );
    let mut description = sleeper.describe(&["/bin/sleep", "1000"]);
    description.set_oom_score_adj(Some(456));
    let further = sleeper
        .container()
        .exec(&description, Default::default())
        .unwrap();
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", further.pid())).unwrap();
    assert_eq!(score.trim(), "456", "of the process, not in the fake");
    sleeper.container().kill(Signal::KILL).unwrap();
    further.wait().unwrap();
}
