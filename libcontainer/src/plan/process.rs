//! The process: who it is, what it may do, what it executes. Pure.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, Process, Spec};

use super::arena::{Span, Text};
use super::compile::Compiler;
use super::step::{CapabilityStep, Step};
use crate::capability::{self, CapabilitySet};
use crate::error::{Error, ErrorKind};
use crate::features::KEEP_GROUPS;
use crate::rlimit;

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Mask of a process whose specification names none.
const DEFAULT_UMASK: u32 = 0o022;

pub(crate) fn invalid(field: &str, hint: &'static str) -> Error {
    Error::new(
        ErrorKind::InvalidSpec {
            field: field.into(),
        },
        "specification",
    )
    .with_hint(hint)
}

/// Adds arguments, environment and the candidates for the program; gives the candidates.
pub(crate) fn program(
    compiler: &mut Compiler<'_>,
    process: &Process,
    added: &[String],
) -> Result<Span, Error> {
    let arguments = process.args().as_deref().unwrap_or_default();
    let name = arguments
        .first()
        .ok_or_else(|| invalid("process.args", "there is no program to execute"))?;
    compiler.script.arguments = texts(
        compiler,
        "process.args",
        arguments.iter().map(String::as_bytes),
    )?;
    let environment = process.env().as_deref().unwrap_or_default();
    let home = compiler
        .facts
        .home
        .as_ref()
        .filter(|_| value_of(environment, "HOME").is_none_or(str::is_empty));
    let home = home.map(|home| format!("HOME={home}"));
    let all = environment.iter().chain(&home).chain(added);
    let all = last_of_each(&all.map(String::as_str).collect::<Vec<_>>());
    compiler.script.environment = texts(
        compiler,
        "process.env",
        all.iter().map(|entry| entry.as_bytes()),
    )?;
    let path = value_of(environment, "PATH").unwrap_or(DEFAULT_PATH);
    let candidates = candidates(name, path);
    texts(
        compiler,
        "process.args",
        candidates.iter().map(String::as_bytes),
    )
}

/// Adds a file to execute, whatever the first argument is.
pub(crate) fn file(compiler: &mut Compiler<'_>, path: &Path) -> Result<Span, Error> {
    let path = path.as_os_str().as_bytes();
    texts(compiler, "the program", std::iter::once(path))
}

/// The files that `name` may mean.
fn candidates(name: &str, path: &str) -> Vec<String> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    // A relative directory would depend on where the container starts, which is not the user's choice.
    path.split(':')
        .filter(|part| part.starts_with('/'))
        .map(|part| format!("{}/{name}", part.trim_end_matches('/')))
        .collect()
}

/// Each variable once, where it was named first, with the value it was given last. The C library would find the first.
fn last_of_each<'e>(entries: &[&'e str]) -> Vec<&'e str> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
    let mut kept: Vec<&'e str> = Vec::with_capacity(entries.len());
    for entry in entries {
        let key = entry.split_once('=').map_or(*entry, |(key, _)| key);
        match places.get(key).and_then(|place| kept.get_mut(*place)) {
            Some(earlier) => *earlier = entry,
            None => {
                places.insert(key, kept.len());
                kept.push(entry);
            }
        }
    }
    kept
}

fn value_of<'e>(environment: &'e [String], key: &str) -> Option<&'e str> {
    // The last one wins, as it does in the C library's `putenv` order.
    environment
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix(key)?.strip_prefix('='))
}

fn texts<'t>(
    compiler: &mut Compiler<'_>,
    field: &str,
    list: impl Iterator<Item = &'t [u8]>,
) -> Result<Span, Error> {
    let all: Vec<Text> = list
        .map(|text| compiler.text(field, text))
        .collect::<Result<_, _>>()?;
    let first = compiler.script.texts.len() as u32;
    compiler.script.texts.extend(&all);
    Ok(Span {
        first,
        count: all.len() as u32,
    })
}

/// Adds resource limits and the umask.
fn limits(compiler: &mut Compiler<'_>, process: &Process) {
    for limit in process.rlimits().as_deref().unwrap_or_default() {
        let number = rlimit::number(limit.typ());
        compiler.script.steps.push(Step::Limit {
            number,
            soft: limit.soft(),
            hard: limit.hard(),
        });
    }
    let mask = process.user().umask().unwrap_or(DEFAULT_UMASK) & 0o777;
    compiler.script.steps.push(Step::Umask { mask });
}

/// Adds the steps from root to the user, with the filter where the kernel accepts it.
///
/// Loading a filter needs no_new_privs or `CAP_SYS_ADMIN`. With no_new_privs it is loaded at the very end and need not allow what is
/// done before; without, it has to be loaded while the capability is still there.
///
/// `at_root` says that the process is in `/` already, because it has just changed its root or its mount namespace.
pub(crate) fn identity(
    compiler: &mut Compiler<'_>,
    spec: &Spec,
    process: &Process,
    at_root: bool,
) -> Result<(), Error> {
    let sets = process.capabilities().as_ref();
    let set = |pick: fn(&LinuxCapabilities) -> &Option<Capabilities>| {
        sets.and_then(|sets| pick(sets).as_ref())
            .map_or(0, |set| CapabilitySet::from(set).bits())
    };
    let usable = set(LinuxCapabilities::inheritable) & set(LinuxCapabilities::permitted);
    let ambient = sets.and_then(|sets| sets.ambient().as_ref());
    if let Some(ambient) = ambient {
        let bits = CapabilitySet::from(ambient).iter();
        let lost = bits.filter(|one| usable & (1 << capability::number(*one)) == 0);
        // runc's words, which its callers look for.
        compiler.script.warnings.extend(lost.map(|one| {
            let name = capability::name(one);
            format!(
                "can't raise ambient capability {name}: it is not both inheritable and permitted"
            )
        }));
    }
    let cwd = workdir(process)?;
    let stays = at_root && cwd.as_os_str() == "/";
    let cwd = compiler.text("process.cwd", cwd.as_os_str().as_bytes())?;
    let groups = process
        .user()
        .additional_gids()
        .as_deref()
        .unwrap_or_default();
    let first = compiler.script.groups.len() as u32;
    compiler.script.groups.extend(groups);
    let span = (!keeps_groups(spec)).then_some(Span {
        first,
        count: groups.len() as u32,
    });
    let (uid, gid) = (process.user().uid(), process.user().gid());
    let no_new_privileges = process.no_new_privileges().unwrap_or(false);
    let early_filter = !no_new_privileges && !compiler.script.filter.is_empty();
    // Entered twice: as root because the user may be unable to look it up, as the user because root may be (a network file system).
    if !stays {
        compiler.script.steps.push(Step::Chdir { path: cwd });
    }
    // The name of the program, or its `#!` line, may be a path through /proc/self/fd. And a filter may forbid what closing takes.
    compiler.script.steps.push(Step::DropDescriptors);
    // Limits come after the last descriptor is opened: there may be a limit of ten of them.
    limits(compiler, process);
    compiler.script.steps.push(Step::DropBounding {
        keep: set(LinuxCapabilities::bounding),
    });
    if early_filter {
        compiler.filter_step();
    }
    let steps = &mut compiler.script.steps;
    steps.push(Step::Identity {
        uid,
        gid,
        groups: span,
    });
    steps.push(Step::Capabilities(CapabilityStep {
        effective: set(LinuxCapabilities::effective),
        permitted: set(LinuxCapabilities::permitted),
        inheritable: set(LinuxCapabilities::inheritable),
        ambient: set(LinuxCapabilities::ambient),
    }));
    if !stays {
        steps.push(Step::Workdir { path: cwd });
    }
    if no_new_privileges {
        steps.push(Step::NoNewPrivileges);
    }
    Ok(())
}

/// Whether the process stays in the caller's groups, which podman asks for with `--group-add keep-groups`: a group that has no number in
/// the container may be what lets its user read a volume.
fn keeps_groups(spec: &Spec) -> bool {
    let annotations = spec.annotations().as_ref();
    let value = annotations.and_then(|all| all.get(KEEP_GROUPS));
    value.is_some_and(|value| !matches!(value.as_str(), "" | "0"))
}

/// Adds the OOM score of the child itself, which has the right to lower it as long as it is in the caller's user namespace.
pub(crate) fn oom_score(compiler: &mut Compiler<'_>, score: i32) -> Result<(), Error> {
    let value = compiler.text("process.oomScoreAdj", score.to_string().as_bytes())?;
    let lenient = compiler.facts.in_user_namespace;
    compiler
        .script
        .steps
        .push(Step::OomScore { value, lenient });
    Ok(())
}

/// Rows and columns of a terminal (zero if they do not matter), and who owns it.
pub(crate) fn terminal(process: &Process) -> (u16, u16, u32) {
    let size = process.console_size().unwrap_or_default();
    let clip = |cells: u64| u16::try_from(cells).unwrap_or(u16::MAX);
    let uid = process.user().uid();
    (clip(size.height()), clip(size.width()), uid)
}

/// The working directory, which must be absolute.
pub(crate) fn workdir(process: &Process) -> Result<&Path, Error> {
    let path = process.cwd().as_path();
    if !path.is_absolute() {
        return Err(invalid(
            "process.cwd",
            "the working directory must be an absolute path",
        ));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_has_the_value_it_was_given_last() {
        assert_eq!(
            last_of_each(&["A=1", "B=", "A=2", "AA=3", "B=x=y"]),
            ["A=2", "B=x=y", "AA=3"]
        );
    }

    #[test]
    fn a_name_is_looked_up_and_a_path_is_not() {
        assert_eq!(
            candidates("ls", "/bin:/usr/bin/::.:x"),
            ["/bin/ls", "/usr/bin/ls"]
        );
        assert_eq!(candidates("./ls", "/bin"), ["./ls"]);
        assert_eq!(candidates("", "/bin"), [""; 0]);
    }
}
