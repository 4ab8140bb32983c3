//! From flags to the library's options: what does not depend on the image or the container's id.

use super::args::{JobArgs, NetworkArg};
use libcontainer::oci_spec::runtime::LinuxSeccomp;
use libcontainer::spec::{Network, RunOptions, SeccompChoice, Volume};
use std::path::Path;
use trimaran_cli::Failure;

/// The options that the flags ask for.
///
/// # Errors
/// A flag's value makes no sense (code 2), or a file it names cannot be read.
pub(crate) fn of(args: &JobArgs) -> Result<RunOptions, Failure> {
    let mut options = RunOptions {
        args: args.command.clone(),
        entrypoint: args.entrypoint.as_deref().map(entrypoint).transpose()?,
        env: environment(args, &|name| std::env::var(name).ok())?,
        workdir: args.workdir.clone(),
        user: args.user.clone(),
        group_add: args.group_add.clone(),
        volumes: args
            .volume
            .iter()
            .map(|word| volume(word))
            .collect::<Result<_, _>>()?,
        read_only: args.read_only,
        hostname: args.hostname.clone(),
        terminal: args.tty,
        network: match args.network {
            NetworkArg::None => Network::None,
            NetworkArg::Host => Network::Host,
        },
        cap_add: args.cap_add.clone(),
        cap_drop: args.cap_drop.clone(),
        ..RunOptions::default()
    };
    for option in &args.security_opt {
        secure(&mut options, option)?;
    }
    Ok(options)
}

/// A program, or a JSON array of words as podman takes it; the empty word clears the image's entrypoint.
fn entrypoint(word: &str) -> Result<Vec<String>, Failure> {
    if word.is_empty() {
        return Ok(Vec::new());
    }
    if !word.starts_with('[') {
        return Ok(vec![word.to_owned()]);
    }
    serde_json::from_str(word)
        .map_err(|error| Failure::usage(format!("--entrypoint {word}: {error}")))
}

/// The files first, then the flags: later ones win.
fn environment(
    args: &JobArgs,
    own: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, Failure> {
    let mut environment = Vec::new();
    for path in &args.env_file {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::new(format!(
                "cannot read the environment file {}: {error}",
                path.display()
            ))
        })?;
        for line in text
            .lines()
            .map(str::trim_start)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            environment.extend(variable(line, own)?);
        }
    }
    for word in &args.env {
        environment.extend(variable(word, own)?);
    }
    Ok(environment)
}

/// `NAME=VALUE` as it is, `NAME` with our own value; one that we do not have is left out.
fn variable(word: &str, own: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, Failure> {
    match word.split_once('=') {
        Some(("", _)) => Err(Failure::usage(format!(
            "the environment variable {word:?} has no name"
        ))),
        Some(_) => Ok(Some(word.to_owned())),
        None if word.is_empty() => Err(Failure::usage("an environment variable has no name")),
        None => Ok(own(word).map(|value| format!("{word}={value}"))),
    }
}

/// A volume whose source is made absolute and must exist: a directory that is made silently hides a typing error.
fn volume(word: &str) -> Result<Volume, Failure> {
    let (source, rest) = word.split_once(':').unwrap_or((word, ""));
    let named = !source.is_empty() && !source.contains('/') && !source.starts_with('.');
    if named || rest.is_empty() {
        let hint =
            "write SOURCE:TARGET[:OPTIONS]; a source in the current directory begins with ./";
        return Err(
            Failure::usage(format!("volume {word:?} names no path of the host")).with_hint(hint),
        );
    }
    let absolute = std::path::absolute(source)
        .map_err(|error| Failure::new(format!("cannot make {source} absolute: {error}")))?;
    let shown = absolute.display();
    std::fs::metadata(&absolute)
        .map_err(|error| Failure::new(format!("volume {word:?}: cannot use {shown}: {error}")))?;
    let Some(text) = absolute.to_str() else {
        return Err(Failure::usage(format!(
            "volume {word:?}: the path {shown} is not UTF-8"
        )));
    };
    format!("{text}:{rest}").parse().map_err(Failure::usage)
}

fn secure(options: &mut RunOptions, option: &str) -> Result<(), Failure> {
    match option.split_once(['=', ':']).unwrap_or((option, "")) {
        ("no-new-privileges", "" | "true") => options.no_new_privileges = true,
        ("no-new-privileges", "false") => options.no_new_privileges = false,
        ("seccomp", "unconfined") => options.seccomp = SeccompChoice::Unconfined,
        ("seccomp", file) if !file.is_empty() => {
            options.seccomp = SeccompChoice::Profile(Box::new(profile(Path::new(file))?))
        }
        _ => {
            let known = "known are no-new-privileges, seccomp=unconfined and seccomp=FILE";
            return Err(
                Failure::usage(format!("--security-opt {option:?} is not known")).with_hint(known),
            );
        }
    }
    Ok(())
}

/// Reads a profile in the form of the runtime specification.
///
/// The engines' own form has conditions (`includes`, `excludes`, `archMap`), which the specification's type would silently
/// drop: calls that are allowed with a capability only would be allowed always. Such a file is refused.
fn profile(path: &Path) -> Result<LinuxSeccomp, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(format!("seccomp profile {}: {error}", path.display()))
    };
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
    let filled = |value: &serde_json::Value| value.as_object().is_some_and(|map| !map.is_empty());
    let conditional = value.get("archMap").is_some_and(|map| !map.is_null())
        || value["syscalls"].as_array().is_some_and(|groups| {
            groups
                .iter()
                .any(|group| filled(&group["includes"]) || filled(&group["excludes"]))
        });
    if conditional {
        return Err(failed(
            &"it has conditions (archMap, includes, excludes), which are not supported; resolve them first",
        ));
    }
    serde_json::from_value(value).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn environment_files_flags_and_our_own() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("env");
        std::fs::write(&file, "# comment\n\nA=1\n  B=two words \nOURS\nMISSING\n").unwrap();
        let args = JobArgs::parse_from([
            "run",
            "--env-file",
            file.to_str().unwrap(),
            "-e",
            "A=2",
            "-eOURS",
            "-e",
            "C=",
            "image",
        ]);
        let own = |name: &str| (name == "OURS").then(|| "yes".to_owned());
        assert_eq!(
            environment(&args, &own).unwrap(),
            ["A=1", "B=two words ", "OURS=yes", "A=2", "OURS=yes", "C="]
        );
        let args = JobArgs::parse_from(["run", "-e", "=x", "image"]);
        assert_eq!(environment(&args, &own).unwrap_err().code().code(), 2);
    }

    #[test]
    fn entrypoints() {
        assert_eq!(entrypoint("").unwrap(), Vec::<String>::new());
        assert_eq!(entrypoint("/bin/sh -c").unwrap(), ["/bin/sh -c"]);
        assert_eq!(entrypoint(r#"["sh","-c"]"#).unwrap(), ["sh", "-c"]);
        assert!(entrypoint("[sh").is_err());
    }

    #[test]
    fn volumes_name_existing_paths() {
        for (word, code) in [
            ("name:/x", 2),
            ("/tmp", 2),
            ("", 2),
            ("/no/such/directory:/x", 125),
            ("./no-such:/x", 125),
        ] {
            assert_eq!(volume(word).unwrap_err().code().code(), code, "{word}");
        }
    }

    #[test]
    fn security_options() {
        let with = |option| {
            let mut options = RunOptions::default();
            secure(&mut options, option).map(|()| options)
        };
        assert!(with("no-new-privileges").unwrap().no_new_privileges);
        assert!(with("no-new-privileges:true").unwrap().no_new_privileges);
        assert_eq!(
            with("seccomp=unconfined").unwrap().seccomp,
            SeccompChoice::Unconfined
        );
        for bad in ["", "seccomp=", "label=disable", "no-new-privileges=maybe"] {
            assert_eq!(with(bad).unwrap_err().code().code(), 2, "{bad}");
        }
    }

    #[test]
    fn a_profile_with_conditions_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("profile.json");
        for (text, good) in [
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mount"],"action":"SCMP_ACT_ERRNO"}]}"#,
                true,
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_BPF"]}}]}"#,
                false,
            ),
            (r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[]}"#, false),
            ("nonsense", false),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(profile(&file).is_ok(), good, "{text}");
        }
    }
}
