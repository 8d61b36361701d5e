//! The native protocol of Cassandra in its simplest form: one text at a time, and cells as the bytes that they are.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use store::{Dataset, LocalBoxFuture, OwnedObject, Target};

use super::{Alone, Side, SideEntry};
use crate::lab::TABLE;

/// A server on this machine that does not answer within this time never will; it takes its time for tables.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// Version 4, what every server since 2.2 speaks.
const VERSION: u8 = 4;

const ERROR: u8 = 0x00;
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const AUTHENTICATE: u8 = 0x03;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
const AUTH_RESPONSE: u8 = 0x0f;
const AUTH_SUCCESS: u8 = 0x10;

/// A flag of frames that begin with warnings.
const WARNING: u8 = 0x08;

/// The consistency level ONE.
const ONE: u16 = 1;

/// A result of this kind has rows.
const ROWS: i32 = 2;

/// An operation, and a statement after which it must not succeed. A timestamp that no clock reaches is not overwritten.
const FORGERIES: &[(&str, &str)] = &[
    ("select", "UPDATE {ns}_items SET payload = 'forged' WHERE id = 7"),
    ("select", "UPDATE {ns}_items SET code = 1 WHERE id = 7"),
    ("select", "UPDATE {ns}_items SET quantity = NULL WHERE id = 7"),
    ("select", "DELETE FROM {ns}_items WHERE id = 7"),
    ("consistency", "UPDATE {ns}_registers USING TIMESTAMP 9000000000000000 SET payload = 'forged' WHERE id = 7"),
    ("consistency", "DELETE FROM {ns}_registers USING TIMESTAMP 9000000000000000 WHERE id = 7"),
    ("consistency_one", "UPDATE {ns}_registers USING TIMESTAMP 9000000000000000 SET payload = 'forged' WHERE id = 7"),
    ("consistency_quorum", "UPDATE {ns}_registers USING TIMESTAMP 9000000000000000 SET version = 5 WHERE id = 7"),
    ("consistency_all", "DELETE FROM {ns}_registers USING TIMESTAMP 9000000000000000 WHERE id = 7"),
    ("timeseries", "UPDATE {ns}_points SET value = 10001 WHERE series = 0 AND time = 1600000003000"),
    ("timeseries", "DELETE FROM {ns}_points WHERE series = 0 AND time = 1600000003000"),
    ("timeseries", "INSERT INTO {ns}_points (series, time, value) VALUES (0, 1600000003500, 1)"),
    ("lwt", "UPDATE {ns}_conditionals SET payload = 'forged' WHERE id = 7"),
    ("lwt", "DELETE FROM {ns}_conditionals WHERE id = 7"),
];

/// What users have, some nearly of our names.
const OBJECTS: &[&str] = &[
    "CREATE TYPE address (street text, town text)",
    "CREATE TABLE people (id bigint PRIMARY KEY, name text, born double, home frozen<address>)",
    "CREATE TABLE orders (person bigint, id bigint, total int, PRIMARY KEY (person, id)) \
     WITH CLUSTERING ORDER BY (id DESC) AND comment = 'of people'",
    "CREATE INDEX people_name ON people (name)",
    "CREATE TABLE visits (page text PRIMARY KEY, visits counter)",
    "CREATE TABLE storelab (id bigint PRIMARY KEY)",
    "CREATE TABLE my_storelab_manifest (id bigint PRIMARY KEY)",
    "CREATE TABLE storelabXmanifest (id bigint PRIMARY KEY)",
    "INSERT INTO people (id, name, born, home) VALUES (1, 'Ada', 1815.5, {street: 'a', town: 'b'})",
    "INSERT INTO people (id, name, born) VALUES (3, 'Åke', 1878.0)",
    "INSERT INTO orders (person, id, total) VALUES (1, 10, 100)",
    "INSERT INTO orders (person, id, total) VALUES (1, 11, 250) USING TTL 86400",
    "UPDATE visits SET visits = visits + 7 WHERE page = '/'",
    "INSERT INTO storelab (id) VALUES (1)",
    "INSERT INTO my_storelab_manifest (id) VALUES (2)",
];

/// What the server says of a keyspace, with the numbers by which a table that was made anew is told from the old one.
const CATALOGUES: &[&str] = &[
    "SELECT keyspace_name, replication FROM system_schema.keyspaces",
    "SELECT table_name, id, comment FROM system_schema.tables",
    "SELECT table_name, column_name, clustering_order, kind, type FROM system_schema.columns",
    "SELECT table_name, index_name, kind, options FROM system_schema.indexes",
    "SELECT type_name, field_names, field_types FROM system_schema.types",
    "SELECT view_name, id FROM system_schema.views",
];

/// Its side door.
pub(super) const ENTRY: SideEntry =
    SideEntry { driver: "cassandra", open, alone: Alone::Database(make_keyspace), forgeries: FORGERIES };

/// What a cell holds; none where it is null.
type Cell = Option<Vec<u8>>;

/// One connection, and the keyspace that the target's URL names; the driver's own where it names none.
struct Cassandra {
    stream: TcpStream,
    keyspace: String,
}

/// How many clients a node has beside the one that asks.
pub(crate) fn clients_of(node: &Target) -> usize {
    Cassandra::connect(node).ask("SELECT port FROM system_views.clients").len() - 1
}

fn open(target: &Target) -> LocalBoxFuture<'_, Box<dyn Side>> {
    Box::pin(async move { Box::new(Cassandra::connect(target)) as Box<dyn Side> })
}

fn make_keyspace(target: &Target, number: u64) -> LocalBoxFuture<'_, String> {
    Box::pin(async move {
        let name = format!("conformance_{number}");
        let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
        Cassandra::connect(target).ask(&format!("CREATE KEYSPACE {name} WITH replication = {replication}"));
        name
    })
}

impl Cassandra {
    fn connect(target: &Target) -> Self {
        let port = target.port().expect("servers of ours name their port");
        let stream = TcpStream::connect((target.host(), port)).expect("the server is there");
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a time-out can be set");
        let keyspace = if target.path().is_empty() { "storelab_data" } else { target.path() };
        let mut client = Self { stream, keyspace: keyspace.to_owned() };
        let mut body = 1_u16.to_be_bytes().to_vec();
        for text in ["CQL_VERSION", "3.0.0"] {
            body.extend((text.len() as u16).to_be_bytes());
            body.extend(text.as_bytes());
        }
        let (kind, _) = client.exchange(STARTUP, &body);
        if kind == AUTHENTICATE {
            let password = target.password().expect("the server wants one").expose();
            let token = format!("\0{}\0{password}", target.user().expect("the server wants one"));
            let mut body = (token.len() as u32).to_be_bytes().to_vec();
            body.extend(token.as_bytes());
            let (kind, _) = client.exchange(AUTH_RESPONSE, &body);
            assert_eq!(kind, AUTH_SUCCESS, "the password is right");
        } else {
            assert_eq!(kind, READY);
        }
        client
    }

    /// Sends a frame; the kind and the body of the answer.
    fn exchange(&mut self, kind: u8, body: &[u8]) -> (u8, Vec<u8>) {
        let mut frame = vec![VERSION, 0, 0, 0, kind];
        frame.extend((body.len() as u32).to_be_bytes());
        frame.extend(body);
        self.stream.write_all(&frame).expect("the server is there");
        let mut header = [0; 9];
        self.stream.read_exact(&mut header).expect("the server answers");
        let length = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body).expect("the server answers");
        if header[4] == ERROR {
            let text = body.get(6..).map(String::from_utf8_lossy);
            panic!("the server answered: {}", text.unwrap_or_default());
        }
        if header[1] & WARNING != 0 {
            let mut rest = Body(&body);
            (0..rest.short()).for_each(|_| rest.text());
            body = rest.0.to_vec();
        }
        (header[4], body)
    }

    /// Runs a statement that must succeed; its rows.
    fn ask(&mut self, text: &str) -> Vec<Vec<Cell>> {
        let mut body = (text.len() as u32).to_be_bytes().to_vec();
        body.extend(text.as_bytes());
        body.extend(ONE.to_be_bytes());
        body.push(0);
        let (kind, body) = self.exchange(QUERY, &body);
        assert_eq!(kind, RESULT, "{text}");
        let mut body = Body(&body);
        if body.int() == ROWS { body.rows() } else { Vec::new() }
    }

    /// The texts in the first column.
    fn texts(&mut self, text: &str) -> Vec<String> {
        let texts = self.ask(text).into_iter().filter_map(|row| row.into_iter().next().flatten());
        texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
    }

    fn count(&mut self, table: &str) -> u64 {
        let rows = self.ask(&format!("SELECT COUNT(*) FROM {}.\"{table}\"", self.keyspace));
        let cell = rows.first().and_then(|row| row.first()).cloned().flatten().expect("a count is a number");
        u64::from_be_bytes(cell.try_into().expect("a count has 64 bits"))
    }

    /// Names the keyspace before a table's name that follows one of these words.
    fn in_keyspace(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for word in ["TABLE", "TYPE", "INTO", "UPDATE", "FROM", "ON"] {
            if let Some(place) =
                text.find(&format!("{word} ")).filter(|place| *place == 0 || !text[..*place].contains('('))
            {
                text.insert_str(place + word.len() + 1, &format!("{}.", self.keyspace));
                break;
            }
        }
        text
    }

    fn make_foreign(&mut self, table: &str) {
        self.ask(&format!("CREATE TABLE {}.\"{table}\" (mine bigint PRIMARY KEY, name text)", self.keyspace));
        self.ask(&format!("INSERT INTO {}.\"{table}\" (mine, name) VALUES (7, 'people')", self.keyspace));
    }
}

impl Side for Cassandra {
    fn populate(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            for statement in OBJECTS {
                self.ask(&self.in_keyspace(statement));
            }
        })
    }

    fn fingerprint(&mut self) -> LocalBoxFuture<'_, Vec<String>> {
        Box::pin(async {
            let keyspace = self.keyspace.clone();
            let mut lines = Vec::new();
            for catalogue in CATALOGUES {
                let rows = self.ask(&format!("{catalogue} WHERE keyspace_name = '{keyspace}'"));
                lines.extend(rows.iter().map(|row| format!("{catalogue}: {}", shown(row))));
            }
            let tables = format!("SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}'");
            for table in self.texts(&tables) {
                let rows = self.ask(&format!("SELECT * FROM {keyspace}.\"{table}\""));
                lines.extend(rows.iter().map(|row| format!("{table}: {}", shown(row))));
            }
            lines.sort();
            lines
        })
    }

    /// Those that the driver's sessions have said to be about the keyspace.
    fn connections(&mut self) -> LocalBoxFuture<'_, Option<usize>> {
        Box::pin(async {
            let keyspaces = self.texts("SELECT keyspace_name FROM system_views.clients");
            Some(keyspaces.iter().filter(|keyspace| **keyspace == self.keyspace).count())
        })
    }

    fn size<'a>(&'a mut self, owned: &'a [OwnedObject]) -> LocalBoxFuture<'a, Option<u64>> {
        Box::pin(async { Some(owned.iter().map(|object| self.count(&object.name)).sum()) })
    }

    fn occupy<'a>(&'a mut self, dataset: &'a Dataset) -> LocalBoxFuture<'a, ()> {
        Box::pin(async {
            let name = if matches!(dataset, Dataset::Records(_)) { TABLE } else { "items" };
            self.make_foreign(&dataset.namespace().object(name));
        })
    }

    fn occupy_manifest(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async { self.make_foreign("storelab_manifest") })
    }

    fn forge<'a>(&'a mut self, forgery: &'static str, namespace: &'a str) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let table = format!("{}.{namespace}", self.keyspace);
            self.ask(&forgery.replace("{ns}", &table));
        })
    }
}

/// Cells in hexadecimal digits, with their texts where they are some.
fn shown(row: &[Cell]) -> String {
    let cells = row.iter().map(|cell| match cell {
        None => "null".to_owned(),
        Some(bytes) => String::from_utf8_lossy(bytes).escape_debug().to_string(),
    });
    cells.collect::<Vec<_>>().join("|")
}

/// What is left of an answer's body.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn short(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().expect("two bytes"))
    }

    fn text(&mut self) {
        let length = self.short();
        self.take(usize::from(length));
    }

    /// Passes over a column's type.
    fn kind(&mut self) {
        match self.short() {
            0x00 => self.text(),
            0x20 | 0x22 => self.kind(),
            0x21 => (0..2).for_each(|_| self.kind()),
            0x30 => {
                self.text();
                self.text();
                for _ in 0..self.short() {
                    self.text();
                    self.kind();
                }
            }
            0x31 => (0..self.short()).for_each(|_| self.kind()),
            _ => {}
        }
    }

    fn rows(&mut self) -> Vec<Vec<Cell>> {
        let (flags, columns) = (self.int(), self.int());
        assert_eq!(flags & 2, 0, "all rows come at once");
        if flags & 1 != 0 {
            self.text();
            self.text();
        }
        for _ in 0..columns {
            if flags & 1 == 0 {
                self.text();
                self.text();
            }
            self.text();
            self.kind();
        }
        let count = self.int();
        let mut cell = || {
            let length = self.int();
            usize::try_from(length).ok().map(|length| self.take(length).to_vec())
        };
        (0..count).map(|_| (0..columns).map(|_| cell()).collect()).collect()
    }
}
