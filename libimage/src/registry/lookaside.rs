//! Simple signing signatures, which are not in the registry: files in a directory or on a web server.
//!
//! # References
//!
//! containers-registries.d(5); <https://github.com/containers/image/blob/main/docs/signature-protocols.md>

use std::path::PathBuf;

use reqwest::{StatusCode, Url};

use super::{RegistryError, http};
use crate::{
    context::{Context, Side},
    digest::Digest,
    name::Name,
};

/// The signatures of one manifest in a lookaside storage. No credentials are ever shown to it.
#[derive(Debug, Clone)]
pub(crate) struct Lookaside {
    directory: Url,
    http: reqwest::Client,
    stall: std::time::Duration,
}

impl Lookaside {
    /// Makes the address of the signatures; nothing is sent yet.
    pub(crate) fn new(
        cx: &Context,
        base: &str,
        name: &Name,
        digest: &Digest,
    ) -> Result<Self, RegistryError> {
        let wrong = || RegistryError::Answer {
            host: base.to_owned(),
            what: "signature storage".to_owned(),
            problem: "its address is no URL",
        };
        let base = base.trim_end_matches('/');
        // Neither part can hold `..`: the grammar of names and digests has no such component.
        let text = format!(
            "{base}/{}@{}={}/",
            name.repository(),
            digest.algorithm().as_str(),
            digest.hex()
        );
        let directory = Url::parse(&text).map_err(|_| wrong())?;
        let http = http::elsewhere(cx, Side::Source).map_err(|source| RegistryError::Client {
            host: base.to_owned(),
            source,
        })?;
        Ok(Self {
            directory,
            http,
            stall: cx.patience().stall,
        })
    }

    fn address(&self, number: usize) -> Option<Url> {
        self.directory.join(&format!("signature-{number}")).ok()
    }

    /// Returns the path of a signature, if the storage is a directory.
    pub(crate) fn file(&self, number: usize) -> Option<PathBuf> {
        let address = self.address(number)?;
        (address.scheme() == "file")
            .then(|| address.to_file_path().ok())
            .flatten()
    }

    /// Fetches a signature from a web server; `None` if there is none of that number.
    pub(crate) async fn get(
        &self,
        number: usize,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        let host = self.directory.host_str().unwrap_or_default().to_owned();
        let what = format!("signature {number}");
        let wrong = |problem| RegistryError::Answer {
            host: host.clone(),
            what: what.clone(),
            problem,
        };
        let address = self
            .address(number)
            .ok_or_else(|| wrong("its address is no URL"))?;
        let transfer = async {
            let mut response = self.http.get(address).send().await?;
            let status = response.status();
            let mut content = Vec::new();
            if status == StatusCode::OK {
                while let Some(piece) = response.chunk().await? {
                    content.extend_from_slice(&piece);
                    if content.len() as u64 > limit {
                        break;
                    }
                }
            }
            Ok::<_, reqwest::Error>((status, content))
        };
        let (status, content) = match tokio::time::timeout(self.stall, transfer).await {
            Ok(done) => done.map_err(|error| RegistryError::of_http(&host, &what, error))?,
            Err(_) => {
                return Err(RegistryError::Stalled {
                    host,
                    what,
                    after: self.stall,
                });
            }
        };
        match status {
            StatusCode::OK if content.len() as u64 > limit => {
                Err(RegistryError::TooLarge { host, what, limit })
            }
            StatusCode::OK => Ok(Some(content)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(wrong("the storage of signatures answers with an error")),
        }
    }
}
