//! The libraries' errors as failures of the tool: exit code and hint by kind.

use libcontainer::ErrorKind as Container;
use libimage::ErrorKind as Image;
use trimaran_cli::{ExitCode, Failure};

/// A failure to start or run a container. A command that is missing or cannot be executed has its own code.
pub(crate) fn container(error: impl Into<libcontainer::Error>) -> Failure {
    let error = error.into();
    let code = match error.kind() {
        Container::ExecNotFound => ExitCode::CommandNotFound,
        Container::ExecNotPermitted => ExitCode::NotExecutable,
        _ => ExitCode::Failure,
    };
    let hint = error.hint().map(str::to_owned);
    let failure = Failure::new(error).with_code(code);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// A failure to find, fetch or unpack an image.
pub(crate) fn image(error: impl Into<libimage::Error>) -> Failure {
    let error = error.into();
    let hint = match error.kind() {
        Image::Unauthorized => {
            Some("log in with `podman login` or `docker login`, or give --creds USER:PASSWORD")
        }
        Image::Denied => {
            Some("the registry or the policy does not allow it: see containers-policy.json(5)")
        }
        Image::NoSpace => {
            Some("free space where images are kept, or choose another place with --root")
        }
        Image::RateLimited { .. } => {
            Some("wait, or log in: registries allow more to those they know")
        }
        _ => None,
    };
    let failure = Failure::new(error);
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}
