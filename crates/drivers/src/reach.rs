//! From a node's name to the addresses that its target permits: every driver asks here before it connects.

use std::net::SocketAddr;

use store::{Error, Limits, Node, Result};
use tokio::net::lookup_host;

/// The addresses that a node has now and that may be connected to, in the order in which they are tried. What is connected
/// to must be among them: who resolves the name again may find another host.
///
/// # Errors
/// `Unreachable` where the host is not known, `Rejected` where none of its addresses is permitted.
pub(crate) async fn addresses(limits: &Limits, node: &Node) -> Result<Vec<SocketAddr>> {
    let found = lookup_host((node.host.as_str(), node.port)).await.map_err(|source| {
        Error::unreachable(format!("the host of {node} is not known: {source}"))
            .with_hint("correct the host of the target")
            .with_source(source)
    })?;
    limits.choose(node, found)
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
