//! What is asked of a data store: one file per workload, one line each in [`WORKLOADS`].
//!
//! A [`Workload`] is a kind of work with its variants and parameters. Configured with values it becomes an
//! [`Instance`]: the data it needs, one [`Client`] per simulated user, and what must hold afterwards.
//! Randomness is a seeded argument: the same seed gives every client the same operations.

mod additions;
mod distribution;
mod operations;
mod parameter;
mod random;
mod sysbench;
mod ycsb;

pub use parameter::{Parameter, ParameterKind, Settings};

use std::collections::BTreeMap;
use std::sync::Arc;

use store::{
    Capabilities, Dataset, Driver, LocalBoxFuture, Outcome, RecordSource, Request, Result, Rows, Store, Token,
};

/// Every workload, alphabetic.
pub static WORKLOADS: &[&dyn Workload] = &[&operations::Operations, &sysbench::Sysbench, &ycsb::Ycsb];

/// A variant of a workload: `a` of `ycsb:a`.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// The name behind the colon.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
}

/// A kind of work.
pub trait Workload: Send + Sync {
    /// The name users ask for: `ycsb`.
    fn name(&self) -> &'static str;

    /// One line, with the source of its definition.
    fn summary(&self) -> &'static str;

    /// Its variants, the default first; empty where it has none.
    fn variants(&self) -> &'static [Variant];

    /// Its parameters: at once flags (`--set name=value`), plan and REST body.
    fn parameters(&self) -> &'static [Parameter];

    /// What a data store must be able to do for it.
    fn needs(&self) -> Capabilities;

    /// Makes it ready to run against stores of that driver.
    ///
    /// # Errors
    /// `Config` for an unknown variant, parameter or value, naming it and the nearest one that exists;
    /// `Unsupported` where the driver lacks something.
    fn configure(
        &self,
        driver: &'static dyn Driver,
        variant: Option<&str>,
        settings: &Settings,
        seed: u64,
    ) -> Result<Arc<dyn Instance>>;
}

/// Which of an instance's clients one is.
#[derive(Debug, Clone, Copy)]
pub struct ClientSpec {
    /// From 0.
    pub index: u32,
    /// How many there are.
    pub of: u32,
    /// How many requests it will have in flight: tokens are below it.
    pub depth: u32,
}

/// A workload with all its values: data, clients, verification.
pub trait Instance: Send + Sync {
    /// The variant's name, where there is one.
    fn variant(&self) -> Option<&str>;

    /// Every parameter with its effective value.
    fn parameters(&self) -> BTreeMap<String, serde_json::Value>;

    /// The data that it needs.
    fn dataset(&self) -> Option<&Dataset>;

    /// Makes the data, where the driver does not do that by itself.
    fn source(&self) -> &dyn RecordSource;

    /// Names of its operations; a [`Call`] names one by its place.
    fn operations(&self) -> &[&'static str];

    /// The operations that are run one after another, by their place, each as a phase of its own; empty for a mix.
    fn sequence(&self) -> &[u16] {
        &[]
    }

    /// Whether a run adds or removes rows, so that the data must be loaded anew for the next one.
    fn adds_rows(&self) -> bool;

    /// How many requests of one client may be in flight: 1 where they are transactions.
    fn depth_max(&self) -> u32 {
        u32::MAX
    }

    /// A simulated user. The same specification gives the same requests.
    fn client(&self, spec: ClientSpec) -> Box<dyn Client>;

    /// Checks what must hold after a run, against the data store itself.
    fn verify<'a>(&'a self, store: &'a dyn Store) -> LocalBoxFuture<'a, Result<Vec<Check>>>;
}

/// One thing that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

/// What a client is asked to do next.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// The token under which the request will be in flight.
    pub token: Token,
    /// The operation of the running phase, where operations are run one after another.
    pub operation: Option<u16>,
}

/// An operation and the request that starts it.
#[derive(Debug)]
pub struct Call<'a> {
    /// Its place in [`Instance::operations`].
    pub operation: u16,
    /// The request.
    pub request: Request<'a>,
}

/// Whether an operation has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It has.
    Done,
    /// It goes on with the request that [`Client::resume`] gives; its time runs on.
    More,
}

/// One simulated user: a stream of operations. It sees the rows of its own requests (it is the [`Rows`] visitor) and
/// says whether they are right.
///
/// Calls come in this order for each token: `next`; then the rows, then `complete`; where that says
/// [`Progress::More`], `resume`, rows, `complete` again. Tokens overlap where the session pipelines.
/// After warm-up none of the calls allocates.
pub trait Client: Rows {
    /// The next operation.
    fn next(&mut self, turn: Turn) -> Call<'_>;

    /// Takes the end of the token's request.
    ///
    /// # Errors
    /// The request's own error, or `WrongResult` where what was read is not what had been written.
    fn complete(&mut self, token: Token, result: Result<Outcome>) -> Result<Progress>;

    /// The next request of an operation that has several.
    fn resume(&mut self, token: Token) -> Request<'_>;
}
