//! How may a registry be reached: the flags about credentials and TLS, and the library's context made from them.

use clap::Args;
use libimage::config::Credentials;
use libimage::context::{Context, Patience, Side};
use std::path::PathBuf;
use trimaran_cli::policy::PolicyArgs;
use trimaran_cli::progress::{Drawing, Mode};
use trimaran_cli::{Failure, authfile};

/// Flags of the verbs that have one end.
#[derive(Debug, Clone, Args)]
pub(crate) struct OneEnd {
    /// User and password for the registry
    #[arg(long, value_name = "USER:PASSWORD")]
    creds: Option<String>,

    /// Whether the registry must prove who it is; `=false` also allows plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    tls_verify: bool,

    #[command(flatten)]
    shared: Shared,
}

/// Flags of the verbs that have two ends.
#[derive(Debug, Clone, Args)]
pub(crate) struct TwoEnds {
    /// User and password for the source's registry
    #[arg(long, value_name = "USER:PASSWORD")]
    src_creds: Option<String>,

    /// User and password for the destination's registry
    #[arg(long, value_name = "USER:PASSWORD")]
    dest_creds: Option<String>,

    /// Whether the source's registry must prove who it is; `=false` also allows plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    src_tls_verify: bool,

    /// Whether the destination's registry must prove who it is; `=false` also allows plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    dest_tls_verify: bool,

    #[command(flatten)]
    shared: Shared,
}

/// Flags all verbs have.
#[derive(Debug, Clone, Args)]
struct Shared {
    /// File with credentials, instead of the usual ones
    #[arg(long, value_name = "PATH")]
    authfile: Option<PathBuf>,

    #[command(flatten)]
    policy: PolicyArgs,

    /// How often a request that failed is tried again
    #[arg(long, value_name = "N", default_value_t = Patience::default().attempts - 1)]
    retry_times: u32,

    /// How progress is shown, on stderr
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    progress: Mode,

    /// Print the result and errors only
    #[arg(long, short, conflicts_with = "progress")]
    quiet: bool,
}

impl Shared {
    fn mode(&self) -> Mode {
        if self.quiet {
            Mode::None
        } else {
            self.progress
        }
    }
}

impl OneEnd {
    /// Makes the context: the one end is a source to verbs that ask, and a destination to verbs that change something.
    ///
    /// # Errors
    /// If the credentials, a credential file or the policy cannot be used.
    pub(crate) fn context(&self) -> Result<Context, Failure> {
        let end = |side| End::new(side, "--creds", self.creds.as_deref(), self.tls_verify);
        let (source, target) = (end(Side::Source)?, end(Side::Destination)?);
        context(&self.shared, [source, target])
    }
}

impl TwoEnds {
    /// Makes the context.
    ///
    /// # Errors
    /// If the credentials, a credential file or the policy cannot be used.
    pub(crate) fn context(&self) -> Result<Context, Failure> {
        let (from, to) = (self.src_creds.as_deref(), self.dest_creds.as_deref());
        let source = End::new(Side::Source, "--src-creds", from, self.src_tls_verify)?;
        let target = End::new(Side::Destination, "--dest-creds", to, self.dest_tls_verify)?;
        context(&self.shared, [source, target])
    }

    /// Makes the context of a verb that reads what it will overwrite: both ends are the destination.
    ///
    /// # Errors
    /// If the credentials, a credential file or the policy cannot be used.
    pub(crate) fn context_of_destination(&self) -> Result<Context, Failure> {
        let (creds, verify) = (self.dest_creds.as_deref(), self.dest_tls_verify);
        let end = |side| End::new(side, "--dest-creds", creds, verify);
        let (source, target) = (end(Side::Source)?, end(Side::Destination)?);
        context(&self.shared, [source, target])
    }

    /// Whether a summary for people is to be printed.
    pub(crate) fn quiet(&self) -> bool {
        matches!(self.shared.mode(), Mode::None | Mode::Json)
    }
}

/// What the flags say about one end.
struct End {
    side: Side,
    credentials: Option<Credentials>,
    tls_verify: bool,
}

impl End {
    /// Reads the credentials here and not in clap, whose message would repeat them.
    fn new(side: Side, flag: &str, text: Option<&str>, tls_verify: bool) -> Result<Self, Failure> {
        let wrong = || Failure::usage(format!("{flag} is not of the form USER:PASSWORD"));
        let credentials = text
            .map(|text| Credentials::parse(text).ok_or_else(wrong))
            .transpose()?;
        Ok(Self {
            side,
            credentials,
            tls_verify,
        })
    }
}

fn context(shared: &Shared, ends: impl IntoIterator<Item = End>) -> Result<Context, Failure> {
    let patience = Patience {
        attempts: shared.retry_times.saturating_add(1),
        ..Patience::default()
    };
    let mut builder = Context::builder(shared.policy.read()?)
        .patience(patience)
        .progress(Drawing::in_mode(shared.mode()));
    for file in authfile::read_here(shared.authfile.as_deref())? {
        builder = builder.auth_file(file);
    }
    for end in ends {
        builder = builder.tls_verify(end.side, end.tls_verify);
        if let Some(credentials) = end.credentials {
            builder = builder.credentials(end.side, credentials);
        }
    }
    Ok(builder.build())
}
