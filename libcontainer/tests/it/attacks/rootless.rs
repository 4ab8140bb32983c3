//! What a container of an ordinary user must not get: groups that it could drop (CVE-2014-8989), and the host's cgroups where the
//! user may write (CVE-2023-25809).

use std::os::unix::fs::chown;
use std::path::PathBuf;

use libcontainer::spec::Network;
use trimaran_testkit::User;

use crate::bed::Bed;
use crate::rootless::{as_user, inner, run, unshare};

#[test]
fn groups_stay_denied() {
    if inner() {
        let line = "cat /proc/self/setgroups; { echo allow >/proc/self/setgroups; } 2>/dev/null || echo refused; cat /proc/self/gid_map | wc -l";
        assert_eq!(run(Network::None, line), "deny\nrefused\n1\n");
        return;
    }
    if Bed::new().is_none() {
        return;
    }
    let Some(user) = User::without_subids() else {
        return trimaran_testkit::skip("needs a user without subordinate ids");
    };
    let Some(program) = unshare() else { return };
    let test = "attacks::rootless::groups_stay_denied";
    let output = as_user(&user, Some(&program), test);
    assert!(output.status.success(), "{output:?}");
}

/// A cgroup that belongs to the user, as a service manager delegates one.
struct Delegated(PathBuf);

impl Delegated {
    /// The place, which the test and the one inside it agree on without a word.
    fn place(test: u32) -> Option<PathBuf> {
        ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
            .map(PathBuf::from)
            .into_iter()
            .find(|hierarchy| hierarchy.join("cgroup.procs").exists())
            .map(|hierarchy| hierarchy.join(format!("trimaran-attack-{test}")))
    }

    fn new(user: &User) -> Option<Self> {
        let place = Self::place(std::process::id())?;
        std::fs::create_dir(&place).ok()?;
        let made = Self(place);
        for name in ["", "cgroup.procs", "tasks", "cgroup.threads"] {
            // Each version has its own files.
            chown(made.0.join(name), Some(user.uid), Some(user.gid)).ok();
        }
        Some(made)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).unwrap();
    }
}

#[test]
fn cgroups_of_the_host_are_not_written() {
    if inner() {
        let place = Delegated::place(std::os::unix::process::parent_id()).unwrap();
        let place = place.to_str().unwrap();
        let line = format!(
            "test -d {place} && echo seen; mkdir {place}/inside 2>/dev/null && echo made; \
             for file in {place}/cgroup.procs /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs; do \
               {{ echo 0 >$file; }} 2>/dev/null && echo joined $file; done; \
             mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted; true"
        );
        // With the host's network the host's /sys is shown, without what is mounted in it.
        assert_eq!(run(Network::Host, &line), "");
        return;
    }
    if Bed::new().is_none() {
        return;
    }
    for user in [User::with_subids(), User::without_subids()] {
        let Some(user) = user else {
            return trimaran_testkit::skip("needs the users trimaran-sub and trimaran-nosub");
        };
        let Some(program) = unshare() else { return };
        let Some(_delegated) = Delegated::new(&user) else {
            return trimaran_testkit::skip("no cgroup can be made");
        };
        let test = "attacks::rootless::cgroups_of_the_host_are_not_written";
        let output = as_user(&user, Some(&program), test);
        assert!(output.status.success(), "{output:?}");
    }
}
