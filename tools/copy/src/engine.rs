//! Where Docker's engines are, and where what they send is kept: flags, and what the environment says.

use clap::Args;
use libimage::context::{ContextBuilder, Side};
use std::env;

/// The flag of the verbs that have one end.
#[derive(Debug, Clone, Args)]
pub(crate) struct OneEngine {
    /// Address of the Docker engine that `docker-daemon:` means: unix://PATH or tcp://HOST:PORT (also DOCKER_HOST)
    #[arg(long, value_name = "ADDRESS")]
    daemon_host: Option<String>,
}

/// The flags of the verbs that have two ends.
#[derive(Debug, Clone, Args)]
pub(crate) struct TwoEngines {
    /// Address of the Docker engine that `docker-daemon:` means as a source: unix://PATH or tcp://HOST:PORT (also DOCKER_HOST)
    #[arg(long, value_name = "ADDRESS")]
    src_daemon_host: Option<String>,

    /// Address of the Docker engine that `docker-daemon:` means as a destination (also DOCKER_HOST)
    #[arg(long, value_name = "ADDRESS")]
    dest_daemon_host: Option<String>,
}

/// What was typed about both ends.
pub(crate) type Engines<'a> = [(Side, Option<&'a str>); 2];

impl OneEngine {
    pub(crate) fn both(&self) -> Engines<'_> {
        let host = self.daemon_host.as_deref();
        [(Side::Source, host), (Side::Destination, host)]
    }
}

impl TwoEngines {
    pub(crate) fn both(&self) -> Engines<'_> {
        [
            (Side::Source, self.src_daemon_host.as_deref()),
            (Side::Destination, self.dest_daemon_host.as_deref()),
        ]
    }
}

/// Tells a context what was typed, and for the rest what the environment says.
pub(crate) fn told(mut builder: ContextBuilder, engines: Engines<'_>) -> ContextBuilder {
    let of_environment = of_environment();
    for (side, typed) in engines {
        if let Some(address) = typed.or(of_environment.as_deref()) {
            builder = builder.engine(side, address);
        }
    }
    match env::var_os("TMPDIR").filter(|directory| !directory.is_empty()) {
        Some(directory) => builder.temporary(directory),
        None => builder,
    }
}

/// `DOCKER_HOST`; with `DOCKER_TLS_VERIFY` a TCP address means TLS, as Docker's own client takes it.
fn of_environment() -> Option<String> {
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let host = set("DOCKER_HOST")?;
    match (set("DOCKER_TLS_VERIFY"), host.strip_prefix("tcp://")) {
        (Some(_), Some(rest)) => Some(format!("https://{rest}")),
        _ => Some(host),
    }
}
