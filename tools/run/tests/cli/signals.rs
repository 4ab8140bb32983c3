//! Signals to the tool reach the container, and the exit code tells.

use crate::support::{Home, IMAGE};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::time::Duration;

/// Reads the child's stdout up to a line.
pub(crate) fn wait_for(child: &mut Child, line: &str) {
    let mut read = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
    let mut text = String::new();
    while !text.ends_with(&format!("{line}\n")) && !text.ends_with(&format!("{line}\r\n")) {
        if read.read_line(&mut text).unwrap() == 0 {
            let mut stderr = String::new();
            std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut stderr).unwrap();
            panic!("it never said {line:?}, but {text:?} and {stderr:?}");
        }
    }
}

pub(crate) fn kill(child: &Child, signal: &str) {
    let status = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

fn code(child: Child) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let output = child.wait_with_output().unwrap();
    output
        .status
        .code()
        .unwrap_or_else(|| 1000 + output.status.signal().unwrap())
}

#[test]
fn signals_are_passed_on() {
    let Some(home) = Home::ready() else { return };
    // What the container does, the signal, the exit code.
    let table = [
        (
            "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done",
            "TERM",
            7,
        ),
        (
            "trap 'exit 8' INT; echo up; while :; do sleep 0.01; done",
            "INT",
            8,
        ),
        (
            "trap 'exit 9' HUP; echo up; while :; do sleep 0.01; done",
            "HUP",
            9,
        ),
        (
            "trap 'exit 10' USR1; echo up; while :; do sleep 0.01; done",
            "USR1",
            10,
        ),
        (
            "trap 'exit 11' QUIT; echo up; while :; do sleep 0.01; done",
            "QUIT",
            11,
        ),
        // The first process of a pid namespace without a handler: the kernel would drop the signal.
        ("echo up; exec sleep 1000", "TERM", 143),
        ("echo up; exec sleep 1000", "INT", 130),
    ];
    for (line, signal, want) in table {
        let mut child = home.start(&[IMAGE, "sh", "-c", line]);
        wait_for(&mut child, "up");
        kill(&child, signal);
        // In the middle of its `exec` the process has handlers that it loses with a signal that has come by then.
        while line.contains("exec") && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(50));
            kill(&child, signal);
        }
        assert_eq!(code(child), want, "{line} {signal}");
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let Some(home) = Home::ready() else { return };
    let line = "trap '' TERM; trap 'exit 5' USR1; echo up; while :; do sleep 0.01; done";
    let mut child = home.start(&[IMAGE, "sh", "-c", line]);
    wait_for(&mut child, "up");
    kill(&child, "TERM");
    kill(&child, "USR1");
    assert_eq!(code(child), 5);
}

#[test]
fn a_container_starts_with_clean_signals() {
    let Some(home) = Home::ready() else { return };
    let outcome = home
        .shell(&[], "grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f2")
        .expect_code(0);
    assert_eq!(outcome.stdout, "0000000000000000\n0000000000000000\n");
}
