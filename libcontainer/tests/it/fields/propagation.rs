//! Propagation by what it does: which mounts the other side gets to see.

use rustix::mount::{MountFlags, MountPropagationFlags};
use serde_json::json;

use super::mounts::HostMount;
use super::{mount, with};
use crate::bed::Bed;
use crate::sleeper::Sleeper;

#[test]
fn mounts_that_are_made_later() {
    let Some(bed) = Bed::new() else { return };
    let volume = HostMount::tmpfs(bed.directory.path().join("volume"), MountFlags::empty());
    rustix::mount::mount_change(&volume.0, MountPropagationFlags::SHARED).unwrap();
    for name in ["host", "container"] {
        std::fs::create_dir(volume.0.join(name)).unwrap();
    }
    let source = volume.0.to_str().unwrap();
    let table: &[(&str, &[&str], bool, bool)] = &[
        // Of the root, options of the volume, whether the container sees what the host mounts, and the host what the container does.
        ("", &["rbind"], true, false),
        ("slave", &["rbind"], true, false),
        ("rslave", &["rbind"], true, false),
        ("private", &["rbind"], false, false),
        ("rprivate", &["rbind"], false, false),
        ("unbindable", &["rbind"], false, false),
        ("shared", &["rbind"], true, false),
        ("rshared", &["rbind"], true, false),
        ("", &["rbind", "rprivate"], false, false),
        ("rshared", &["rbind", "rprivate"], false, false),
        ("", &["rbind", "rslave"], true, false),
        ("", &["bind", "slave"], true, false),
        // The root's comes first: what it keeps back cannot be shared any more.
        ("", &["rbind", "rshared"], true, false),
        ("rshared", &["rbind", "rshared"], true, true),
        ("", &["rbind", "runbindable"], false, false),
    ];
    for (root, options, arrives, leaves) in table {
        let all = json!(["CAP_SYS_ADMIN"]);
        let spec = with(
            &bed.spec(&["/bin/sleep", "1000"]),
            &[
                ("linux.rootfsPropagation", json!(root)),
                ("process.capabilities.bounding", all.clone()),
                ("process.capabilities.permitted", all.clone()),
                ("process.capabilities.effective", all),
                ("+mounts", mount("/vol", "bind", source, options)),
            ],
        );
        let sleeper = Sleeper::start(&bed, &bed.runtime, spec);
        let late = HostMount::tmpfs(volume.0.join("host"), MountFlags::empty());
        std::fs::write(late.0.join("seen"), "").unwrap();
        let inside = sleeper.shell(
            "mount -t tmpfs inside /vol/container && touch /vol/container/seen; test -e /vol/host/seen && echo arrives; true",
        );
        assert_eq!(
            inside == "arrives\n",
            *arrives,
            "{root:?} {options:?}: {inside:?}"
        );
        let seen = volume.0.join("container/seen").exists();
        assert_eq!(seen, *leaves, "{root:?} {options:?}");
        drop(sleeper);
        drop(late);
        // What came from the container stays when that has gone.
        if seen {
            rustix::mount::unmount(
                volume.0.join("container"),
                rustix::mount::UnmountFlags::DETACH,
            )
            .unwrap();
        }
    }
}
