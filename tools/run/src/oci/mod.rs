//! The command line of an OCI runtime, as podman, conmon, containerd, CRI-O and buildah call it.
//!
//! Global flags, a verb, its flags. What callers depend on beyond the results: failures end with 1 (255 for a failed start in the
//! foreground), the words of an error, and exactly one line in the JSON log. Verbs that cannot work are not there.

mod checkpoint;
mod create;
mod events;
mod exec;
mod features;
mod global;
mod list;
mod log;
mod notify;
mod ps;
mod spec;
mod update;
mod user;
mod verbs;
mod words;

use crate::argument::split_after_first_word;
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser};
use global::{Face, Globals};
use libcontainer::criu;
use log::Log;
use std::ffi::OsString;
use std::process::ExitCode;
use trimaran_cli::{Failure, output};

/// Help in the order in which runc prints it, for those who read it with a program.
const HELP: &str = "NAME:\n   {name} - {about}\n\nUSAGE:\n   {usage}\n\n{all-args}";

/// What a verb that failed ends with, usage errors too: callers test for 1.
const FAILED: u8 = 1;

/// What an `exec` that failed ends with: any smaller number may be the program's.
const EXEC_FAILED: u8 = 255;

/// Runs the face under `name` and returns what the process ends with.
pub(crate) fn main(name: &str, arguments: Vec<OsString>) -> ExitCode {
    // Once a process, and clap wants names that live for ever.
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    let command = Globals::command().name(name).bin_name(name);
    let (head, tail) = split_after_first_word(&command, arguments);
    let globals = match parse::<Globals>(name, head) {
        Ok(globals) => globals,
        Err(parsed) => return parsed.shown(),
    };
    if globals.version {
        return answer(output::text(&version(name)));
    }
    let log = Log::of(&globals);
    if let Err(message) = log.check() {
        log::stderr(&message);
        return ExitCode::from(FAILED);
    }
    match call(name, &globals, tail) {
        Ok(code) => ExitCode::from(code),
        Err(Ended::Parse(parsed)) => {
            if !parsed.is_help() {
                log.error(&parsed.text());
            }
            parsed.shown()
        }
        Err(Ended::Failed(message)) => {
            log.error(&message);
            log::stderr(&message);
            let exec = globals.verb.as_deref() == Some("exec");
            ExitCode::from(if exec { EXEC_FAILED } else { FAILED })
        }
        Err(Ended::Output(failure)) => answer(Err(failure)),
    }
}

/// Why a verb did not end with an exit code.
enum Ended {
    /// Its command line makes no sense, or asks for help.
    Parse(Parsed),
    /// It failed, in the words callers look for.
    Failed(String),
    /// Its result cannot be written.
    Output(Failure),
}

impl From<libcontainer::Error> for Ended {
    fn from(error: libcontainer::Error) -> Self {
        Self::Failed(words::of(&error))
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Output(failure)
    }
}

/// What clap had to say instead of a result.
struct Parsed(clap::Error);

impl Parsed {
    fn is_help(&self) -> bool {
        !self.0.use_stderr()
    }

    fn lacks_value(&self) -> bool {
        let value = self.0.get(ContextKind::InvalidValue);
        self.0.kind() == clap::error::ErrorKind::InvalidValue
            && matches!(value, Some(ContextValue::String(text)) if text.is_empty())
    }

    fn text(&self) -> String {
        self.0
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    fn shown(&self) -> ExitCode {
        // A stream that cannot be written leaves nobody to tell.
        self.0.print().ok();
        if self.lacks_value() {
            // podman looks for these words of runc's to find out whether a flag is known.
            log::stderr("flag needs an argument");
        }
        if self.is_help() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(FAILED)
        }
    }
}

/// The program could not be protected from the containers it enters, so it does nothing.
pub(crate) fn unprotected(error: &libcontainer::Error) -> ExitCode {
    log::stderr(&words::of(error));
    ExitCode::from(FAILED)
}

fn answer(printed: Result<(), Failure>) -> ExitCode {
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => match failure.report() {
            trimaran_cli::ExitCode::Success => ExitCode::SUCCESS,
            _ => ExitCode::from(FAILED),
        },
    }
}

/// Parses one verb's flags. A repeated flag is no error, the last one wins: callers append to what was configured.
fn parse<T: CommandFactory + FromArgMatches>(
    name: &'static str,
    arguments: Vec<OsString>,
) -> Result<T, Parsed> {
    let command = T::command()
        .name(name)
        .bin_name(name)
        .help_template(HELP)
        .args_override_self(true);
    let line = std::iter::once(OsString::from(name)).chain(arguments);
    let matches = command.try_get_matches_from(line).map_err(Parsed)?;
    T::from_arg_matches(&matches).map_err(Parsed)
}

fn call(name: &'static str, globals: &Globals, arguments: Vec<OsString>) -> Result<u8, Ended> {
    let verb = globals.verb.as_deref().unwrap_or_default();
    let by_criu = BY_CRIU.contains(&verb);
    let known = VERBS.contains(&verb) || (by_criu && criu::find().is_some());
    if !known {
        let what = match verb {
            "" => "a verb is missing".to_owned(),
            // podman takes `checkpoint --help` that succeeds for a runtime that can do it.
            _ if by_criu => format!("{verb} is not supported without criu, which is not installed"),
            _ if arguments
                .iter()
                .any(|word| word == "-h" || word == "--help") =>
            {
                format!("No help topic for '{verb}'")
            }
            _ => format!("there is no verb {verb:?}"),
        };
        return Err(Ended::Failed(format!(
            "{name}: {what} (verbs: {})",
            VERBS.join(", ")
        )));
    }
    // Once a process, and clap wants names that live for ever.
    let full: &'static str = Box::leak(format!("{name} {verb}").into_boxed_str());
    let face = || Face::new(name, globals);
    match verb {
        "create" => with(full, arguments, |args| create::create(&face()?, args)),
        "run" => with(full, arguments, |args| create::run(&face()?, args)),
        "start" => with(full, arguments, |args| verbs::start(&face()?, args)),
        "state" => with(full, arguments, |args| verbs::state(&face()?, args)),
        "kill" => with(full, arguments, |args| verbs::kill(&face()?, args)),
        "delete" => with(full, arguments, |args| verbs::delete(&face()?, args)),
        "exec" => with(full, arguments, |args| exec::exec(&face()?, args)),
        "ps" => with(full, arguments, |args| ps::ps(&face()?, args)),
        "pause" => with(full, arguments, |args| verbs::pause(&face()?, args)),
        "resume" => with(full, arguments, |args| verbs::resume(&face()?, args)),
        "update" => with(full, arguments, |args| update::update(&face()?, args)),
        "events" => with(full, arguments, |args| events::events(&face()?, args)),
        "spec" => with(full, arguments, |args| spec::spec(name, args)),
        "checkpoint" => with(full, arguments, |args| {
            checkpoint::checkpoint(&face()?, args)
        }),
        "restore" => with(full, arguments, |args| checkpoint::restore(&face()?, args)),
        "list" => with(full, arguments, |args| list::list(&face()?, args)),
        _ => with(full, arguments, features::features),
    }
}

/// What callers of crun look for in its version.
const CRUN_FEATURES: &str = "+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF\n";

/// The verbs that are there.
const VERBS: [&str; 15] = [
    "create", "start", "state", "kill", "delete", "run", "exec", "ps", "pause", "resume", "update",
    "events", "spec", "list", "features",
];

/// Those that are there where CRIU is.
const BY_CRIU: [&str; 2] = ["checkpoint", "restore"];

/// Parses a verb's flags, then calls it.
fn with<T: Parser>(
    name: &'static str,
    arguments: Vec<OsString>,
    verb: impl FnOnce(&T) -> Result<u8, Ended>,
) -> Result<u8, Ended> {
    verb(&parse(name, arguments).map_err(Ended::Parse)?)
}

/// Whether the caller takes us for crun.
fn is_crun(name: &str) -> bool {
    name == "crun"
}

/// go-runc reads the first line, and only if it begins with `runc version` when called by that name.
fn version(name: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let spec = features::SPEC_VERSION;
    let features = if is_crun(name) { CRUN_FEATURES } else { "" };
    format!("{name} version {version}\ncommit: v{version}\nspec: {spec}\n{features}")
}
