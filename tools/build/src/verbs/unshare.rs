//! `build unshare CMD…`: a command where an ordinary user is root.

use crate::namespace;
use std::os::unix::process::CommandExt;
use std::process::Command;
use trimaran_cli::{ExitCode, Failure};

/// Runs a command in the user and mount namespace that builds work in: there `build mount` works, and the store's files
/// can be read and removed
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command [default: a shell]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<std::ffi::OsString>,
}

/// Runs the verb: becomes the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    namespace::ready()?;
    let shell = [namespace::shell().into_os_string()];
    let words = if args.command.is_empty() {
        &shell[..]
    } else {
        &args.command
    };
    let error = Command::new(&words[0]).args(&words[1..]).exec();
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => ExitCode::CommandNotFound,
        std::io::ErrorKind::PermissionDenied => ExitCode::NotExecutable,
        _ => ExitCode::Failure,
    };
    Err(Failure::new(format!("cannot execute {}: {error}", words[0].display())).with_code(code))
}
