//! Asking a person for a secret, on a terminal that does not show it.

use crate::failure::Failure;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::thread::JoinHandle;

/// Bytes of an answer: tokens have some thousand.
pub const ANSWER_BYTES: u64 = 64 << 10;

/// Whether there is a terminal to ask on: somebody types into our stdin.
#[must_use]
pub fn can_ask() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stdin())
}

/// Asks on the terminal and shows what is typed.
///
/// # Errors
/// There is no terminal, or it cannot be read.
pub fn ask(question: &str) -> Result<String, Failure> {
    let terminal = terminal()?;
    prompt(&terminal, question)?;
    answer(&terminal)
}

/// Asks on the terminal and does not show what is typed.
///
/// # Errors
/// There is no terminal, or it cannot be read.
pub fn ask_secret(question: &str) -> Result<String, Failure> {
    let terminal = terminal()?;
    let hidden = Hidden::new(&terminal)?;
    prompt(&terminal, question)?;
    let answer = answer(&terminal);
    drop(hidden);
    prompt(&terminal, "\n")?;
    answer
}

/// Reads a secret from stdin to its end; newlines at the end are no part of it.
///
/// # Errors
/// stdin cannot be read, or holds too much.
pub fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin()
        .lock()
        .take(ANSWER_BYTES + 1)
        .read_to_string(&mut text);
    let read = read
        .map_err(|error| Failure::new(format!("cannot read the password from stdin: {error}")))?;
    if read as u64 > ANSWER_BYTES {
        return Err(Failure::new("what stdin holds is too long for a password"));
    }
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// The terminal itself, whatever stdout and stderr are connected to.
fn terminal() -> Result<File, Failure> {
    let open = File::options().read(true).write(true).open("/dev/tty");
    open.map_err(|error| Failure::new(format!("there is no terminal to ask on: {error}")))
}

fn prompt(mut terminal: &File, question: &str) -> Result<(), Failure> {
    let write = terminal.write_all(question.as_bytes());
    write.map_err(|error| Failure::new(format!("cannot write to the terminal: {error}")))
}

fn answer(terminal: &File) -> Result<String, Failure> {
    let mut text = String::new();
    let mut lines = BufReader::new(terminal.take(ANSWER_BYTES));
    let read = lines.read_line(&mut text);
    read.map_err(|error| Failure::new(format!("cannot read from the terminal: {error}")))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// A terminal that shows nothing, until this is dropped or a signal ends us.
#[must_use = "the terminal shows what is typed again when this is dropped"]
struct Hidden {
    terminal: File,
    before: Termios,
    signals: Handle,
    watch: Option<JoinHandle<()>>,
}

impl Hidden {
    fn new(terminal: &File) -> Result<Self, Failure> {
        let before = tcgetattr(terminal).map_err(std::io::Error::from)?;
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let (handle, terminal) = (signals.handle(), terminal.try_clone()?);
        let (theirs, shown) = (terminal.try_clone()?, before.clone());
        let watch = std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                restore(&theirs, &shown);
                crate::interrupt::reraise(signal);
            }
        });
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let hidden = Self {
            terminal,
            before,
            signals: handle,
            watch: Some(watch),
        };
        tcsetattr(&hidden.terminal, OptionalActions::Flush, &silent)
            .map_err(std::io::Error::from)?;
        Ok(hidden)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        restore(&self.terminal, &self.before);
        self.signals.close();
        if let Some(watch) = self.watch.take() {
            // It ends at once; a panic there has nothing to do with the answer.
            watch.join().ok();
        }
    }
}

fn restore(terminal: &File, modes: &Termios) {
    // The terminal may be gone: then nobody misses the echo.
    tcsetattr(terminal, OptionalActions::Flush, modes).ok();
}
