//! Man pages and shell completions, from the same definitions as the help.
//!
//! Each tool offers two hidden verbs, `completion SHELL` and `man DIR`; `make install` calls them.

use crate::failure::Failure;
use crate::output;
use clap::{Args, Command};
use std::path::PathBuf;

/// Arguments of the hidden verb `completion`.
#[derive(Debug, Clone, Args)]
pub struct CompletionArgs {
    /// Which shell: bash, zsh or fish
    pub shell: clap_complete::Shell,
}

/// Arguments of the hidden verb `man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Existing directory to write the pages into
    pub dir: PathBuf,
}

/// Prints the completion script for `command`, which carries the name it is installed under.
///
/// # Errors
/// If stdout cannot be written.
pub fn completion(args: &CompletionArgs, mut command: Command) -> Result<(), Failure> {
    let name = command
        .get_bin_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    output::bytes(&script)
}

/// Writes one page a visible verb: `NAME.1`, `NAME-VERB.1`.
///
/// # Errors
/// If a page cannot be written.
pub fn man(args: &ManArgs, command: Command) -> Result<(), Failure> {
    clap_mangen::generate_to(command, &args.dir).map_err(|error| {
        Failure::new(format!(
            "cannot write manual pages into {}: {error}",
            args.dir.display()
        ))
    })
}
