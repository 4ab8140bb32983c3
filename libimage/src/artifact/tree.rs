//! What refers to an image, and what refers to that.

use std::{collections::BTreeSet, pin::Pin, sync::Arc};

use crate::{
    context::Context,
    copy::{Finder, How, one},
    digest::Digest,
    error::Error,
    manifest::{Descriptor, Manifest},
    name::ImageRef,
    platform::Platform,
    store::Store,
    transport::Source,
    trust,
};

/// Levels that are followed at most: a signature of an SBOM of an image is the second.
const DEPTH: usize = 8;
/// Requests under way at once.
const JOBS: usize = 4;

/// How far to look.
#[derive(Debug, Clone, Default)]
pub struct TreeOptions {
    /// Only this kind of artifact, with everything that refers to it.
    pub artifact_type: Option<String>,
    /// How many levels to show; none means all.
    pub depth: Option<usize>,
    /// Which image of an index is meant, instead of the index.
    pub platform: Option<Platform>,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

/// An image, and what refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tree {
    /// The image's manifest.
    pub descriptor: Descriptor,
    /// What refers to it.
    pub referrers: Vec<Node>,
}

/// A manifest that refers to another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// What it is.
    pub descriptor: Descriptor,
    /// The tag it was found by, if it was found by its tag: cosign's `sha256-<hex>.sig`, `.att` or `.sbom`.
    pub tag: Option<String>,
    /// What refers to it.
    pub referrers: Vec<Node>,
}

/// Looks for what refers to an image: by the registry's endpoint, in fallback tags, by cosign's tags, or in a layout.
///
/// # Errors
///
/// See [`crate::ErrorKind`]. That nothing refers to an image is no error.
pub async fn tree(cx: &Context, image: &ImageRef, options: &TreeOptions) -> Result<Tree, Error> {
    trust::admit(cx.policy(), image)?;
    let source = Source::open(cx, image, options.store.as_ref()).await?;
    let whole = source.verified(cx, None).await?;
    let chosen = match &options.platform {
        Some(platform) => one(&source, whole, platform).await?,
        None => whole,
    };
    let descriptor = Descriptor {
        digest: chosen.digest().clone(),
        ..Descriptor::of(chosen.manifest())
    };
    let mut climber = Climber {
        source: &source,
        finder: Finder::new(&source, JOBS, None).await?,
        seen: BTreeSet::from([chosen.digest().clone()]),
    };
    let depth = options.depth.unwrap_or(DEPTH).min(DEPTH);
    let mut referrers = climber.above(chosen.digest(), depth, true).await?;
    if let Some(wanted) = &options.artifact_type {
        referrers.retain(|node| node.descriptor.artifact_type.as_ref() == Some(wanted));
    }
    Ok(Tree {
        descriptor,
        referrers,
    })
}

struct Climber<'a> {
    source: &'a Source,
    finder: Finder<'a>,
    seen: BTreeSet<Digest>,
}

type Nodes<'a> = Pin<Box<dyn Future<Output = Result<Vec<Node>, Error>> + Send + 'a>>;

impl Climber<'_> {
    /// Looks for what refers to a manifest.
    fn above<'a>(&'a mut self, subject: &'a Digest, depth: usize, is_image: bool) -> Nodes<'a> {
        Box::pin(async move {
            let mut nodes = Vec::new();
            if depth == 0 {
                return Ok(nodes);
            }
            let found = self
                .finder
                .look(std::slice::from_ref(subject), is_image)
                .await?;
            for found in found {
                let (descriptor, tag) = match found.how {
                    How::Listed(descriptor) => (descriptor, None),
                    How::Tagged(tag) => match self.tagged(&tag).await? {
                        Some(descriptor) => (descriptor, Some(tag)),
                        None => continue,
                    },
                };
                // A list may lie, and lead in circles.
                if !self.seen.insert(descriptor.digest.clone()) {
                    continue;
                }
                let referrers = self.above(&descriptor.digest, depth - 1, false).await?;
                nodes.push(Node {
                    descriptor,
                    tag,
                    referrers,
                });
            }
            Ok(nodes)
        })
    }

    async fn tagged(&self, tag: &str) -> Result<Option<Descriptor>, Error> {
        let raw = self.source.tagged(tag).await?;
        let manifest = raw.and_then(|raw| Manifest::parse(raw, None).ok());
        Ok(manifest.map(|manifest| Descriptor::of(&manifest)))
    }
}
