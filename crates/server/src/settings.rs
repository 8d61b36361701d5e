//! What an operator decides about the service. Where each value comes from is the binary's business.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that can be decided.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host names, beside those of loopback, under which the service may be asked (`lab.example.org`): a page elsewhere that
    /// points its own name at this address is refused by its `Host`.
    pub names: Vec<String>,
    /// Certificate and key; without them connections are not encrypted.
    pub tls: Option<TlsFiles>,
    /// Whether an address that is not loopback may be served without encryption.
    pub is_insecure_listen_allowed: bool,
    /// Whether load may go to this machine without an administrator's word.
    pub is_loopback_allowed: bool,
    /// What one experiment, and all of them, may take.
    pub caps: Caps,
    /// Where data stores are that an experiment names by their kind alone.
    pub environment: Environment,
}

impl Default for Settings {
    /// A service for this machine alone.
    fn default() -> Self {
        Self {
            names: Vec::new(),
            tls: None,
            is_insecure_listen_allowed: false,
            is_loopback_allowed: true,
            caps: Caps::default(),
            environment: Environment::default(),
        }
    }
}

/// Looks up environment variables; which there are is the binary's business. Clones are the same one.
#[derive(Clone)]
pub struct Environment(Arc<Variables>);

/// The value of a variable by its name.
type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    /// One that asks a function.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }
}

impl Default for Environment {
    /// One without any variable.
    fn default() -> Self {
        Self::new(|_| None)
    }
}

impl fmt::Debug for Environment {
    /// Values may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(***)")
    }
}

/// Files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to its root.
    pub certificates: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Limits of what may be asked of the service. An experiment that exceeds one is refused when it is created.
#[derive(Debug, Clone, PartialEq)]
pub struct Caps {
    /// Connections of one experiment.
    pub sessions_max: u32,
    /// Operations a second of one experiment with an open load.
    pub rate_max: f64,
    /// Seconds that one experiment may last, warm-up and all phases together.
    pub seconds_max: f64,
    /// Rows or records of one experiment's dataset.
    pub rows_max: u64,
    /// Runs at the same time.
    pub runs_max: u32,
    /// Runs that may wait.
    pub queue_max: u32,
    /// Rows of an experiment that does not say how many.
    pub rows_default: u64,
    /// Connections of an experiment that does not say how many, on a store that has no number of its own.
    pub sessions_default: u32,
    /// What differs between stores, by the name of their driver.
    pub stores: BTreeMap<String, StoreCaps>,
}

/// Connections of one experiment on a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreCaps {
    /// Those of one that does not say how many.
    pub sessions_default: Option<u32>,
    /// The most, where that is less than on any store.
    pub sessions_max: Option<u32>,
}

impl Caps {
    /// The most connections of an experiment on that store.
    pub(crate) fn sessions_max_on(&self, driver: &str) -> u32 {
        let own = self.stores.get(driver).and_then(|store| store.sessions_max);
        own.unwrap_or(self.sessions_max).min(self.sessions_max)
    }

    /// The connections of an experiment on that store which does not say how many.
    pub(crate) fn sessions_default_on(&self, driver: &str) -> u32 {
        let own = self.stores.get(driver).and_then(|store| store.sessions_default);
        own.unwrap_or(self.sessions_default).min(self.sessions_max_on(driver))
    }
}

impl Default for Caps {
    /// What a host of a few processors can drive and a default database accepts; an operator who knows better says so.
    fn default() -> Self {
        Self {
            sessions_max: 1_024,
            rate_max: 1_000_000.0,
            seconds_max: 86_400.0,
            rows_max: 100_000_000,
            runs_max: 2,
            queue_max: 1_000,
            rows_default: 1_000,
            sessions_default: 10,
            stores: BTreeMap::new(),
        }
    }
}
