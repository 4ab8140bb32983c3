//! How may a registry be reached: the flags about credentials and TLS, and the library's context made from them.

use crate::engine::{self, Engines, OneEngine, TwoEngines};
use clap::Args;
use libimage::context::{Context, Patience};
use std::path::PathBuf;
use trimaran_cli::ends::{DestinationArgs, End, OneArgs, SourceArgs};
use trimaran_cli::policy::PolicyArgs;
use trimaran_cli::progress::{Drawing, Mode};
use trimaran_cli::{Failure, authfile, registries};

/// Flags of the verbs that have one end.
#[derive(Debug, Clone, Args)]
pub(crate) struct OneEnd {
    #[command(flatten)]
    end: OneArgs,

    #[command(flatten)]
    engine: OneEngine,

    #[command(flatten)]
    shared: Shared,
}

/// Flags of the verbs that have two ends.
#[derive(Debug, Clone, Args)]
pub(crate) struct TwoEnds {
    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    destination: DestinationArgs,

    /// File with credentials for both ends, instead of the usual ones
    #[arg(long, value_name = "PATH")]
    authfile: Option<PathBuf>,

    /// Whether certificates are verified, at both ends; false also allows plain HTTP [default: as registries.conf says, else true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,

    #[command(flatten)]
    engines: TwoEngines,

    #[command(flatten)]
    shared: Shared,
}

/// Flags all verbs have.
#[derive(Debug, Clone, Args)]
struct Shared {
    /// File that says where registries and their mirrors are (containers-registries.conf(5)), instead of the usual ones
    #[arg(long, value_name = "PATH")]
    registries_conf: Option<PathBuf>,

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
        let end = self.end.end(None)?;
        context(&self.shared, &end, &end, self.engine.both())
    }

    /// Whether a summary for people is to be printed.
    pub(crate) fn quiet(&self) -> bool {
        matches!(self.shared.mode(), Mode::None | Mode::Json)
    }
}

impl TwoEnds {
    /// Makes the context.
    ///
    /// # Errors
    /// If the credentials, a credential file or the policy cannot be used.
    pub(crate) fn context(&self) -> Result<Context, Failure> {
        let (source, destination) = (self.source()?, self.destination()?);
        context(&self.shared, &source, &destination, self.engines.both())
    }

    /// Makes the context of a verb that reads what it will overwrite: both ends are the destination.
    ///
    /// # Errors
    /// If the credentials, a credential file or the policy cannot be used.
    pub(crate) fn context_of_destination(&self) -> Result<Context, Failure> {
        let end = self.destination()?;
        context(&self.shared, &end, &end, self.engines.both())
    }

    fn source(&self) -> Result<End, Failure> {
        let mut end = self.source.end(self.authfile.as_deref())?;
        end.tls_verify = end.tls_verify.or(self.tls_verify);
        Ok(end)
    }

    fn destination(&self) -> Result<End, Failure> {
        let mut end = self.destination.end(self.authfile.as_deref())?;
        end.tls_verify = end.tls_verify.or(self.tls_verify);
        Ok(end)
    }

    /// Whether a summary for people is to be printed.
    pub(crate) fn quiet(&self) -> bool {
        matches!(self.shared.mode(), Mode::None | Mode::Json)
    }
}

fn context(
    shared: &Shared,
    source: &End,
    destination: &End,
    engines: Engines<'_>,
) -> Result<Context, Failure> {
    let patience = Patience {
        attempts: shared.retry_times.saturating_add(1),
        ..Patience::default()
    };
    let uid = authfile::uid_here();
    let builder = Context::builder(shared.policy.read()?)
        .patience(patience)
        .progress(Drawing::in_mode(shared.mode()));
    let builder = registries::apply(builder, shared.registries_conf.as_deref(), uid)?;
    let builder = End::apply(source, destination, builder, uid)?;
    Ok(engine::told(builder, engines).build())
}
