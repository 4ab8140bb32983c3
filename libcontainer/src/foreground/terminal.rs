//! Data between the caller's terminal and the container's.

use super::Source;
use crate::error::{Error, Result};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    termios::{
        OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
        tcsetwinsize,
    },
};

/// Bytes taken from one end before the other has to take them: a page of a terminal.
const BUFFER_BYTES: usize = 8192;
/// What Ctrl-D sends: tells the program behind the terminal that its input has ended.
const END_OF_INPUT: u8 = 4;

/// The three ends of a terminal session.
#[derive(Debug)]
pub struct Terminal<'a> {
    /// The container's terminal, master side.
    pub master: OwnedFd,
    /// Where input comes from; `None` gives the container none.
    pub input: Option<BorrowedFd<'a>>,
    /// Where output goes.
    pub output: BorrowedFd<'a>,
}

/// A terminal that passes every key on as it is, until this is dropped.
#[derive(Debug)]
#[must_use = "the terminal is restored when this is dropped"]
pub struct RawMode<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> RawMode<'a> {
    /// Switches `terminal` to raw mode; `None` if it is no terminal.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn enter(terminal: BorrowedFd<'a>) -> Result<Option<Self>> {
        Self::enter_with(terminal, OutputModes::empty())
    }

    /// As [`Self::enter`], and newlines that are written still begin a line: for a container whose terminal leaves that to the caller's
    /// ([`CreateOptions::plain_newlines`](crate::runtime::CreateOptions)).
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn enter_printing(terminal: BorrowedFd<'a>) -> Result<Option<Self>> {
        Self::enter_with(terminal, OutputModes::OPOST)
    }

    fn enter_with(terminal: BorrowedFd<'a>, kept: OutputModes) -> Result<Option<Self>> {
        if !isatty(terminal) {
            return Ok(None);
        }
        let failed = |errno: Errno| Error::from_errno(errno.raw_os_error(), "set the terminal");
        let before = tcgetattr(terminal).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes |= before.output_modes & kept;
        tcsetattr(terminal, OptionalActions::Drain, &raw).map_err(failed)?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        tcsetattr(self.terminal, OptionalActions::Drain, &self.before).ok();
    }
}

/// Copies the window size of one terminal to another; nothing happens if either is none.
pub(super) fn copy_size(from: impl AsFd, to: impl AsFd) {
    if let Ok(size) = tcgetwinsize(from) {
        // The container may have closed its side.
        tcsetwinsize(to, size).ok();
    }
}

/// The relay's state: what has been read and not yet written, each way.
#[derive(Debug)]
pub(super) struct Relay<'a> {
    ends: Terminal<'a>,
    to_container: Vec<u8>,
    to_caller: Vec<u8>,
    /// The caller's input has ended.
    input_ended: bool,
    /// No process has the container's side open any more.
    hung_up: bool,
    /// The caller's output is broken: what comes is read and dropped, so that the program does not block.
    output_broken: bool,
}

impl<'a> Relay<'a> {
    pub(super) fn start(ends: Terminal<'a>) -> Result<Self> {
        let failed = |errno: Errno| Error::from_errno(errno.raw_os_error(), "set the terminal");
        // The master is ours alone: nobody else sees that it no longer blocks.
        let flags = fcntl_getfl(&ends.master).map_err(failed)?;
        fcntl_setfl(&ends.master, flags | OFlags::NONBLOCK).map_err(failed)?;
        let relay = Self {
            ends,
            to_container: Vec::new(),
            to_caller: Vec::new(),
            input_ended: false,
            hung_up: false,
            output_broken: false,
        };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the size of the caller's.
    pub(super) fn resize(&self) {
        copy_size(self.ends.output, &self.ends.master);
    }

    /// What to poll for.
    pub(super) fn wants(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut wants = Vec::with_capacity(4);
        if !self.hung_up {
            if self.to_caller.is_empty() {
                wants.push((Source::Master, self.ends.master.as_fd(), PollFlags::IN));
            }
            if !self.to_container.is_empty() {
                wants.push((Source::Master, self.ends.master.as_fd(), PollFlags::OUT));
            }
        }
        if let Some(input) = self.ends.input
            && !self.input_ended
            && self.to_container.is_empty()
        {
            wants.push((Source::Input, input, PollFlags::IN));
        }
        if !self.to_caller.is_empty() {
            wants.push((Source::Output, self.ends.output, PollFlags::OUT));
        }
        wants
    }

    /// Moves what can be moved.
    pub(super) fn turn(&mut self, master_ready: bool, input_ready: bool) {
        if input_ready {
            self.read_input();
        }
        if master_ready && self.to_caller.is_empty() {
            self.read_master();
        }
        self.write_master();
        self.write_output();
    }

    /// After the process has ended: passes on what it still wrote.
    pub(super) fn drain(&mut self) {
        loop {
            while !self.to_caller.is_empty() {
                let mut output = [PollFd::from_borrowed_fd(self.ends.output, PollFlags::OUT)];
                // A failure to wait shows itself in the write.
                poll(&mut output, None).ok();
                self.write_output();
            }
            if self.hung_up || !self.read_master() {
                return;
            }
        }
    }

    fn read_input(&mut self) {
        let Some(input) = self.ends.input else { return };
        let mut buffer = [0; BUFFER_BYTES];
        match rustix::io::read(input, &mut buffer) {
            Ok(0) => {
                self.input_ended = true;
                self.to_container.push(END_OF_INPUT);
            }
            Ok(length) => self.to_container.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.input_ended = true,
        }
    }

    /// Returns whether something was read.
    fn read_master(&mut self) -> bool {
        let mut buffer = [0; BUFFER_BYTES];
        match rustix::io::read(&self.ends.master, &mut buffer) {
            Ok(length) if length > 0 => {
                self.to_caller.extend_from_slice(&buffer[..length]);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            // EIO is how the kernel says that the last process has closed the other side.
            _ => {
                self.hung_up = true;
                false
            }
        }
    }

    fn write_master(&mut self) {
        if self.to_container.is_empty() {
            return;
        }
        match rustix::io::write(&self.ends.master, &self.to_container) {
            Ok(length) => drop(self.to_container.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.to_container.clear(),
        }
    }

    fn write_output(&mut self) {
        if self.output_broken {
            self.to_caller.clear();
        }
        if self.to_caller.is_empty() {
            return;
        }
        match rustix::io::write(self.ends.output, &self.to_caller) {
            Ok(length) => drop(self.to_caller.drain(..length)),
            // Somebody else may have made the caller's terminal non-blocking.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                self.output_broken = true;
                self.to_caller.clear();
            }
        }
    }
}
