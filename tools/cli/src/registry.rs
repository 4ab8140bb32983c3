//! The flags every verb of `run` and `build` that talks to a registry has, and the surroundings they make.

use crate::{ends::End, failure::Failure, progress::Drawing, registries};
use clap::Args;
use libimage::config::Credentials;
use libimage::context::Context;
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
    /// Directory with certificates for the registry: authorities in *.crt, our own in *.cert and *.key
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// Verify certificates; with false, plain http is tried as well [default: true, unless registries.conf calls the registry insecure]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tls_verify: Option<bool>,
    /// File that says where registries and their mirrors are (containers-registries.conf(5)), instead of the usual ones
    #[arg(long, value_name = "FILE")]
    pub registries_conf: Option<PathBuf>,
}

impl RegistryArgs {
    /// The surroundings of a transfer from or to a registry. Reads the files of credentials, registries and policy. `uid` is the user's
    /// id, which inside a user namespace is no longer our own.
    ///
    /// # Errors
    /// A file is malformed, one that was named is missing, or `--creds` has no colon.
    pub fn context(&self, uid: u32, progress: std::sync::Arc<Drawing>) -> Result<Context, Failure> {
        let end = End {
            credentials: self.creds.as_deref().map(credentials).transpose()?,
            tls_verify: self.tls_verify,
            cert_dir: self.cert_dir.clone(),
            authfile: self.authfile.clone(),
        };
        let builder = Context::builder(crate::policy::read_for(uid)?).progress(progress);
        let builder = registries::apply(builder, self.registries_conf.as_deref(), uid)?;
        Ok(End::apply(&end, &end, builder, uid)?.build())
    }
}

/// Reads `USER:PASSWORD`.
///
/// # Errors
/// There is no colon: code 2.
pub fn credentials(text: &str) -> Result<Credentials, Failure> {
    Credentials::parse(text).ok_or_else(|| Failure::usage("--creds takes USER:PASSWORD"))
}
