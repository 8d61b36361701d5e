//! For tests only: real targets for every driver, on throw-away servers that a whole test process shares.
//!
//! ```no_run
//! for driver in drivers::DRIVERS {
//!     let targets = testkit::targets(*driver);
//!     for target in &targets.available {
//!         println!("{} {}: {}", driver.name(), target.name(), target.url()?);
//!     }
//! }
//! testkit::stop_servers();
//! # Ok::<(), provision::Error>(())
//! ```
//!
//! The conformance suite over all drivers is this crate's test binary `conformance`.

mod servers;
mod targets;

pub use servers::{dedicated, engines_are_required, stop_servers, stop_servers_of};
pub use targets::{Missing, Targets, TestTarget, Way, targets};
