//! Which of an index's images are meant.

use std::collections::BTreeSet;

use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    limits,
    manifest::{Content, Descriptor},
    media,
    platform::Platform,
    transport::Source,
    trust::Verified,
};

/// Why an image for a platform cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The index has nothing that fits.
    #[error("{image} has no image for {platform} (it has: {available})")]
    NoPlatform {
        /// The reference.
        image: String,
        /// What was wanted.
        platform: Box<Platform>,
        /// The platforms of the index.
        available: String,
    },
    /// It is no index, and for something else.
    #[error("{image} is an image for {found}, not for {platform}")]
    OtherPlatform {
        /// The reference.
        image: String,
        /// What was wanted.
        platform: Box<Platform>,
        /// What its configuration says.
        found: Box<Platform>,
    },
    /// The configuration cannot be read.
    #[error("the configuration of {image} is not valid")]
    Config {
        /// The reference.
        image: String,
        /// The parser's message.
        #[source]
        source: serde_json::Error,
    },
    /// More refers to an image than anybody would write.
    #[error("more than {limit} manifests refer to {image}")]
    TooManyReferrers {
        /// The reference.
        image: String,
        /// How many are accepted.
        limit: usize,
    },
    /// A sparse copy of everything is no sparse copy.
    #[error("a sparse copy of {image} needs the platforms to be copied")]
    Sparse {
        /// The reference.
        image: String,
    },
    /// Indexes inside indexes, again and again.
    #[error("{image} has more than {limit} indexes inside each other")]
    TooDeep {
        /// The reference.
        image: String,
        /// How many are accepted.
        limit: usize,
    },
}

impl SelectError {
    /// Returns what went wrong, for programs.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoPlatform { .. } | Self::OtherPlatform { .. } => ErrorKind::NotFound,
            Self::Config { .. } => ErrorKind::Malformed,
            Self::TooDeep { .. } | Self::TooManyReferrers { .. } => ErrorKind::LimitExceeded,
            Self::Sparse { .. } => ErrorKind::Unsupported,
        }
    }
}

impl From<SelectError> for Error {
    fn from(error: SelectError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Indexes inside each other; nobody publishes more than two.
pub(super) const DEPTH: usize = 4;

/// What is to be copied.
#[derive(Debug)]
pub(super) struct Selection {
    /// The manifest that gets the name.
    pub(super) top: Verified,
    /// If the top is an index copied sparsely: the entries that are copied with it.
    pub(super) only: Option<BTreeSet<Digest>>,
}

/// Selects what to copy: everything, one platform's manifest, or several platforms, for which the index is made smaller or, if
/// `sparse`, left as it is. Attestations go where the images go that they are about.
pub(super) async fn select(
    source: &Source,
    whole: Verified,
    platforms: &[Platform],
    sparse: bool,
) -> Result<Selection, Error> {
    let all = |top| Selection { top, only: None };
    let entries = match (platforms, whole.manifest().content()) {
        ([], _) if sparse => {
            let image = source.image().to_string();
            return Err(SelectError::Sparse { image }.into());
        }
        ([], _) => return Ok(all(whole)),
        ([platform], _) if !sparse => return Ok(all(one(source, whole, platform).await?)),
        (_, Content::Image { .. }) => {
            for platform in platforms {
                check_platform(source, &whole, platform).await?;
            }
            return Ok(all(whole));
        }
        (_, Content::Index { entries }) => entries,
    };
    let mut chosen = BTreeSet::new();
    for platform in platforms {
        chosen.insert(best(&whole, entries, platform)?);
    }
    let mut children = Vec::new();
    if whole.is_covered() {
        with_attestations(entries, &mut chosen);
    } else {
        // The index is not signed, its images have to be; their attestations are not, and stay behind.
        for at in &chosen {
            children.push(source.verified_child(&whole, &entries[*at]).await?);
        }
    }
    if sparse {
        let only = chosen.iter().map(|at| entries[*at].digest.clone());
        return Ok(Selection {
            only: Some(only.collect()),
            top: whole,
        });
    }
    if chosen.len() == entries.len() {
        // Nothing to leave out: it stays byte for byte, by the digest it is known by.
        return Ok(all(whole.covered_by(&children)?));
    }
    let filtered = whole.filter(|at| chosen.contains(&at))?;
    Ok(all(filtered.covered_by(&children)?))
}

/// Adds the attestations of the chosen entries.
pub(crate) fn with_attestations(entries: &[Descriptor], chosen: &mut BTreeSet<usize>) {
    let images: BTreeSet<&str> = chosen
        .iter()
        .map(|at| entries[*at].digest.as_str())
        .collect();
    let about = |entry: &Descriptor| entry.attests().is_some_and(|image| images.contains(image));
    chosen.extend(
        entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| about(entry))
            .map(|(at, _)| at),
    );
}

/// Goes from an index to the one image that fits a platform best; an image is checked to be for that platform.
pub(crate) async fn one(
    source: &Source,
    whole: Verified,
    platform: &Platform,
) -> Result<Verified, Error> {
    let mut current = whole;
    for _ in 0..=DEPTH {
        let entry = match current.manifest().content() {
            Content::Image { .. } => {
                check_platform(source, &current, platform).await?;
                return Ok(current);
            }
            Content::Index { entries } => entries[best(&current, entries, platform)?].clone(),
        };
        current = source.verified_child(&current, &entry).await?;
        // The index has spoken for its entry: configurations are often less exact about variants.
        if matches!(current.manifest().content(), Content::Image { .. }) {
            return Ok(current);
        }
    }
    Err(SelectError::TooDeep {
        image: source.image().to_string(),
        limit: DEPTH,
    }
    .into())
}

pub(crate) fn best(
    index: &Verified,
    entries: &[Descriptor],
    platform: &Platform,
) -> Result<usize, SelectError> {
    let found = platform.best(entries.iter().map(|entry| entry.platform.as_ref()));
    found.ok_or_else(|| {
        let platforms = entries
            .iter()
            .filter_map(|entry| entry.platform.as_ref())
            .filter(|platform| !platform.is_unknown());
        let available = platforms
            .map(Platform::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        SelectError::NoPlatform {
            image: index.image().to_string(),
            platform: Box::new(platform.clone()),
            available,
        }
    })
}

async fn check_platform(
    source: &Source,
    image: &Verified,
    platform: &Platform,
) -> Result<(), Error> {
    let Content::Image { config, .. } = image.manifest().content() else {
        return Ok(());
    };
    if media::kind(&config.media_type) != media::Kind::Config {
        return Ok(());
    }
    let raw = source.read(config, limits::CONFIG_BYTES).await?;
    let name = || image.image().to_string();
    let found: Platform = serde_json::from_slice(&raw).map_err(|source| SelectError::Config {
        image: name(),
        source,
    })?;
    if platform.rank(&found).is_none() {
        return Err(SelectError::OtherPlatform {
            image: name(),
            platform: Box::new(platform.clone()),
            found: Box::new(found),
        }
        .into());
    }
    Ok(())
}
