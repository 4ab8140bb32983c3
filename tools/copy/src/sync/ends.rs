//! What do SRC and DST mean?

use super::Work;
use clap::ValueEnum;
use libimage::sync::{Place, Reference, SyncEntry, SyncPlan, SyncSource, SyncTarget, read_plan};
use std::io::Read;
use trimaran_cli::Failure;

/// Bytes of a file that are read: a plan may have four million, and one more says that it has too many.
const FILE_BYTES: u64 = (4 << 20) + 1;

/// What SRC is, in skopeo's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum From {
    /// A repository of a registry, or one image of it
    Docker,
    /// A tree of directories with an image each
    Dir,
    /// An OCI image layout, or a tree of such
    Oci,
    /// A file that says what is meant
    Yaml,
}

/// What DST is, in skopeo's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum To {
    /// A registry, or a path in one
    Docker,
    /// A directory for a directory an image
    Dir,
    /// An OCI image layout
    Oci,
}

/// Makes the plan.
pub(super) fn plan(args: &Work) -> Result<SyncPlan, Failure> {
    let target = target(args)?;
    let (transport, text) = source_of(args)?;
    let mut plan = match transport {
        From::Yaml => from_file(args, text, target.as_ref())?,
        _ => {
            let missing = || Failure::usage("nothing says where the images go: DST is missing");
            let target = target.ok_or_else(missing)?;
            let entry = entry(args, transport, text, target)?;
            SyncPlan {
                entries: vec![entry],
            }
        }
    };
    for entry in &mut plan.entries {
        if entry.suffix.is_empty() {
            entry.suffix.clone_from(&args.naming.append_suffix);
        }
    }
    Ok(plan)
}

/// Splits SRC into what it is and what it is called.
fn source_of(args: &Work) -> Result<(From, &str), Failure> {
    let text = args.from.as_str();
    if let Some(transport) = args.src {
        return Ok((transport, text));
    }
    let forms = [
        ("docker://", From::Docker),
        ("dir:", From::Dir),
        ("oci:", From::Oci),
        ("yaml:", From::Yaml),
    ];
    let found = forms
        .into_iter()
        .find_map(|(prefix, transport)| Some((transport, text.strip_prefix(prefix)?)));
    found.ok_or_else(|| {
        Failure::usage(format!("{text:?} does not say what it is"))
            .with_hint("docker://REPOSITORY, oci:PATH, dir:PATH or yaml:FILE; or --src and --dest")
    })
}

fn target(args: &Work) -> Result<Option<SyncTarget>, Failure> {
    let Some(text) = args.to.as_deref() else {
        return Ok(None);
    };
    if args.naming.exact {
        let text = match args.dest {
            None if !text.starts_with("docker://") => {
                return Err(Failure::usage("--exact is for docker:// as DST only"));
            }
            Some(To::Dir | To::Oci) => {
                return Err(Failure::usage("--exact is for a registry as DST only"));
            }
            _ => text,
        };
        let target = SyncTarget::parse_repository(text).map_err(Failure::usage)?;
        return Ok(Some(target));
    }
    let place = match args.dest {
        None => Place::parse(text),
        Some(To::Docker) => Place::registry(text),
        Some(To::Dir) => Ok(Place::Dirs(text.into())),
        Some(To::Oci) => Ok(Place::Layout(text.into())),
    };
    let place = match place.map_err(Failure::usage)? {
        Place::Layouts(path) if args.naming.one_layout => Place::Layout(path),
        place => place,
    };
    Ok(Some(SyncTarget::Below {
        place,
        scoped: args.naming.scoped,
    }))
}

fn entry(
    args: &Work,
    transport: From,
    text: &str,
    target: SyncTarget,
) -> Result<SyncEntry, Failure> {
    let (source, reference) = match transport {
        From::Dir => (SyncSource::Dirs(text.into()), None),
        From::Oci => (SyncSource::Layouts(text.into()), None),
        _ if args.select.all_repositories => {
            let mut source = SyncSource::parse_registry(text).map_err(Failure::usage)?;
            if let SyncSource::Registry { repositories, .. } = &mut source {
                repositories.clone_from(&args.select.repository);
            }
            (source, None)
        }
        _ => SyncSource::parse(&format!("docker://{text}")).map_err(Failure::usage)?,
    };
    let one_repository = matches!(source, SyncSource::Repository(_));
    if args.select.all_repositories && transport != From::Docker {
        return Err(Failure::usage(
            "--all-repositories is for a registry as SRC only",
        ));
    }
    if args.naming.exact && !one_repository {
        return Err(Failure::usage("--exact is for one repository as SRC only"));
    }
    let mut selection = args.select.selection();
    match reference {
        Some(Reference::Tag(tag)) => selection.tags.push(tag),
        Some(Reference::Digest(digest)) => selection.digests.push(digest),
        None => {}
    }
    Ok(SyncEntry {
        selection,
        ..SyncEntry::new(source, target)
    })
}

fn from_file(args: &Work, path: &str, target: Option<&SyncTarget>) -> Result<SyncPlan, Failure> {
    if args.select.is_used() {
        return Err(Failure::usage(
            "with a YAML file the selection is made in the file, not on the command line",
        ));
    }
    if args.naming.exact {
        return Err(Failure::usage(
            "with a YAML file, target: says that the destination is the repository itself",
        ));
    }
    let mut text = String::new();
    let unreadable =
        |error: std::io::Error| Failure::new(format!("cannot read the file {path}: {error}"));
    let (name, read) = if path == "-" {
        let read = std::io::stdin()
            .lock()
            .take(FILE_BYTES)
            .read_to_string(&mut text);
        ("stdin", read)
    } else {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        (path, file.take(FILE_BYTES).read_to_string(&mut text))
    };
    read.map_err(unreadable)?;
    Ok(read_plan(name, &text, target).map_err(libimage::Error::from)?)
}
