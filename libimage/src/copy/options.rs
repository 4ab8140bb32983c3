//! How to copy, and what a copy did.

use std::sync::Arc;

use super::{Format, Recompress, TagLists};
use crate::{digest::Digest, platform::Platform, registry::Quota, store::Store, trust::Signer};

/// How to copy. The default copies an index whole.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Which platforms of an index: none is all of them; one copies that manifest alone; several make a smaller index, whose
    /// digest is another.
    pub platforms: Vec<Platform>,
    /// Whether what refers to the image comes along.
    pub referrers: Referrers,
    /// Lists of tags that copies of one run share, so that looking for cosign's tags asks for the list of a repository once, however many
    /// of its images are copied. Without it each copy asks.
    pub tag_lists: Option<TagLists>,
    /// Who signs what is copied: a whole index with each of its images, in the form that cosign reads.
    pub sign: Vec<Signer>,
    /// Whether signatures of the source stay behind, of what would come along.
    pub remove_signatures: bool,
    /// How many blobs are under way at once, at most: how many requests a registry is sent at once depends on how it bears them.
    /// Each blob takes up to a megabyte of memory on its way from registry to registry, two more on its way from or to a file, and
    /// eight (at most 64) to a registry that wants chunks, however large the blobs are.
    pub jobs: usize,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
    /// Stop before a source registry that tells its quota allows fewer than this many further pulls.
    pub min_quota: Option<u64>,
    /// With platforms: what is no index leaves nothing to choose, and is copied whatever it is for.
    pub any_single: bool,
    /// With platforms: the index stays as it is, byte for byte, and only their manifests and blobs are copied.
    pub sparse: bool,
    /// Into which family of media types to convert; without it they stay as they are.
    pub format: Option<Format>,
    /// How layers are to be compressed; without it they stay as they are.
    pub compress: Option<Recompress>,
    /// Further names for the copy: tags of the destination's repository or layout, or names of the store, archive or engine.
    pub additional_tags: Vec<String>,
}

/// Whether what refers to an image comes along: signatures, SBOMs, attestations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Referrers {
    /// It stays behind.
    Never,
    /// It comes along when the image is copied whole, or as a smaller index; not with one platform's manifest, and not if the
    /// destination has the image already: that is not looked into.
    #[default]
    WithImage,
    /// It comes along, also with one platform's manifest, and is looked for if the destination has the image already.
    Always,
}

/// What parts of a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) manifests: u64,
    pub(super) referrers: u64,
    pub(super) copied: u64,
    pub(super) skipped: u64,
    pub(super) mounted: u64,
    pub(super) bytes: u64,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            any_single: false,
            sparse: false,
            format: None,
            compress: None,
            additional_tags: Vec::new(),
            platforms: Vec::new(),
            referrers: Referrers::default(),
            tag_lists: None,
            sign: Vec::new(),
            remove_signatures: false,
            jobs: 6,
            store: None,
            min_quota: None,
        }
    }
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The digest at the destination.
    pub digest: Digest,
    /// The digest the source's reference has; another one only if platforms were selected.
    pub source_digest: Digest,
    /// Whether the destination had it already.
    pub unchanged: bool,
    /// Manifests written.
    pub manifests: u64,
    /// Blobs transferred.
    pub copied: u64,
    /// Blobs that were there.
    pub skipped: u64,
    /// Blobs the registry took from another of its repositories.
    pub mounted: u64,
    /// Bytes of the blobs transferred.
    pub bytes: u64,
    /// Manifests written that refer to the image, or are named after its digest: signatures, SBOMs, attestations.
    pub referrers: u64,
    /// Signatures made.
    pub signatures: u64,
    /// HTTP requests sent, to both ends.
    pub requests: u64,
    /// How many pulls the source's registry still allows, if it says so.
    pub quota: Option<Quota>,
    /// Manifests that were changed on the way: the digest before and after. What an index names comes before it.
    pub changes: Vec<(Digest, Digest)>,
}

impl CopyOptions {
    /// Tells whether manifests are to be changed.
    pub(super) fn is_conversion(&self) -> bool {
        self.format.is_some() || self.compress.is_some()
    }
}

impl CopyReport {
    pub(super) fn unchanged(digest: Digest, source_digest: Digest) -> Self {
        Self {
            unchanged: true,
            source_digest,
            ..Self::empty(digest)
        }
    }

    pub(super) fn add(&mut self, tally: &Tally) {
        self.manifests += tally.manifests;
        self.referrers += tally.referrers;
        self.copied += tally.copied;
        self.skipped += tally.skipped;
        self.mounted += tally.mounted;
        self.bytes += tally.bytes;
    }

    pub(crate) fn empty(digest: Digest) -> Self {
        Self {
            source_digest: digest.clone(),
            digest,
            unchanged: false,
            manifests: 0,
            copied: 0,
            skipped: 0,
            mounted: 0,
            bytes: 0,
            referrers: 0,
            signatures: 0,
            requests: 0,
            quota: None,
            changes: Vec::new(),
        }
    }
}
