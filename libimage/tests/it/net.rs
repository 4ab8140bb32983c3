//! What the network tests share: contexts that do not wait long, and short spellings.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use libimage::{
    Error, ErrorKind,
    config::{Credentials, Policy},
    context::{Context, ContextBuilder, Patience, Side},
    copy::{CopyOptions, CopyReport},
    name::ImageRef,
    progress::{Event, Progress},
};
use trimaran_testkit::{Content, Registry};

/// Runs a future on a runtime with several threads, as the tools do.
pub(crate) fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Waits that are long enough for a busy machine and short enough for a test.
pub(crate) fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(10),
        stall: Duration::from_secs(10),
        attempts: 4,
        first: Duration::from_millis(2),
        longest: Duration::from_secs(2),
    }
}

/// A context that accepts plain http on both sides.
pub(crate) fn builder() -> ContextBuilder {
    Context::builder(Policy::accept_anything())
        .tls_verify(Side::Source, false)
        .tls_verify(Side::Destination, false)
        .patience(patience())
}

pub(crate) fn cx() -> Context {
    builder().build()
}

pub(crate) fn basic(user: &str, password: &str) -> Credentials {
    Credentials::parse(&format!("{user}:{password}")).unwrap()
}

pub(crate) fn image(text: &str) -> ImageRef {
    text.parse().unwrap()
}

/// Copies with the default options.
pub(crate) fn copy(cx: &Context, from: &str, to: &str) -> Result<CopyReport, Error> {
    copy_with(cx, from, to, &CopyOptions::default())
}

pub(crate) fn copy_with(
    cx: &Context,
    from: &str,
    to: &str,
    options: &CopyOptions,
) -> Result<CopyReport, Error> {
    let (from, to) = (image(from), image(to));
    block(libimage::copy::copy(cx, &from, &to, options))
}

/// Asserts the kind of a failure, and that its message holds each of `words`.
#[track_caller]
pub(crate) fn assert_fails<T: std::fmt::Debug>(
    result: Result<T, Error>,
    kind: ErrorKind,
    words: &[&str],
) {
    let error = result.map(drop).expect_err("it must fail");
    let mut message = error.to_string();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&error);
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    assert_eq!(error.kind(), kind, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

/// Asserts that a repository holds an image as it was made: manifests byte for byte, and every blob.
#[track_caller]
pub(crate) fn assert_holds(
    registry: &Registry,
    repository: &str,
    tag: &str,
    content: &dyn Content,
) {
    assert_eq!(
        registry
            .manifest(repository, tag)
            .as_ref()
            .map(|blob| &blob.bytes),
        Some(&content.root().bytes)
    );
    for manifest in content.manifests() {
        let found = registry.manifest(repository, &manifest.digest).unwrap();
        assert_eq!(
            found, *manifest,
            "a child manifest is kept byte for byte, with its type"
        );
    }
    for blob in content.blobs() {
        assert_eq!(
            registry.blob(repository, &blob.digest).as_ref(),
            Some(&blob.bytes),
            "{}",
            blob.digest
        );
    }
}

/// Writes down what it is told.
#[derive(Debug, Default)]
pub(crate) struct Recorder(pub(crate) Mutex<Vec<String>>);

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Counts the events whose debug text begins so.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.0
            .lock()
            .unwrap()
            .iter()
            .filter(|event| event.starts_with(prefix))
            .count()
    }
}

impl Progress for Recorder {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}
