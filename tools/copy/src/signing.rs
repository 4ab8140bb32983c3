//! With which key is signed: the flags, and the files they name.

use clap::Args;
use libimage::name::Name;
use libimage::trust::{KeyError, PrivateKey, Signer};
use std::path::{Path, PathBuf};
use trimaran_cli::{Failure, output};

/// Where cosign looks for a passphrase.
const VARIABLE: &str = "COSIGN_PASSWORD";

/// The flags of a copy that signs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Signing {
    /// Sign the copy with this key, as cosign does: a file of `copy sign --generate-key` or of cosign, or plain PKCS #8 (PEM)
    #[arg(long, value_name = "PATH")]
    sign_by_sigstore_private_key: Vec<PathBuf>,

    #[command(flatten)]
    how: How,

    /// Leave signatures behind, but not SBOMs and attestations
    #[arg(long)]
    remove_signatures: bool,
}

/// The flags of everything that signs.
#[derive(Debug, Clone, Args)]
pub(crate) struct How {
    /// File with the passphrase of the key, in its first line [default: the variable COSIGN_PASSWORD]
    #[arg(long, value_name = "PATH")]
    sign_passphrase_file: Option<PathBuf>,

    /// Name that the signature gives to the image, such as registry.example/app:1.0 [default: the destination's name]
    #[arg(long, value_name = "NAME")]
    sign_identity: Option<Name>,
}

impl Signing {
    /// Reads the keys.
    ///
    /// # Errors
    /// If one cannot be read or decrypted.
    pub(crate) fn signers(&self) -> Result<Vec<Signer>, Failure> {
        self.how.signers(&self.sign_by_sigstore_private_key)
    }

    /// Whether signatures of the source stay behind.
    pub(crate) fn removes_signatures(&self) -> bool {
        self.remove_signatures
    }
}

impl How {
    /// Reads keys.
    ///
    /// # Errors
    /// If one cannot be read or decrypted.
    pub(crate) fn signers(&self, keys: &[PathBuf]) -> Result<Vec<Signer>, Failure> {
        if keys.is_empty() && (self.sign_passphrase_file.is_some() || self.sign_identity.is_some())
        {
            return Err(Failure::usage(
                "--sign-passphrase-file and --sign-identity say how to sign, and no key is given",
            ));
        }
        let passphrase = self.passphrase()?;
        keys.iter()
            .map(|path| {
                Ok(Signer {
                    key: read_key(path, passphrase.as_deref())?,
                    identity: self.sign_identity.clone(),
                })
            })
            .collect()
    }

    /// Returns the passphrase, if one is given.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub(crate) fn passphrase(&self) -> Result<Option<Vec<u8>>, Failure> {
        use std::os::unix::ffi::OsStringExt;
        let Some(path) = &self.sign_passphrase_file else {
            return Ok(std::env::var_os(VARIABLE).map(OsStringExt::into_vec));
        };
        let text = read(path, "passphrase")?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec()))
    }
}

/// Reads a file that the command line names.
pub(crate) fn read(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        Failure::new(format!(
            "cannot read the {what} {}: {error}",
            path.display()
        ))
    })
}

fn read_key(path: &Path, passphrase: Option<&[u8]>) -> Result<PrivateKey, Failure> {
    let text = read(path, "key")?;
    PrivateKey::parse(&text, passphrase).map_err(|error| {
        let failure = Failure::new(format!("{}: {error}", path.display()));
        match error {
            KeyError::NoPassphrase => failure.with_hint(format!(
                "give --sign-passphrase-file PATH, or set {VARIABLE}"
            )),
            _ => failure,
        }
    })
}

/// Makes a pair of keys in the files `PREFIX.key` and `PREFIX.pub`; existing ones are not overwritten.
///
/// # Errors
/// If one of the files exists or cannot be written.
pub(crate) fn generate(prefix: &str, passphrase: Option<&[u8]>) -> Result<(), Failure> {
    let (key, text) = PrivateKey::generate(passphrase)?;
    let (private, public) = (format!("{prefix}.key"), format!("{prefix}.pub"));
    write_new(&private, text.as_bytes(), 0o600)?;
    write_new(&public, key.public().to_pem().as_bytes(), 0o644)?;
    if passphrase.is_none() {
        output::warn(format!(
            "{private} is not encrypted: give --sign-passphrase-file, or set {VARIABLE}, for one that is"
        ));
    }
    output::line(private)?;
    output::line(public)
}

fn write_new(path: &str, content: &[u8], mode: u32) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|error: std::io::Error| Failure::new(format!("cannot write {path}: {error}")))
}
