//! How does an answer go out: whole, in pieces, or not to the end?

use super::server::Shared;
use super::wire::Answer;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// The way an answer's body is sent.
#[derive(Clone, Debug)]
pub(super) enum Delivery {
    Whole,
    Chunked,
    ResetAt(u64),
    Truncate(u64),
    Stall(u64),
    Drip(usize, Duration),
}

impl Delivery {
    /// Returns how many of `length` bytes will be sent.
    pub(super) fn planned(&self, length: usize) -> usize {
        match self {
            Delivery::Whole | Delivery::Chunked | Delivery::Drip(..) => length,
            Delivery::ResetAt(n) | Delivery::Truncate(n) | Delivery::Stall(n) => {
                length.min(usize::try_from(*n).unwrap_or(usize::MAX))
            }
        }
    }
}

/// Sends an answer. Returns whether the connection can be used for another.
pub(super) fn deliver(
    mut stream: &TcpStream,
    shared: &Shared,
    answer: &Answer,
    delivery: &Delivery,
    bodiless: bool,
) -> io::Result<bool> {
    if matches!(delivery, Delivery::ResetAt(0)) {
        return reset(stream).map(|()| false);
    }
    let announced = (!matches!(delivery, Delivery::Chunked)).then_some(answer.body.len());
    answer.write_head(&mut stream, announced)?;
    if bodiless {
        return Ok(true);
    }
    let part = &answer.body[..delivery.planned(answer.body.len())];
    match delivery {
        Delivery::Chunked => send_chunked(stream, part)?,
        Delivery::Drip(size, pause) => {
            for piece in part.chunks((*size).max(1)) {
                shared.wait(Some(*pause));
                stream.write_all(piece)?;
            }
        }
        _ => stream.write_all(part)?,
    }
    match delivery {
        Delivery::ResetAt(_) => reset(stream).map(|()| false),
        Delivery::Truncate(_) => stream.shutdown(Shutdown::Both).map(|()| false),
        Delivery::Stall(_) => {
            shared.wait(None);
            Ok(false)
        }
        _ => Ok(true),
    }
}

fn send_chunked(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.chunks(4096) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
    }
    stream.write_all(b"0\r\n\r\n")
}

/// Makes the kernel send RST instead of FIN when the last descriptor is closed.
fn reset(stream: &TcpStream) -> io::Result<()> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(())
}
