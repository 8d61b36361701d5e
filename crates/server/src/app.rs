//! What every handler has at hand. Cheap to clone: all of it is shared.

use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;

use crate::access::origin::Authority;
use crate::access::tokens::Tokens;
use crate::allowed::Allowed;
use crate::executor::Executor;
use crate::live::Hub;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::problem::Problem;
use crate::routes::Readiness;
use crate::settings::Settings;
use crate::storage::Storage;
use crate::vault::Vault;

/// The service's parts, one of each in a process.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

/// What an [`App`] gives access to.
pub(crate) struct Parts {
    /// What an operator decided.
    pub(crate) settings: Settings,
    /// What is kept, asked on threads of its own.
    pub(crate) storage: Storage,
    /// Under which names and at which address it answers.
    pub(crate) authority: Authority,
    /// Who may ask.
    pub(crate) tokens: Tokens,
    /// Where load may go.
    pub(crate) allowed: Arc<Allowed>,
    /// What carries runs out.
    pub(crate) executor: Executor,
    /// What runs that go on have to say.
    pub(crate) live: Arc<Hub>,
    /// What seals passwords of targets.
    pub(crate) vault: Arc<Vault>,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// What those without a token are told of the service.
    pub(crate) readiness: Readiness,
    /// When the service started.
    pub(crate) started_at: Timestamp,
}

impl App {
    /// Puts the parts together.
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Where load may go at this moment, asked anew.
    ///
    /// # Errors
    /// What asking the store brings.
    pub(crate) async fn policy(&self) -> Result<Policy, Problem> {
        let targets = self.storage.read(results::Results::targets).await?;
        Ok(self.allowed.renew(targets))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
