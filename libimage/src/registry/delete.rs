//! Taking something away: manifests, tags, blobs.

use reqwest::{Method, StatusCode};

use super::{Registry, RegistryError};
use crate::{auth::Access, digest::Digest};

const DELETED: [StatusCode; 3] = [StatusCode::ACCEPTED, StatusCode::OK, StatusCode::NO_CONTENT];

impl Registry {
    /// Deletes a manifest with all its tags, if `reference` is a digest, or a tag alone.
    ///
    /// # Errors
    ///
    /// There is no such thing ([`RegistryError::NotFound`]), or the registry does not allow it. Many registries refuse to delete a
    /// tag alone: 400 or 405, of the kind [`crate::ErrorKind::Unsupported`].
    pub async fn delete_manifest(&self, reference: &str) -> Result<(), RegistryError> {
        let what = self.of_repository(&format!("deletion of {reference}"));
        self.delete(&format!("manifests/{reference}"), what, true)
            .await
    }

    /// Takes a blob out of the repository. Few registries offer this; most remove what no manifest names by themselves.
    ///
    /// # Errors
    ///
    /// There is no such blob, or the registry does not allow it.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), RegistryError> {
        let what = self.of_repository(&format!("deletion of blob {digest}"));
        self.delete(&format!("blobs/{digest}"), what, false).await
    }

    async fn delete(
        &self,
        endpoint: &str,
        what: String,
        may_be_unsupported: bool,
    ) -> Result<(), RegistryError> {
        let call = self
            .call(Method::DELETE, endpoint, Access::Delete, what)
            .await?;
        match self.send(&call, &DELETED).await {
            // Without support for deleting by tag, some registries call the tag a bad digest.
            Err(RegistryError::Status {
                host,
                what,
                status: 400,
                message,
                retry_after,
            }) if may_be_unsupported => Err(RegistryError::Status {
                host,
                what,
                status: 405,
                message,
                retry_after,
            }),
            other => other.map(drop),
        }
    }
}
