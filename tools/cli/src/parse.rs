//! From a command line to a type: clap's parser, its messages on the right stream, its exit codes ours.

use crate::exit::ExitCode;
use crate::failure::Failure;
use clap::error::ErrorKind;
use clap::{Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// Parses `arguments` (without the program's own name) as `T`, calling the program `name`.
///
/// # Errors
/// A quiet failure whose text has been printed: code 2 for a command line that makes no sense, 0 after help.
pub fn parse<T: CommandFactory + FromArgMatches>(
    name: &'static str,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<T, Failure> {
    let mut command = T::command().name(name).bin_name(name);
    let matches = matches(&mut command, name, arguments)?;
    T::from_arg_matches(&matches).map_err(|error| told(&error.format(&mut command)))
}

/// Parses `arguments` by a command that was put together by hand.
///
/// # Errors
/// As [`parse`].
pub fn matches(
    command: &mut Command,
    name: &'static str,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<clap::ArgMatches, Failure> {
    let line = std::iter::once(OsString::from(name)).chain(arguments);
    command
        .try_get_matches_from_mut(line)
        .map_err(|error| told(&error))
}

/// Prints the help of a command that was called without saying what to do.
///
/// # Errors
/// If stdout cannot be written.
pub fn help(command: &mut Command) -> Result<(), Failure> {
    crate::output::text(&command.render_help().to_string())
}

/// Prints what clap has to say and turns it into a quiet failure.
pub fn told(error: &clap::Error) -> Failure {
    let shown = error.print();
    let code = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::Success,
        _ => ExitCode::Usage,
    };
    match shown {
        Ok(()) => Failure::quiet(code),
        Err(error) => crate::output::failure(error),
    }
}
