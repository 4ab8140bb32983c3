//! What a network operation needs to know and may not find out by itself: credentials, TLS, policy, patience, progress.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use crate::{
    config::{AuthFile, Candidate, Certificates, Credentials, Helpers, Policy, Registries},
    name::Name,
    progress::{Progress, Silent},
    traffic::Traffic,
};

/// How `registries.conf` calls the files of credentials among the helpers.
const FILES: &str = "containers-auth.json";

/// Which end of a transfer a setting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where images come from: pull, inspect, tags, and the first argument of copy.
    Source,
    /// Where images go.
    Destination,
}

/// How long to wait, and how often to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection is made.
    pub connect: Duration,
    /// Until the next byte arrives, or the next byte can be sent.
    pub stall: Duration,
    /// How many times a request is tried, at least 1.
    pub attempts: u32,
    /// The wait after the first failure; it doubles, with jitter, up to [`Patience::longest`].
    pub first: Duration,
    /// The longest wait, also for a `Retry-After`: a registry that asks for more is an error.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(60),
            attempts: 5,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(60),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct End {
    credentials: Option<Credentials>,
    auth_files: Vec<AuthFile>,
    tls_verify: Option<bool>,
    certificates: Certificates,
}

/// What all clones of a context share: connections, tokens, gates, by what they are and whom they are for.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<KeptMap>>);

type KeptMap = HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>;

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

/// The CA certificates, once they have been read.
#[derive(Debug)]
pub(crate) struct Roots {
    /// DER, the system's and the additional ones.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Whether the system has any.
    pub(crate) of_system: bool,
}

/// The surroundings of network operations. It has no default: somebody has to decide about the policy.
///
/// Apart from what it holds, the network stack reads what every HTTP client reads: the system's CA certificates
/// (`/etc/ssl/certs`, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` point) and the proxy variables.
///
/// ```
/// use libimage::{config::{Credentials, Policy}, context::{Context, Side}};
/// let cx = Context::builder(Policy::accept_anything())
///     .credentials(Side::Source, Credentials::parse("me:secret").ok_or("no colon")?)
///     .tls_verify(Side::Destination, false)
///     .build();
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone)]
pub struct Context {
    source: End,
    destination: End,
    helpers: Option<Helpers>,
    registries: Arc<Registries>,
    extra_roots: Vec<Vec<u8>>,
    policy: Policy,
    patience: Patience,
    progress: Arc<dyn Progress>,
    pub(crate) roots: Arc<OnceLock<Roots>>,
    /// What is learned about registries on the way.
    pub(crate) traffic: Arc<Traffic>,
    kept: Kept,
    /// Where the source's and the destination's Docker engines are.
    engines: [Option<String>; 2],
    temporary: PathBuf,
}

/// Where engines listen if nobody says otherwise.
const ENGINE: &str = "unix:///var/run/docker.sock";
/// Where things go that may be too large for a file system in memory.
const TEMPORARY: &str = "/var/tmp";

impl Context {
    /// Starts with a policy; everything else has the obvious value: no credentials, TLS verified, silence.
    pub fn builder(policy: Policy) -> ContextBuilder {
        ContextBuilder(Self {
            source: End::default(),
            destination: End::default(),
            helpers: None,
            registries: Arc::default(),
            extra_roots: Vec::new(),
            policy,
            patience: Patience::default(),
            progress: Arc::new(Silent),
            roots: Arc::default(),
            traffic: Arc::default(),
            kept: Kept::default(),
            engines: [None, None],
            temporary: PathBuf::from(TEMPORARY),
        })
    }

    /// Starts from what this context has, to change some of it. Connections and tokens are kept unless a setting about registries
    /// changes.
    pub fn to_builder(&self) -> ContextBuilder {
        ContextBuilder(self.clone())
    }

    fn end(&self, side: Side) -> &End {
        match side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        }
    }

    /// Returns what may have credentials for a repository, in the order in which it is to be asked: the side's own credentials alone if
    /// it has some; else what the files say, or the helpers `registries.conf` wants in their place.
    #[must_use]
    pub fn candidates(&self, side: Side, name: &Name) -> Vec<Candidate> {
        if let Some(credentials) = &self.end(side).credentials {
            return vec![Candidate::Credentials(credentials.clone())];
        }
        self.stored(side, name)
    }

    /// As [`Context::candidates`] without the side's own credentials, which are for the registry that was named, not for its mirrors.
    #[must_use]
    pub fn stored(&self, side: Side, name: &Name) -> Vec<Candidate> {
        if self.end(side).credentials == Some(Credentials::Anonymous) {
            return Vec::new();
        }
        let files = || {
            let files = self.end(side).auth_files.iter();
            files.flat_map(|file| file.candidates(name))
        };
        match self.registries.credential_helpers() {
            [] => files().collect(),
            helpers => helpers
                .iter()
                .flat_map(|helper| match helper.as_str() {
                    FILES => files().collect(),
                    program => vec![Candidate::Helper {
                        program: program.to_owned(),
                        assigned: false,
                    }],
                })
                .collect(),
        }
    }

    /// Tells whether certificates are verified (then plain http is never tried), where `registries.conf` says nothing else.
    #[must_use]
    pub fn verifies_tls(&self, side: Side) -> bool {
        self.end(side).tls_verify.unwrap_or(true)
    }

    /// Tells whether the certificate of a registry is verified that `registries.conf` calls insecure, or does not.
    #[must_use]
    pub fn verifies(&self, side: Side, insecure: bool) -> bool {
        self.end(side).tls_verify.unwrap_or(!insecure)
    }

    /// Returns the certificates for the hosts of a side.
    #[must_use]
    pub fn certificates(&self, side: Side) -> &Certificates {
        &self.end(side).certificates
    }

    /// Returns what `registries.conf` says.
    #[must_use]
    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    /// Returns how credential helpers are executed, if they may be.
    #[must_use]
    pub fn helpers(&self) -> Option<&Helpers> {
        self.helpers.as_ref()
    }

    /// Returns what this context and its clones keep of a kind under a key, such as a host: made at its first use.
    pub(crate) fn kept<T: Send + Sync + 'static>(
        &self,
        key: &str,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut kept = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept
            .entry((TypeId::of::<T>(), key.to_owned()))
            .or_insert_with(|| Arc::new(make()));
        Arc::downcast(Arc::clone(kept)).expect("the key holds the type")
    }

    /// Returns the additional CA certificates, PEM.
    #[must_use]
    pub fn extra_roots(&self) -> &[Vec<u8>] {
        &self.extra_roots
    }

    /// Returns the same surroundings with another policy.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        Self {
            policy,
            ..self.clone()
        }
    }

    /// Returns where a side's Docker engine is, as `DOCKER_HOST` says it.
    #[must_use]
    pub fn engine(&self, side: Side) -> &str {
        let [source, destination] = &self.engines;
        let engine = match side {
            Side::Source => source,
            Side::Destination => destination,
        };
        engine.as_deref().unwrap_or(ENGINE)
    }

    /// Returns the directory for what cannot be read twice and has to be: archives from pipes and engines.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Returns the same surroundings, in which sources are opened with what is for destinations: to read what will be overwritten.
    pub(crate) fn destination_as_source(mut self) -> Self {
        self.source = self.destination.clone();
        self.engines[0] = self.engines[1].clone();
        self
    }

    /// Returns the trust policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the time-outs and retries.
    #[must_use]
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Returns who is told what happens.
    #[must_use]
    pub fn progress(&self) -> &Arc<dyn Progress> {
        &self.progress
    }
}

/// Makes a [`Context`].
#[derive(Debug)]
#[must_use = "call build()"]
pub struct ContextBuilder(Context);

impl ContextBuilder {
    /// What was made with other settings must not be used on.
    fn forget(&mut self) {
        self.0.kept = Kept::default();
        self.0.roots = Arc::default();
    }

    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Source => &mut self.0.source,
            Side::Destination => &mut self.0.destination,
        }
    }

    /// Sets the credentials of a side; they are only ever shown to the registry named in its reference and to the https token
    /// server that registry names. [`Credentials::Anonymous`] forbids looking into the files.
    pub fn credentials(mut self, side: Side, credentials: Credentials) -> Self {
        self.end(side).credentials = Some(credentials);
        self.forget();
        self
    }

    /// Adds a file of credentials, asked after those added before.
    pub fn auth_file(self, file: AuthFile) -> Self {
        self.auth_file_for(Side::Source, file.clone())
            .auth_file_for(Side::Destination, file)
    }

    /// Adds a file of credentials for one side, asked after those added before.
    pub fn auth_file_for(mut self, side: Side, file: AuthFile) -> Self {
        self.end(side).auth_files.push(file);
        self.forget();
        self
    }

    /// Allows executing the credential helpers that the files of credentials name; without this they are never executed.
    pub fn helpers(mut self, helpers: Helpers) -> Self {
        self.0.helpers = Some(helpers);
        self.forget();
        self
    }

    /// Sets what `registries.conf` says: mirrors, blocked and insecure registries, short names.
    pub fn registries(mut self, registries: Registries) -> Self {
        self.0.registries = Arc::new(registries);
        self.forget();
        self
    }

    /// Sets where a side's certificates are: authorities and client certificates, host by host.
    pub fn certificates(mut self, side: Side, certificates: Certificates) -> Self {
        self.end(side).certificates = certificates;
        self.forget();
        self
    }

    /// `false` accepts any certificate, and plain http where https does not answer; `true` insists on https and a trusted certificate, also
    /// where `registries.conf` does not. Without either, `registries.conf` decides for each registry.
    pub fn tls_verify(mut self, side: Side, verify: bool) -> Self {
        self.end(side).tls_verify = Some(verify);
        self.forget();
        self
    }

    /// Adds CA certificates (PEM) to the system's.
    pub fn extra_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.0.extra_roots.push(pem.into());
        self.forget();
        self
    }

    /// Sets the time-outs and retries.
    pub fn patience(mut self, patience: Patience) -> Self {
        self.0.patience = patience;
        self
    }

    /// Sets who is told what happens.
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.0.progress = progress;
        self
    }

    /// Sets where a side's Docker engine is: `unix://PATH` or `tcp://HOST:PORT`.
    pub fn engine(mut self, side: Side, address: impl Into<String>) -> Self {
        self.0.engines[usize::from(side == Side::Destination)] = Some(address.into());
        self
    }

    /// Sets the directory for nameless files that hold what comes from a pipe or an engine, instead of `/var/tmp`.
    pub fn temporary(mut self, directory: impl Into<PathBuf>) -> Self {
        self.0.temporary = directory.into();
        self
    }

    /// Finishes.
    #[must_use]
    pub fn build(self) -> Context {
        self.0
    }
}
