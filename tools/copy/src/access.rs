//! How may a registry be reached: the flags about credentials and TLS, and the library's context made from them.

use clap::Args;
use libimage::config::Credentials;
use libimage::context::{Context, Patience, Side};
use trimaran_cli::progress::Drawing;
use trimaran_cli::{Failure, authfile};
use std::path::PathBuf;

/// Flags of the verbs that have one end.
#[derive(Debug, Clone, Args)]
pub struct OneEnd {
    /// User and password for the registry
    #[arg(long, value_name = "USER:PASSWORD", value_parser = credentials)]
    creds: Option<Credentials>,

    /// Whether the registry must prove who it is; `=false` also allows plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    tls_verify: bool,

    #[command(flatten)]
    shared: Shared,
}

/// Flags of the verbs that have two ends.
#[derive(Debug, Clone, Args)]
pub struct TwoEnds {
    /// User and password for the source's registry
    #[arg(long, value_name = "USER:PASSWORD", value_parser = credentials)]
    src_creds: Option<Credentials>,

    /// User and password for the destination's registry
    #[arg(long, value_name = "USER:PASSWORD", value_parser = credentials)]
    dest_creds: Option<Credentials>,

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

    /// How often a request that failed is tried again
    #[arg(long, value_name = "N", default_value_t = Patience::default().attempts - 1)]
    retry_times: u32,

    /// Print the result and errors only
    #[arg(long, short)]
    quiet: bool,
}

impl OneEnd {
    /// Makes the context: there is a source and no destination.
    ///
    /// # Errors
    /// If a credential file or the policy cannot be used.
    pub fn context(&self) -> Result<Context, Failure> {
        context(&self.shared, [(Side::Source, &self.creds, self.tls_verify)])
    }
}

impl TwoEnds {
    /// Makes the context.
    ///
    /// # Errors
    /// If a credential file or the policy cannot be used.
    pub fn context(&self) -> Result<Context, Failure> {
        let source = (Side::Source, &self.src_creds, self.src_tls_verify);
        let destination = (Side::Destination, &self.dest_creds, self.dest_tls_verify);
        context(&self.shared, [source, destination])
    }

    /// Whether only the result is to be printed.
    pub fn quiet(&self) -> bool {
        self.shared.quiet
    }
}

fn context<'a>(
    shared: &Shared,
    ends: impl IntoIterator<Item = (Side, &'a Option<Credentials>, bool)>,
) -> Result<Context, Failure> {
    let patience = Patience { attempts: shared.retry_times.saturating_add(1), ..Patience::default() };
    let mut builder = Context::builder(authfile::read_policy_here()?)
        .patience(patience)
        .progress(Drawing::stderr(shared.quiet));
    for file in authfile::read_here(shared.authfile.as_deref())? {
        builder = builder.auth_file(file);
    }
    for (side, credentials, tls_verify) in ends {
        builder = builder.tls_verify(side, tls_verify);
        if let Some(credentials) = credentials {
            builder = builder.credentials(side, credentials.clone());
        }
    }
    Ok(builder.build())
}

/// The message does not repeat the text: it may be a password.
fn credentials(text: &str) -> Result<Credentials, &'static str> {
    Credentials::parse(text).ok_or("not of the form USER:PASSWORD")
}
