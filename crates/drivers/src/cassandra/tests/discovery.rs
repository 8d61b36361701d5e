//! A server that says that its cluster has another node, which nobody may go to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use store::{ErrorKind, Forbidden, Limits, Node, Reach, Target};
use tokio::runtime::Builder;

use super::super::address::Address;
use super::super::client::{Client, Purpose};
use super::super::permitted::Permitted;
use super::{READY, SUPPORTED};

const OWN: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Bytes before what a frame holds: version, flags, stream, kind, length.
const HEADER_BYTES: usize = 9;

/// Kinds of frames that the library sends and that are answered with rows or what announces them.
const QUERY: u8 = 0x07;
const PREPARE: u8 = 0x09;
const EXECUTE: u8 = 0x0a;
const OPTIONS: u8 = 0x05;

/// Types of columns, as the protocol writes them.
const TEXT: &[u8] = b"\0\x0d";
const UUID: &[u8] = b"\0\x0c";
const INET: &[u8] = b"\0\x10";
const SET_OF_TEXT: &[u8] = b"\0\x22\0\x0d";
const MAP_OF_TEXT: &[u8] = b"\0\x21\0\x0d\0\x0d";

/// Permits the server's own address alone.
#[derive(Debug)]
struct Home;

impl Reach for Home {
    fn permits(&self, _node: &Node, address: SocketAddr) -> bool {
        address.ip() == OWN
    }

    fn permits_file(&self, _path: &Path) -> bool {
        false
    }

    fn remedy(&self) -> &'static str {
        "stay at home"
    }
}

/// Rows that a server gives: columns with their types, and values.
struct Table {
    columns: Vec<(String, &'static [u8])>,
    rows: Vec<Vec<Vec<u8>>>,
}

impl Table {
    /// What a statement asks for: one row, but of the keyspaces, of which there are none.
    fn of(statement: &str) -> Self {
        let statement = statement.to_lowercase();
        let names = statement.strip_prefix("select ").and_then(|rest| rest.split_once(" from "));
        let (names, source) = names.unwrap_or_default();
        let (address, token) = if source.starts_with("system.peers") { (OTHER, "100") } else { (OWN, "-100") };
        let (columns, row) = names.split(',').map(|name| column(name.trim(), address, token)).unzip();
        Self { columns, rows: if source.starts_with("system_schema") { Vec::new() } else { vec![row] } }
    }

    fn describe(&self, out: &mut Vec<u8>) {
        // One keyspace and table for all columns.
        out.extend(1_u32.to_be_bytes());
        out.extend((self.columns.len() as u32).to_be_bytes());
        named(out, "system");
        named(out, "t");
        for (name, kind) in &self.columns {
            named(out, name);
            out.extend_from_slice(kind);
        }
    }

    fn result(&self) -> Vec<u8> {
        let mut out = 2_u32.to_be_bytes().to_vec();
        self.describe(&mut out);
        out.extend((self.rows.len() as u32).to_be_bytes());
        for value in self.rows.iter().flatten() {
            sized(&mut out, value);
        }
        out
    }

    /// The answer to a statement that is prepared; its own text is the name by which it is asked for later.
    fn prepared(&self, statement: &str) -> Vec<u8> {
        let mut out = 4_u32.to_be_bytes().to_vec();
        named(&mut out, statement);
        let takes_names = statement.contains('?');
        out.extend(u32::from(takes_names).to_be_bytes());
        out.extend(u32::from(takes_names).to_be_bytes());
        // None of them is of the partition's key.
        out.extend(0_u32.to_be_bytes());
        if takes_names {
            for name in ["system", "t", "names"] {
                named(&mut out, name);
            }
            // A list of texts.
            out.extend_from_slice(b"\0\x20\0\x0d");
        }
        self.describe(&mut out);
        out
    }
}

/// A column's name and type, and its value for the node at that address.
fn column(name: &str, address: Ipv4Addr, token: &str) -> ((String, &'static [u8]), Vec<u8>) {
    let (kind, value) = match name {
        "host_id" => (UUID, vec![address.octets()[3]; 16]),
        "rpc_address" => (INET, address.octets().to_vec()),
        "replication" => (MAP_OF_TEXT, Vec::new()),
        "tokens" => {
            let mut tokens = 1_u32.to_be_bytes().to_vec();
            sized(&mut tokens, token.as_bytes());
            (SET_OF_TEXT, tokens)
        }
        _ => (TEXT, b"4.1.0".to_vec()),
    };
    ((name.to_owned(), kind), value)
}

fn named(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Answers the library until it hangs up.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let mut header = [0; HEADER_BYTES];
        stream.read_exact(&mut header)?;
        let length = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        let (kind, answer) = match header[4] {
            OPTIONS => (SUPPORTED[4], SUPPORTED[HEADER_BYTES..].to_vec()),
            QUERY => (8, Table::of(&long(&body)).result()),
            PREPARE => (8, Table::of(&long(&body)).prepared(&long(&body))),
            EXECUTE => (8, Table::of(&short(&body)).result()),
            _ => (READY[4], Vec::new()),
        };
        let mut frame = vec![0x84, 0, header[2], header[3], kind];
        sized(&mut frame, &answer);
        stream.write_all(&frame)?;
    }
}

/// A text behind its length in four bytes, or in two.
fn long(body: &[u8]) -> String {
    let length = u32::from_be_bytes([body[0], body[1], body[2], body[3]]) as usize;
    String::from_utf8_lossy(&body[4..4 + length]).into_owned()
}

fn short(body: &[u8]) -> String {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    String::from_utf8_lossy(&body[2..2 + length]).into_owned()
}

/// The server, and somebody at the same port of the other address: nodes of a cluster share one.
fn start() -> (u16, TcpListener) {
    let server = TcpListener::bind((OWN, 0)).expect("a free port");
    let port = server.local_addr().expect("bound").port();
    let other = TcpListener::bind((OTHER, port)).expect("nobody else uses that address");
    other.set_nonblocking(true).expect("sockets can be");
    std::thread::spawn(move || {
        // It ends with the test's process.
        while let Ok((stream, _)) = server.accept() {
            std::thread::spawn(move || serve(stream));
        }
    });
    (port, other)
}

#[test]
fn nodes_that_the_cluster_names_are_not_gone_to() {
    let (port, other) = start();
    for limited in [false, true] {
        let target = Target::parse(&format!("cassandra://127.0.0.1:{port}")).expect("a URL");
        let target = if limited { target.with_reach(Arc::new(Home)) } else { target };
        let runtime = Builder::new_current_thread().enable_all().build().expect("there are threads");
        runtime.block_on(async {
            let address = Address::of(&target).expect("valid");
            let client = Client::open(&address, Purpose::Administration).await.expect("the server lets us in");
            let state = client.session().get_cluster_state();
            let known: Vec<_> =
                state.get_nodes_info().iter().map(|node| (node.address.ip(), node.is_enabled())).collect();
            assert!(known.contains(&(OTHER.into(), false)), "it was not heard of: {known:?}");
            client.run("SELECT release_version FROM system.local").await.expect("the server answers");
        });
        assert!(other.accept().is_err(), "somebody went to a node that the target does not list");
    }
    // Listed, it is gone to; listed and not permitted, it is not.
    let target = Target::parse(&format!("cassandra://127.0.0.1:{port}?nodes=127.0.0.2:{port}")).expect("a URL");
    let runtime = Builder::new_current_thread().enable_all().build().expect("there are threads");
    runtime.block_on(async {
        let address = Address::of(&target.clone().with_reach(Arc::new(Home))).expect("valid");
        let error = Client::open(&address, Purpose::Administration).await.err().expect("it is not permitted");
        assert!(error.kind() == ErrorKind::Rejected && Forbidden::is_below(&error), "{error}");
    });
    assert!(other.accept().is_err(), "somebody went to a node that is not permitted");
}

#[test]
fn addresses_are_asked_about_by_the_name_that_they_were_found_by() {
    let node = |host: &str| Node { host: host.to_owned(), port: 1 };
    let [own, other] = [OWN, OTHER].map(|address| SocketAddr::from((address, 1)));
    let (first, second) = (node("a"), node("b"));
    let nodes = [(own, &first), (other, &second)];
    let limited = Permitted::new(&nodes, &Limits::of(Arc::new(Home)));
    assert!(limited.permits(own) && !limited.permits(other));
    let unlimited = Permitted::new(&nodes, &Limits::default());
    assert!(unlimited.permits(other));
    assert!(!unlimited.permits(SocketAddr::from((OTHER, 2))), "nobody listed it");
}
