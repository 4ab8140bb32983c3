//! What the process between `clone3` and `execve` must not do: use the heap, or wait for a lock that nobody will release.
//!
//! A target of its own, because of its allocator. Each test runs in a process of its own with a limit of time: a child that waits
//! for a lock would wait for ever.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

#[allow(dead_code, reason = "shared with the other tests, which use all of it")]
#[path = "../it/bed.rs"]
mod bed;
#[path = "../../src/sys/forbidding.rs"]
mod forbidding;

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};

use libcontainer::oci_spec::runtime::{
    HookBuilder, Hooks, LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, Spec,
};
use libcontainer::runtime::{CreateOptions, ExecOptions, Stdio};
use libcontainer::spec::{HostFacts, RunOptions};
use libcontainer::{ErrorKind, ExitStatus};

use bed::{Bed, id};
use forbidding::Forbidding;

#[global_allocator]
static ALLOCATOR: Forbidding = Forbidding::new();

/// How often a container is created and started beside the busy threads. An emulated machine has no time for all of them.
fn rounds() -> usize {
    match std::env::var_os("TRIMARAN_VM") {
        Some(_) => 30,
        None => 1000,
    }
}

/// How many of them there are.
const THREADS: usize = 16;

const INNER: &str = "TRIMARAN_INNER_TEST";

/// Whether the test has to do its work; otherwise it was done in a process of its own, which must have ended well and in time.
fn inner(test: &str) -> bool {
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INNER, "1");
    trimaran_testkit::run(&mut command).expect_code(0);
    false
}

#[test]
fn a_thousand_containers_beside_threads_that_allocate_and_lock_without_pause() {
    if !inner("a_thousand_containers_beside_threads_that_allocate_and_lock_without_pause") {
        return;
    }
    let Some(bed) = Bed::new() else { return };
    ALLOCATOR.forbid_to_others();
    let stop = AtomicBool::new(false);
    let mutex = Mutex::new(HashMap::new());
    let lock = RwLock::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (stop, mutex, lock) = (&stop, &mutex, &lock);
            scope.spawn(move || busy(thread, stop, mutex, lock));
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..rounds() {
                live(&bed, round);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Allocates and takes locks: its own, the environment's, that of standard error, and the allocator's.
fn busy(
    thread: usize,
    stop: &AtomicBool,
    mutex: &Mutex<HashMap<usize, Vec<String>>>,
    lock: &RwLock<Vec<u8>>,
) {
    // Only what the containers leave of the processors: then these threads stand still in the middle of what they do, with their locks.
    rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19).unwrap();
    let mut round = 0_usize;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let texts: Vec<String> = (0..20)
            .map(|n| format!("{thread} {round} {n}").repeat(n))
            .collect();
        mutex.lock().unwrap().insert(round % 32, texts);
        *lock.write().unwrap() = vec![0; 100 * (round % 50)];
        std::hint::black_box(lock.read().unwrap().len());
        std::hint::black_box(std::env::var_os("PATH"));
        std::io::stderr().lock().flush().unwrap();
    }
}

/// A container's whole life. It is a cheap one: what is proved does not depend on how much is mounted.
fn live(bed: &Bed, round: usize) {
    let mut spec = bed.spec(&["/bin/true"]);
    spec.set_hostname(None).set_mounts(None);
    let linux = spec.linux_mut().as_mut().unwrap();
    linux.set_masked_paths(None).set_readonly_paths(None);
    linux.set_sysctl(None);
    linux.namespaces_mut().as_mut().unwrap().retain(|one| {
        matches!(
            one.typ(),
            LinuxNamespaceType::Mount | LinuxNamespaceType::Pid
        )
    });
    let name = id(&format!("round-{round}"));
    let plan = bed
        .runtime
        .plan(&name, &bed.bundle(spec), CreateOptions::default())
        .unwrap();
    let mut container = bed.runtime.create(plan).unwrap();
    container.start().unwrap();
    assert_eq!(
        container.init().unwrap().wait().unwrap(),
        ExitStatus::Exited(0),
        "round {round}"
    );
    container.delete(false).unwrap();
}

#[test]
fn no_child_uses_the_heap() {
    if !inner("no_child_uses_the_heap") {
        return;
    }
    let Some(bed) = Bed::new() else { return };
    ALLOCATOR.forbid_to_others();
    for (name, spec) in specifications(&bed) {
        let create = |name: &str, spec: Spec| {
            let plan = bed
                .runtime
                .plan(&id(name), &bed.bundle(spec), CreateOptions::default());
            bed.runtime.create(plan.unwrap())
        };
        let mut container = create(name, spec.clone()).unwrap_or_else(|error| {
            panic!("{name}: {error}: {:?}", error.hint());
        });
        container.start().unwrap();
        for terminal in [false, true] {
            let mut process = container.process().unwrap();
            process.set_terminal(Some(terminal));
            process.set_args(Some(vec!["/bin/true".to_owned()]));
            let options = ExecOptions {
                stdio: if terminal {
                    Stdio::Terminal
                } else {
                    Stdio::Null
                },
                ..ExecOptions::default()
            };
            let process = container
                .exec(&process, options)
                .unwrap_or_else(|error| panic!("{name}: {error}: {:?}", error.hint()));
            process.wait().unwrap();
        }
        container.kill(libcontainer::Signal::KILL).unwrap();
        container.init().unwrap().wait().unwrap();
        container.delete(false).unwrap();
        // Failing must not need it either.
        let mut broken = spec;
        broken
            .process_mut()
            .as_mut()
            .unwrap()
            .set_args(Some(vec!["/bin/nothing".to_owned()]));
        let error = create(name, broken).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ExecNotFound, "{name}: {error}");
    }
}

/// Specifications that together have a step of nearly every kind.
fn specifications(bed: &Bed) -> Vec<(&'static str, Spec)> {
    let args = ["/bin/sleep", "100"].map(str::to_owned).to_vec();
    let options = || RunOptions {
        args: args.clone(),
        host: HostFacts {
            cgroup: false,
            ..HostFacts::default()
        },
        ..RunOptions::default()
    };
    let whole = || bed.spec_with(options());
    let mut terminal = whole();
    terminal
        .process_mut()
        .as_mut()
        .unwrap()
        .set_terminal(Some(true));
    let mut hooked = whole();
    let hook = || {
        Some(vec![
            HookBuilder::default().path("/bin/true").build().unwrap(),
        ])
    };
    let mut hooks = Hooks::default();
    hooks
        .set_create_runtime(hook())
        .set_create_container(hook())
        .set_start_container(hook())
        .set_poststart(hook());
    hooked.set_hooks(Some(hooks));
    let mut mapped = whole();
    let linux = mapped.linux_mut().as_mut().unwrap();
    linux.namespaces_mut().as_mut().unwrap().push(
        LinuxNamespaceBuilder::default()
            .typ(LinuxNamespaceType::User)
            .build()
            .unwrap(),
    );
    // The root's files are those of the same ids outside: what is proved here is nothing about maps.
    let map = LinuxIdMappingBuilder::default()
        .host_id(0_u32)
        .container_id(0_u32)
        .size(65_536_u32)
        .build()
        .unwrap();
    linux
        .set_uid_mappings(Some(vec![map]))
        .set_gid_mappings(Some(vec![map]));
    let strict = bed.spec_with(RunOptions {
        read_only: true,
        no_new_privileges: true,
        user: Some("1000:1000".into()),
        ..options()
    });
    vec![
        ("whole", whole()),
        ("terminal", terminal),
        ("hooked", hooked),
        ("mapped", mapped),
        ("strict", strict),
    ]
}
