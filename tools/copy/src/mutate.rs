//! `copy mutate SRC [DST]`: an image with other settings or annotations.

use crate::access::TwoEnds;
use crate::copy::{as_json, summary};
use crate::format::Format;
use crate::local::Local;
use crate::{changes, transfer};
use libimage::context::Context;
use libimage::copy::CopyOptions;
use libimage::edit::{EditOptions, Mutation};
use libimage::name::ImageRef;
use libimage::platform::Platform;
use trimaran_cli::{Failure, output};

/// Changes labels, annotations, environment, entrypoint, user and the like of an image, without touching its layers
///
/// Of an index, every image is changed, or those of the platforms named. NAME=VALUE sets, NAME- removes; an empty value of
/// --entrypoint, --cmd, --user or --workdir removes it. A new entrypoint removes the command, unless --cmd is given too.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Where the image is
    #[arg(value_name = "SRC")]
    from: ImageRef,

    /// Where the changed image goes; without it, to where it was (for which the flags about the destination count)
    #[arg(value_name = "DST")]
    to: Option<ImageRef>,

    /// Set a label, or remove it
    #[arg(long, short, value_name = "NAME=VALUE|NAME-", value_parser = changes::parse)]
    label: Vec<changes::Change>,

    /// Set an annotation of the images' manifests, or remove it
    #[arg(long, short, value_name = "NAME=VALUE|NAME-", value_parser = changes::parse)]
    annotation: Vec<changes::Change>,

    /// Set an annotation of the index, or remove it
    #[arg(long, value_name = "NAME=VALUE|NAME-", value_parser = changes::parse)]
    index_annotation: Vec<changes::Change>,

    /// Set a variable of the environment, or remove it
    #[arg(long, short, value_name = "NAME=VALUE|NAME-", value_parser = changes::parse)]
    env: Vec<changes::Change>,

    /// Set the entrypoint: a JSON array of words, or one word (given several times: one word each)
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    entrypoint: Vec<String>,

    /// Set the command, in the same way
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    cmd: Vec<String>,

    /// Set the user (and group)
    #[arg(long, short, value_name = "USER[:GROUP]")]
    user: Option<String>,

    /// Set the working directory
    #[arg(long, short, value_name = "PATH")]
    workdir: Option<String>,

    /// Expose a port, or (PORT-) no longer
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    expose: Vec<String>,

    /// Change only the images of these platforms, such as linux/amd64,linux/arm64/v8
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    platform: Vec<Platform>,

    #[command(flatten)]
    access: TwoEnds,

    #[command(flatten)]
    local: Local,

    /// How many blobs are copied at once, where another repository needs them
    #[arg(long, value_name = "N", default_value_t = CopyOptions::default().jobs, value_parser = crate::format::jobs)]
    jobs: usize,

    /// How the result is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mutation = args.mutation()?;
    let to = args.to.as_ref().unwrap_or(&args.from);
    let options = EditOptions {
        jobs: args.jobs,
        store: args.local.open(&[&args.from, to])?,
    };
    let context = args.context()?;
    let work = libimage::edit::mutate(&context, &args.from, to, &mutation, &options);
    let report = transfer::perform(work)?;
    drop(context);
    if !args.access.quiet() {
        output::note(summary(&report));
    }
    match args.format {
        Format::Text => output::line(&report.digest),
        Format::Json => output::json(&as_json(&report)),
    }
}

impl Args {
    /// In place there is only one end.
    fn context(&self) -> Result<Context, Failure> {
        match &self.to {
            Some(_) => self.access.context(),
            None => self.access.context_of_destination(),
        }
    }

    fn mutation(&self) -> Result<Mutation, Failure> {
        let port = |text: &String| match text.strip_suffix('-') {
            Some(port) => (port.to_owned(), false),
            None => (text.clone(), true),
        };
        let mutation = Mutation {
            labels: self.label.clone(),
            annotations: self.annotation.clone(),
            index_annotations: self.index_annotation.clone(),
            env: self.env.clone(),
            entrypoint: words("--entrypoint", &self.entrypoint)?,
            cmd: words("--cmd", &self.cmd)?,
            user: self.user.clone(),
            workdir: self.workdir.clone(),
            expose: self.expose.iter().map(port).collect(),
            platforms: self.platform.clone(),
        };
        if mutation.is_empty() {
            return Err(Failure::usage(
                "nothing is to be changed: give --label, --annotation, --env or another of these flags",
            ));
        }
        Ok(mutation)
    }
}

/// Reads words: a JSON array, or as they are given. An empty text is no word.
fn words(flag: &str, given: &[String]) -> Result<Option<Vec<String>>, Failure> {
    match given {
        [] => Ok(None),
        [one] if one.is_empty() => Ok(Some(Vec::new())),
        [one] if one.trim_start().starts_with('[') => serde_json::from_str(one)
            .map(Some)
            .map_err(|error| Failure::usage(format!("{flag} is no JSON array of words: {error}"))),
        words => Ok(Some(words.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_read_as_an_array_or_one_by_one() {
        let read = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|word| (*word).to_owned()).collect();
            words("--cmd", &given).ok()
        };
        let some =
            |words: &[&str]| Some(Some(words.iter().map(|word| (*word).to_owned()).collect()));
        assert_eq!(read(&[]), Some(None));
        assert_eq!(read(&[""]), some(&[]));
        assert_eq!(read(&["[]"]), some(&[]));
        assert_eq!(
            read(&[r#"["sh", "-c", "a, b"]"#]),
            some(&["sh", "-c", "a, b"])
        );
        assert_eq!(read(&["/bin/app --flag"]), some(&["/bin/app --flag"]));
        assert_eq!(
            read(&["/bin/app", "--flag", ""]),
            some(&["/bin/app", "--flag", ""])
        );
        assert_eq!(read(&["[1]"]), None);
        assert_eq!(read(&["[\"a\""]), None);
    }
}
