//! Short names: what `debian` means.

use std::str::FromStr;

use super::{Registries, RegistriesError};
use crate::{
    error::{Error, ErrorKind},
    name::{ImageRef, Name, NameError},
};

/// What is done about a short name that could mean several images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShortNameMode {
    /// It is refused: nobody is asked here, and guessing is how squatters are pulled.
    Enforcing,
    /// All of them are tried, in the order of the file.
    Permissive,
    /// All of them are tried, in the order of the file.
    Disabled,
}

impl FromStr for ShortNameMode {
    type Err = RegistriesError;

    fn from_str(text: &str) -> Result<Self, RegistriesError> {
        match text {
            "enforcing" => Ok(Self::Enforcing),
            "permissive" => Ok(Self::Permissive),
            "disabled" => Ok(Self::Disabled),
            other => Err(RegistriesError::Word {
                key: "short-name-mode",
                value: other.to_owned(),
                allowed: "enforcing, permissive, disabled",
            }),
        }
    }
}

/// Why a short name means nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShortNameError {
    /// It is no name at all.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It could be several images.
    #[error("{name:?} could be any of {}: say which one", candidates.join(", "))]
    Ambiguous {
        /// What was given.
        name: String,
        /// What it could be.
        candidates: Vec<String>,
    },
}

impl From<ShortNameError> for Error {
    fn from(error: ShortNameError) -> Self {
        match error {
            ShortNameError::Name(error) => error.into(),
            error @ ShortNameError::Ambiguous { .. } => {
                Self::new(ErrorKind::InvalidReference, error)
            }
        }
    }
}

impl Registries {
    /// Returns which images a reference may mean, in the order in which they are to be tried. Only [`ImageRef::Bare`] can mean something
    /// else than itself: an alias decides; else the registries for unqualified names; if there are none, it is docker.io's.
    ///
    /// Several are refused unless `short-name-mode` is `permissive` or `disabled`: without a word about the mode we are stricter
    /// than the field's tools, which would try them all when nobody can be asked.
    ///
    /// # Errors
    ///
    /// It is no name, or it could mean several images.
    pub fn candidates(&self, image: &ImageRef) -> Result<Vec<ImageRef>, ShortNameError> {
        let ImageRef::Bare(text) = image else {
            return Ok(vec![image.clone()]);
        };
        // What is no name in docker's grammar is none with a registry in front either.
        let name: Name = text.parse()?;
        if !is_short(text) {
            return Ok(vec![ImageRef::Docker(name)]);
        }
        let (path, _) = split(text);
        if let Some(full) = self.aliases.get(path) {
            let full: Name = full.parse()?;
            return Ok(vec![ImageRef::Docker(full.with_reference_of(&name))]);
        }
        let found: Vec<Name> = match self.search.as_slice() {
            [] => vec![name],
            search => search
                .iter()
                .map(|registry| format!("{registry}/{text}").parse())
                .collect::<Result<_, _>>()?,
        };
        let all = matches!(
            self.mode,
            Some(ShortNameMode::Permissive | ShortNameMode::Disabled)
        );
        if found.len() > 1 && !all {
            return Err(ShortNameError::Ambiguous {
                name: text.clone(),
                candidates: found.iter().map(Name::to_string).collect(),
            });
        }
        Ok(found.into_iter().map(ImageRef::Docker).collect())
    }
}

/// Tells whether a name has no registry in front: its first part is neither `localhost` nor looks like a host.
pub(super) fn is_short(name: &str) -> bool {
    match split(name).0.split_once('/') {
        Some((first, _)) => {
            first != "localhost"
                && !first.contains(['.', ':'])
                && first == first.to_ascii_lowercase()
        }
        None => !name.is_empty(),
    }
}

/// Splits tag and digest off.
fn split(name: &str) -> (&str, &str) {
    let end = name.find('@').unwrap_or(name.len());
    let slash = name[..end].rfind('/').map_or(0, |slash| slash + 1);
    let end = name[slash..end]
        .find(':')
        .map_or(end, |colon| slash + colon);
    name.split_at(end)
}
