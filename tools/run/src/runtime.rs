//! `trimaran-runtime`: the command line of an OCI runtime and nothing else.
//!
//! It is what `run oci` is. Engines start this program several times for every container, and have no use for the registries and the
//! store that `run` brings along: without them it is half its size, starts in half the time, and needs two thirds of its memory.

mod argument;
mod oci;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let argv0 = words.next();
    let arguments: Vec<OsString> = words.collect();
    let name = argument::runtime_name(argument::base_name(argv0.as_deref()));
    let name = name.unwrap_or(argument::RUNTIME);
    match libcontainer::seal::ensure_if_first() {
        Ok(()) => oci::main(name, arguments),
        Err(error) => oci::unprotected(&error),
    }
}
