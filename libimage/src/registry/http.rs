//! The HTTP clients: TLS, redirects, time-outs.
//!
//! TLS is rustls with the ring provider: no C library, so the tools can be static. The roots are the system's, read from
//! `/etc/ssl/certs` (or where `SSL_CERT_FILE` and `SSL_CERT_DIR` point) when the first https client is made.

use reqwest::{Certificate, redirect};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::{
    context::{Context, Roots, Side},
    progress::Event,
};

/// Redirects followed; storage back ends need one or two.
const REDIRECTS: usize = 10;
const USER_AGENT: &str = concat!("trimaran/", env!("CARGO_PKG_VERSION"));

/// Makes the client for our own requests.
pub(super) fn client(cx: &Context, side: Side) -> Result<reqwest::Client, reqwest::Error> {
    install_provider();
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(cx.patience().connect)
        .http1_only()
        .redirect(redirect::Policy::custom(follow));
    let builder = if cx.verifies_tls(side) {
        let roots = roots(cx)
            .certificates
            .iter()
            .map(|der| Certificate::from_der(der))
            .collect::<Result<Vec<_>, _>>()?;
        if roots.is_empty() {
            let message = "no CA certificates were found: no https server can be trusted (is ca-certificates installed?)";
            cx.progress().event(&Event::Warning { message });
        }
        builder.tls_certs_only(roots)
    } else {
        builder.tls_danger_accept_invalid_certs(true)
    };
    builder.build()
}

/// Makes the client of oci-client, which downloads blobs; `None` where it cannot be made.
///
/// `oci_client::Client` builds a client with default settings in passing, which panics on a system without CA certificates.
pub(super) fn downloads(cx: &Context, side: Side, scheme: &str) -> Option<oci_client::Client> {
    use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
    install_provider();
    if !roots(cx).of_system {
        return None;
    }
    let verify = cx.verifies_tls(side);
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

/// The CA certificates, read once per context. What cannot be parsed is left out: system bundles have such entries.
fn roots(cx: &Context) -> &Roots {
    cx.roots.get_or_init(|| {
        let usable = |der: &CertificateDer<'_>| RootCertStore::empty().add(der.clone()).is_ok();
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
