//! `copy sync SRC DST`: repositories and selections of tags, brought up to date.

mod ends;
mod show;

use crate::access::TwoEnds;
use crate::conversion::Conversion;
use crate::format::Format;
use crate::signing::Signing;
use crate::transfer;
use libimage::copy::{CopyOptions, Referrers};
use libimage::platform::Platform;
use libimage::sync::{Age, Newest, Pattern, Selection, SyncOptions, SyncReport, VersionRange};
use std::path::PathBuf;
use trimaran_cli::{Failure, output};

/// Our own file, for the manual page.
const FILE: &str = "\
A YAML file is skopeo's (registries, with images, images-by-tag-regex, images-by-semver, credentials, tls-verify and cert-dir), or
begins with `version: 1`:

  version: 1
  registries:                          # how registries are reached, if not as the command line says
    registry.example.com:
      credentials: {username: john, password: secret}
      tls-verify: true
      cert-dir: /etc/certs
  sync:
    - source: docker://registry.example.com/team/app
      target: docker://mirror.example.com/apps/app       # exactly this repository
      tags: [\"1.0\", \"2.0\"]
      digests: []
      tag-regex: \"^v[0-9]\"
      semver: \">=1.2 <2\"
      allow: [\"v1.*\", \"/^v2/\"]
      deny: [\"*-rc*\"]
      newest: 5
      newest-by: version                                 # or created
      platforms: [linux/amd64, linux/arm64]
      suffix: -mirror
    - source: docker://registry.example.com
      repositories: [\"team/*\"]                         # of all that the registry lists
      into: docker://mirror.example.com                  # below this place; docker://, oci: or dir:
      scoped: true

Without target and into, DST is meant. Keys that begin with x- are ignored.

Examples:
  copy sync --semver '^1.4' docker://registry.example.com/team/app docker://mirror.example.com/team
  copy sync --newest 3 --deny '*-rc*' docker://debian oci:/srv/images
  copy sync --immutable-tags 'v*' --keep-going yaml:sync.yml docker://mirror.example.com
  copy sync --src docker --dest dir --scoped registry.example.com/busybox /media/usb";

/// Copies repositories and selections of tags, and does nothing where nothing changed
///
/// In the first form both ends say what they are: SRC is docker://REPOSITORY, docker://REPOSITORY:TAG, docker://HOST with
/// --all-repositories, oci:PATH, dir:PATH or yaml:FILE, and DST is docker://HOST[/PATH], oci:PATH or dir:PATH. Repositories are put below DST under the last part of
/// their name. In the second form, skopeo's, --src and --dest say it, and SRC and DST have no transports.
///
/// Without a tag in SRC and without a selection, all tags are meant. Explicit tags (--tag) are taken as they are; of the listed tags stay
/// those that match --tag-regex and --semver and any --allow; then any --deny takes away, and --newest keeps the newest of the listed.
#[derive(Debug, Clone, clap::Args)]
#[command(
    override_usage = "copy sync [OPTIONS] SRC [DST]\n       copy sync [OPTIONS] --src TRANSPORT --dest TRANSPORT SRC DST",
    after_long_help = FILE
)]
pub(crate) struct Args {
    #[command(flatten)]
    work: Work,

    #[command(flatten)]
    conversion: Conversion,

    #[command(flatten)]
    signing: Signing,

    /// Copy signatures, SBOMs and attestations too where that is not the default: with one platform's image, and if the
    /// destination has the image already
    #[arg(long, conflicts_with = "no_referrers")]
    referrers: bool,

    /// Stop before a source's registry, if it tells how many pulls it still allows, would allow fewer than this many
    #[arg(long, value_name = "N")]
    min_quota: Option<u64>,
}

/// The flags that skopeo's form has too.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Work {
    /// Where the images are; with yaml:FILE the file says it (skopeo's format, or ours, which is on the manual page; - is stdin)
    #[arg(value_name = "SRC")]
    from: String,

    /// Where they go; only a YAML file can say that itself
    #[arg(value_name = "DST")]
    to: Option<String>,

    /// What SRC is, as skopeo has it
    #[arg(long, short, value_name = "TRANSPORT", value_enum, requires = "dest")]
    src: Option<ends::From>,

    /// What DST is, as skopeo has it; oci is one layout then, whose images are called NAME:TAG
    #[arg(long, short, value_name = "TRANSPORT", value_enum, requires = "src")]
    dest: Option<ends::To>,

    #[command(flatten)]
    select: Select,

    #[command(flatten)]
    naming: Naming,

    /// Copy only these platforms, such as linux/amd64,linux/arm64/v8; the digest of an index changes with them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    platform: Vec<Platform>,

    /// Copy the images of all platforms, which is the default
    #[arg(long, short, conflicts_with = "platform")]
    all: bool,

    /// Leave signatures, SBOMs and attestations behind
    #[arg(long)]
    no_referrers: bool,

    /// Print what would be copied, and copy nothing
    #[arg(long)]
    dry_run: bool,

    /// Try all images, also after one has failed
    #[arg(long)]
    keep_going: bool,

    /// Tags that never change (a glob, or a regular expression between slashes): what the destination has of them is not asked for
    #[arg(long, value_name = "PATTERN")]
    immutable_tags: Vec<Pattern>,

    /// How many images are under way at once
    #[arg(long, value_name = "N", default_value_t = SyncOptions::default().parallel, value_parser = crate::format::jobs)]
    parallel: usize,

    /// How many blobs of an image are copied at once
    #[arg(long, value_name = "N", default_value_t = CopyOptions::default().jobs, value_parser = crate::format::jobs)]
    jobs: usize,

    #[command(flatten)]
    access: TwoEnds,

    /// Write digest and name of every image that is at the destination to this file
    #[arg(long, value_name = "PATH")]
    digestfile: Option<PathBuf>,

    /// How the result is printed: a table on stderr, or a report in JSON on stdout
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: Format,
}

/// Which images are meant.
#[derive(Debug, Clone, clap::Args)]
struct Select {
    /// These tags
    #[arg(
        help_heading = "Selection",
        long = "tag",
        value_name = "TAG",
        value_delimiter = ','
    )]
    tags: Vec<String>,

    /// Tags in which this regular expression matches anywhere
    #[arg(help_heading = "Selection", long, value_name = "REGEX", value_parser = regex, allow_hyphen_values = true)]
    tag_regex: Option<Pattern>,

    /// Tags that are versions in this range, such as ">=1.2 <2", "^1.4", "~1.4.2" or "1.x"; pre-releases only if the range names one
    #[arg(help_heading = "Selection", long, value_name = "RANGE")]
    semver: Option<VersionRange>,

    /// Tags that any of these matches: globs, or regular expressions between slashes
    #[arg(help_heading = "Selection", long, value_name = "PATTERN")]
    allow: Vec<Pattern>,

    /// Not the tags that any of these matches: globs, or regular expressions between slashes
    #[arg(help_heading = "Selection", long, value_name = "PATTERN")]
    deny: Vec<Pattern>,

    /// Only the newest of the tags found
    #[arg(help_heading = "Selection", long, value_name = "N")]
    newest: Option<usize>,

    /// What makes a tag newer: its version, or when the image was made (which costs two or three requests a tag)
    #[arg(
        help_heading = "Selection",
        long,
        value_name = "WHAT",
        value_enum,
        default_value_t,
        requires = "newest"
    )]
    newest_by: NewestBy,

    /// All repositories that the registry SRC lists
    #[arg(help_heading = "Selection", long)]
    all_repositories: bool,

    /// Of all repositories those that any of these matches: globs, or regular expressions between slashes
    #[arg(
        help_heading = "Selection",
        long,
        value_name = "PATTERN",
        requires = "all_repositories"
    )]
    repository: Vec<Pattern>,
}

/// What images are called at the destination.
#[derive(Debug, Clone, clap::Args)]
struct Naming {
    /// Keep the whole path, with the registry, and not only the last part of a repository's name
    #[arg(help_heading = "Names", long)]
    scoped: bool,

    /// DST is the repository itself, and not the place below which repositories are put
    #[arg(help_heading = "Names", long, conflicts_with_all = ["scoped", "one_layout"])]
    exact: bool,

    /// With oci: as DST, one layout for everything, whose images are called NAME:TAG, and not a layout for each repository
    #[arg(help_heading = "Names", long)]
    one_layout: bool,

    /// Append this to the tags
    #[arg(
        help_heading = "Names",
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    append_suffix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum NewestBy {
    /// The version the tag says
    #[default]
    Version,
    /// The date in the image's configuration
    Created,
}

fn regex(text: &str) -> Result<Pattern, libimage::sync::SelectionError> {
    Pattern::regex(text)
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let options = CopyOptions {
        referrers: if args.referrers {
            Referrers::Always
        } else {
            Referrers::default()
        },
        sign: args.signing.signers()?,
        remove_signatures: args.signing.removes_signatures(),
        min_quota: args.min_quota,
        ..CopyOptions::default()
    };
    run_with(&args.work, args.conversion.apply(options))
}

/// Runs the verb with other wishes about each copy than its flags have.
pub(crate) fn run_with(args: &Work, copy: CopyOptions) -> Result<(), Failure> {
    let plan = ends::plan(args)?;
    let options = args.options(copy);
    let context = args.access.context()?;
    let report = transfer::perform(libimage::sync::sync(&context, &plan, &options))?;
    // A bar on the terminal is taken off first.
    drop(context);
    if let Some(path) = &args.digestfile {
        show::write_digests(path, &report)?;
    }
    match args.output {
        Format::Json => output::json(&show::as_json(&report, args.dry_run))?,
        Format::Text if args.dry_run => output::text(&show::preview(&report))?,
        Format::Text => {}
    }
    if !args.access.quiet() {
        output::note(show::summary(&report));
    }
    outcome(&report)
}

/// Ends with a failure if anything has failed; what has, has been told already.
fn outcome(report: &SyncReport) -> Result<(), Failure> {
    let totals = report.totals();
    if totals.failed == 0 {
        return Ok(());
    }
    let failure = Failure::new(format!(
        "{} could not be synchronised",
        show::count(totals.failed, "image or source", "images or sources")
    ));
    Err(if totals.not_tried > 0 {
        failure.with_hint("--keep-going tries the others too; what is done is not done again")
    } else {
        failure
    })
}

impl Work {
    /// Whether the images of all platforms are meant.
    pub(crate) fn takes_all(&self) -> bool {
        self.all
    }

    fn options(&self, copy: CopyOptions) -> SyncOptions {
        let mut copy = CopyOptions {
            jobs: self.jobs,
            ..copy
        };
        if !self.platform.is_empty() {
            copy.platforms.clone_from(&self.platform);
        }
        if self.no_referrers {
            copy.referrers = Referrers::Never;
        }
        SyncOptions {
            dry_run: self.dry_run,
            keep_going: self.keep_going,
            immutable_tags: self.immutable_tags.clone(),
            parallel: self.parallel,
            copy,
        }
    }
}

impl Select {
    fn selection(&self) -> Selection {
        Selection {
            tags: self.tags.clone(),
            digests: Vec::new(),
            regex: self.tag_regex.clone(),
            range: self.semver.clone(),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            newest: self.newest.map(|count| Newest {
                count,
                age: match self.newest_by {
                    NewestBy::Version => Age::Version,
                    NewestBy::Created => Age::Created,
                },
            }),
        }
    }

    /// Whether the command line selects anything.
    fn is_used(&self) -> bool {
        self.selection() != Selection::default() || self.all_repositories
    }
}
