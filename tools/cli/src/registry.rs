//! The flags every verb that talks to a registry has, and the surroundings they make.

use crate::{authfile, failure::Failure, progress::Drawing};
use clap::Args;
use libimage::config::Credentials;
use libimage::context::{Context, Side};
use std::path::PathBuf;

/// How to talk to the one registry a verb deals with.
#[derive(Debug, Clone, Args)]
pub struct RegistryArgs {
    /// File with registry credentials [default: REGISTRY_AUTH_FILE, then where podman and docker keep theirs]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// Credentials for the registry
    #[arg(long, value_name = "USER:PASSWORD")]
    pub creds: Option<String>,
    /// Verify certificates; with false, plain http is tried as well
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tls_verify: bool,
}

impl RegistryArgs {
    /// The surroundings of a transfer from or to a registry. Reads the files of credentials and policy. `uid` is the user's id, which
    /// inside a user namespace is no longer our own.
    ///
    /// # Errors
    /// A file is malformed, one that was named is missing, or `--creds` has no colon.
    pub fn context(&self, uid: u32, progress: std::sync::Arc<Drawing>) -> Result<Context, Failure> {
        let mut builder = Context::builder(crate::policy::read_here()?)
            .tls_verify(Side::Source, self.tls_verify)
            .tls_verify(Side::Destination, self.tls_verify)
            .progress(progress);
        for file in authfile::read_for(self.authfile.as_deref(), uid)? {
            builder = builder.auth_file(file);
        }
        if let Some(creds) = &self.creds {
            let credentials = credentials(creds)?;
            builder = builder
                .credentials(Side::Source, credentials.clone())
                .credentials(Side::Destination, credentials);
        }
        Ok(builder.build())
    }
}

/// Reads `USER:PASSWORD`.
///
/// # Errors
/// There is no colon: code 2.
pub fn credentials(text: &str) -> Result<Credentials, Failure> {
    Credentials::parse(text).ok_or_else(|| Failure::usage("--creds takes USER:PASSWORD"))
}
