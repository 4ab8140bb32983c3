//! One request: authorised, timed, tried again where that can help.

use std::{
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderName,
        HeaderValue, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};

use super::{Registry, RegistryError};
use crate::{
    auth::Access,
    media,
    progress::Event,
    traffic::{Pace, Quota},
};

/// Bytes of an error's body that are read.
const ERROR_BYTES: usize = 64 << 10;
/// Characters of an error's body that are shown if it is not the specification's JSON.
const ERROR_SHOWN: usize = 300;

/// A request that can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) access: Access,
    /// What is wanted, for people: `manifest latest of docker.io/library/debian`.
    pub(super) what: String,
    pub(super) headers: HeaderMap,
    body: Option<Bytes>,
}

impl Call {
    pub(super) fn new(method: Method, url: Url, access: Access, what: String) -> Self {
        Self {
            method,
            url,
            access,
            what,
            headers: HeaderMap::new(),
            body: None,
        }
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Offers the manifest types we understand.
    pub(super) fn accepting_manifests(self) -> Self {
        let value = HeaderValue::from_str(&media::ACCEPTED_MANIFESTS.join(", "))
            .expect("media types are ASCII");
        self.header(ACCEPT, value)
    }

    /// Asks for everything from an offset.
    pub(super) fn starting_at(self, offset: u64) -> Self {
        let value = HeaderValue::from_str(&format!("bytes={offset}-")).expect("digits are ASCII");
        self.header(RANGE, value)
    }

    pub(super) fn body(mut self, body: Bytes, media_type: HeaderValue) -> Self {
        self.body = Some(body);
        self.header(CONTENT_TYPE, media_type)
    }

    /// Builds the request; its body can be sent again.
    pub(super) fn build(&self, http: &reqwest::Client) -> reqwest::RequestBuilder {
        let request = http
            .request(self.method.clone(), self.url.clone())
            .headers(self.headers.clone());
        match &self.body {
            None => request,
            Some(body) => request.body(body.clone()),
        }
    }

    /// Some registries want a length with every POST.
    pub(super) fn empty_body(self) -> Self {
        self.header(CONTENT_LENGTH, HeaderValue::from_static("0"))
    }
}

impl Registry {
    /// Sends a request until it succeeds, cannot succeed, or patience is at its end. Any status of `accepted` is success.
    pub(super) async fn send(
        &self,
        call: &Call,
        accepted: &[StatusCode],
    ) -> Result<Response, RegistryError> {
        let mut attempt = 1;
        loop {
            let error = match self.send_once(call).await {
                Ok(response) if accepted.contains(&response.status()) => return Ok(response),
                Ok(response) => self.failure(&call.what, response).await,
                Err(error) => error,
            };
            self.pause(&mut attempt, &call.what, error).await?;
        }
    }

    /// Sends a request, and once more with a fresh proof if the registry asks for one.
    pub(super) async fn send_once(&self, call: &Call) -> Result<Response, RegistryError> {
        let mut asked = false;
        loop {
            let base = self.base().await?;
            let proof = base.auth.proof(&call.url, call.access).await?;
            let mut request = call.build(&self.0.http);
            if let Some(header) = proof.header() {
                request = request.header(AUTHORIZATION, header);
            }
            let response = self.timed(&call.what, request.send()).await?;
            let response = self.follow(call, response).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            // Another host's 401 (after a redirect) is none of our business: nothing of ours is shown there.
            if response.url().origin() != base.url.origin() {
                return Ok(response);
            }
            let challenge = challenge_of(response.headers());
            if asked {
                return Err(base.auth.denied(&challenge, &proof).into());
            }
            base.auth.answer(&challenge, &proof)?;
            asked = true;
        }
    }

    /// Waits until the host bears another request, and then for the head of the answer.
    pub(super) async fn timed(
        &self,
        what: &str,
        sending: impl Future<Output = Result<Response, reqwest::Error>>,
    ) -> Result<Response, RegistryError> {
        let gate = &self.0.traffic.requests;
        let _turn = gate.turn().await;
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let stall = self.0.patience.stall;
        match tokio::time::timeout(stall, sending).await {
            Ok(Ok(response)) => {
                self.heed(&response, gate);
                Ok(response)
            }
            Ok(Err(error)) => Err(RegistryError::of_http(&self.0.host, what, error)),
            Err(_) => Err(RegistryError::Stalled {
                host: self.0.host.clone(),
                what: what.to_owned(),
                after: stall,
            }),
        }
    }

    /// Learns from an answer how many requests the host bears, and how many pulls are left.
    pub(super) fn heed(&self, response: &Response, gate: &Pace) {
        let headers = response.headers();
        let quota = Quota::of(|name| headers.get(name)?.to_str().ok());
        if let Some(quota) = quota {
            self.0.traffic.meter.note(quota);
        }
        if !is_refusal(response.status()) {
            gate.went_well();
            return;
        }
        // A wait that nobody here will sit through is an error, and not for all others to share.
        let wait = retry_after(headers).filter(|wait| *wait <= self.0.patience.longest);
        let traffic = &self.0.traffic;
        if traffic.requests.slow_down(wait) {
            traffic.uploads.slow_down(wait);
        } else {
            traffic.uploads.close(wait);
        }
    }

    /// Waits before the next attempt, or gives the error back if there is to be none.
    pub(super) async fn pause(
        &self,
        attempt: &mut u32,
        what: &str,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        let patience = self.0.patience;
        if !error.is_transient() || *attempt >= patience.attempts {
            return Err(error);
        }
        let doubled = patience
            .first
            .saturating_mul(1 << (*attempt - 1).min(16))
            .min(patience.longest);
        let after = match &error {
            RegistryError::Status {
                retry_after: Some(asked),
                ..
            } if *asked > patience.longest => return Err(error),
            RegistryError::Status {
                retry_after: Some(asked),
                ..
            } => *asked,
            _ => jittered(doubled),
        };
        *attempt += 1;
        self.0.progress.event(&Event::Retry {
            what,
            after,
            reason: &error.reason(),
        });
        tokio::time::sleep(after).await;
        Ok(())
    }

    /// Turns an unwelcome answer into an error.
    pub(super) async fn failure(&self, what: &str, mut response: Response) -> RegistryError {
        let (host, what) = (self.0.host.clone(), what.to_owned());
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return RegistryError::NotFound { host, what };
        }
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        // A body that does not come is no reason to lose the status.
        while let Ok(Ok(Some(chunk))) =
            tokio::time::timeout(self.0.patience.stall, response.chunk()).await
        {
            body.extend_from_slice(&chunk);
            if body.len() >= ERROR_BYTES {
                break;
            }
        }
        let message = message_of(&body);
        RegistryError::Status {
            host,
            what,
            status: status.as_u16(),
            message,
            retry_after,
        }
    }

    /// Reads a body of limited size.
    pub(super) async fn body(
        &self,
        what: &str,
        mut response: Response,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let (host, stall) = (&self.0.host, self.0.patience.stall);
        let too_large = || RegistryError::TooLarge {
            host: host.clone(),
            what: what.to_owned(),
            limit,
        };
        if response
            .content_length()
            .is_some_and(|length| length > limit)
        {
            return Err(too_large());
        }
        let mut body = Vec::new();
        loop {
            let chunk = tokio::time::timeout(stall, response.chunk()).await;
            let chunk = chunk.map_err(|_| RegistryError::Stalled {
                host: host.clone(),
                what: what.to_owned(),
                after: stall,
            })?;
            let Some(chunk) =
                chunk.map_err(|source| self.interrupted(what, source.without_url()))?
            else {
                return Ok(body);
            };
            if body.len() as u64 + chunk.len() as u64 > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
    }

    pub(super) fn interrupted(
        &self,
        what: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> RegistryError {
        RegistryError::Interrupted {
            host: self.0.host.clone(),
            what: what.to_owned(),
            source: source.into(),
        }
    }

    pub(super) fn nonsense(&self, what: &str, problem: &'static str) -> RegistryError {
        RegistryError::Answer {
            host: self.0.host.clone(),
            what: what.to_owned(),
            problem,
        }
    }
}

/// Joins the challenges: the header may come several times.
pub(super) fn challenge_of(headers: &HeaderMap) -> String {
    let values = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(", ")
}

/// The registry's own words: the specification's JSON if it is that, else the beginning of the text.
fn message_of(body: &[u8]) -> String {
    if let Ok(envelope) = serde_json::from_slice::<oci_client::errors::OciEnvelope>(body) {
        let one = |error: &oci_client::errors::OciError| {
            let code = serde_json::to_value(&error.code).ok();
            let code = code
                .as_ref()
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default();
            format!("{code}: {}", error.message)
        };
        return envelope
            .errors
            .iter()
            .map(one)
            .collect::<Vec<_>>()
            .join("; ")
            .chars()
            .take(ERROR_SHOWN)
            .collect();
    }
    let text = String::from_utf8_lossy(body);
    text.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(ERROR_SHOWN)
        .collect()
}

/// The host asks for patience.
fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}

/// Reads `Retry-After`: seconds, or a date (which is compared with the other side's own clock, if it tells it).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let now = text(DATE)
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .unwrap_or_else(SystemTime::now);
    // A moment that has passed already is now.
    Some(until.duration_since(now).unwrap_or_default())
}

/// Between nothing and all of a wait, so that many clients do not come back at once ("full jitter").
fn jittered(wait: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's hash keys are random: no generator is needed for this.
    let random = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    let part = u32::try_from(random % 1024).unwrap_or(0);
    wait / 1024 * part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_seconds_or_dates() {
        let with = |pairs: &[(HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(name.clone(), HeaderValue::from_str(value).unwrap());
            }
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let noon = (DATE, "Sun, 06 Nov 1994 12:00:00 GMT");
        let later = (RETRY_AFTER, "Sun, 06 Nov 1994 12:00:30 GMT");
        assert_eq!(with(&[(RETRY_AFTER, "120")]), Some(120));
        assert_eq!(with(&[(RETRY_AFTER, " 7 ")]), Some(7));
        assert_eq!(with(&[noon.clone(), later.clone()]), Some(30));
        assert_eq!(with(std::slice::from_ref(&later)), Some(0), "long ago");
        for nonsense in ["", "-1", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(with(&[(RETRY_AFTER, nonsense)]), None, "{nonsense}");
        }
        assert_eq!(with(&[noon]), None);
    }
}
