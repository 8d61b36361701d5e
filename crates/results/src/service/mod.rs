//! What the service keeps beside runs: who may ask it, what was done, which answers were given, and where load may go.

mod agent;
mod audit;
mod division;
mod experiments;
mod idempotency;
mod messages;
mod parts;
mod plans;
mod queue;
mod resumption;
mod runs;
mod targets;
mod tokens;

pub use agent::drive_part;
pub use audit::{AuditEntry, AuditFilter, AuditRecord};
pub use division::{Division, PATIENCE_DEFAULT};
pub(crate) use experiments::id;
pub use experiments::{Deleted, Experiment, ExperimentCursor, ExperimentFilter, ExperimentStatus, NewExperiment};
pub use idempotency::{Answer, Claim, RequestKey};
pub use messages::Told;
pub use parts::{ClaimedPart, Clock, PartBeat, PartEnd, PartStatus, SILENCE_MAX, Stage, Start};
pub use plans::{Changed, Expected, NamedPlan, NewPlan};
pub use queue::{Beat, Cancelled, Enqueued, Finished, Heard, Job, NewJob, Orphan, Outcome, QueueEntry};
pub(crate) use queue::{RESUMING, hear, holds};
pub use resumption::Resumption;
pub use runs::{RunCursor, RunFilter};
pub use targets::{AllowedTarget, NewTarget};
pub use tokens::{NewToken, Role, Token, TokenHash, TokenSecret};

/// The tables of the version that the service came with, one string an owner.
pub(crate) const TABLES: &[&str] = &[
    audit::TABLES,
    experiments::TABLES,
    idempotency::TABLES,
    messages::TABLES,
    parts::TABLES,
    plans::TABLES,
    queue::TABLES,
    targets::TABLES,
    tokens::TABLES,
];
