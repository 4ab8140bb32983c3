//! How does this registry differ from others? Everything real registries disagree about, as switches.

/// What the registry can do and how it wants things; the default is a modern, generous one.
///
/// ```
/// let registry = trimaran_testkit::Registry::start();
/// registry.configure(|settings| settings.referrers = false);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Entries of a page: of tags, of repositories, of referrers.
    pub page: usize,
    /// Whether there is a referrers API; without it, its addresses are unknown (404) and `OCI-Subject` is not answered.
    pub referrers: bool,
    /// Whether the referrers API filters by `artifactType` itself, and says so.
    pub filters: bool,
    /// The status that refuses to delete anything: 405 in most registries.
    pub refuse_deletes: Option<u16>,
    /// The status that refuses to delete a tag alone: 400 or 405.
    pub refuse_tag_deletes: Option<u16>,
    /// The status that refuses PUT with the whole blob: such a registry takes chunks only.
    pub refuse_monolithic: Option<u16>,
    /// The status and the number of bytes that one request of an upload may not exceed.
    pub largest_request: Option<(u16, u64)>,
    /// Announced as `OCI-Chunk-Min-Length`; a chunk after a smaller one is refused (416).
    pub smallest_chunk: Option<u64>,
    /// Whether PATCH without `Content-Range` is refused (400).
    pub ranges_required: bool,
    /// Whether an index is taken although manifests it names are not there.
    pub sparse: bool,
    /// Pulls of manifests that are allowed; told in `ratelimit-…` headers.
    pub quota: Option<Quota>,
}

/// How many manifests may be fetched; HEAD is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Pulls in a window.
    pub limit: u64,
    /// Pulls left: at none, GET is refused with 429.
    pub remaining: u64,
    /// Seconds of a window, for the headers alone: no window ever ends.
    pub window: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            page: 100,
            referrers: true,
            filters: true,
            refuse_deletes: None,
            refuse_tag_deletes: None,
            refuse_monolithic: None,
            largest_request: None,
            smallest_chunk: None,
            ranges_required: false,
            sparse: false,
            quota: None,
        }
    }
}
