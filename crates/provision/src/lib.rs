//! Starts, stops and inspects data store servers: throw-away ones for a test or an experiment, and ones that stay
//! until they are told to go.
//!
//! Servers are local processes made from the host's own packages. They listen on 127.0.0.1 only, want a random password,
//! run without privileges, and **do not outlive the program that started them, even where that is killed**, unless they
//! were [detached](Server::detach) on purpose.
//!
//! One file and one line in [`ENGINES`] is one kind of server. **This crate knows no database client library**: whether
//! a server is ready is asked with the first bytes of its own protocol.
//!
//! ```no_run
//! use provision::{Options, Server};
//!
//! let server = Server::start(provision::engine("redis")?, &Options::default())?;
//! println!("redis listens on port {}", server.port());
//! server.stop()?;
//! # Ok::<(), provision::Error>(())
//! ```

mod cache;
mod cluster;
mod container;
mod engine;
mod engines;
mod error;
mod home;
mod install;
mod launch;
mod origin;
mod password;
mod probe;
mod process;
mod record;
mod server;
mod shared_memory;
mod supervisor;
mod user;
mod workshop;

pub use cache::Cache;
pub use cluster::Cluster;
pub use engine::{Certificates, Encryption, Engine, Installation, Invocation, Peer, Plan, PlanFile, Site, StopSignal};
pub use engines::{ENGINES, engine};
pub use error::{Error, ErrorKind, Result};
pub use home::Home;
pub use install::{EngineStatus, install, list};
pub use origin::{Download, Effort, Origin, Tool};
pub use password::Password;
pub use process::{Process, process_tree};
pub use record::Instance;
pub use server::{Options, Server};
pub use workshop::Workshop;
