//! What is kept of runs, and how a run is shown on paper.
//!
//! [`Results`] is one `SQLite` file that several Storelab processes may share, or a schema of a `PostgreSQL` server that many
//! hosts may: it takes a run while it goes on ([`experiment::Sink`]) and gives it back by id, by name or by age. An
//! acknowledged start or end survives `kill -9` and a power cut; of the seconds in between, at most the last is lost.
//! [`report`] draws a run as one self-contained HTML file, [`export`] writes it in formats that other programs read.
//! [`service`] is what a service keeps beside runs.
//!
//! **It knows no server, no HTTP and no command line**, and never opens a file of another program for writing.

mod artifacts;
mod comparing;
mod database;
mod error;
pub mod export;
mod history;
mod keeper;
mod kept;
mod location;
mod owner;
mod query;
mod recovery;
pub mod report;
mod rows;
mod schema;
pub mod service;
mod settle;
mod sink;
mod storage;

pub use artifacts::{ArtifactSummary, KeptArtifact};
pub use error::{Error, Result, Source};
pub use history::HistoryQuery;
pub use location::{Location, default_path};
pub use query::{RunSummary, short_id};
pub use storage::{Access, Results};

#[cfg(test)]
mod fixture;
