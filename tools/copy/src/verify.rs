//! `copy verify REF --key FILE`: is an image signed?

use crate::access::OneEnd;
use crate::format::Format;
use crate::local::Local;
use crate::{signing, transfer};
use libimage::config::{Keys, Requirement, SignedIdentity, SignedName, SigstoreSigned};
use libimage::name::ImageRef;
use libimage::platform::Platform;
use libimage::sign::{Verification, VerifyOptions};
use serde_json::{Value, json};
use std::path::PathBuf;
use trimaran_cli::{Failure, output};

/// Verifies that an image is signed, and prints the digest of what is signed
///
/// Without --key the policy decides, which has to want a signature. With --key a signature by one of the keys must give the image a
/// name in its own repository; --identity and --any-identity change that.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which image
    #[arg(value_name = "REF")]
    image: ImageRef,

    /// A public key (PEM) such as cosign.pub; one signature by any of them is enough
    #[arg(long, value_name = "PATH", conflicts_with_all = ["policy", "insecure_policy", "require_signed"])]
    key: Vec<PathBuf>,

    /// The name that the signature must give to the image: with a tag or digest exactly this one, without any in this repository
    #[arg(long, value_name = "NAME", requires = "key", value_parser = name)]
    identity: Option<SignedName>,

    /// Accept any name: the digest alone decides
    #[arg(long, requires = "key", conflicts_with = "identity")]
    any_identity: bool,

    /// Verify the image for this platform: its own signature, or that of the index
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    #[command(flatten)]
    access: OneEnd,

    #[command(flatten)]
    local: Local,

    /// How the result is printed
    #[arg(
        long,
        short,
        alias = "format",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    output: Format,
}

fn name(text: &str) -> Result<SignedName, String> {
    SignedName::parse(text).map_err(|error| error.to_string())
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let options = VerifyOptions {
        requirements: args.requirements()?,
        platform: args.platform.clone(),
        store: args.local.open(&[&args.image])?,
    };
    let context = args.access.context()?;
    let found = transfer::perform(libimage::sign::verify(&context, &args.image, &options))?;
    drop(context);
    match args.output {
        Format::Text => {
            for signature in &found.signatures {
                output::note(format_args!(
                    "signed as {} with {}",
                    signature.name, signature.key
                ));
            }
            output::line(&found.digest)
        }
        Format::Json => output::json(&as_json(&found)),
    }
}

impl Args {
    fn requirements(&self) -> Result<Vec<Requirement>, Failure> {
        if self.key.is_empty() {
            return Ok(Vec::new());
        }
        let identity = match &self.identity {
            _ if self.any_identity => SignedIdentity::Any,
            None => SignedIdentity::MatchRepository,
            Some(name) if name.is_bare() => SignedIdentity::ExactRepository(name.repository()),
            Some(name) => SignedIdentity::ExactReference(name.name().clone()),
        };
        let keys = self.key.iter().map(|path| {
            let content = signing::read(path, "key")?;
            // Said here, and not once an image has been asked for.
            libimage::trust::PublicKey::parse(&content)
                .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
            Ok(Keys::new(path.display().to_string(), content))
        });
        Ok(vec![Requirement::SigstoreSigned(SigstoreSigned {
            keys: keys.collect::<Result<_, Failure>>()?,
            identity,
        })])
    }
}

fn as_json(found: &Verification) -> Value {
    let signatures: Vec<Value> = found
        .signatures
        .iter()
        .map(|signature| json!({"identity": signature.name, "key": signature.key}))
        .collect();
    json!({"digest": found.digest, "signatures": signatures})
}
