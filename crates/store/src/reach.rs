//! Where connections may go: who decides, and how drivers ask.
//!
//! On the command line nobody limits the user. Whoever lets others say what is connected to gives the target a [`Reach`],
//! and drivers ask it through the target's [`Limits`].

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::{Error, Node, Result};

/// Decides where connections to a target may go.
///
/// # Contract
/// - **Asked each time**: before every connection that a driver opens, the first and any later one, whether the URL names
///   the node, its options do, or a server did.
/// - **About the very address**: a name is resolved once for a connection, and what is asked about is what is then
///   connected to. Nobody resolves the name again in between, so that it cannot mean another host by then.
/// - **No packet** goes to an address that is not permitted. Of a name that has several, those that are permitted are tried.
/// - **Told**: what is not permitted is an error of kind [`Rejected`](crate::ErrorKind::Rejected) that names the node, its
///   address and the remedy, and has [`Forbidden`] below it.
/// - **Files** that a target names are asked about before they are opened.
/// - **Absent** means no limit. A target is the same target with and without one.
///
/// It answers at once and from memory: it is asked on the thread that is about to connect.
pub trait Reach: fmt::Debug + Send + Sync {
    /// Whether a connection may be opened to that address, which is what the node's host is now.
    fn permits(&self, node: &Node, address: SocketAddr) -> bool;

    /// Whether a file that the target names may be opened.
    fn permits_file(&self, path: &Path) -> bool;

    /// What somebody can do about a refusal, as a sentence fragment that follows `hint: `.
    fn remedy(&self) -> &str;
}

/// What a target's [`Reach`] permits; everything where it has none.
#[derive(Debug, Clone, Default)]
pub struct Limits(Option<Arc<dyn Reach>>);

impl Limits {
    /// What that permits.
    pub fn of(reach: Arc<dyn Reach>) -> Self {
        Self(Some(reach))
    }

    /// Whether there are any.
    pub fn exist(&self) -> bool {
        self.0.is_some()
    }

    /// Asks about one address.
    ///
    /// # Errors
    /// `Rejected` where it is not permitted.
    pub fn permit(&self, node: &Node, address: SocketAddr) -> Result<()> {
        self.choose(node, [address]).map(drop)
    }

    /// Those of a node's addresses that may be connected to, in their order.
    ///
    /// # Errors
    /// `Rejected` where none of them is permitted.
    pub fn choose(&self, node: &Node, addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>> {
        let Some(reach) = &self.0 else { return Ok(addresses.into_iter().collect()) };
        let (permitted, refused): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|address| reach.permits(node, *address));
        match refused.first() {
            Some(address) if permitted.is_empty() => Err(forbidden(&**reach, &place(node, *address))),
            _ => Ok(permitted),
        }
    }

    /// Asks about a file.
    ///
    /// # Errors
    /// `Rejected` where it is not permitted.
    pub fn permit_file(&self, path: &Path) -> Result<()> {
        match &self.0 {
            Some(reach) if !reach.permits_file(path) => {
                Err(forbidden(&**reach, &format!("the file `{}`", path.display())))
            }
            _ => Ok(()),
        }
    }
}

/// Below an error that says where a target may not go: tells it from a store that said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forbidden;

impl Forbidden {
    /// Whether it is that error or below it.
    pub fn is_below(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source()).any(<dyn std::error::Error>::is::<Self>)
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("where connections may go is limited")
    }
}

impl std::error::Error for Forbidden {}

/// A node with the address that it has now, where that is not its name.
fn place(node: &Node, address: SocketAddr) -> String {
    if node.host == address.ip().to_string() { node.to_string() } else { format!("{node}, which is {address} now") }
}

fn forbidden(reach: &dyn Reach, what: &str) -> Error {
    Error::rejected(format!("no connection may be opened to {what}: it is not permitted"))
        .with_hint(reach.remedy().to_owned())
        .with_source(Forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Target};

    /// Permits one address and one file, whatever the node is called.
    #[derive(Debug)]
    struct Only(SocketAddr);

    impl Reach for Only {
        fn permits(&self, _node: &Node, address: SocketAddr) -> bool {
            address == self.0
        }

        fn permits_file(&self, path: &Path) -> bool {
            path == Path::new("/ours")
        }

        fn remedy(&self) -> &'static str {
            "ask for it"
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn node(host: &str, port: u16) -> Node {
        Node { host: host.to_owned(), port }
    }

    fn only() -> Arc<dyn Reach> {
        Arc::new(Only(address("127.0.0.1:7")))
    }

    #[test]
    fn of_several_addresses_those_that_are_permitted_are_tried() {
        let limits = Limits::of(only());
        let found = [address("[::1]:7"), address("127.0.0.1:7"), address("127.0.0.2:7")];
        assert_eq!(limits.choose(&node("localhost", 7), found).expect("one is"), [address("127.0.0.1:7")]);
        assert!(limits.choose(&node("localhost", 7), [address("[::1]:7")]).is_err());
        assert_eq!(limits.choose(&node("nowhere", 7), []).expect("nothing is refused"), []);
    }

    #[test]
    fn a_refusal_names_the_node_its_address_and_the_remedy() {
        let limits = Limits::of(only());
        for (host, text) in [
            ("db.example", "db.example:9, which is 127.0.0.2:9 now"),
            ("127.0.0.2", "no connection may be opened to 127.0.0.2:9:"),
        ] {
            let error = limits.permit(&node(host, 9), address("127.0.0.2:9")).expect_err("another address");
            assert_eq!((error.kind(), error.hint()), (ErrorKind::Rejected, Some("ask for it")));
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_refusal_is_told_from_what_a_store_refuses_however_deep_it_is() {
        let error = Limits::of(only()).permit(&node("h", 9), address("127.0.0.2:9")).expect_err("another address");
        assert!(Forbidden::is_below(&error));
        assert!(Forbidden::is_below(&Error::unreachable("the target refuses us").with_source(error)));
        assert!(!Forbidden::is_below(&Error::rejected("a wrong password").with_source(std::io::Error::other("no"))));
    }

    #[test]
    fn files_are_asked_about() {
        let limits = Limits::of(only());
        assert!(limits.permit_file(Path::new("/ours")).is_ok());
        let error = limits.permit_file(Path::new("/etc/shadow")).expect_err("not ours");
        assert!(error.to_string().contains("/etc/shadow") && Forbidden::is_below(&error), "{error}");
    }

    #[test]
    fn without_a_reach_everything_is_permitted() {
        let limits = Limits::default();
        assert!(!limits.exist() && Limits::of(only()).exist());
        let anywhere = [address("127.0.0.2:9"), address("[::1]:9")];
        assert_eq!(limits.choose(&node("h", 9), anywhere).expect("no limit"), anywhere);
        assert!(limits.permit_file(Path::new("/etc/hosts")).is_ok());
    }

    #[test]
    fn a_target_is_the_same_with_and_without_a_reach_and_keeps_it() {
        let target = Target::parse("redis://u:p@127.0.0.1:7/1").expect("valid");
        let limited = target.clone().with_reach(only());
        assert_eq!(target, limited);
        assert_eq!((target.to_string(), format!("{target:?}")), (limited.to_string(), format!("{limited:?}")));
        assert!(!target.limits().exist());
        for derived in [limited.clone(), limited.clone().with_option("tls", "off"), limited.with_path("2")] {
            assert!(derived.limits().exist(), "{derived}");
        }
    }
}
