//! Lists that come in pages: the endpoints `/tags/list` and `/_catalog`.

use std::{collections::HashSet, pin::Pin};

use futures_util::{Stream, TryStreamExt as _, stream};
use reqwest::{Method, Response, StatusCode, Url, header::LINK};
use serde::Deserialize;

use super::{Registry, RegistryError, request::Call};
use crate::auth::Access;

/// Names asked for at once, unless the caller says otherwise; registries give fewer if they like.
const PAGE: u32 = 1000;
/// Bytes of a page: a thousand names of 255 bytes, and room for registries that ignore the number.
const PAGE_BYTES: u64 = 16 << 20;
/// Names of a list: the largest public repositories have some hundred thousand tags.
const NAMES: usize = 2_000_000;

/// The pages of a list, in the registry's order. A name is handed out once, whatever the registry repeats.
pub type Pages = Pin<Box<dyn Stream<Item = Result<Vec<String>, RegistryError>> + Send>>;

/// Which part of a list is wanted; the default is all of it.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Names asked for at once. A registry may give fewer, and some give more.
    pub page: Option<u32>,
    /// Only what comes after this name, in the registry's order.
    pub last: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default, alias = "repositories")]
    tags: Option<Vec<String>>,
}

/// A list being read.
struct Reading {
    registry: Registry,
    /// The next page; none after the last.
    call: Option<Call>,
    first: Option<Url>,
    options: ListOptions,
    seen: HashSet<String>,
    endpoint: Endpoint,
}

#[derive(Clone, Copy)]
enum Endpoint {
    Tags,
    Catalog,
}

impl Registry {
    /// Lists the tags, page by page; requests are sent as the pages are wanted.
    #[must_use]
    pub fn tag_pages(&self, options: &ListOptions) -> Pages {
        self.pages(Endpoint::Tags, options)
    }

    /// Lists the tags in the registry's order, without repetitions.
    ///
    /// # Errors
    ///
    /// There is no such repository, or the answers make no sense.
    pub async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        self.tag_pages(&ListOptions::default()).try_concat().await
    }

    /// Lists the tags of the first page; tells whether that is all of them.
    pub(super) async fn first_tags(&self) -> Result<(Vec<String>, bool), RegistryError> {
        let mut reading = self.reading(Endpoint::Tags, &ListOptions::default());
        let page = reading.next().await?.unwrap_or_default();
        let all = reading.call.is_none() && page.len() < PAGE as usize;
        Ok((page, all))
    }

    /// Lists the repositories of the registry, page by page, whichever repository this one was made for. Large public registries
    /// do not offer this.
    #[must_use]
    pub fn catalog(&self, options: &ListOptions) -> Pages {
        self.pages(Endpoint::Catalog, options)
    }

    fn reading(&self, endpoint: Endpoint, options: &ListOptions) -> Reading {
        Reading {
            registry: self.clone(),
            call: None,
            first: None,
            options: options.clone(),
            seen: HashSet::new(),
            endpoint,
        }
    }

    fn pages(&self, endpoint: Endpoint, options: &ListOptions) -> Pages {
        let reading = self.reading(endpoint, options);
        Box::pin(stream::try_unfold(reading, |mut reading| async move {
            let page = reading.next().await?;
            Ok(page.map(|page| (page, reading)))
        }))
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

impl Reading {
    /// Prepares the first request.
    async fn begin(&mut self) -> Result<(), RegistryError> {
        let registry = &self.registry;
        let mut call = match self.endpoint {
            Endpoint::Tags => {
                let what = registry.of_repository("list of tags");
                registry
                    .call(Method::GET, "tags/list", Access::Pull, what)
                    .await?
            }
            Endpoint::Catalog => registry.call_catalog().await?,
        };
        self.first = Some(call.url.clone());
        let page = self.options.page.unwrap_or(PAGE);
        let mut pairs = call.url.query_pairs_mut();
        pairs.append_pair("n", &page.to_string());
        if let Some(last) = &self.options.last {
            pairs.append_pair("last", last);
        }
        drop(pairs);
        self.call = Some(call);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Vec<String>>, RegistryError> {
        if self.first.is_none() {
            self.begin().await?;
        }
        let (Some(mut call), Some(first)) = (self.call.take(), &self.first) else {
            return Ok(None);
        };
        let registry = &self.registry;
        let response = registry.send(&call, &[StatusCode::OK]).await?;
        let link = next_link(&response);
        let body = registry.body(&call.what, response, PAGE_BYTES).await?;
        let page: Page = serde_json::from_slice(&body)
            .map_err(|_| registry.nonsense(&call.what, "it is not the JSON of a list"))?;
        let mut page = page.tags.unwrap_or_default();
        page.retain(|name| self.seen.insert(name.clone()));
        if self.seen.len() > NAMES {
            return Err(registry.nonsense(&call.what, "it does not end"));
        }
        // A page without anything new would be followed by itself for ever.
        if let Some(link) = link.filter(|_| !page.is_empty()) {
            call.url = registry.next_page(&call.what, &call.url, first, &link)?;
            self.call = Some(call);
        }
        Ok(Some(page))
    }
}

/// Reads `Link: <URL>; rel="next"`.
fn next_link(response: &Response) -> Option<String> {
    let links = response.headers().get_all(LINK).iter();
    let mut links = links.filter_map(|value| value.to_str().ok());
    links.find_map(|value| next_of(value).map(str::to_owned))
}

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
