//! A connection to systemd's manager, on its own socket or over a message bus.

use super::wire::{CALL, ERROR, FIXED_BYTES, Message, RETURN, Reader, SIGNAL, Value, Writer};
use crate::cgroup::CgroupError;
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long systemd may take for an answer or a job.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest line of the authentication that is read.
const LINE_BYTES: usize = 4096;

const PATH: &str = "/org/freedesktop/systemd1";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";

/// Where systemd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) path: PathBuf,
    /// Whether a message bus is in between.
    pub(super) bus: bool,
}

/// The places to look for the machine's manager, or for the user's own.
pub(super) fn addresses(user: Option<&Path>) -> Vec<Address> {
    let (own, shared) = match user {
        None => (
            "/run/systemd/private".into(),
            "/run/dbus/system_bus_socket".into(),
        ),
        Some(directory) => (directory.join("systemd/private"), directory.join("bus")),
    };
    [(own, false), (shared, true)]
        .map(|(path, bus)| Address { path, bus })
        .into()
}

/// A connection.
pub(super) struct Manager {
    stream: UnixStream,
    serial: u32,
    /// Signals that came while an answer was waited for.
    signals: Vec<Message>,
}

impl Manager {
    /// Connects to the first address that answers.
    pub(super) fn connect(addresses: &[Address]) -> Result<Self, CgroupError> {
        let mut first = None;
        for address in addresses {
            let failed = |source| CgroupError::Bus {
                path: address.path.clone(),
                source,
            };
            match Self::open(address) {
                Ok(manager) => return Ok(manager),
                Err(error) => first = first.or(Some(failed(error))),
            }
        }
        Err(first.unwrap_or(CgroupError::Unsupported("systemd without an address")))
    }

    fn open(address: &Address) -> io::Result<Self> {
        let stream = UnixStream::connect(&address.path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut manager = Self {
            stream,
            serial: 0,
            signals: Vec::new(),
        };
        manager.authenticate()?;
        if address.bus {
            let rule =
                "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
            let mut body = Writer::default();
            body.text(rule);
            manager.ask(BUS, "/org/freedesktop/DBus", BUS, "Hello", "", Vec::new())?;
            manager.ask(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", "s", body.0)?;
            manager.ask(SYSTEMD, PATH, MANAGER, "Subscribe", "", Vec::new())?;
        }
        Ok(manager)
    }

    /// The kernel tells the other side who we are. We do not: in a user namespace our own number is another one than theirs.
    fn authenticate(&mut self) -> io::Result<()> {
        // In one go: a call that systemd happens to read together with the last line waits there until something else comes.
        self.stream
            .write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        if !self.line()?.starts_with(b"DATA") || !self.line()?.starts_with(b"OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
            if line.len() > LINE_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(line)
    }

    /// Calls a method of the manager.
    pub(super) fn call(
        &mut self,
        unit: &str,
        method: &str,
        signature: &str,
        body: Writer,
    ) -> Result<Message, CgroupError> {
        self.ask(SYSTEMD, PATH, MANAGER, method, signature, body.0)
            .map_err(|source| CgroupError::Unit {
                unit: unit.to_owned(),
                source,
            })
    }

    fn ask(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        member: &str,
        signature: &str,
        body: Vec<u8>,
    ) -> io::Result<Message> {
        self.serial += 1;
        let call = Message {
            kind: CALL,
            serial: self.serial,
            destination: destination.to_owned(),
            path: path.to_owned(),
            interface: interface.to_owned(),
            member: member.to_owned(),
            signature: signature.to_owned(),
            body,
            ..Message::default()
        };
        self.stream.write_all(&call.to_bytes())?;
        loop {
            let message = self.read()?;
            match message.kind {
                RETURN if message.reply_to == self.serial => return Ok(message),
                ERROR if message.reply_to == self.serial => return Err(refusal(&message)),
                SIGNAL => self.signals.push(message),
                _ => {}
            }
        }
    }

    fn read(&mut self) -> io::Result<Message> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        let mut fixed = [0; FIXED_BYTES];
        self.stream.read_exact(&mut fixed)?;
        let mut bytes = vec![0; Message::length(&fixed).ok_or_else(wrong)?];
        let (first, rest) = bytes.split_at_mut(FIXED_BYTES);
        first.copy_from_slice(&fixed);
        self.stream.read_exact(rest)?;
        Message::parse(&bytes).ok_or_else(wrong)
    }

    /// Waits for the end of a job, and says how it ended.
    pub(super) fn finished(&mut self, unit: &str, job: &str) -> Result<(), CgroupError> {
        let failed = |source| CgroupError::Unit {
            unit: unit.to_owned(),
            source,
        };
        loop {
            let known = std::mem::take(&mut self.signals);
            for signal in &known {
                match ended(signal, job).as_deref() {
                    None => {}
                    Some("done") => return Ok(()),
                    Some(other) => {
                        let text = format!("its job ended with {other:?}");
                        return Err(failed(io::Error::other(text)));
                    }
                }
            }
            let next = self.read().map_err(failed)?;
            self.signals.push(next);
        }
    }
}

/// How a job ended, if the signal says so: `JobRemoved(id, job, unit, result)`.
fn ended(signal: &Message, job: &str) -> Option<String> {
    if signal.kind != SIGNAL || signal.member != "JobRemoved" {
        return None;
    }
    let mut body = Reader {
        bytes: &signal.body,
        at: 0,
    };
    body.u32()?;
    let ours = body.text()? == job;
    body.text()?;
    let result = body.text()?;
    ours.then_some(result)
}

/// systemd's own words for what it refused.
fn refusal(message: &Message) -> io::Error {
    let mut body = Reader {
        bytes: &message.body,
        at: 0,
    };
    let words = match message.signature.starts_with('s') {
        true => body.text().unwrap_or_default(),
        false => String::new(),
    };
    let kind = match message.error.rsplit('.').next() {
        Some("NoSuchUnit" | "UnitNotLoaded") => io::ErrorKind::NotFound,
        Some("UnitExists") => io::ErrorKind::AlreadyExists,
        Some("AccessDenied" | "InteractiveAuthorizationRequired") => {
            io::ErrorKind::PermissionDenied
        }
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, format!("{}: {words}", message.error))
}

/// The text that a message begins with.
pub(super) fn first_text(message: &Message) -> Option<String> {
    Reader {
        bytes: &message.body,
        at: 0,
    }
    .text()
}

/// The body of calls that take a name, a word and properties.
pub(super) fn transient(name: &str, properties: &[(String, Value)]) -> Writer {
    let mut body = Writer::default();
    body.text(name);
    body.text("replace");
    body.properties(properties);
    // No further units.
    body.array(8, |_| {});
    body
}
