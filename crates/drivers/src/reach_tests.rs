//! The contract of `store::Reach`, of every driver that connects. What is forbidden is 127.0.0.2, where somebody listens.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::{Capability, Driver, ErrorKind, Forbidden, Reach, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::DRIVERS;

const FORBIDDEN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Longer than anything takes here, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(30);

/// Permits one address and notes what it was asked.
#[derive(Debug)]
struct Only {
    address: IpAddr,
    asked: Mutex<Vec<(Node, SocketAddr)>>,
}

impl Only {
    fn new(address: impl Into<IpAddr>) -> Arc<Self> {
        Arc::new(Self { address: address.into(), asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<(Node, SocketAddr)> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reach for Only {
    fn permits(&self, node: &Node, address: SocketAddr) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push((node.clone(), address));
        address.ip() == self.address
    }

    fn permits_file(&self, _path: &Path) -> bool {
        false
    }

    fn remedy(&self) -> &'static str {
        "stay at home"
    }
}

fn listen(address: impl Into<IpAddr>, port: u16) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind((address.into(), port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("bound").port()
}

/// Whether somebody came: a connection is there as soon as its client has made it.
fn was_visited(listener: &TcpListener) -> bool {
    listener.accept().is_ok()
}

fn closed_port() -> u16 {
    port_of(&listen(Ipv4Addr::LOCALHOST, 0).expect("a free port"))
}

fn networked() -> impl Iterator<Item = &'static dyn Driver> {
    DRIVERS.iter().copied().filter(|driver| driver.default_port().is_some())
}

fn has_option(driver: &dyn Driver, name: &str) -> bool {
    driver.options().iter().any(|option| option.name == name)
}

/// A target of that driver, given up soon.
fn target(driver: &dyn Driver, place: &str, options: &str) -> Target {
    let (scheme, is_sql) = (driver.schemes()[0], driver.capabilities().has(Capability::Sql));
    let path = if is_sql { "lab" } else { "" };
    let text = format!("{scheme}://lab:secret@{place}/{path}?connect_timeout=0.4{options}");
    Target::parse(&text).expect("a URL")
}

/// The same in clear text.
fn clear(driver: &dyn Driver, place: &str, options: &str) -> Target {
    let target = target(driver, place, options);
    if has_option(driver, "tls") { target.with_option("tls", "off") } else { target }
}

async fn refused(driver: &dyn Driver, target: &Target) -> Error {
    let connected = timeout(PATIENCE, driver.connect(target)).await;
    connected.expect("it ends in its time").err().expect("nobody answers where it may go")
}

/// Resolvers take numbers for addresses, which stands here for a name that has come to mean another host.
#[tokio::test]
async fn no_driver_goes_to_an_address_that_is_not_permitted() {
    let listener = listen(FORBIDDEN, 0).expect("a free port");
    for driver in networked() {
        for host in ["127.0.0.2", "2130706434", "0x7f.2"] {
            let only = Only::new(Ipv4Addr::LOCALHOST);
            let place = format!("{host}:{}", port_of(&listener));
            let target = clear(driver, &place, "").with_reach(only.clone());
            let error = refused(driver, &target).await;
            let name = driver.name();
            assert_eq!((error.kind(), error.hint()), (ErrorKind::Rejected, Some("stay at home")), "{name}: {error}");
            assert!(Forbidden::is_below(&error) && error.to_string().contains("127.0.0.2"), "{name}: {error}");
            assert!(!was_visited(&listener), "{name} went to {place}");
            let asked = only.asked();
            assert!(asked.iter().all(|(node, _)| node.to_string() == place) && !asked.is_empty(), "{name}: {asked:?}");
        }
    }
}

/// The name has two addresses, and the driver goes to the one that was permitted: it did not resolve the name again.
#[tokio::test]
async fn of_a_name_only_the_permitted_address_is_connected_to() {
    for driver in networked() {
        let four = listen(Ipv4Addr::LOCALHOST, 0).expect("a free port");
        let port = port_of(&four);
        // Without IPv6 there is only one address, which is half of this.
        let six = listen(std::net::Ipv6Addr::LOCALHOST, port).ok();
        let only = Only::new(Ipv4Addr::LOCALHOST);
        let target = clear(driver, &format!("localhost:{port}"), "").with_reach(only.clone());
        refused(driver, &target).await;
        let name = driver.name();
        assert!(was_visited(&four), "{name} did not go where it may");
        assert!(!six.as_ref().is_some_and(was_visited), "{name} went to an address that was refused");
        assert!(
            only.asked().iter().all(|(node, address)| node.host == "localhost" && address.port() == port),
            "{name}"
        );
    }
}

#[tokio::test]
async fn every_listed_node_is_asked_about() {
    let listener = listen(FORBIDDEN, 0).expect("a free port");
    for driver in networked().filter(|driver| has_option(*driver, "nodes")) {
        let nodes = format!("&nodes=127.0.0.2:{}", port_of(&listener));
        let target = clear(driver, &format!("127.0.0.1:{}", closed_port()), &nodes);
        refused(driver, &target.clone().with_reach(Only::new(Ipv4Addr::LOCALHOST))).await;
        assert!(!was_visited(&listener), "{} went to a node that is listed and not permitted", driver.name());
        // Without a limit it is gone to, which shows that the one before was not missed by chance.
        refused(driver, &target).await;
        assert!(was_visited(&listener), "{} did not try the listed node", driver.name());
        while was_visited(&listener) {}
    }
}

#[tokio::test]
async fn every_attempt_is_asked_about_anew() {
    for driver in networked() {
        let only = Only::new(Ipv4Addr::LOCALHOST);
        let target = clear(driver, &format!("127.0.0.1:{}", closed_port()), "").with_reach(only.clone());
        for attempt in 0..2 {
            let error = refused(driver, &target).await;
            let name = driver.name();
            assert!(!Forbidden::is_below(&error), "{name}: it is permitted, and nobody is there: {error}");
            assert!(!only.asked().is_empty(), "{name}: nobody asked at attempt {attempt}");
        }
    }
}

#[tokio::test]
async fn files_that_a_target_names_are_asked_about() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("named");
    for driver in networked().filter(|driver| has_option(*driver, "tls_ca")) {
        let target = target(driver, "127.0.0.1:1", &format!("&tls=verify&tls_ca={}", file.display()));
        let error = refused(driver, &target.with_reach(Only::new(Ipv4Addr::LOCALHOST))).await;
        assert!(Forbidden::is_below(&error), "{}: {error}", driver.name());
    }
    for driver in DRIVERS.iter().filter(|driver| driver.name() == "sqlite") {
        let target = Target::parse(&format!("sqlite:{}", file.display())).expect("a URL");
        let error = refused(*driver, &target.with_reach(Only::new(Ipv4Addr::LOCALHOST))).await;
        assert!(Forbidden::is_below(&error) && !file.exists(), "{error}");
        let thrown_away = Target::parse("sqlite:").expect("a URL").with_reach(Only::new(Ipv4Addr::LOCALHOST));
        driver.connect(&thrown_away).await.expect("what it makes itself is no file that the target names");
    }
}

#[tokio::test]
async fn a_host_that_is_not_known_is_unreachable() {
    // More than a name can have, so that nobody is asked.
    let host = "a".repeat(300);
    let error = addresses(&Limits::default(), &Node { host, port: 1 }).await.expect_err("there is none");
    assert!(error.kind() == ErrorKind::Unreachable && error.hint().is_some(), "{error}");
}

/// A peer that answers whatever it is told first with that, and closes.
async fn answering(reply: String) -> (u16, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut told = [0; 4096];
            if let Ok(1..) = stream.read(&mut told).await {
                // Whoever it talks to may be gone.
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        }
    });
    (port, task)
}

/// Over HTTP a server can send somebody elsewhere by a redirect, by a header for proxies, and by what it says of its cluster.
#[tokio::test]
async fn what_a_server_names_over_http_is_not_gone_to() {
    let listener = listen(FORBIDDEN, 0).expect("a free port");
    let elsewhere = format!("127.0.0.2:{}", port_of(&listener));
    let nodes = format!(
        r#"{{"name":"n","cluster_name":"c","version":{{"number":"8.0.0"}},"nodes":{{"x":{{"http":{{"publish_address":"{elsewhere}"}}}}}},
        "Endpoints":[{{"Address":"{elsewhere}","CachePeriodInMinutes":1}}],"TableNames":[],"status":"pass","version":"v2.7"}}"#
    );
    let redirects =
        ["301 Moved Permanently", "302 Found", "303 See Other", "305 Use Proxy", "307 Temporary", "308 Permanent"];
    let heads = redirects.map(|status| (status, String::new())).into_iter().chain([("200 OK", nodes)]);
    for (status, body) in heads {
        let (port, task) = answering(format!(
            "HTTP/1.1 {status}\r\nlocation: http://{elsewhere}/\r\nalt-svc: http/1.1=\"{elsewhere}\"\r\n\
             x-elastic-product: Elasticsearch\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ))
        .await;
        for driver in networked().filter(|driver| has_option(*driver, "tls")) {
            let target = clear(driver, &format!("127.0.0.1:{port}"), "");
            for target in [target.clone(), target.with_reach(Only::new(Ipv4Addr::LOCALHOST))] {
                // Some are content with such an answer, and go on.
                if let Ok(store) = timeout(PATIENCE, driver.connect(&target)).await.expect("it ends in its time") {
                    let asked =
                        timeout(PATIENCE, async { (store.server().await.is_ok(), store.owned().await.is_ok()) });
                    asked.await.expect("it ends in its time");
                }
                assert!(!was_visited(&listener), "{} went where {status} sent it", driver.name());
            }
        }
        task.abort();
    }
}
