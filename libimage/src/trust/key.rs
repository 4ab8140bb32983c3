//! Keys that sigstore signatures are made and checked with: ECDSA on P-256 with SHA-256, and Ed25519.

use std::{fmt, sync::Arc};

use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
    },
};

use super::{encrypted, pem};
use crate::error::{Error, ErrorKind};

/// SubjectPublicKeyInfo (RFC 5480) of an uncompressed point on P-256, up to the point.
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// SubjectPublicKeyInfo (RFC 8410) of Ed25519, up to the key.
const SPKI_ED25519: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const P256_POINT: usize = 65;
const ED25519_KEY: usize = 32;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// It is not in the form of a key file.
    #[error("the key cannot be read: {problem}")]
    Form {
        /// What is wrong.
        problem: &'static str,
    },
    /// It is a key of another kind.
    #[error("the key is of a kind that is not supported: {found} (ECDSA P-256 and Ed25519 are)")]
    Kind {
        /// What was found.
        found: String,
    },
    /// It is encrypted, and no passphrase was given.
    #[error("the key is encrypted, and no passphrase was given")]
    NoPassphrase,
    /// The passphrase is another one.
    #[error("the key cannot be decrypted: the passphrase is wrong, or the key is damaged")]
    Passphrase,
    /// Decrypting would take more memory or time than any key needs.
    #[error("the key asks for too much work to be decrypted ({what})")]
    TooExpensive {
        /// The parameters.
        what: String,
    },
    /// The system gave no random numbers, or the key is unusable.
    #[error("the signature or key could not be made")]
    Failed,
}

impl KeyError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Form { .. } => ErrorKind::Malformed,
            Self::Kind { .. } => ErrorKind::Unsupported,
            Self::NoPassphrase | Self::Passphrase => ErrorKind::Unauthorized,
            Self::TooExpensive { .. } => ErrorKind::LimitExceeded,
            Self::Failed => ErrorKind::Io,
        }
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// A key that checks signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Public);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl PublicKey {
    /// Reads a PEM file (`PUBLIC KEY`).
    ///
    /// # Errors
    ///
    /// It is no such file, or a key of another kind.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let (label, der) = pem::only_block(text).map_err(|problem| KeyError::Form { problem })?;
        if label != "PUBLIC KEY" {
            return Err(KeyError::Kind { found: label });
        }
        let rest = |prefix: &[u8], length| {
            der.strip_prefix(prefix)
                .filter(|key| key.len() == length)
                .map(<[u8]>::to_vec)
        };
        if let Some(point) = rest(&SPKI_P256, P256_POINT).filter(|point| point[0] == 4) {
            return Ok(Self(Public::P256(point)));
        }
        if let Some(key) = rest(&SPKI_ED25519, ED25519_KEY) {
            return Ok(Self(Public::Ed25519(key)));
        }
        Err(KeyError::Kind {
            found: "a public key of another algorithm or curve".to_owned(),
        })
    }

    /// Tells whether a signature of a message was made by this key.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Public::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
                .verify(message, signature)
                .is_ok(),
            Public::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key)
                .verify(message, signature)
                .is_ok(),
        }
    }

    /// Writes the PEM file.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let (prefix, key) = match &self.0 {
            Public::P256(point) => (&SPKI_P256[..], point),
            Public::Ed25519(key) => (&SPKI_ED25519[..], key),
        };
        pem::write("PUBLIC KEY", &[prefix, key].concat())
    }
}

/// A key that makes signatures. Its content never shows.
#[derive(Clone)]
pub struct PrivateKey(Arc<Private>);

enum Private {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Reads a PEM file: one that cosign made (encrypted), or plain PKCS #8.
    ///
    /// # Errors
    ///
    /// It is no such file, a key of another kind, or the passphrase does not fit.
    pub fn parse(text: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let (label, content) =
            pem::only_block(text).map_err(|problem| KeyError::Form { problem })?;
        match label.as_str() {
            "PRIVATE KEY" => Self::of_pkcs8(&content),
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                let passphrase = passphrase.ok_or(KeyError::NoPassphrase)?;
                Self::of_pkcs8(&encrypted::open(&content, passphrase)?)
            }
            "EC PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => Err(KeyError::Kind {
                found: format!(
                    "{label}; `openssl pkcs8 -topk8 -nocrypt` makes a PRIVATE KEY of it"
                ),
            }),
            _ => Err(KeyError::Kind { found: label }),
        }
    }

    fn of_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random) {
            Ok(pair) => return Ok(Self(Arc::new(Private::P256(pair)))),
            Err(error) if error.to_string() == "PublicKeyIsMissing" => {
                let problem = "it lacks the public key: `openssl pkey -in FILE` writes it with one";
                return Err(KeyError::Form { problem });
            }
            Err(_) => {}
        }
        // openssl and Go write version 1, without the public key.
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self(Arc::new(Private::Ed25519(pair))));
        }
        Err(KeyError::Kind {
            found: "a private key of another algorithm or curve".to_owned(),
        })
    }

    /// Makes a new ECDSA P-256 key, and returns it with its PEM file: encrypted as cosign does it if there is a passphrase.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub fn generate(passphrase: Option<&[u8]>) -> Result<(Self, String), KeyError> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(|_| KeyError::Failed)?;
        let key = Self::of_pkcs8(document.as_ref())?;
        let text = match passphrase {
            Some(passphrase) => {
                let sealed = encrypted::seal(document.as_ref(), passphrase)?;
                pem::write("ENCRYPTED SIGSTORE PRIVATE KEY", &sealed)
            }
            None => pem::write("PRIVATE KEY", document.as_ref()),
        };
        Ok((key, text))
    }

    /// Returns the key that checks what this one signs.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(match &*self.0 {
            Private::P256(pair) => Public::P256(pair.public_key().as_ref().to_vec()),
            Private::Ed25519(pair) => Public::Ed25519(pair.public_key().as_ref().to_vec()),
        })
    }

    /// Signs a message. Ed25519 makes the same signature of the same message every time; ECDSA does not.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &*self.0 {
            Private::P256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError::Failed),
            Private::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").finish_non_exhaustive()
    }
}

/// Who signs what is copied.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The key.
    pub key: PrivateKey,
    /// The name the signature gives to the image, tag or digest included; without it, that of the destination.
    pub identity: Option<crate::name::Name>,
}

impl Signer {
    /// Signs with the destination's name.
    #[must_use]
    pub fn new(key: PrivateKey) -> Self {
        Self {
            key,
            identity: None,
        }
    }
}
