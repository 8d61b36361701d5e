//! The service: what the laboratory can do, over HTTP, for a team and for years.
//!
//! [`Service::start`] takes settings, the place of the results store and a listener, and serves until it is stopped. A request
//! goes through these, in this order: `http` (connections and their time-outs), `access` (who asks, from where, and whether
//! they may), `idempotency` and `caching`, then one handler in `routes`, which asks `storage` for what is kept.
//!
//! **The only crate that knows HTTP services.** What it says and takes are types of its own, which refuse what they do not know.

mod access;
mod allowed;
mod app;
mod audit;
mod caching;
mod config;
mod docs;
mod envelope;
mod executor;
mod extract;
mod http;
mod idempotency;
mod live;
mod metrics;
mod openapi;
mod paging;
mod policy;
mod problem;
mod routes;
mod service;
mod settings;
mod shapes;
mod storage;
mod tls;
pub mod traces;
mod vault;

pub use allowed::policy_of;
pub use openapi::text as openapi;
pub use policy::{AllowedTarget, Policy, Refusal};
pub use service::Service;
pub use settings::{Caps, Environment, Settings, StoreCaps, TlsFiles};
