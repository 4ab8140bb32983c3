//! `build config CTR …`: the configuration of the image to be.

use crate::place::Place;
use crate::told;
use crate::words::{Pair, command, entrypoint, pair};
use libbuild::Change;
use trimaran_cli::Failure;

/// Changes the configuration of the image to be: NAME- removes an entry, an empty value a setting
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The working container
    container: String,
    /// Default arguments: a JSON list, or words as a shell would split them
    #[arg(long, value_name = "CMD", allow_hyphen_values = true)]
    cmd: Option<String>,
    /// Entry point: a JSON list, or a line for /bin/sh -c; removes the base's default arguments
    #[arg(long, value_name = "CMD", allow_hyphen_values = true)]
    entrypoint: Option<String>,
    /// Environment variable
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Label
    #[arg(long, short, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Annotation of the manifest
    #[arg(long, short, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    /// User the container runs as
    #[arg(long, short, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory; a relative one is below the present one
    #[arg(long, visible_alias = "workdir", value_name = "DIR")]
    workingdir: Option<String>,
    /// Port the container listens on
    #[arg(long, short, value_name = "PORT[/PROTOCOL]")]
    port: Vec<String>,
    /// Path of a volume
    #[arg(long, short, value_name = "PATH")]
    volume: Vec<String>,
    /// Shell of shell forms: a JSON list, or words
    #[arg(long, value_name = "CMD")]
    shell: Option<String>,
    /// Signal that asks the container to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Author of the image
    #[arg(long)]
    author: Option<String>,
    /// Architecture the image is for
    #[arg(long)]
    arch: Option<String>,
    /// Operating system the image is for
    #[arg(long)]
    os: Option<String>,
    /// Variant of the architecture
    #[arg(long)]
    variant: Option<String>,
    /// Text of the layer's entry in the history, instead of the step's
    #[arg(long, value_name = "TEXT")]
    created_by: Option<String>,
    /// Comment of the layer's entry in the history
    #[arg(long, value_name = "TEXT")]
    history_comment: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, place: &Place) -> Result<(), Failure> {
    let changes = args.changes()?;
    let container = place.container(&args.container)?;
    container.config(changes).map_err(told::build)?;
    if args.created_by.is_some() || args.history_comment.is_some() {
        container
            .describe(args.created_by.clone(), args.history_comment.clone())
            .map_err(told::build)?;
    }
    Ok(())
}

impl Args {
    /// The changes in a fixed order: how flags are ordered has no say in the image.
    fn changes(&self) -> Result<Vec<Change>, Failure> {
        let mut changes = Vec::new();
        let mut one = |value: &Option<String>, change: fn(String) -> Change| {
            changes.extend(value.clone().map(change))
        };
        one(&self.os, Change::Os);
        one(&self.arch, Change::Architecture);
        one(&self.variant, Change::Variant);
        one(&self.author, Change::Author);
        one(&self.user, Change::User);
        one(&self.workingdir, Change::Workdir);
        one(&self.stop_signal, Change::StopSignal);
        pairs(
            &mut changes,
            "env",
            &self.env,
            Change::Env,
            Change::UnsetEnv,
        )?;
        pairs(
            &mut changes,
            "label",
            &self.label,
            Change::Label,
            Change::UnsetLabel,
        )?;
        pairs(
            &mut changes,
            "annotation",
            &self.annotation,
            Change::Annotation,
            Change::UnsetAnnotation,
        )?;
        entries(&mut changes, &self.port, Change::Port, Change::UnsetPort);
        entries(
            &mut changes,
            &self.volume,
            Change::Volume,
            Change::UnsetVolume,
        );
        changes.extend(
            self.shell
                .as_deref()
                .map(command)
                .transpose()?
                .map(Change::Shell),
        );
        changes.extend(
            self.entrypoint
                .as_deref()
                .map(entrypoint)
                .transpose()?
                .map(Change::Entrypoint),
        );
        changes.extend(
            self.cmd
                .as_deref()
                .map(command)
                .transpose()?
                .map(Change::Cmd),
        );
        Ok(changes)
    }
}

fn pairs(
    changes: &mut Vec<Change>,
    what: &str,
    texts: &[String],
    set: fn(String, String) -> Change,
    unset: fn(String) -> Change,
) -> Result<(), Failure> {
    for text in texts {
        changes.push(match pair(what, text)? {
            Pair::Set(name, value) => set(name, value),
            Pair::Unset(name) => unset(name),
        });
    }
    Ok(())
}

fn entries(
    changes: &mut Vec<Change>,
    texts: &[String],
    set: fn(String) -> Change,
    unset: fn(String) -> Change,
) {
    changes.extend(texts.iter().map(|text| match text.strip_suffix('-') {
        Some(name) => unset(name.to_owned()),
        None => set(text.clone()),
    }));
}
