//! Which content is this: digests, and readers and writers that hash what passes through them.

use std::{
    fmt,
    io::{self, Read, Write},
    str::FromStr,
};

use sha2::{Digest as _, Sha256, Sha512};

use crate::error::{Error, ErrorKind};

/// The hash functions that name content. Others are refused at the edge (CVE-2024-3727 class: a digest becomes a file name).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, what every registry uses.
    Sha256,
    /// SHA-512, allowed by the image specification.
    Sha512,
}

impl Algorithm {
    /// Returns the name used before the colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A validated digest, `sha256:<64 lower-case hex>` or `sha512:<128>`: safe as a file name and as a part of a URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    text: Box<str>,
    algorithm: Algorithm,
}

/// Why a text is no digest, or content does not match one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The text does not have the form of a digest we know.
    #[error("{text:?} is not a digest (sha256:<64 hex digits> or sha512:<128 hex digits>)")]
    Malformed {
        /// The text, shortened.
        text: String,
    },
    /// The content hashes to something else.
    #[error("the content's digest is {found}, {expected} was expected")]
    Mismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The content has another length.
    #[error("the content of {digest} has {found} bytes{}, {expected} were expected", if *.more { " or more" } else { "" })]
    Size {
        /// The digest of the content that was asked for.
        digest: Digest,
        /// The length that was promised, in bytes.
        expected: u64,
        /// The length that came, in bytes.
        found: u64,
        /// Whether reading stopped at `found`.
        more: bool,
    },
}

impl DigestError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. } => ErrorKind::Malformed,
            Self::Mismatch { .. } | Self::Size { .. } => ErrorKind::DigestMismatch,
        }
    }
}

impl From<DigestError> for Error {
    fn from(error: DigestError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<DigestError> for io::Error {
    fn from(error: DigestError) -> Self {
        Error::from(error).into()
    }
}

impl Digest {
    /// Hashes bytes with SHA-256.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the hash function.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the part after the colon, lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.as_str().len() + 1..]
    }

    /// Returns the whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(algorithm.as_str().len() + 1 + bytes.len() * 2);
        text.push_str(algorithm.as_str());
        text.push(':');
        for byte in bytes {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Self {
            text: text.into(),
            algorithm,
        }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed {
            text: text.chars().take(160).collect(),
        };
        let (name, hex) = text.split_once(':').ok_or_else(malformed)?;
        let algorithm = [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(malformed)?;
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != algorithm.hex_length() || !hex.bytes().all(lower_hex) {
            return Err(malformed());
        }
        Ok(Self {
            text: text.into(),
            algorithm,
        })
    }
}

impl TryFrom<&oci_spec::image::Digest> for Digest {
    type Error = DigestError;

    fn try_from(digest: &oci_spec::image::Digest) -> Result<Self, DigestError> {
        digest.as_ref().parse()
    }
}

impl From<&Digest> for oci_spec::image::Digest {
    fn from(digest: &Digest) -> Self {
        digest
            .as_str()
            .parse()
            .expect("the specification's type accepts every sha256 and sha512 digest")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl AsRef<str> for Digest {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Hashes a stream.
#[derive(Debug, Clone)]
pub struct Hasher(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Starts with nothing hashed.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Hashes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Returns the digest of everything hashed.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(state) => Digest::from_bytes(Algorithm::Sha256, &state.finalize()),
            State::Sha512(state) => Digest::from_bytes(Algorithm::Sha512, &state.finalize()),
        }
    }
}

/// Hashes and counts what is read through it.
#[derive(Debug)]
pub struct DigestReader<R> {
    inner: R,
    hasher: Hasher,
    size: u64,
}

impl<R: Read> DigestReader<R> {
    /// Wraps a reader.
    pub fn new(inner: R, algorithm: Algorithm) -> Self {
        Self {
            inner,
            hasher: Hasher::new(algorithm),
            size: 0,
        }
    }

    /// Returns the number of bytes read so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the digest and the number of bytes read.
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.size)
    }

    /// Gives the inner reader back, with the digest and the number of bytes read.
    pub fn into_parts(self) -> (R, Digest, u64) {
        (self.inner, self.hasher.finish(), self.size)
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

/// Hashes and counts what is written through it.
#[derive(Debug)]
pub struct DigestWriter<W> {
    inner: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> DigestWriter<W> {
    /// Wraps a writer.
    pub fn new(inner: W, algorithm: Algorithm) -> Self {
        Self {
            inner,
            hasher: Hasher::new(algorithm),
            size: 0,
        }
    }

    /// Returns the number of bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Gives the inner writer back, with the digest and the number of bytes written.
    pub fn into_parts(self) -> (W, Digest, u64) {
        (self.inner, self.hasher.finish(), self.size)
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads content that must have a given digest and size: the read that meets the end fails if they differ.
///
/// Bytes are handed on before the verdict, so a caller must not publish what it made of them before it has read to the end.
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    hasher: Option<Hasher>,
    expected: Digest,
    size: u64,
    done: u64,
}

impl<R: Read> VerifyingReader<R> {
    /// Wraps a reader whose content must be `size` bytes with the digest `expected`.
    pub fn new(inner: R, expected: Digest, size: u64) -> Self {
        Self {
            inner,
            hasher: Some(Hasher::new(expected.algorithm())),
            expected,
            size,
            done: 0,
        }
    }

    fn wrong_size(&self, found: u64, more: bool) -> DigestError {
        DigestError::Size {
            digest: self.expected.clone(),
            expected: self.size,
            found,
            more,
        }
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        self.done += count as u64;
        if self.done > self.size {
            return Err(self.wrong_size(self.done, true).into());
        }
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..count]);
            }
            return Ok(count);
        }
        if self.done != self.size {
            return Err(self.wrong_size(self.done, false).into());
        }
        if let Some(hasher) = self.hasher.take() {
            let found = hasher.finish();
            if found != self.expected {
                return Err(DigestError::Mismatch {
                    expected: self.expected.clone(),
                    found,
                }
                .into());
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn hashes_known_content() {
        assert_eq!(Digest::of(b"abc").as_str(), ABC);
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"abc");
        let digest = hasher.finish();
        assert!(
            digest
                .as_str()
                .starts_with("sha512:ddaf35a193617abacc417349ae204131")
        );
        assert_eq!(digest.hex().len(), 128);
    }

    #[test]
    fn only_lower_case_digests_of_known_algorithms_parse() {
        assert_eq!(ABC.parse::<Digest>().unwrap().hex(), &ABC[7..]);
        let upper = ABC.to_uppercase().replace("SHA256", "sha256");
        for bad in [
            "",
            "sha256:",
            "sha256",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &ABC[..70],
            &upper,
            "sha256:../../etc/passwd",
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_verifying_reader_refuses_other_content_and_other_lengths() {
        let digest = Digest::of(b"abc");
        let read = |content: &[u8], size| {
            let mut out = Vec::new();
            VerifyingReader::new(content, digest.clone(), size)
                .read_to_end(&mut out)
                .map(|_| out)
        };
        assert_eq!(read(b"abc", 3).unwrap(), b"abc");
        for (content, size) in [(&b"abd"[..], 3), (b"ab", 3), (b"abcd", 3), (b"abc", 4)] {
            let error = read(content, size).unwrap_err();
            assert_eq!(ErrorKind::of_io(&error), ErrorKind::DigestMismatch);
        }
    }
}
