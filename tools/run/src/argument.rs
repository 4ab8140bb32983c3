//! What every face of the tool has to know about its arguments. Pure.

use clap::{ArgAction, Command};
use std::ffi::{OsStr, OsString};

/// What the OCI runtime is called where its caller did not choose.
pub(crate) const RUNTIME: &str = "trimaran-runtime";

/// Base names that make a binary an OCI runtime and nothing else.
const RUNTIME_NAMES: [&str; 4] = ["runc", "crun", "run-oci", RUNTIME];

/// The name of the runtime that a program's base name asks for.
pub(crate) fn runtime_name(program: &str) -> Option<&'static str> {
    RUNTIME_NAMES.into_iter().find(|name| *name == program)
}

/// Splits arguments after their first positional word: what follows belongs to somebody else, whatever it looks like.
///
/// `command` tells which flags take a value. Unknown flags are kept for clap to complain about.
pub(crate) fn split_after_first_word(
    command: &Command,
    arguments: Vec<OsString>,
) -> (Vec<OsString>, Vec<OsString>) {
    let mut rest = arguments;
    let mut at = 0;
    while let Some(argument) = rest.get(at) {
        at += 1;
        let bytes = argument.as_encoded_bytes();
        if bytes == b"--" {
            // The word after it is positional even if it looks like a flag.
            at = (at + 1).min(rest.len());
            break;
        } else if let Some(long) = bytes.strip_prefix(b"--") {
            if !long.contains(&b'=') && long_takes_value(command, long) {
                at += 1;
            }
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            at += usize::from(shorts_want_value(command, &bytes[1..]));
        } else {
            break;
        }
    }
    let tail = rest.split_off(at.min(rest.len()));
    (rest, tail)
}

fn takes_separate_value(argument: &clap::Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
        && !argument.is_require_equals_set()
}

fn long_takes_value(command: &Command, long: &[u8]) -> bool {
    command
        .get_arguments()
        .filter(|argument| {
            argument
                .get_long()
                .is_some_and(|name| name.as_bytes() == long)
        })
        .any(takes_separate_value)
}

/// Whether a cluster such as `-it` or `-ie` ends in a flag whose value is the next argument.
fn shorts_want_value(command: &Command, cluster: &[u8]) -> bool {
    for (index, byte) in cluster.iter().enumerate() {
        let takes = command
            .get_arguments()
            .filter(|argument| argument.get_short() == Some(char::from(*byte)))
            .any(takes_separate_value);
        if takes {
            // The rest of the cluster is the value, if there is any.
            return index + 1 == cluster.len();
        }
    }
    false
}

/// The base name of the path a program was called by.
pub(crate) fn base_name(argv0: Option<&OsStr>) -> &str {
    argv0
        .map(std::path::Path::new)
        .and_then(std::path::Path::file_name)
        .and_then(OsStr::to_str)
        .unwrap_or("run")
}
