//! `-t`, with a real terminal around the tool: `script` gives it one.

use crate::support::{Home, IMAGE, program};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use trimaran_testkit::skip;

/// Runs a shell line with a terminal, types `input` once `prompt` has appeared, and returns the exit code and what appeared.
fn typed(home: &Home, line: &str, prompt: &str, input: &str) -> Option<(i32, String)> {
    if Command::new("script")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        skip("needs script(1)");
        return None;
    }
    let mut child = trimaran_testkit::command("script", home.path())
        .env("TRIMARAN_ROOT", home.store())
        .args(["-qec", line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .current_dir(home.path())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(prompt) {
        let mut byte = [0];
        if stdout.read(&mut byte).unwrap() == 0 {
            break;
        }
        text.push(byte[0]);
    }
    stdin.write_all(input.as_bytes()).unwrap();
    stdout.read_to_end(&mut text).unwrap();
    let code = child.wait().unwrap().code().unwrap();
    drop(stdin);
    Some((code, String::from_utf8(text).unwrap()))
}

#[test]
fn a_terminal_is_relayed_both_ways() {
    let Some(home) = Home::ready() else { return };
    let line = format!(
        "{} -it {IMAGE} sh -c 'echo type; read x; echo got:$x; tty; exit 5'",
        program().display()
    );
    let Some((code, text)) = typed(&home, &line, "type", "word\n") else {
        return;
    };
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("got:word\r\n"), "{text:?}");
    assert!(text.contains("/dev/"), "{text:?}");
}

#[test]
fn a_key_that_interrupts_reaches_the_container_and_not_the_tool() {
    let Some(home) = Home::ready() else { return };
    let inner = "trap \"echo caught; exit 6\" INT; echo ready; while :; do sleep 0.01; done";
    let line = format!("{} -it {IMAGE} sh -c '{inner}'", program().display());
    let Some((code, text)) = typed(&home, &line, "ready", "\x03") else {
        return;
    };
    assert_eq!(code, 6, "{text:?}");
    assert!(text.contains("caught"), "{text:?}");
}

#[test]
fn the_window_size_is_the_callers() {
    let Some(home) = Home::ready() else { return };
    let line = format!(
        "stty rows 33 cols 77; {} -it {IMAGE} stty size",
        program().display()
    );
    let Some((code, text)) = typed(&home, &line, "", "") else {
        return;
    };
    assert_eq!((code, text.contains("33 77")), (0, true), "{text:?}");
}

#[test]
fn the_terminal_is_as_before_afterwards() {
    let Some(home) = Home::ready() else { return };
    let line = format!(
        "stty -a > before; {} -it {IMAGE} true; stty -a > after; cmp before after && echo same",
        program().display()
    );
    let Some((code, text)) = typed(&home, &line, "", "") else {
        return;
    };
    assert_eq!((code, text.contains("same")), (0, true), "{text:?}");
}

#[test]
fn all_output_arrives() {
    let Some(home) = Home::ready() else { return };
    let outcome = home.shell(&["-t"], "seq 1 20000").expect_code(0);
    assert_eq!(outcome.stdout.lines().count(), 20_000);
    assert!(outcome.stdout.ends_with("20000\r\n"));
}
