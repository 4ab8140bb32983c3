//! What a command line says about one end of a transfer: who we are there, and how it proves who it is.
//!
//! The same flags three times: with no prefix for the verbs with one end, with `--src-` and `--dest-` for those with two.

use crate::{authfile, failure::Failure};
use libimage::config::{Certificates, Credentials, Secret};
use libimage::context::{ContextBuilder, Side};
use std::path::PathBuf;

/// What the flags say about one end.
#[derive(Debug, Clone, Default)]
pub struct End {
    /// Who we are; without it, the files say.
    pub credentials: Option<Credentials>,
    /// Whether certificates are verified; without it, registries.conf says.
    pub tls_verify: Option<bool>,
    /// Where the registry's certificates are, in place of the usual directories.
    pub cert_dir: Option<PathBuf>,
    /// The file of credentials, in place of the usual ones.
    pub authfile: Option<PathBuf>,
}

impl End {
    /// Sets up both sides of a context. Reads the files of credentials; `uid` is the user's id, which inside a user namespace is no longer
    /// our own.
    ///
    /// # Errors
    /// A file of credentials cannot be read or understood.
    pub fn apply(
        source: &Self,
        destination: &Self,
        builder: ContextBuilder,
        uid: u32,
    ) -> Result<ContextBuilder, Failure> {
        let from = authfile::read_for(source.authfile.as_deref(), uid)?;
        let to = if source.authfile == destination.authfile {
            from.clone()
        } else {
            authfile::read_for(destination.authfile.as_deref(), uid)?
        };
        let mut builder = builder;
        for (end, side, files) in [
            (source, Side::Source, from),
            (destination, Side::Destination, to),
        ] {
            for file in files {
                builder = builder.auth_file_for(side, file);
            }
            builder = end.apply_without_files(builder, side);
        }
        Ok(builder)
    }

    /// As [`End::apply`], for who has the credentials already.
    pub fn apply_without_files(&self, mut builder: ContextBuilder, side: Side) -> ContextBuilder {
        let certificates = Certificates {
            by_host: crate::registries::certificates(),
            named: self.cert_dir.clone(),
        };
        builder = builder.certificates(side, certificates);
        if let Some(verify) = self.tls_verify {
            builder = builder.tls_verify(side, verify);
        }
        if let Some(credentials) = &self.credentials {
            builder = builder.credentials(side, credentials.clone());
        }
        builder
    }
}

/// What was typed about who we are.
struct Typed<'a> {
    prefix: &'a str,
    creds: Option<&'a str>,
    username: Option<&'a str>,
    password: Option<&'a str>,
    registry_token: Option<&'a str>,
    no_creds: bool,
}

impl Typed<'_> {
    /// Reads the credentials here and not in clap, whose message would repeat them.
    fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        let prefix = self.prefix;
        if self.no_creds {
            return Ok(Some(Credentials::Anonymous));
        }
        if let Some(token) = self.registry_token {
            return Ok(Some(Credentials::Bearer(Secret::new(token))));
        }
        match (self.creds, self.username, self.password) {
            (Some(text), ..) => match Credentials::parse(text) {
                Some(credentials) => Ok(Some(credentials)),
                None => Err(Failure::usage(format!(
                    "--{prefix}creds is not of the form USER:PASSWORD"
                ))),
            },
            (None, Some(user), Some(password)) if !user.is_empty() => {
                Ok(Some(Credentials::Basic {
                    user: user.to_owned(),
                    password: Secret::new(password),
                }))
            }
            (None, None, None) => Ok(None),
            _ => Err(Failure::usage(format!(
                "--{prefix}username and --{prefix}password need each other"
            ))),
        }
    }
}

macro_rules! end_args {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $whose:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, clap::Args)]
        pub struct $name {
            #[arg(id = concat!($prefix, "creds"), long = concat!($prefix, "creds"), value_name = "USER:PASSWORD",
                help = concat!("User and password for ", $whose),
                conflicts_with_all = [concat!($prefix, "username"), concat!($prefix, "registry-token"), concat!($prefix, "no-creds")])]
            creds: Option<String>,

            #[arg(id = concat!($prefix, "username"), long = concat!($prefix, "username"), value_name = "USER",
                help = concat!("User for ", $whose),
                conflicts_with_all = [concat!($prefix, "registry-token"), concat!($prefix, "no-creds")])]
            username: Option<String>,

            #[arg(id = concat!($prefix, "password"), long = concat!($prefix, "password"), value_name = "PASSWORD",
                help = concat!("Password for ", $whose, "; other users of this machine may see it in the list of processes"))]
            password: Option<String>,

            #[arg(id = concat!($prefix, "registry-token"), long = concat!($prefix, "registry-token"), value_name = "TOKEN",
                help = concat!("Bearer token for ", $whose, ", sent as it is"),
                conflicts_with_all = [concat!($prefix, "password"), concat!($prefix, "no-creds")])]
            registry_token: Option<String>,

            #[arg(id = concat!($prefix, "no-creds"), long = concat!($prefix, "no-creds"),
                help = concat!("Show ", $whose, " no credentials, whatever the files hold"),
                conflicts_with = concat!($prefix, "password"))]
            no_creds: bool,

            #[arg(id = concat!($prefix, "authfile"), long = concat!($prefix, "authfile"), value_name = "PATH",
                help = concat!("File with credentials for ", $whose, ", instead of the usual ones"))]
            authfile: Option<PathBuf>,

            #[arg(id = concat!($prefix, "cert-dir"), long = concat!($prefix, "cert-dir"), value_name = "DIR",
                help = concat!("Directory with certificates for ", $whose, ": authorities in *.crt, our own in *.cert and *.key"))]
            cert_dir: Option<PathBuf>,

            #[arg(id = concat!($prefix, "tls-verify"), long = concat!($prefix, "tls-verify"), value_name = "BOOL",
                help = concat!("Whether ", $whose, " must prove who it is; `=false` also allows plain HTTP [default: true, unless registries.conf calls it insecure]"),
                num_args = 0..=1, require_equals = true, default_missing_value = "true")]
            tls_verify: Option<bool>,
        }

        impl $name {
            /// Makes sense of the flags. `authfile` is the file of both ends, if there is one.
            ///
            /// # Errors
            /// The credentials are incomplete: code 2.
            pub fn end(&self, authfile: Option<&std::path::Path>) -> Result<End, Failure> {
                let typed = Typed {
                    prefix: $prefix,
                    creds: self.creds.as_deref(),
                    username: self.username.as_deref(),
                    password: self.password.as_deref(),
                    registry_token: self.registry_token.as_deref(),
                    no_creds: self.no_creds,
                };
                Ok(End {
                    credentials: typed.credentials()?,
                    tls_verify: self.tls_verify,
                    cert_dir: self.cert_dir.clone(),
                    authfile: self.authfile.clone().or_else(|| authfile.map(std::path::Path::to_owned)),
                })
            }
        }
    };
}

end_args!(
    /// Flags of the one end of a verb.
    OneArgs, "", "the registry"
);
end_args!(
    /// Flags of the source.
    SourceArgs, "src-", "the source's registry"
);
end_args!(
    /// Flags of the destination.
    DestinationArgs, "dest-", "the destination's registry"
);
