//! Runs a command as root of a user namespace: what the tools do first when an ordinary user calls them.
//!
//! `unshare [--no-helpers] [--threads] COMMAND…`; the ranges are those of `/etc/subuid` and `/etc/subgid`.

use libcontainer::rootless::{self, Helpers};
use std::{error::Error, os::unix::process::CommandExt, path::Path, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let mut flag =
        |name: &str| words.first().is_some_and(|word| word == name) && !words.remove(0).is_empty();
    let (no_helpers, threads) = (flag("--no-helpers"), flag("--threads"));
    let facts = rootless::facts()?;
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let user = read("/etc/passwd").lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(facts.uid)).then(|| fields[0].to_owned())
    });
    let maps = rootless::plan_maps(
        facts.uid,
        facts.gid,
        user.as_deref(),
        &read("/etc/subuid"),
        &read("/etc/subgid"),
    );
    let helpers = if no_helpers {
        Helpers::default()
    } else {
        Helpers::find([Path::new("/usr/bin"), Path::new("/bin")])
    };
    if threads {
        std::thread::spawn(std::thread::park);
    }
    rootless::enter(&maps, &helpers)
        .map_err(libcontainer::Error::from)
        .map_err(|error| {
            let cause = std::error::Error::source(&error)
                .map(ToString::to_string)
                .unwrap_or_default();
            format!(
                "{error}: {cause} (hint: {})",
                error.hint().unwrap_or("none")
            )
        })?;
    let (program, rest) = words.split_first().ok_or("no command")?;
    Err(Command::new(program).args(rest).exec().into())
}
