//! Plain requests of `DynamoDB`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use store::{Dataset, LocalBoxFuture, OwnedObject, Target};

use super::{Alone, Side, SideEntry};
use crate::lab::TABLE;

/// A server on this machine that does not answer within this time never will.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The state `TCP_ESTABLISHED` of the kernel's `include/net/tcp_states.h`, as its table prints it.
const ESTABLISHED: &str = "01";
/// The same of `TCP_LISTEN`.
const LISTENING: &str = "0A";

/// The server does not check signatures.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=side/20260101/us-east-1/dynamodb/aws4_request, \
    SignedHeaders=host, Signature=0";

pub(super) const ENTRY: SideEntry = SideEntry {
    driver: "dynamodb",
    open: |target| Box::pin(async move { Box::new(Requests::connect(target)) as Box<dyn Side> }),
    // A server has one set of tables, whoever asks.
    alone: Alone::Server,
    forgeries: &[
        ("get", "items.payload"),
        ("get", "items.code"),
        ("get", "items"),
        ("update", "items.code"),
        ("update", "items"),
        ("delete", "items.code"),
        ("delete", "items"),
        ("query", "orders.amount"),
        ("query", "orders"),
        ("query_index", "documents.owner"),
        ("query_index", "documents.group"),
        ("query_index", "documents"),
        ("scan", "customers.name"),
        ("scan", "customers.region"),
        ("scan", "customers"),
        ("transaction", "accounts.balance"),
        ("transaction", "accounts"),
        ("transaction_refused", "accounts.balance"),
        ("transaction_refused", "accounts"),
    ],
};

/// The protocol in its simplest form, written here so that a driver's or a library's mistakes are not repeated.
struct Requests {
    stream: BufReader<TcpStream>,
    /// All that the server listens on: the encrypted port too, where it has one.
    ports: Vec<u16>,
    /// What was made by it, to go with it: the next trial gets the same server.
    made: Vec<String>,
}

/// A line of the kernel's table of connections.
struct Connection {
    local_port: u16,
    remote_port: u16,
    state: String,
    inode: String,
}

impl Requests {
    fn connect(target: &Target) -> Self {
        let port = target.port().expect("servers of ours name their port");
        let stream = TcpStream::connect((target.host(), port)).expect("the server is there");
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a time-out can be set");
        Self { stream: BufReader::new(stream), ports: ports_of_server(port), made: Vec::new() }
    }

    /// Asks for something that must be done; the answer.
    fn ask(&mut self, operation: &str, body: &Value) -> Value {
        let (status, answer) = self.try_ask(operation, body).expect("the server answers");
        assert!(status.contains(" 200 "), "{operation} {body}: {status}: {answer}");
        answer
    }

    fn try_ask(&mut self, operation: &str, body: &Value) -> io::Result<(String, Value)> {
        let body = body.to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: side\r\nX-Amz-Target: DynamoDB_20120810.{operation}\r\n\
             Content-Type: application/x-amz-json-1.0\r\nAuthorization: {AUTHORIZATION}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = || {
            let mut line = String::new();
            self.stream.read_line(&mut line).map(|_| line.trim_end().to_owned())
        };
        let status = line()?;
        let mut length = 0;
        while let Some((name, value)) = line()?.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, serde_json::from_slice(&body)?))
    }

    fn tables(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        let mut from = Value::Null;
        loop {
            let mut request = json!({});
            if !from.is_null() {
                request["ExclusiveStartTableName"] = from;
            }
            let mut answer = self.ask("ListTables", &request);
            let found = answer["TableNames"].as_array().expect("a list of names").clone();
            names.extend(found.iter().map(|name| name.as_str().expect("a name").to_owned()));
            from = answer["LastEvaluatedTableName"].take();
            if from.is_null() {
                return names;
            }
        }
    }

    /// All items of a table, as the server has them just now.
    fn items(&mut self, table: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut from = Value::Null;
        loop {
            let mut request = json!({"TableName": table, "ConsistentRead": true});
            if !from.is_null() {
                request["ExclusiveStartKey"] = from;
            }
            let mut answer = self.ask("Scan", &request);
            items.append(answer["Items"].as_array_mut().expect("a list of items"));
            from = answer["LastEvaluatedKey"].take();
            if from.is_null() {
                return items;
            }
        }
    }

    /// Makes a table keyed by a text, with one item for each key.
    fn make(&mut self, table: &str, partition: &str, keys: &[&str]) {
        let request = json!({
            "TableName": table,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": partition, "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": partition, "KeyType": "HASH"}],
        });
        self.ask("CreateTable", &request);
        self.made.push(table.to_owned());
        for key in keys {
            let item = json!({partition: {"S": key}, "note": {"S": "not ours"}, "numbers": {"NS": ["1", "2.5"]}});
            self.ask("PutItem", &json!({"TableName": table, "Item": item}));
        }
    }

    /// Changes one attribute of all items of a table.
    fn change(&mut self, table: &str, attribute: &str) {
        for mut item in self.items(table) {
            let value = match attribute {
                "code" | "amount" | "balance" | "group" | "region" => {
                    let digits = item[attribute]["N"].as_str().expect("a number");
                    json!({"N": (digits.parse::<i64>().expect("a whole number") + 1).to_string()})
                }
                "owner" => json!({"M": {"name": {"S": "forged"}}}),
                _ => json!({"S": "forged"}),
            };
            item[attribute] = value;
            self.ask("PutItem", &json!({"TableName": table, "Item": item}));
        }
    }

    /// Deletes all items of a table.
    fn empty(&mut self, table: &str) {
        let described = self.ask("DescribeTable", &json!({"TableName": table}));
        let schema = described["Table"]["KeySchema"].as_array().expect("tables have keys").clone();
        let names: Vec<_> = schema.iter().map(|key| key["AttributeName"].as_str().expect("a name")).collect();
        for item in self.items(table) {
            let key: Value = names
                .iter()
                .map(|name| ((*name).to_owned(), item[*name].clone()))
                .collect::<serde_json::Map<_, _>>()
                .into();
            self.ask("DeleteItem", &json!({"TableName": table, "Key": key}));
        }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        for table in std::mem::take(&mut self.made) {
            // A trial that fails may have lost the server.
            let _ = self.try_ask("DeleteTable", &json!({"TableName": table}));
        }
    }
}

/// The kernel's table of connections.
fn connections() -> Vec<Connection> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel has a table of connections");
    let port = |address: &str| address.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    let parse = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        Some(Connection {
            local_port: port(fields.get(1)?)?,
            remote_port: port(fields.get(2)?)?,
            state: (*fields.get(3)?).to_owned(),
            inode: format!("socket:[{}]", fields.get(9)?),
        })
    };
    table.lines().skip(1).filter_map(parse).collect()
}

/// What the process that listens on a port listens on.
fn ports_of_server(port: u16) -> Vec<u16> {
    let listening: Vec<_> = connections().into_iter().filter(|connection| connection.state == LISTENING).collect();
    let sockets_of = |process: std::path::PathBuf| -> Vec<String> {
        let links = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        links.filter_map(|link| Some(std::fs::read_link(link.path()).ok()?.to_str()?.to_owned())).collect()
    };
    let wanted = listening.iter().find(|connection| connection.local_port == port);
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| sockets_of(entry.path()));
    let sockets = wanted.and_then(|wanted| processes.into_iter().find(|sockets| sockets.contains(&wanted.inode)));
    let sockets = sockets.unwrap_or_default();
    let ports = listening.iter().filter(|connection| sockets.contains(&connection.inode));
    ports.map(|connection| connection.local_port).chain([port]).collect()
}

impl Side for Requests {
    fn populate(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            self.make("people", "name", &["Ada", "Grace", "Åke"]);
            self.make("orders", "id", &["10", "11"]);
            self.make("storelab", "id", &["1"]);
            self.make("my_storelab_manifest", "id", &["1"]);
            self.make("storelabXmanifest", "storelab_object", &["storelab_x_items"]);
            self.make("storelab-manifest", "id", &[]);
        })
    }

    fn fingerprint(&mut self) -> LocalBoxFuture<'_, Vec<String>> {
        Box::pin(async {
            let mut lines = Vec::new();
            for table in self.tables() {
                let mut described = self.ask("DescribeTable", &json!({"TableName": table}))["Table"].take();
                for counted in ["ItemCount", "TableSizeBytes"] {
                    described[counted].take();
                }
                lines.push(format!("{table} {described}"));
                let mut items: Vec<_> = self.items(&table).iter().map(|item| format!("{table}: {item}")).collect();
                items.sort();
                lines.extend(items);
            }
            lines
        })
    }

    /// As the kernel sees them: the server does not list them.
    fn connections(&mut self) -> LocalBoxFuture<'_, Option<usize>> {
        Box::pin(async {
            let is_to_server = |connection: &Connection| {
                connection.state == ESTABLISHED && self.ports.contains(&connection.remote_port)
            };
            Some(connections().iter().filter(|connection| is_to_server(connection)).count())
        })
    }

    fn size<'a>(&'a mut self, owned: &'a [OwnedObject]) -> LocalBoxFuture<'a, Option<u64>> {
        Box::pin(async move {
            let tables = owned.iter().filter(|object| object.kind == "table");
            Some(tables.map(|table| self.items(&table.name).len() as u64).sum())
        })
    }

    fn occupy<'a>(&'a mut self, dataset: &'a Dataset) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let name = if matches!(dataset, Dataset::Records(_)) { TABLE } else { "accounts" };
            self.make(&dataset.namespace().object(name), "mine", &["7"]);
        })
    }

    fn occupy_manifest(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async { self.make("storelab_manifest", "mine", &["7"]) })
    }

    /// A table's name for all its items, or with an attribute for that of each.
    fn forge<'a>(&'a mut self, forgery: &'static str, namespace: &'a str) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            match forgery.split_once('.') {
                Some((table, attribute)) => self.change(&format!("{namespace}_{table}"), attribute),
                None => self.empty(&format!("{namespace}_{forgery}")),
            }
        })
    }
}
