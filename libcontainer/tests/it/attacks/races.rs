//! Paths that change while the runtime works on them (CVE-2021-30465, CVE-2024-45310, CVE-2025-24965, CVE-2025-54867).

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use libcontainer::oci_spec::runtime::{LinuxDeviceBuilder, LinuxDeviceType};
use libcontainer::runtime::{CreateOptions, Stdio};
use rustix::fs::{CWD, RenameFlags};

use super::{Witness, add_mount, linux, mounts, process};
use crate::bed::{Bed, id};

/// How often a container is made while the paths change. An emulated machine is slow, and its kernel is not what is tried here.
fn rounds() -> usize {
    match std::env::var_os("TRIMARAN_VM") {
        Some(_) => 20,
        None => 80,
    }
}

/// Whether another one is made: the attacker may break any container, but not every one, so that there are more until one was made.
fn goes_on(round: usize, least: usize, made: usize) -> bool {
    round < least || (made == 0 && round < 1000)
}

/// Swaps `place` (a directory, if it is not there yet) and a link to `target` beside it without pause while `work` runs.
fn racing(place: &Path, target: &str, work: impl FnOnce()) {
    let link = place.with_extension("swap");
    if !place.exists() {
        std::fs::create_dir_all(place).unwrap();
    }
    std::fs::remove_file(&link).ok();
    symlink(target, &link).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, place, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let guard = Stop(&stop);
        work();
        drop(guard);
    });
}

/// Ends the thread also when the test fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_directory_that_is_sometimes_a_link() {
    let Some(bed) = Bed::new() else { return };
    let witness = Witness::new(&bed);
    let volume = bed.directory.path().join("volume");
    std::fs::create_dir_all(&volume).unwrap();
    let up = format!("../../../../../../..{}", witness.path.display());
    for (number, target) in [witness.path.to_str().unwrap(), &up, "/proc/1/root", "/etc"]
        .into_iter()
        .enumerate()
    {
        let mut made = 0;
        let swap = format!("/swap{number}");
        let below = |path: &str| format!("{swap}{path}");
        racing(&bed.root().join(&swap[1..]), target, || {
            for round in 0.. {
                if !goes_on(round, rounds(), made) {
                    break;
                }
                let mut spec = bed.shell("true");
                add_mount(&mut spec, &below("/bound"), "bind", &volume, &["bind"]);
                add_mount(
                    &mut spec,
                    &below("/deep/er/tmp"),
                    "tmpfs",
                    Path::new("tmpfs"),
                    &[],
                );
                add_mount(
                    &mut spec,
                    &below("/deep/file"),
                    "bind",
                    Path::new("/dev/null"),
                    &["bind"],
                );
                let mut device = LinuxDeviceBuilder::default()
                    .path(below("/deep/device"))
                    .typ(LinuxDeviceType::C)
                    .major(1_i64)
                    .minor(3_i64)
                    .build()
                    .unwrap();
                device.set_uid(Some(1000));
                linux(&mut spec).set_devices(Some(vec![device]));
                let hidden = || [below("/null"), below("/deep")];
                let linux = linux(&mut spec);
                linux
                    .masked_paths_mut()
                    .get_or_insert_default()
                    .extend(hidden());
                linux
                    .readonly_paths_mut()
                    .get_or_insert_default()
                    .extend(hidden());
                process(&mut spec).set_cwd(below("/srv/dir").into());
                made += usize::from(bed.run(spec).is_ok());
            }
        });
        witness.check(target);
        assert!(
            made > 0,
            "{target}: the attacker may break a container, and not every one"
        );
    }
}

/// A container with a terminal whose `/dev` is a directory that another one can write, because the image or the caller wants it so
/// (CVE-2025-52565).
#[test]
fn a_console_that_is_sometimes_a_link() {
    let Some(bed) = Bed::new() else { return };
    let witness = Witness::new(&bed);
    let dev = bed.root().join("dev");
    let outside = witness.path.to_str().unwrap();
    let up = format!("../../../../../../..{outside}");
    for (name, target) in [
        ("console", format!("{outside}/console")),
        ("console", format!("{up}/null")),
        ("console", "/proc/sysrq-trigger".to_owned()),
        ("pts", outside.to_owned()),
        ("pts", "/proc/self/attr".to_owned()),
        ("ptmx", format!("{outside}/null")),
    ] {
        std::fs::remove_dir_all(&dev).ok();
        std::fs::create_dir_all(dev.join("pts")).unwrap();
        for file in ["console", "ptmx"] {
            std::fs::write(dev.join(file), "").unwrap();
        }
        let (mut made, mut last) = (0, None);
        racing(&dev.join(name), &target, || {
            for round in 0.. {
                // Where it is a link that a container may not have, none may be made; of a console that is no link, some are.
                let done = if name == "console" { made } else { 1 };
                if !goes_on(round, rounds() / 4, done) {
                    break;
                }
                let mut spec = bed.shell("true");
                mounts(&mut spec).retain(|mount| mount.destination() != Path::new("/dev"));
                process(&mut spec).set_terminal(Some(true));
                let options = CreateOptions {
                    stdio: Stdio::Terminal,
                    ..CreateOptions::default()
                };
                let plan = bed.runtime.plan(&id("test"), &bed.bundle(spec), options);
                let run = plan.and_then(|plan| bed.runtime.run(plan));
                match run.and_then(|process| process.wait()) {
                    Ok(_) => made += 1,
                    Err(error) => last = Some(error),
                }
            }
        });
        witness.check(&target);
        assert!(
            made > 0 || name != "console",
            "{name} and {target}: {last:?}"
        );
    }
}
