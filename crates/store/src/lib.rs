//! What a data store is, as far as Storelab is concerned.
//!
//! Read in this order: a [`Driver`] says how one kind of data store is reached and what it can do;
//! connecting to a [`Target`] gives a [`Store`], which makes, loads, counts and drops; a store gives
//! [`Session`]s, which do the work. A session takes [`Request`]s and gives [`Completion`]s.
//!
//! **This crate names no product.** Everything that differs between products is data
//! ([`Capabilities`], [`Operation`]) or lives in `drivers`.

mod arguments;
mod capability;
mod dataset;
mod driver;
mod error;
mod operation;
mod reach;
mod request;
mod session;
mod tables;
mod target;

pub use arguments::Arguments;
pub use capability::{Capabilities, Capability};
pub use dataset::{DataSize, Dataset, Namespace, NullSource, OperationRows, Record, RecordSource, RecordTable};
pub use driver::{
    Counters, Driver, LoadPart, LoadState, Lookup, OwnedObject, ServerInfo, SessionSpec, Store, TargetOption,
};
pub use error::{Error, ErrorKind, Result, did_you_mean};
pub use operation::{Effect, Operation};
pub use reach::{Forbidden, Limits, Reach};
pub use request::{Completion, Fields, Outcome, Request, Rows, StatementId, Token, Value, Values};
pub use session::{Session, Sql, complete, execute};
pub use tables::{Column, ColumnType, TableIndex, TableSet, TableSpec};
pub use target::{Node, Secret, Target, TlsMode};

/// A boxed future that stays on the thread that polls it.
pub type LocalBoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;
