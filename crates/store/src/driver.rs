//! How a data store is reached, and what is done to it as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::{Capabilities, Dataset, LocalBoxFuture, Namespace, Operation, RecordSource, Result, Session, Target};

/// Looks up an environment variable; an argument, so that tests need no real environment.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A parameter of a target's URL, `?name=value`.
#[derive(Debug, Clone, Copy)]
pub struct TargetOption {
    /// The name.
    pub name: &'static str,
    /// One line: values and what they do, the default first.
    pub summary: &'static str,
}

/// How one kind of data store is reached.
pub trait Driver: Send + Sync {
    /// The name users ask for: `postgres`.
    fn name(&self) -> &'static str;

    /// What the product or family is called: `PostgreSQL`.
    fn title(&self) -> &'static str;

    /// The URL schemes that mean this driver, the usual one first.
    fn schemes(&self) -> &'static [&'static str];

    /// The port where the URL names none, for stores that are reached over a network.
    fn default_port(&self) -> Option<u16>;

    /// What it can do, known without a connection.
    fn capabilities(&self) -> Capabilities;

    /// Its own operations; [`Request::Operation`](crate::Request::Operation) names them by their place here.
    fn operations(&self) -> &'static [Operation];

    /// The URL parameters that it understands. Others are refused by [`Target::check_options`].
    fn options(&self) -> &'static [TargetOption];

    /// What users must know to read its figures right, a sentence each: limits of verbs, what is approximate, what differs
    /// from others of its family.
    fn quirks(&self) -> &'static [&'static str] {
        &[]
    }

    /// The URL that the documented environment variables describe, with defaults on 127.0.0.1 for those not set.
    /// None for stores that have no such variables.
    fn url_from_environment(&self, lookup: Lookup<'_>) -> Option<String> {
        let _ = lookup;
        None
    }

    /// Reaches the target and checks that it answers.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work, `Unreachable` where nobody answers, `Rejected` where the server refuses
    /// (a wrong password, an unknown database): each with a hint. Never hangs: bounded by the target's connect time-out.
    /// This and every later connection of the store goes only where the target's [`limits`](Target::limits) permit.
    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>>;
}

/// What a server says about itself.
#[derive(Debug, Clone, Default)]
pub struct ServerInfo {
    /// Product and version in one line: `PostgreSQL 15.18`.
    pub version: String,
    /// Settings that matter for performance, as the server states them.
    pub settings: BTreeMap<String, String>,
    /// The server's process id where it tells.
    pub process_id: Option<u32>,
    /// Operations of the driver's list that this server cannot do, with the reason.
    pub operations_missing: BTreeMap<&'static str, String>,
}

/// Counters of a server: names as the server has them, values that mostly only grow.
pub type Counters = BTreeMap<String, f64>;

/// One part of a parallel load: this one of so many.
#[derive(Debug, Clone, Copy)]
pub struct LoadPart {
    /// From 0.
    pub index: u64,
    /// At least 1.
    pub of: u64,
}

/// What there is of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadState {
    /// Nothing of ours.
    Absent,
    /// Ours, but the load did not end or was another one.
    Partial,
    /// Ours, complete, with exactly this fingerprint.
    Loaded(String),
}

/// Something that Storelab made in a data store, from its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedObject {
    /// The namespace it belongs to.
    pub namespace: String,
    /// What it is: `table`, `index`, `keys`.
    pub kind: String,
    /// Its full name.
    pub name: String,
}

/// What a session is opened for.
#[derive(Debug, Clone, Copy)]
pub struct SessionSpec<'a> {
    /// The data that the requests will be about; it has been loaded.
    pub dataset: Option<&'a Dataset>,
    /// How many requests the caller wants in flight; the session's own [`Session::depth`] may be less.
    pub depth: usize,
}

/// A data store that answers. Shared between threads; each call may be made from any thread that runs a
/// current-thread runtime with I/O and time enabled.
///
/// # Contract
/// - **Ownership**: it creates only names of its [`Namespace`], records each in a manifest inside the data store
///   *before* creating it, and drops only what the manifest holds. Where a name it needs exists and is not in
///   the manifest it refuses with `Config` and touches nothing.
/// - **Idempotence**: `create` over an earlier load of the same namespace replaces it. `clean` of nothing is fine.
/// - **Clean-up** leaves nothing: the manifest goes when its last entry goes.
pub trait Store: Send + Sync {
    /// Opens a connection for work.
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>>;

    /// What the server says about itself.
    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>>;

    /// The server's counters now. Empty where it keeps none. Called about once a second from one thread; keeps its
    /// connection between calls.
    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>>;

    /// What there is of the dataset.
    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>>;

    /// Makes the dataset's empty tables or the like, replacing earlier ones of ours.
    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>>;

    /// Loads one part by the store's fastest bulk path, counting rows into `progress`. Several parts may be loaded at
    /// the same time from different threads.
    fn load<'a>(
        &'a self,
        dataset: &'a Dataset,
        part: LoadPart,
        source: &'a dyn RecordSource,
        progress: &'a AtomicU64,
    ) -> LocalBoxFuture<'a, Result<()>>;

    /// Ends a load once all its parts are in: builds indexes, refreshes statistics, marks it complete.
    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>>;

    /// What the manifest holds.
    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>>;

    /// Drops what the manifest holds, of one namespace or of all, and says what that was.
    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>>;
}
