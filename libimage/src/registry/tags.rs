//! The endpoint `/tags/list`, page by page.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode, Url, header::LINK};
use serde::Deserialize;

use super::{Registry, RegistryError};
use crate::auth::Access;

/// Tags asked for at once; registries give fewer if they like.
const PAGE: u32 = 1000;
/// Bytes of a page: a thousand tags of 128 bytes, and room for registries that ignore the number.
const PAGE_BYTES: u64 = 16 << 20;
/// Tags of a repository: the largest public ones have some hundred thousand.
const TAGS: usize = 2_000_000;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Registry {
    /// Lists the tags in the registry's order, without repetitions.
    ///
    /// # Errors
    ///
    /// There is no such repository, or the answers make no sense.
    pub async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        let what = self.of_repository("list of tags");
        let mut call = self
            .call(Method::GET, "tags/list", Access::Pull, what)
            .await?;
        let first = call.url.clone();
        call.url
            .query_pairs_mut()
            .append_pair("n", &PAGE.to_string());
        let mut seen = BTreeSet::new();
        let mut tags = Vec::new();
        loop {
            let response = self.send(&call, &[StatusCode::OK]).await?;
            let link = response
                .headers()
                .get(LINK)
                .and_then(|value| next_of(value.to_str().ok()?))
                .map(str::to_owned);
            let body = self.body(&call.what, response, PAGE_BYTES).await?;
            let page: Page = serde_json::from_slice(&body)
                .map_err(|_| self.nonsense(&call.what, "it is not the JSON of a list"))?;
            let page = page.tags.unwrap_or_default();
            let before = tags.len();
            tags.extend(page.into_iter().filter(|tag| seen.insert(tag.clone())));
            if tags.len() > TAGS {
                return Err(self.nonsense(&call.what, "it does not end"));
            }
            // A page without anything new would be followed by itself for ever.
            let (Some(link), true) = (link, tags.len() > before) else {
                return Ok(tags);
            };
            call.url = self.next_page(&call.what, &call.url, &first, &link)?;
        }
    }

    /// Follows `Link`, which must stay at the endpoint: another place would not be the same list.
    pub(super) fn next_page(
        &self,
        what: &str,
        current: &Url,
        first: &Url,
        link: &str,
    ) -> Result<Url, RegistryError> {
        let next = current
            .join(link)
            .map_err(|_| self.nonsense(what, "the link to the next page is no URL"))?;
        // Behind a proxy some registries call themselves http or by an inner name: only the query is taken from the link.
        if next.path() != first.path() {
            return Err(self.nonsense(what, "the link to the next page leads elsewhere"));
        }
        let mut url = first.clone();
        url.set_query(next.query());
        Ok(url)
    }
}

/// Reads `<URL>; rel="next"`.
pub(super) fn next_of(link: &str) -> Option<&str> {
    link.split(',').find_map(|link| {
        let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let parameter = parameter.trim().to_ascii_lowercase();
            parameter == "rel=next" || parameter == "rel=\"next\""
        });
        is_next.then_some(url)
    })
}
