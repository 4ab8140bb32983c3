//! Token servers: which of those that a registry may name are shown credentials.

use std::net::Ipv4Addr;

use reqwest::Url;

use super::{AuthError, Challenge, authority};

/// A token server that credentials may be shown to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) realm: Url,
    pub(super) service: Option<String>,
}

impl Server {
    /// Checks the realm of a challenge: https, unless the registry itself speaks plain http; nothing that only a confused or
    /// hostile registry would name.
    pub(super) fn of(challenge: &Challenge, base: &Url) -> Result<Self, AuthError> {
        let realm = challenge.parameter("realm").unwrap_or_default();
        let refuse = |reason| AuthError::Realm {
            registry: authority(base),
            realm: realm.chars().take(200).collect(),
            reason,
        };
        let url = Url::parse(realm).map_err(|_| refuse("it is no URL"))?;
        may_go(&url, base).map_err(refuse)?;
        Ok(Self {
            realm: url,
            service: challenge.parameter("service").map(str::to_owned),
        })
    }
}

/// Tells why credentials for a registry may not be shown to a token server, if they may not.
pub(super) fn may_go(url: &Url, base: &Url) -> Result<(), &'static str> {
    match url.scheme() {
        "https" => {}
        "http" if base.scheme() == "http" => {}
        "http" => return Err("it is not https, but the registry is"),
        _ => return Err("it is not https"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it has credentials of its own");
    }
    if url.host_str() == base.host_str() {
        return Ok(());
    }
    // An address, or a name of the inner network, is how a hostile registry reaches into the network of its users
    // (CVE-2026-48978).
    match (reach(url), reach(base)) {
        (Reach::Address, _) => Err("it is an IP address, and not the registry's"),
        (Reach::Inner, Reach::Public) => {
            Err("it is a name of a local network, and the registry's is none")
        }
        (Reach::Public | Reach::Inner, _) => Ok(()),
    }
}

/// How far a host's name is from the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// A name of the world's.
    Public,
    /// A name that means something else in every network.
    Inner,
    /// No name.
    Address,
}

fn reach(url: &Url) -> Reach {
    let host = url.host_str().unwrap_or_default();
    // The parser has brought IPv4 addresses into one form, whatever they were written as.
    if host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() {
        return Reach::Address;
    }
    let name = host.trim_end_matches('.');
    let inner = ["localhost", "local", "internal", "lan", "home.arpa"];
    let is_inner = |inner: &&str| {
        name.strip_suffix(*inner)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if !name.contains('.') || inner.iter().any(is_inner) {
        Reach::Inner
    } else {
        Reach::Public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_sensible_token_servers_only() {
        let cases = [
            (
                "https://registry.example",
                "https://auth.example/token",
                true,
            ),
            (
                "https://registry.example",
                "https://registry.example/token",
                true,
            ),
            (
                "https://registry.example",
                "https://registry.example:8443/token",
                true,
            ),
            // Down to plain http (CVE-2019-10214).
            (
                "https://registry.example",
                "http://registry.example/token",
                false,
            ),
            (
                "https://registry.example",
                "http://auth.example/token",
                false,
            ),
            (
                "https://registry.example",
                "ftp://auth.example/token",
                false,
            ),
            ("https://registry.example", "file:///etc/passwd", false),
            ("http://registry.example", "http://auth.example/token", true),
            // Into the network of who asks, in every spelling (CVE-2026-48978).
            ("https://registry.example", "https://127.0.0.1/token", false),
            ("https://registry.example", "https://10.0.0.1/token", false),
            (
                "https://registry.example",
                "https://93.184.216.34/token",
                false,
            ),
            (
                "https://registry.example",
                "https://2130706433/token",
                false,
            ),
            ("https://registry.example", "https://0x7f.1/token", false),
            ("https://registry.example", "https://[::1]/token", false),
            (
                "https://registry.example",
                "https://[::ffff:10.0.0.1]/token",
                false,
            ),
            ("https://registry.example", "https://localhost/token", false),
            (
                "https://registry.example",
                "https://a.localhost./token",
                false,
            ),
            ("https://registry.example", "https://vault/token", false),
            (
                "https://registry.example",
                "https://vault.internal/token",
                false,
            ),
            (
                "https://registry.example",
                "https://printer.local/token",
                false,
            ),
            (
                "https://registry.example",
                "https://169.254.169.254/latest",
                false,
            ),
            // A registry of the inner network may use its neighbours.
            (
                "https://registry.internal",
                "https://auth.internal/token",
                true,
            ),
            ("http://registry:5000", "http://auth:5001/token", true),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("https://192.168.1.2", "https://192.168.1.3/token", false),
            (
                "https://192.168.1.2",
                "https://169.254.169.254/token",
                false,
            ),
            ("https://192.168.1.2", "https://[fe80::1]/token", false),
            ("https://192.168.1.2", "https://auth.example/token", true),
            (
                "https://registry.example",
                "https://me:secret@auth.example/token",
                false,
            ),
            ("https://registry.example", "auth.example/token", false),
            ("https://registry.example", "", false),
        ];
        for (base, realm, fine) in cases {
            let base = Url::parse(base).unwrap();
            let challenge = Challenge {
                scheme: "bearer".to_owned(),
                parameters: vec![("realm".to_owned(), realm.to_owned())],
            };
            let verdict = Server::of(&challenge, &base);
            assert_eq!(verdict.is_ok(), fine, "{base} names {realm}: {verdict:?}");
        }
    }
}
