//! What is kept of runs, and how a run is shown on paper.
//!
//! [`Results`] is one `SQLite` file that several Storelab processes may share: it takes a run while it goes on
//! ([`experiment::Sink`]) and gives it back by id, by name or by age. An acknowledged start or end survives `kill -9` and
//! a power cut; of the seconds in between, at most the last is lost. [`report`] draws a run as one self-contained HTML
//! file, [`export`] writes it in formats that other programs read.
//!
//! **It knows no server, no HTTP and no command line**, and never opens a file of another program for writing.

mod comparing;
mod error;
pub mod export;
mod history;
mod location;
mod owner;
mod query;
mod recovery;
pub mod report;
mod rows;
mod schema;
mod settle;
mod sink;
mod storage;

pub use error::{Error, Result};
pub use history::HistoryQuery;
pub use location::default_path;
pub use query::{RunSummary, short_id};
pub use storage::{Access, Results};

#[cfg(test)]
mod fixture;
