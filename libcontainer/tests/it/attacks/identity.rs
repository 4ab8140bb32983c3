//! Being somebody else: another process, another container, another user, more capabilities (CVE-2022-29162, CVE-2026-30892).

use std::path::PathBuf;

use libcontainer::oci_spec::runtime::{Capability, LinuxCapabilities};
use libcontainer::runtime::{CgroupManager, CreateOptions, Runtime};
use libcontainer::state::Status;
use libcontainer::{ContainerId, ErrorKind, Signal};

use super::{linux, process};
use crate::bed::{Bed, id};
use crate::sleeper::Sleeper;

#[test]
fn a_number_that_belongs_to_another_process_now() {
    let Some(bed) = Bed::new() else { return };
    let sleeper = Sleeper::start(&bed, &bed.runtime, bed.spec(&["/bin/sleep", "1000"]));
    let file = bed.directory.path().join("state/sleeper/state.json");
    let before = std::fs::read_to_string(&file).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&before).unwrap();
    // A number is not given again within a hundredth of a second, which is how fine start times are.
    let start = |pid: u32| libcontainer::procfs::start_time(i32::try_from(pid).unwrap()).unwrap();
    let mut victim = loop {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        if start(child.id()) != record["startTime"].as_u64() {
            break child;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    };
    record["pid"] = victim.id().into();
    std::fs::write(&file, record.to_string()).unwrap();
    let container = sleeper.container();
    assert_eq!(
        *container.kill(Signal::KILL).unwrap_err().kind(),
        ErrorKind::NotRunning
    );
    assert_eq!(container.state().unwrap().status, Status::Stopped);
    assert!(sleeper.exec(&sleeper.describe(&["/bin/true"])).is_err());
    assert!(container.pause().is_err());
    assert!(victim.try_wait().unwrap().is_none(), "it was killed");
    std::fs::write(&file, before).unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[test]
fn names_that_are_paths() {
    let Some(bed) = Bed::new() else { return };
    for name in ["..", ".", "../other", "a/b", "/etc", "a\0b", "a\nb", ""] {
        assert!(ContainerId::parse(name).is_err(), "{name:?}");
    }
    let runtime = Runtime::builder()
        .state_dir(bed.directory.path().join("state"))
        .cgroup_manager(CgroupManager::Auto)
        .build()
        .unwrap();
    for path in [
        "..",
        "../escaped",
        "/../escaped",
        "/trimaran-attack/../../escaped",
        "a/../../b",
    ] {
        let mut spec = bed.shell("true");
        linux(&mut spec).set_cgroups_path(Some(PathBuf::from(path)));
        let plan = runtime.plan(&id("escaping"), &bed.bundle(spec), CreateOptions::default());
        assert!(plan.is_err(), "{path}");
    }
}

#[test]
fn users_that_are_not_quite_numbers() {
    let Some(bed) = Bed::new() else { return };
    let sleeper = Sleeper::start(&bed, &bed.runtime, bed.spec(&["/bin/sleep", "1000"]));
    for word in [
        "1000abc",
        "0x10",
        "1e3",
        "-1",
        "4294967296",
        "99999999999999999999",
        "1000:",
        ":0",
        "0:0:0",
        "1000 ",
        "root\n",
        "1000:abc",
        "1000:-1",
        "1000:0x0",
        "nobody",
        "user:nogroup",
    ] {
        let found = sleeper.container().user(word);
        assert!(found.is_err(), "{word:?}: {found:?}");
    }
}

#[test]
fn capabilities_are_not_inherited() {
    let Some(bed) = Bed::new() else { return };
    let show = "grep -E 'Cap(Inh|Amb)' /proc/self/status";
    let none = "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n";
    assert_eq!(bed.output(show), none);
    let sleeper = Sleeper::start(&bed, &bed.runtime, bed.spec(&["/bin/sleep", "1000"]));
    assert_eq!(sleeper.shell(show), none);
    // A user who executes a program with more in its file gets nothing from sets that were only permitted.
    let mut description = sleeper.describe(&["/bin/sh", "-c", show]);
    let mut sets = LinuxCapabilities::default();
    let all = Some([Capability::NetAdmin, Capability::SysAdmin].into());
    sets.set_bounding(all.clone())
        .set_effective(all.clone())
        .set_permitted(all)
        .set_inheritable(None)
        .set_ambient(None);
    description.set_capabilities(Some(sets));
    assert_eq!(sleeper.exec(&description).unwrap().0, none);
    let mut user = description.user().clone();
    user.set_uid(1000);
    description.set_user(user);
    assert_eq!(sleeper.exec(&description).unwrap().0, none);
    let mut spec = bed.shell(show);
    process(&mut spec).set_capabilities(None);
    assert_eq!(bed.run(spec).unwrap().output, none);
}
