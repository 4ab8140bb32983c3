//! Against a systemd of our own: a thread that speaks the wire format on a socket.

use super::super::hierarchy::tests::{HYBRID, V2};
use super::wire::{CALL, ERROR, FIXED_BYTES, Message, RETURN, SIGNAL};
use super::*;
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What the fake does about a call, once for each call.
#[derive(Clone, Copy)]
enum Answer {
    /// A job that ends so.
    Job(&'static str),
    /// Nothing to tell.
    Done,
    /// This error.
    Refused(&'static str),
}

struct Fake {
    directory: tempfile::TempDir,
    calls: Receiver<Message>,
}

impl Fake {
    /// Listens where a user's systemd does, or where the user's bus does.
    fn new(bus: bool, answers: &[Answer]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("systemd")).unwrap();
        let name = if bus { "bus" } else { "systemd/private" };
        let listener = UnixListener::bind(directory.path().join(name)).unwrap();
        let (send, calls) = channel();
        let mut answers: std::vec::IntoIter<Answer> = Vec::from(answers).into_iter();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A test that is over listens no longer.
                if serve(stream, bus, &mut answers, &send).is_none() {
                    return;
                }
            }
        });
        Self { directory, calls }
    }

    fn plan(&self, path: &str, limits: serde_json::Value) -> Plan {
        let resources: LinuxResources = serde_json::from_value(limits).unwrap();
        let request = CgroupRequest {
            path: Path::new(path),
            default_path: Path::new("/unused"),
            resources: Some(&resources),
            rootless: true,
            accounted: false,
        };
        let annotations = [(
            "org.systemd.property.TimeoutStopSec".to_owned(),
            "uint64 3".to_owned(),
        )];
        let systemd = SystemdRequest {
            id: "box",
            runtime_dir: Some(self.directory.path()),
            annotations: &annotations.into(),
        };
        let host = Hierarchies::parse(V2, "0::/me\n", "memory pids cpu");
        plan_systemd(&request, &host, &systemd).unwrap()
    }

    fn start(&self) -> Result<Held, CgroupError> {
        let plan = self.plan("x.slice:p:box", json!({"pids": {"limit": 7}}));
        plan.systemd.unwrap().start()
    }

    fn next(&self) -> Message {
        self.calls.recv().unwrap()
    }
}

fn read(stream: &mut UnixStream) -> Option<Message> {
    let mut fixed = [0; FIXED_BYTES];
    stream.read_exact(&mut fixed).ok()?;
    let mut bytes = fixed.to_vec();
    bytes.resize(Message::length(&fixed)?, 0);
    stream.read_exact(&mut bytes[FIXED_BYTES..]).ok()?;
    Message::parse(&bytes)
}

fn line(stream: &mut UnixStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    String::from_utf8(line).unwrap()
}

fn serve(
    mut stream: UnixStream,
    bus: bool,
    answers: &mut impl Iterator<Item = Answer>,
    calls: &Sender<Message>,
) -> Option<()> {
    assert_eq!(line(&mut stream), "\0AUTH EXTERNAL\r\n");
    stream.write_all(b"DATA\r\n").ok()?;
    assert_eq!(line(&mut stream), "DATA\r\n");
    stream.write_all(b"OK 1234\r\n").ok()?;
    assert_eq!(line(&mut stream), "BEGIN\r\n");
    let mut greeted = !bus;
    while let Some(call) = read(&mut stream) {
        assert_eq!(call.kind, CALL);
        assert!(greeted || call.member == "Hello");
        let greeting = matches!(call.member.as_str(), "Hello" | "AddMatch" | "Subscribe");
        greeted = true;
        let answer = match greeting {
            true => Answer::Done,
            false => answers.next().expect("no call more than was expected"),
        };
        let mut reply = Message {
            kind: RETURN,
            serial: 9,
            reply_to: call.serial,
            ..Message::default()
        };
        let mut after = Vec::new();
        match answer {
            Answer::Done => {}
            Answer::Refused(name) => {
                reply.kind = ERROR;
                reply.error = name.to_owned();
                reply.signature = "s".to_owned();
                let mut words = Writer::default();
                words.text("because");
                reply.body = words.0;
            }
            Answer::Job(result) => {
                let mut body = Writer::default();
                body.text("/job/7");
                reply.signature = "o".to_owned();
                reply.body = body.0;
                // Another's job ends first, and ours before the answer, as may happen.
                let foreign = removed("/job/6", "failed");
                after.push(removed("/job/7", result));
                stream.write_all(&foreign.to_bytes()).ok()?;
            }
        }
        stream.write_all(&reply.to_bytes()).ok()?;
        for message in after {
            stream.write_all(&message.to_bytes()).ok()?;
        }
        if !greeting {
            calls.send(call).ok()?;
        }
    }
    Some(())
}

fn removed(job: &str, result: &str) -> Message {
    let mut body = Writer::default();
    body.u32(7);
    body.text(job);
    body.text("a.scope");
    body.text(result);
    Message {
        kind: SIGNAL,
        serial: 8,
        path: "/org/freedesktop/systemd1".to_owned(),
        interface: "org.freedesktop.systemd1.Manager".to_owned(),
        member: "JobRemoved".to_owned(),
        signature: "uoss".to_owned(),
        body: body.0,
        ..Message::default()
    }
}

fn contains(message: &Message, text: &str) -> bool {
    message
        .body
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn a_scope_is_started_with_somebody_in_it() {
    for bus in [false, true] {
        let fake = Fake::new(bus, &[Answer::Job("done")]);
        let held = fake.start().unwrap();
        assert_eq!(held.unit.name, "p-box.scope");
        let call = fake.next();
        assert_eq!(
            (call.member.as_str(), call.signature.as_str()),
            ("StartTransientUnit", "ssa(sv)a(sa(sv))")
        );
        for text in [
            "p-box.scope",
            "replace",
            "x.slice",
            "Delegate",
            "PIDs",
            "TasksMax",
            "TimeoutStopUSec",
        ] {
            assert!(contains(&call, text), "{text}");
        }
        let helper = held._helper.as_ref().unwrap().pid;
        assert!(Path::new(&format!("/proc/{helper}")).exists());
        drop(held);
        assert!(!Path::new(&format!("/proc/{helper}")).exists());
    }
}

#[test]
fn a_unit_that_failed_gives_its_name_back() {
    let exists = Answer::Refused("org.freedesktop.systemd1.UnitExists");
    let fake = Fake::new(false, &[exists, Answer::Done, Answer::Job("done")]);
    fake.start().unwrap();
    let members = [fake.next(), fake.next(), fake.next()].map(|call| call.member);
    assert_eq!(
        members,
        [
            "StartTransientUnit",
            "ResetFailedUnit",
            "StartTransientUnit"
        ]
    );
}

#[test]
fn refusals_are_told_in_systemds_words() {
    let refused = Answer::Refused("org.freedesktop.DBus.Error.AccessDenied");
    for (answer, words) in [
        (refused, "AccessDenied: because"),
        (Answer::Job("failed"), "its job ended with \"failed\""),
    ] {
        let fake = Fake::new(false, &[answer]);
        let error = fake.start().unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(words), "{source}");
    }
    let nowhere = tempfile::tempdir().unwrap();
    let unit = SystemdUnit {
        name: "x.scope".to_owned(),
        runtime_dir: Some(nowhere.path().to_owned()),
    };
    let error = crate::Error::from(unit.stop().unwrap_err());
    assert!(error.hint().unwrap().contains("cgroupfs"));
    assert!(matches!(error.kind(), crate::ErrorKind::Unsupported { .. }));
}

#[test]
fn stopping_and_changing_a_unit() {
    let gone = Answer::Refused("org.freedesktop.systemd1.NoSuchUnit");
    let fake = Fake::new(
        false,
        &[
            Answer::Job("done"),
            Answer::Done,
            gone,
            gone,
            Answer::Done,
            Answer::Done,
        ],
    );
    let unit = SystemdUnit {
        name: "x.scope".to_owned(),
        runtime_dir: Some(fake.directory.path().to_owned()),
    };
    unit.stop().unwrap();
    unit.stop().unwrap();
    let limits = json!({"memory": {"limit": 5000}});
    unit.update(&serde_json::from_value(limits).unwrap(), false)
        .unwrap();
    unit.attach(7).unwrap();
    let calls: Vec<Message> = (0..6).map(|_| fake.next()).collect();
    let members: Vec<_> = calls.iter().map(|call| call.member.as_str()).collect();
    assert_eq!(
        members,
        [
            "StopUnit",
            "ResetFailedUnit",
            "StopUnit",
            "ResetFailedUnit",
            "SetUnitProperties",
            "AttachProcessesToUnit"
        ]
    );
    assert!(contains(&calls[4], "MemoryMax"));
    // Nothing below it is named; one number.
    assert_eq!(calls[5].signature, "ssau");
    assert!(contains(&calls[5], "x.scope\0") && calls[5].body.ends_with(&[4, 0, 0, 0, 7, 0, 0, 0]));
}

#[test]
fn the_plan_says_what_systemd_is_asked() {
    let fake = Fake::new(false, &[]);
    let plan = fake.plan("a-b.slice:p:box", json!({"memory": {"limit": 5000}}));
    let text = plan.to_string();
    assert!(
        text.starts_with("systemd: start unit p-box.scope with "),
        "{text}"
    );
    assert!(text.contains("/a.slice/a-b.slice/p-box.scope"), "{text}");
    assert!(text.contains("write memory.max \"5000\""), "{text}");
    // On a hybrid host the files are those of v1, and so are the properties.
    let host = Hierarchies::parse(HYBRID, "0::/me\n", "");
    assert!(!host.is_v2());
}
