//! The library's own connections: it finds the cluster's nodes by what a server says, and keeps connections to them by itself.

use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;

use scylla::errors::TranslationError;
use scylla::policies::address_translator::{AddressTranslator, UntranslatedPeer};
use store::{Limits, Node};

/// Asks before each connection to a node that the cluster named. Nodes that the target does not list are not connected to
/// at all, and a node is at the addresses that its name had when the client was made.
pub(crate) struct Permitted {
    nodes: Vec<(SocketAddr, Node)>,
    limits: Limits,
}

impl Permitted {
    /// For nodes at those addresses.
    pub(crate) fn new(nodes: &[(SocketAddr, &Node)], limits: &Limits) -> Self {
        let nodes = nodes.iter().map(|(address, node)| (*address, (*node).clone())).collect();
        Self { nodes, limits: limits.clone() }
    }

    pub(super) fn permits(&self, address: SocketAddr) -> bool {
        let mut named = self.nodes.iter().filter(|(known, _)| *known == address);
        named.any(|(_, node)| self.limits.permit(node, address).is_ok())
    }
}

impl AddressTranslator for Permitted {
    fn translate_address<'a, 'b, 'c>(
        &'a self,
        peer: &'b UntranslatedPeer<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<SocketAddr, TranslationError>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        let address = peer.untranslated_address();
        let permitted = self.permits(address).then_some(address);
        Box::pin(ready(permitted.ok_or(TranslationError::NoRuleForAddress(address))))
    }
}
