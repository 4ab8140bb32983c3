//! The HTTP clients: TLS, redirects, time-outs.
//!
//! TLS is rustls with the ring provider: no C library, so the tools can be static. The roots are the system's, read from
//! `/etc/ssl/certs` (or where `SSL_CERT_FILE` and `SSL_CERT_DIR` point) when the first https client is made.

use std::sync::{Arc, OnceLock};

use reqwest::{Certificate, Url, redirect};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

pub(super) use super::certificates::Tls;
use crate::{
    auth::{TokenClients, authority},
    context::{Context, Roots, Side},
    progress::Event,
};

/// Redirects followed; storage back ends need one or two.
const REDIRECTS: usize = 10;
const USER_AGENT: &str = concat!("trimaran/", env!("CARGO_PKG_VERSION"));

/// Makes the client for our own requests to a host.
pub(super) fn client(
    cx: &Context,
    host: &str,
    tls: &Tls,
) -> Result<reqwest::Client, reqwest::Error> {
    let follow = if tls.is_special() {
        follow_here
    } else {
        follow
    };
    // Both sides of a context share connections, if they agree about certificates.
    shared(
        cx,
        &format!("own {host} {tls:?}"),
        tls,
        redirect::Policy::custom(follow),
    )
}

/// Makes the client for other hosts: those that a registry with settings of its own redirects to.
pub(super) fn elsewhere(cx: &Context, side: Side) -> Result<reqwest::Client, reqwest::Error> {
    let tls = Tls::common(cx, side);
    shared(
        cx,
        &format!("elsewhere {}", tls.verify),
        &tls,
        redirect::Policy::custom(follow),
    )
}

/// Makes the clients for token servers, which follow no redirect: one for the registry's own host, one for all others.
pub(super) fn tokens(cx: &Context, side: Side, host: &str, own: &Tls) -> TokenClients {
    let (cx, own, common) = (cx.clone(), own.clone(), Tls::common(cx, side));
    let host = host.to_owned();
    Arc::new(move |realm: &Url| {
        let (key, tls) = if authority(realm) == host {
            (format!("tokens {host} {own:?}"), &own)
        } else {
            (format!("tokens {}", common.verify), &common)
        };
        shared(&cx, &key, tls, redirect::Policy::none())
    })
}

fn shared(
    cx: &Context,
    key: &str,
    tls: &Tls,
    policy: redirect::Policy,
) -> Result<reqwest::Client, reqwest::Error> {
    let kept = cx.kept(key, OnceLock::<reqwest::Client>::new);
    if let Some(client) = kept.get() {
        return Ok(client.clone());
    }
    install_provider();
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(cx.patience().connect)
        .http1_only()
        .redirect(policy);
    if tls.verify {
        let own = &tls.authorities;
        let roots = roots(cx).certificates.iter().chain(own);
        let roots = roots
            .map(|der| Certificate::from_der(der))
            .collect::<Result<Vec<_>, _>>()?;
        if roots.is_empty() {
            let message = "no CA certificates were found: no https server can be trusted (is ca-certificates installed?)";
            cx.progress().event(&Event::Warning { message });
        }
        builder = builder.tls_certs_only(roots);
    } else {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if let Some(pem) = &tls.identity {
        builder = builder.identity(reqwest::Identity::from_pem(pem.reveal().as_bytes())?);
    }
    let client = builder.build()?;
    Ok(kept.get_or_init(|| client).clone())
}

/// Makes the client of oci-client, which downloads blobs; `None` where it cannot be made.
///
/// `oci_client::Client` builds a client with default settings in passing, which panics on a system without CA certificates.
pub(super) fn downloads(cx: &Context, verify: bool, scheme: &str) -> Option<oci_client::Client> {
    use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
    install_provider();
    if !roots(cx).of_system {
        return None;
    }
    let root = |der: &Vec<u8>| Certificate {
        encoding: CertificateEncoding::Der,
        data: der.clone(),
    };
    let config = ClientConfig {
        protocol: if scheme == "http" {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        },
        accept_invalid_certificates: !verify,
        tls_certs_only: if verify {
            roots(cx).certificates.iter().map(root).collect()
        } else {
            Vec::new()
        },
        connect_timeout: Some(cx.patience().connect),
        read_timeout: Some(cx.patience().stall),
        user_agent: USER_AGENT,
        ..ClientConfig::default()
    };
    // Never `Client::new`: it would replace a configuration it cannot use by the default one, and lose the roots.
    oci_client::Client::try_from(config).ok()
}

/// As [`follow`], but only to the same host: the rest is followed by a client without this host's certificates.
fn follow_here(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let first = attempt.previous().first().map(Url::origin);
    if first.is_some_and(|first| first != attempt.url().origin()) {
        return attempt.stop();
    }
    follow(attempt)
}

/// Never from https to http: whoever can answer in the clear could answer anything.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let downgrade = attempt.url().scheme() == "http"
        && attempt.previous().iter().any(|url| url.scheme() == "https");
    if downgrade {
        return attempt.error("a redirect from https to http");
    }
    if attempt.previous().len() > REDIRECTS {
        return attempt.error("too many redirects");
    }
    attempt.follow()
}

/// rustls asks a process-wide variable which cryptography to use when, as in oci-client, nobody can tell it.
pub(crate) fn install_provider() {
    // An error says that the embedding program has chosen one already: then that one is used.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Tells whether a certificate can be an authority.
pub(super) fn usable(der: &CertificateDer<'_>) -> bool {
    RootCertStore::empty().add(der.clone()).is_ok()
}

/// The CA certificates, read once per context. What cannot be parsed is left out: system bundles have such entries.
fn roots(cx: &Context) -> &Roots {
    cx.roots.get_or_init(|| {
        let system = rustls_native_certs::load_native_certs().certs;
        let mut certificates: Vec<Vec<u8>> = system
            .iter()
            .filter(|der| usable(der))
            .map(|der| der.to_vec())
            .collect();
        let of_system = !certificates.is_empty();
        let extra = cx
            .extra_roots()
            .iter()
            .flat_map(|pem| CertificateDer::pem_slice_iter(pem).flatten());
        certificates.extend(extra.filter(usable).map(|der| der.to_vec()));
        Roots {
            certificates,
            of_system,
        }
    })
}
