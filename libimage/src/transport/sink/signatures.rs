//! Where images go: small blobs of signatures, read and written whole.

use bytes::Bytes;
use futures_util::stream;

use super::{Medium, Sink};
use crate::{
    digest::Digest,
    error::{Error, ErrorKind},
    manifest::Descriptor,
    transport::worker::{self, Crew},
};

impl Sink {
    /// Reads a small blob that the destination has.
    ///
    /// # Errors
    ///
    /// It is missing, larger than `limit` bytes, not what its descriptor says, or this medium is not read from.
    pub(crate) async fn read_small(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        match &self.medium {
            Medium::Registry(sink) => Ok(sink.registry.read_blob(blob, limit).await?),
            Medium::Local(sink) => {
                let layout = sink.layout().cloned().ok_or_else(|| {
                    Error::new(
                        ErrorKind::Unsupported,
                        format!("{} is only written, not read from", self.image),
                    )
                })?;
                let digest = blob.digest.clone();
                worker::run("read blob", move || layout.read_blob(&digest, limit)).await
            }
        }
    }

    /// Writes a small blob, unless it is there.
    ///
    /// # Errors
    ///
    /// The destination cannot be written.
    pub(crate) async fn put_small(&self, content: &[u8], crew: &Crew) -> Result<(), Error> {
        let blob = Descriptor::new("", Digest::of(content), content.len() as u64);
        let content = Bytes::copy_from_slice(content);
        let open = || -> crate::registry::BlobStream<Error> {
            let content = content.clone();
            Box::pin(stream::once(async move { Ok(content) }))
        };
        self.put_blob(&blob, open, crew).await.map(drop)
    }
}
