//! What was typed: which face of the tool, which verb, and where its arguments begin. Pure.
//!
//! 1. Called as `runc`, `crun`, `run-oci` or `trimaran-runtime`, or as `run oci …`: the OCI runtime's command line.
//! 2. The first word that is no flag is a verb, with nothing but global flags in front: that verb.
//! 3. Anything else is a job: `run [flags] IMAGE [COMMAND…]`.
//!
//! So an image that is called like a verb is written `run -- ps`, `run ps:latest` or `run -i ps`.

use crate::argument::{RUNTIME, runtime_name};
use std::ffi::OsString;

/// Verbs that are there.
pub(crate) const VERBS: [&str; 8] = [
    "run",
    "pull",
    "images",
    "rmi",
    "oci",
    "version",
    "completion",
    "man",
];

/// Verbs of the field that are not there yet. They are reserved, so that no script changes its meaning when they arrive.
const RESERVED: [&str; 61] = [
    "attach",
    "auto-update",
    "boot",
    "build",
    "checkpoint",
    "clone",
    "commit",
    "container",
    "cp",
    "create",
    "diff",
    "events",
    "exec",
    "exists",
    "export",
    "farm",
    "generate",
    "health",
    "healthcheck",
    "help",
    "history",
    "image",
    "import",
    "info",
    "init",
    "inspect",
    "kill",
    "kube",
    "load",
    "login",
    "logout",
    "logs",
    "machine",
    "manifest",
    "monitor",
    "mount",
    "network",
    "pause",
    "pod",
    "port",
    "ps",
    "push",
    "rename",
    "restart",
    "restore",
    "rm",
    "save",
    "search",
    "secret",
    "start",
    "stats",
    "stop",
    "system",
    "tag",
    "top",
    "umount",
    "unpause",
    "untag",
    "update",
    "volume",
    "wait",
];

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// The OCI runtime's command line, under this name.
    Oci {
        /// What the runtime calls itself.
        name: String,
        /// What follows.
        arguments: Vec<OsString>,
    },
    /// A verb, with the global flags that stood before it.
    Verb {
        /// One of [`VERBS`].
        verb: &'static str,
        /// Global flags, then what followed the verb.
        arguments: Vec<OsString>,
    },
    /// A verb that is reserved and not there.
    Missing {
        /// The verb.
        verb: &'static str,
    },
    /// `run [flags] IMAGE [COMMAND…]`.
    Job {
        /// All arguments.
        arguments: Vec<OsString>,
    },
}

/// Decides by the name the program was called by and its arguments.
pub(crate) fn classify(program: &str, arguments: Vec<OsString>) -> Call {
    if let Some(name) = runtime_name(program) {
        let name = name.to_owned();
        return Call::Oci { name, arguments };
    }
    let globals = global_flags(&arguments);
    let word = arguments.get(globals).and_then(|word| word.to_str());
    let known = |list: &'static [&'static str]| {
        word.and_then(|word| list.iter().find(|verb| **verb == word).copied())
    };
    if let Some(verb) = known(&VERBS) {
        let mut arguments = arguments;
        arguments.remove(globals);
        return match verb {
            "oci" => Call::Oci {
                name: RUNTIME.to_owned(),
                arguments,
            },
            verb => Call::Verb { verb, arguments },
        };
    }
    match known(&RESERVED) {
        Some(verb) => Call::Missing { verb },
        None => Call::Job { arguments },
    }
}

/// How many arguments in front are global flags with their values.
fn global_flags(arguments: &[OsString]) -> usize {
    let mut at = 0;
    while let Some(argument) = arguments.get(at).and_then(|argument| argument.to_str()) {
        at += match argument {
            "--root" => 2,
            argument if argument.starts_with("--root=") => 1,
            _ => break,
        };
    }
    at.min(arguments.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argument::split_after_first_word;
    use clap::CommandFactory;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn faces_and_verbs() {
        let verb = |verb, rest| Call::Verb {
            verb,
            arguments: words(rest),
        };
        let job = |line| Call::Job {
            arguments: words(line),
        };
        let oci = |name: &str, rest| Call::Oci {
            name: name.to_owned(),
            arguments: words(rest),
        };
        for (program, line, want) in [
            ("run", "busybox ps", job("busybox ps")),
            ("run", "", job("")),
            ("run", "--help", job("--help")),
            ("run", "-it pull", job("-it pull")),
            ("run", "-- pull", job("-- pull")),
            ("run", "pull:latest", job("pull:latest")),
            ("run", "pull x", verb("pull", "x")),
            ("run", "run -i x pull", verb("run", "-i x pull")),
            ("run", "--root /r images -q", verb("images", "--root /r -q")),
            ("run", "--root=/r rmi x", verb("rmi", "--root=/r x")),
            ("run", "--root", job("--root")),
            ("run", "ps -a", Call::Missing { verb: "ps" }),
            (
                "run",
                "oci --root /r state x",
                oci("trimaran-runtime", "--root /r state x"),
            ),
            ("runc", "state x", oci("runc", "state x")),
            ("run-oci", "pull", oci("run-oci", "pull")),
        ] {
            assert_eq!(classify(program, words(line)), want, "{program} {line}");
        }
    }

    #[test]
    fn no_verb_is_both_there_and_missing() {
        assert!(VERBS.iter().all(|verb| !RESERVED.contains(verb)));
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn what_follows_the_image_is_left_alone() {
        let command = crate::job::JobArgs::command();
        for (line, ours) in [
            ("-it image -e x", 2),
            ("-e A=1 image -e x", 3),
            ("-eA=1 image sh -c x", 2),
            ("-itw / image", 4),
            ("--name=x image", 2),
            ("--name x image --name y", 3),
            ("--tls-verify=false image", 2),
            ("--tls-verify image", 2),
            ("-- -image -x", 2),
            ("--unknown image", 2),
            ("--explain image", 2),
            ("-i", 1),
            ("--name", 1),
            ("-", 1),
        ] {
            let (head, tail) = split_after_first_word(&command, words(line));
            assert_eq!(head.len(), ours.min(words(line).len()), "{line}");
            assert_eq!([head, tail].concat(), words(line));
        }
    }
}
