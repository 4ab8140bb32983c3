//! Certificates for single hosts: authorities to trust and client certificates to show, from directories.
//!
//! # References
//!
//! containers-certs.d(5)

use std::{
    fmt::Write as _,
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::{RegistryError, http};
use crate::{
    config::{Endpoint, Secret},
    context::{Context, Side},
    progress::Event,
};

/// Bytes of one file of certificates.
const FILE_BYTES: u64 = 1 << 20;
/// Files looked at in a directory.
const FILES: usize = 1000;

/// How TLS is spoken with a host.
#[derive(Clone, Default)]
pub(super) struct Tls {
    /// Whether it has to prove who it is.
    pub(super) verify: bool,
    /// Whether it need not, although others have to.
    exempt: bool,
    /// Certificates that may prove it, besides the system's; DER.
    pub(super) authorities: Vec<Vec<u8>>,
    /// What we show it, if it asks: PEM, certificates and key.
    pub(super) identity: Option<Secret>,
    /// Where they are from.
    directory: Option<PathBuf>,
}

impl Tls {
    /// How TLS is spoken with any host.
    pub(super) fn common(cx: &Context, side: Side) -> Self {
        Self {
            verify: cx.verifies(side, false),
            ..Self::default()
        }
    }

    /// Reads the directory for a host. The one that was named is for the registry that was named, not for its mirrors.
    pub(super) fn of(
        cx: &Context,
        side: Side,
        endpoint: &Endpoint,
        own: bool,
    ) -> Result<Self, RegistryError> {
        let host = endpoint.name.registry();
        let mut tls = Self {
            exempt: endpoint.insecure,
            verify: cx.verifies(side, endpoint.insecure),
            ..Self::default()
        };
        // An exception for all is none.
        tls.exempt = !tls.verify && cx.verifies(side, false);
        let certificates = cx.certificates(side);
        let named = certificates.named.as_ref().filter(|_| own);
        let by_host = certificates
            .by_host
            .iter()
            .map(|directory| directory.join(host));
        let directory = match named {
            Some(named) => Some(named.clone()),
            None => by_host.into_iter().find(|directory| directory.is_dir()),
        };
        let Some(directory) = directory else {
            return Ok(tls);
        };
        match files(&directory) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && named.is_none() => {
                let message = format!(
                    "the certificates for {host} in {} may not be read",
                    directory.display()
                );
                cx.progress().event(&Event::Warning { message: &message });
            }
            Err(error) => return Err(unusable(host, &directory, error.to_string())),
            Ok(files) => tls.read(host, &files)?,
        }
        tls.directory = Some(directory);
        Ok(tls)
    }

    /// Tells whether something of this is for the host alone, and for nobody it may redirect to.
    pub(super) fn is_special(&self) -> bool {
        self.exempt || !self.authorities.is_empty() || self.identity.is_some()
    }

    fn read(&mut self, host: &str, files: &[PathBuf]) -> Result<(), RegistryError> {
        let mut identity = String::new();
        for path in files {
            let counterpart = |extension| {
                let other = path.with_extension(extension);
                let missing = || {
                    unusable(
                        host,
                        path,
                        format!("there is no {} with it", other.display()),
                    )
                };
                if files.contains(&other) {
                    Ok(other.clone())
                } else {
                    Err(missing())
                }
            };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => self.authorities.extend(authorities(host, path)?),
                Some("cert") => {
                    let key = counterpart("key")?;
                    if !identity.is_empty() {
                        return Err(unusable(
                            host,
                            path,
                            "a second client certificate: which one is it to be?".to_owned(),
                        ));
                    }
                    identity = client_certificate(host, path, &key)?;
                }
                Some("key") => drop(counterpart("cert")?),
                _ => {}
            }
        }
        self.identity = (!identity.is_empty()).then(|| Secret::new(identity));
        Ok(())
    }
}

/// Tells clients apart; without the certificates themselves.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("verify", &self.verify)
            .field("exempt", &self.exempt)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

fn unusable(host: &str, path: &Path, problem: String) -> RegistryError {
    RegistryError::Certificates {
        host: host.to_owned(),
        path: path.to_owned(),
        problem,
    }
}

fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.take(FILES);
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn read(host: &str, path: &Path) -> Result<Vec<u8>, RegistryError> {
    let mut text = Vec::new();
    let file = fs::File::open(path).and_then(|file| file.take(FILE_BYTES).read_to_end(&mut text));
    file.map_err(|error| unusable(host, path, error.to_string()))?;
    Ok(text)
}

fn authorities(host: &str, path: &Path) -> Result<Vec<Vec<u8>>, RegistryError> {
    let text = read(host, path)?;
    let found = CertificateDer::pem_slice_iter(&text)
        .flatten()
        .filter(http::usable);
    let found: Vec<_> = found.map(|der| der.to_vec()).collect();
    if found.is_empty() {
        return Err(unusable(
            host,
            path,
            "it holds no certificate in PEM".to_owned(),
        ));
    }
    Ok(found)
}

/// Joins certificates and key into one text, which the HTTP client wants; parsed here, so that mistakes name the file.
fn client_certificate(host: &str, path: &Path, key: &Path) -> Result<String, RegistryError> {
    let (certificates, secret) = (read(host, path)?, read(host, key)?);
    if CertificateDer::pem_slice_iter(&certificates)
        .flatten()
        .next()
        .is_none()
    {
        return Err(unusable(
            host,
            path,
            "it holds no certificate in PEM".to_owned(),
        ));
    }
    if PrivateKeyDer::from_pem_slice(&secret).is_err() {
        let problem = "it holds no private key in PEM without a passphrase";
        return Err(unusable(host, key, problem.to_owned()));
    }
    let mut text = String::from_utf8_lossy(&certificates).into_owned();
    // Writing to a string succeeds.
    write!(text, "\n{}", String::from_utf8_lossy(&secret)).ok();
    Ok(text)
}
