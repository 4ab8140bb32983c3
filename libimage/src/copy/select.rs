//! Which of an index's images are meant.

use crate::{
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

/// Selects what to copy: everything, one platform's manifest, or a smaller index for several.
pub(super) async fn select(
    source: &Source,
    whole: Verified,
    platforms: &[Platform],
) -> Result<Verified, Error> {
    match platforms {
        [] => Ok(whole),
        [platform] => one(source, whole, platform).await,
        _ => {
            let Content::Index { entries } = whole.manifest().content() else {
                for platform in platforms {
                    check_platform(source, &whole, platform).await?;
                }
                return Ok(whole);
            };
            let chosen = platforms
                .iter()
                .map(|platform| best(&whole, entries, platform))
                .collect::<Result<Vec<_>, _>>()?;
            let mut children = Vec::new();
            if !whole.is_covered() {
                for at in &chosen {
                    children.push(source.verified_child(&whole, &entries[*at]).await?);
                }
            }
            Ok(whole
                .filter(|at| chosen.contains(&at))?
                .covered_by(&children)?)
        }
    }
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

fn best(
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
