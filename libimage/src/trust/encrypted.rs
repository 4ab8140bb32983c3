//! The encrypted private keys of cosign: scrypt makes a key of the passphrase, NaCl's secretbox does the rest, JSON around it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305, aead::Aead as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use serde_json::json;

use super::KeyError;
use crate::config::strict;

/// What cosign 2 uses: 64 MiB and about 0.2 s.
const N: u64 = 65_536;
const R: u32 = 8;
const P: u32 = 1;
const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Bytes of memory a key may ask for: four times what cosign's own take.
const MEMORY: u64 = 256 << 20;
/// Rounds (N·r·p) a key may ask for: sixteen times what cosign's own take, some seconds.
const WORK: u64 = 16 * N * R as u64;

#[derive(Deserialize)]
struct Document {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Parameters,
    salt: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct Parameters {
    n: u64,
    #[serde(rename = "r")]
    r: u32,
    #[serde(rename = "p")]
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Decrypts the content of a key file.
pub(super) fn open(content: &[u8], passphrase: &[u8]) -> Result<Vec<u8>, KeyError> {
    let form = |problem| KeyError::Form { problem };
    let document = strict::parse(content)
        .and_then(serde_json::from_value::<Document>)
        .map_err(|_| form("it is not encrypted as cosign does it"))?;
    if document.kdf.name != "scrypt" || document.cipher.name != "nacl/secretbox" {
        return Err(form(
            "it is encrypted in another way than by scrypt and nacl/secretbox",
        ));
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| form("it is no base64"));
    let (salt, nonce) = (decode(&document.kdf.salt)?, decode(&document.cipher.nonce)?);
    let ciphertext = decode(&document.ciphertext)?;
    let nonce: [u8; NONCE_BYTES] = nonce
        .try_into()
        .map_err(|_| form("its nonce has the wrong length"))?;
    let key = derive(passphrase, &salt, &document.kdf.params)?;
    XSalsa20Poly1305::new(&key.into())
        .decrypt(&nonce.into(), ciphertext.as_slice())
        .map_err(|_| KeyError::Passphrase)
}

/// Encrypts a key.
pub(super) fn seal(pkcs8: &[u8], passphrase: &[u8]) -> Result<Vec<u8>, KeyError> {
    let random = SystemRandom::new();
    let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
    random.fill(&mut salt).map_err(|_| KeyError::Failed)?;
    random.fill(&mut nonce).map_err(|_| KeyError::Failed)?;
    let parameters = Parameters { n: N, r: R, p: P };
    let key = derive(passphrase, &salt, &parameters)?;
    let ciphertext = XSalsa20Poly1305::new(&key.into())
        .encrypt(&nonce.into(), pkcs8)
        .map_err(|_| KeyError::Failed)?;
    let document = json!({
        "kdf": {"name": "scrypt", "params": {"N": N, "r": R, "p": P}, "salt": STANDARD.encode(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": STANDARD.encode(nonce)},
        "ciphertext": STANDARD.encode(ciphertext),
    });
    Ok(document.to_string().into_bytes())
}

/// Makes a key of a passphrase, if the parameters are such as people use.
fn derive(passphrase: &[u8], salt: &[u8], asked: &Parameters) -> Result<[u8; 32], KeyError> {
    let &Parameters { n, r, p } = asked;
    let memory = n.checked_mul(128 * u64::from(r));
    let work = n
        .checked_mul(u64::from(r))
        .and_then(|work| work.checked_mul(u64::from(p)));
    let fits =
        memory.is_some_and(|memory| memory <= MEMORY) && work.is_some_and(|work| work <= WORK);
    if !fits {
        return Err(KeyError::TooExpensive {
            what: format!("scrypt with N={n}, r={r}, p={p}"),
        });
    }
    let odd = KeyError::Form {
        problem: "its scrypt parameters are not valid",
    };
    if n < 2 || !n.is_power_of_two() {
        return Err(odd);
    }
    let Ok(parameters) = scrypt::Params::new(n.trailing_zeros() as u8, r, p) else {
        return Err(odd);
    };
    let mut key = [0; 32];
    scrypt::scrypt(passphrase, salt, &parameters, &mut key).map_err(|_| KeyError::Failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(parameters: serde_json::Value) -> Vec<u8> {
        json!({
            "kdf": {"name": "scrypt", "params": parameters, "salt": "eA=="},
            "cipher": {"name": "nacl/secretbox", "nonce": STANDARD.encode([0; NONCE_BYTES])},
            "ciphertext": STANDARD.encode([0; 40]),
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn what_is_sealed_opens_with_its_passphrase_only() {
        let sealed = seal(b"the key", b"secret").unwrap();
        assert_eq!(open(&sealed, b"secret").unwrap(), b"the key");
        assert_eq!(open(&sealed, b"Secret"), Err(KeyError::Passphrase));
    }

    #[test]
    fn parameters_are_limited_before_they_are_used() {
        for (n, r, p) in [
            (1u64 << 40, 8u64, 1u64),
            (1 << 19, 8, 1),
            (2, u64::from(u32::MAX), 1),
            (2, 1, u64::from(u32::MAX)),
            (u64::MAX, 8, 1),
        ] {
            let asked = with(json!({"N": n, "r": r, "p": p}));
            let told = open(&asked, b"x").unwrap_err();
            assert!(
                matches!(told, KeyError::TooExpensive { .. }),
                "{n} {r} {p}: {told}"
            );
        }
        for (n, r, p) in [(0, 8, 1), (1, 8, 1), (3, 8, 1), (2, 0, 1), (2, 8, 0)] {
            let asked = with(json!({"N": n, "r": r, "p": p}));
            let told = open(&asked, b"x").unwrap_err();
            assert!(matches!(told, KeyError::Form { .. }), "{n} {r} {p}: {told}");
        }
        for other in [
            json!({"N": -1, "r": 8, "p": 1}),
            json!({"N": 2}),
            json!(null),
        ] {
            assert!(open(&with(other), b"x").is_err());
        }
        assert_eq!(
            open(&with(json!({"N": 2, "r": 1, "p": 1})), b"x"),
            Err(KeyError::Passphrase)
        );
    }
}
