//! The credentials for one repository, found when a registry wants some and not before.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::{
    AuthError,
    helper::{self, HelperError},
};
use crate::{
    config::{Candidate, Credentials, Helpers},
    progress::{Event, Progress},
};

/// Everything that may have credentials for a repository. The first that has some wins; asking goes on only as far as needed.
#[derive(Clone)]
pub struct Keyring {
    registry: String,
    candidates: Vec<Candidate>,
    helpers: Option<Helpers>,
    progress: Arc<dyn Progress>,
    found: Arc<OnceCell<Credentials>>,
}

impl Keyring {
    /// Collects what may have credentials for `registry`. Without `helpers` no program is executed.
    #[must_use]
    pub fn new(
        registry: &str,
        candidates: Vec<Candidate>,
        helpers: Option<Helpers>,
        progress: Arc<dyn Progress>,
    ) -> Self {
        Self {
            registry: registry.to_owned(),
            candidates,
            helpers,
            progress,
            found: Arc::default(),
        }
    }

    /// Returns the credentials that were found, if they have been looked for.
    #[must_use]
    pub(super) fn known(&self) -> Option<&Credentials> {
        self.found.get()
    }

    /// Finds the credentials; [`Credentials::Anonymous`] if there are none.
    pub(super) async fn credentials(&self) -> Result<&Credentials, AuthError> {
        self.found.get_or_try_init(|| self.find()).await
    }

    async fn find(&self) -> Result<Credentials, AuthError> {
        for candidate in &self.candidates {
            let (program, assigned) = match candidate {
                Candidate::Credentials(credentials) => return Ok(credentials.clone()),
                Candidate::Helper { program, assigned } => (program, *assigned),
            };
            match self.ask(program).await {
                Ok(Some(credentials)) => return Ok(credentials),
                Ok(None) => {}
                // A file that was copied from another machine names programs of that machine: most images need none of them.
                Err(error @ HelperError::Missing { .. }) if !assigned => self.warn(&error),
                Err(source) => {
                    return Err(AuthError::Helper {
                        registry: self.registry.clone(),
                        source: Box::new(source),
                    });
                }
            }
        }
        Ok(Credentials::Anonymous)
    }

    async fn ask(&self, program: &str) -> Result<Option<Credentials>, HelperError> {
        let Some(helpers) = self.helpers.clone() else {
            let message = format!(
                "the credentials of {} are kept by docker-credential-{program}, which may not be executed here",
                self.registry
            );
            self.progress.event(&Event::Warning { message: &message });
            return Ok(None);
        };
        let (program, registry) = (program.to_owned(), self.registry.clone());
        let asking = move || helper::get(&helpers, &program, &registry);
        match tokio::task::spawn_blocking(asking).await {
            Ok(answer) => answer,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends: nobody waits for the answer.
                Err(_) => Ok(None),
            },
        }
    }

    fn warn(&self, error: &HelperError) {
        let message = error.to_string();
        self.progress.event(&Event::Warning { message: &message });
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
