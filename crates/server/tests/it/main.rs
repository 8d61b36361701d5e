//! The service over real sockets, as clients see it.

mod access;
mod answers;
mod experiments;
mod hostile;
mod hostile_targets;
mod live;
mod metrics;
mod openapi;
mod requests;
mod stopping;
mod support;
mod tls;
