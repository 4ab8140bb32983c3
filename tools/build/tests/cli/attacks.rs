//! Attacks on the tool's own file by a step, which must fail for the attacker (CVE-2019-5736).

use crate::actor::{Actor, Who};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::Stdio;

#[test]
fn a_step_does_not_run_the_tool() {
    let Some(actor) = Actor::with_base(Who::Root) else {
        return;
    };
    let container = actor.ok(&["from", "oci:base:1"]);
    let c = container.as_str();
    actor
        .run(&[
            "run",
            c,
            "--",
            "sh",
            "-c",
            "printf '#!/proc/self/exe --version\\n' >/script && chmod +x /script && ln -s /proc/self/exe /link",
        ])
        .expect_code(0);
    for program in ["/proc/self/exe", "/proc/1/exe", "/link", "/script"] {
        let outcome = actor.run(&["run", c, "--", program, "--version"]);
        assert_eq!(outcome.code(), 126, "{program}: {outcome:?}");
        assert!(outcome.stderr.contains("own program"), "{}", outcome.stderr);
    }
}

#[test]
fn the_first_process_is_sealed() {
    let Some(actor) = Actor::with_base(Who::Root) else {
        return;
    };
    let container = actor.ok(&["from", "oci:base:1"]);
    let line = format!(
        "exec unshare --pid --fork --kill-child --mount-proc $BUILD run {container} -- sh -c 'echo ready; exec sleep 1000'"
    );
    let mut shell = actor.command("/bin/sh");
    let mut child = shell
        .args(["-c", &line])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    let list = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let pid = list.split_whitespace().next().unwrap();
    let image = std::fs::File::open(format!("/proc/{pid}/exe")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // Opened only: if this succeeded, writing would destroy the program under test. What was killed with it may still end.
    let path = format!("/proc/self/fd/{}", image.as_raw_fd());
    let refused = loop {
        let opened = std::fs::OpenOptions::new().append(true).open(&path);
        let error = opened.unwrap_err();
        if error.kind() != std::io::ErrorKind::ExecutableFileBusy {
            break error;
        }
        std::thread::yield_now();
    };
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}
