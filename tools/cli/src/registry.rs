//! The flags every verb that talks to a registry has, and the surroundings they make.

use crate::{authfile, failure::Failure, progress::Drawing};
use clap::Args;
use libimage::config::{AuthFile, Credentials, Policy};
use libimage::context::{Context, ContextBuilder, Side};
use std::path::{Path, PathBuf};

/// How to talk to the registry an image comes from.
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
    /// The surroundings of a transfer from a registry. Reads the files of credentials and policy. `uid` is the user's id, which
    /// inside a user namespace is no longer our own.
    ///
    /// # Errors
    /// A file is malformed, one that was named is missing, or `--creds` has no colon.
    pub fn context(&self, uid: u32, progress: std::sync::Arc<Drawing>) -> Result<Context, Failure> {
        let mut builder = with_files(self.authfile.as_deref(), uid)?
            .tls_verify(Side::Source, self.tls_verify)
            .progress(progress);
        if let Some(creds) = &self.creds {
            builder = builder.credentials(Side::Source, credentials(creds)?);
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

/// A context with the policy and the credentials of this user's files, and nothing else set.
///
/// # Errors
/// A file is malformed, or one that was named is missing.
pub fn with_files(authfile: Option<&Path>, uid: u32) -> Result<ContextBuilder, Failure> {
    let policy = match authfile::policy_here() {
        None => Policy::accept_anything(),
        Some(path) => {
            let text = read(&path)?;
            Policy::parse(&text).map_err(|error| in_file(&path, error))?
        }
    };
    let mut builder = Context::builder(policy);
    let named = authfile.is_some()
        || std::env::var_os("REGISTRY_AUTH_FILE").is_some_and(|file| !file.is_empty());
    for path in authfile::credentials(authfile, uid, &|name| std::env::var_os(name)) {
        if !named && !path.exists() {
            continue;
        }
        let file = AuthFile::parse(&read(&path)?).map_err(|error| in_file(&path, error))?;
        builder = builder.auth_file(file);
    }
    Ok(builder)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
}

fn in_file(path: &Path, error: impl std::error::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}
