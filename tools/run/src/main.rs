//! The `run` tool: containers without a daemon.
//!
//! A verb is one file: arguments, then one library call, then print. `grammar` decides which verb; `job` is
//! `run IMAGE [COMMAND…]`; `oci` is the command line of an OCI runtime, which other engines call.

mod argument;
mod failure;
mod grammar;
mod job;
mod oci;
mod space;
mod verbs;

use grammar::Call;
use std::ffi::OsString;
use std::process::ExitCode as ProcessExit;
use trimaran_cli::{Failure, program};

fn main() -> ProcessExit {
    let mut words = std::env::args_os();
    let argv0 = words.next();
    let arguments: Vec<OsString> = words.collect();
    let name = program::name_from(argv0.as_deref(), "run");
    let call = grammar::classify(argument::base_name(argv0.as_deref()), arguments);
    if let Err(error) = libcontainer::seal::ensure_if_first() {
        return match call {
            Call::Oci { .. } => oci::unprotected(&error),
            _ => trimaran_cli::failure::run(|| Err(failure::container(error))),
        };
    }
    match call {
        Call::Oci { name, arguments } => oci::main(&name, arguments),
        Call::Verb { verb, arguments } => {
            trimaran_cli::failure::run(|| verbs::call(name, verb, arguments))
        }
        Call::Job { arguments } => trimaran_cli::failure::run(|| job::call(name, arguments)),
        Call::Missing { verb } => trimaran_cli::failure::run(|| {
            Err(
                Failure::usage(format!("the verb {verb:?} is reserved, and not there yet"))
                    .with_hint(format!(
                        "an image of that name is run by `{name} -- {verb}`"
                    )),
            )
        }),
    }
}
