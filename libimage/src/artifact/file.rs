//! A file that becomes a part of an artifact.

use std::{
    fs::File,
    io,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use super::{ArtifactError, TITLE};
use crate::{
    digest::{Algorithm, DigestReader},
    manifest::Descriptor,
};

/// The type of a file nobody says anything about.
const UNKNOWN: &str = "application/octet-stream";

/// A file to push, as it is written on a command line: `FILE[:MEDIA-TYPE]`.
///
/// ```
/// use libimage::artifact::FilePart;
/// let part: FilePart = "out/sbom.json:application/spdx+json".parse()?;
/// assert_eq!(part.title.as_deref(), Some("out/sbom.json"));
/// assert_eq!(part.media_type, "application/spdx+json");
/// # Ok::<(), libimage::artifact::ArtifactError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePart {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub media_type: String,
    /// The name it is pulled under; without one it cannot be pulled as a file.
    pub title: Option<String>,
}

impl FilePart {
    /// Names a file by its path, if that is relative and leads downward; else by the last part of it.
    ///
    /// # Errors
    ///
    /// The path has no last part, or is no UTF-8.
    pub fn new(path: &Path, media_type: Option<&str>) -> Result<Self, ArtifactError> {
        let no_name = || ArtifactError::NoName {
            path: path.to_owned(),
        };
        let media_type = media_type.unwrap_or(UNKNOWN);
        if !is_media_type(media_type) {
            let input = media_type.to_owned();
            return Err(ArtifactError::MediaType { input });
        }
        let parts: Option<Vec<&str>> = path
            .components()
            .filter(|part| *part != Component::CurDir)
            .map(|part| match part {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect();
        let title = match parts {
            Some(parts) if !parts.is_empty() => parts.join("/"),
            _ => path
                .file_name()
                .and_then(|name| name.to_str())
                .ok_or_else(no_name)?
                .to_owned(),
        };
        Ok(Self {
            path: path.to_owned(),
            media_type: media_type.to_owned(),
            title: Some(title),
        })
    }

    /// Hashes the file, and describes it.
    pub(super) fn describe(&self) -> Result<Descriptor, ArtifactError> {
        let mut reader = DigestReader::new(self.open()?, Algorithm::Sha256);
        io::copy(&mut reader, &mut io::sink()).map_err(|source| ArtifactError::Read {
            path: self.path.clone(),
            source,
        })?;
        let (digest, size) = reader.finish();
        let mut descriptor = Descriptor::new(&self.media_type, digest, size);
        if let Some(title) = &self.title {
            descriptor
                .annotations
                .insert(TITLE.to_owned(), title.clone());
        }
        Ok(descriptor)
    }

    pub(super) fn open(&self) -> Result<File, ArtifactError> {
        let read = |source| ArtifactError::Read {
            path: self.path.clone(),
            source,
        };
        // Looked at before it is opened: opening a FIFO would wait for a writer.
        if !std::fs::metadata(&self.path).map_err(read)?.is_file() {
            return Err(ArtifactError::NotAFile {
                path: self.path.clone(),
            });
        }
        File::open(&self.path).map_err(read)
    }
}

impl FromStr for FilePart {
    type Err = ArtifactError;

    fn from_str(input: &str) -> Result<Self, ArtifactError> {
        match input.rsplit_once(':') {
            // A path may have a colon too: a media type has exactly one slash.
            Some((path, media_type)) if !path.is_empty() && is_media_type(media_type) => {
                Self::new(Path::new(path), Some(media_type))
            }
            _ => Self::new(Path::new(input), None),
        }
    }
}

/// Tells whether a text is a media type: two names of RFC 6838 with a slash in between, and perhaps parameters.
pub(super) fn is_media_type(text: &str) -> bool {
    let name = |name: &str| {
        (1..=127).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    text.is_ascii()
        && !text.bytes().any(|byte| byte.is_ascii_control())
        && essence
            .split_once('/')
            .is_some_and(|(kind, rest)| name(kind) && name(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_their_types() {
        let table = [
            ("a.txt", "a.txt", UNKNOWN, "a.txt"),
            ("./dir/a", "./dir/a", UNKNOWN, "dir/a"),
            ("a:text/plain", "a", "text/plain", "a"),
            (
                "/srv/a.json:application/vnd.x+json",
                "/srv/a.json",
                "application/vnd.x+json",
                "a.json",
            ),
            ("../a", "../a", UNKNOWN, "a"),
            // Neither of these has a type behind the colon.
            ("a:b", "a:b", UNKNOWN, "a:b"),
            ("dir:x/y/z", "dir:x/y/z", UNKNOWN, "dir:x/y/z"),
        ];
        for (input, path, media_type, title) in table {
            let part: FilePart = input.parse().unwrap();
            assert_eq!(part.path, Path::new(path), "{input}");
            assert_eq!(
                (&*part.media_type, part.title.as_deref()),
                (media_type, Some(title)),
                "{input}"
            );
        }
        for input in ["", "..", "/", "a/.."] {
            assert!(
                matches!(input.parse::<FilePart>(), Err(ArtifactError::NoName { .. })),
                "{input:?}"
            );
        }
    }

    #[test]
    fn media_types() {
        for text in [
            "a/b",
            "application/vnd.oci.empty.v1+json",
            "text/plain; charset=utf-8",
        ] {
            assert!(is_media_type(text), "{text}");
        }
        for text in ["", "a", "/b", "a/", "a/b/c", "a b/c", "a/b\n", "ä/b"] {
            assert!(!is_media_type(text), "{text:?}");
        }
    }
}
