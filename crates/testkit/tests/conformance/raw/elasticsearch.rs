//! Plain requests of Elasticsearch and `OpenSearch`, over one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use store::{Dataset, LocalBoxFuture, OwnedObject, Target};

use super::{Alone, Side, SideEntry};
use crate::lab::TABLE;

/// A server on this machine that does not answer within this time never will.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// More documents than a trial's index has.
const DOCUMENTS_MAX: usize = 10_000;

/// What users have, some nearly of our names. A name cannot have capitals here.
const INDICES: [&str; 6] =
    ["people", "orders", "storelab", "my_storelab_manifest", "storelabxmanifest", "storelab-manifest"];

/// Their alias.
const ALIAS: &str = "storelab_people";

pub(super) const ENTRY: SideEntry = SideEntry {
    driver: "elasticsearch",
    open: |target| Box::pin(async move { Box::new(Door::open(target)) as Box<dyn Side> }),
    // A cluster has one set of indices, whoever asks.
    alone: Alone::Server,
    forgeries: &[
        ("search", "documents.owner"),
        ("search", "documents.group"),
        ("search", "documents.id"),
        ("search", "documents.extra"),
        ("search", "documents"),
        ("aggregate", "orders.amount"),
        ("aggregate", "orders.placed"),
        ("aggregate", "orders.extra"),
        ("aggregate", "orders"),
        ("fulltext", "articles.title"),
        ("fulltext", "articles.body"),
        ("fulltext", "articles.extra"),
        ("fulltext", "articles"),
        ("get", "items.payload"),
        ("get", "items.code"),
        ("get", "items.quantity"),
        ("get", "items"),
        ("update", "items"),
        ("delete", "items"),
    ],
};

/// HTTP in its simplest form, written here so that a driver's or a library's mistakes are not repeated.
struct Door {
    stream: BufReader<TcpStream>,
    /// What goes with it.
    made: Vec<String>,
}

impl Door {
    fn open(target: &Target) -> Self {
        let port = target.port().expect("servers of ours name their port");
        let stream = TcpStream::connect((target.host(), port)).expect("the server is there");
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a time-out can be set");
        stream.set_nodelay(true).expect("it can be set");
        Self { stream: BufReader::new(stream), made: Vec::new() }
    }

    /// Sends a request that must succeed; what came back.
    fn ask(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.send(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    fn get(&mut self, path: &str) -> Value {
        self.ask("GET", path, &Value::Null)
    }

    fn send(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: side\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), body.as_bytes()].concat();
        self.stream.get_mut().write_all(&request).expect("the server reads");
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("the server answers");
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut length = 0;
        while !line.trim_end().is_empty() {
            line.clear();
            self.stream.read_line(&mut line).expect("the server answers");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).expect("the server answers");
        (status, serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// Makes an index of somebody else's with two documents.
    fn make(&mut self, index: &str, aliases: &[&str]) {
        let aliases: serde_json::Map<_, _> = aliases.iter().map(|alias| ((*alias).to_owned(), json!({}))).collect();
        let settings = json!({
            "settings": { "number_of_shards": 1, "number_of_replicas": 0 },
            "mappings": { "properties": { "name": { "type": "keyword" } } },
            "aliases": aliases,
        });
        self.ask("PUT", &format!("/{index}"), &settings);
        self.made.push(index.to_owned());
        for (id, name) in [("1", "Zoë"), ("2", "a \"quoted\" name")] {
            let path = format!("/{index}/_doc/{id}?refresh=true");
            self.ask("PUT", &path, &json!({ "name": name, "born": 1980 }));
        }
    }

    fn indices(&mut self) -> Vec<String> {
        let answer = self.get("/_cat/indices?format=json&h=index&expand_wildcards=all");
        let indices = answer.as_array().expect("a list").iter();
        let mut names: Vec<_> = indices.map(|index| index["index"].as_str().expect("a name").to_owned()).collect();
        names.sort();
        names
    }

    /// Changes every document of an index by a script.
    fn change(&mut self, index: &str, script: &str) {
        let body = json!({ "script": { "source": script, "lang": "painless" }, "query": { "match_all": {} } });
        let path = format!("/{index}/_update_by_query?refresh=true&conflicts=proceed");
        let answer = self.ask("POST", &path, &body);
        assert_ne!(answer["updated"].as_u64(), Some(0), "{index}: {answer}");
    }

    /// A copy of the document of row 7 under an id that nobody has.
    fn copy(&mut self, index: &str) {
        let document = self.get(&format!("/{index}/_source/7"));
        self.ask("PUT", &format!("/{index}/_doc/forged?refresh=true"), &document);
    }
}

/// Users' things go with the door: there is one set of indices for all trials.
impl Drop for Door {
    fn drop(&mut self) {
        if self.made.is_empty() {
            return;
        }
        let path = format!("/{}?ignore_unavailable=true", self.made.join(","));
        let (status, answer) = self.send("DELETE", &path, &Value::Null);
        assert!(status == 200 || std::thread::panicking(), "{path}: {status} {answer}");
    }
}

impl Side for Door {
    fn populate(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            for index in INDICES {
                self.make(index, if index == "people" { &[ALIAS] } else { &[] });
            }
        })
    }

    fn fingerprint(&mut self) -> LocalBoxFuture<'_, Vec<String>> {
        Box::pin(async {
            let mut lines = Vec::new();
            for path in ["/_cluster/settings", "/_template", "/_ingest/pipeline"] {
                // Some say by a status that they are empty.
                lines.push(format!("{path} {:?}", self.send("GET", path, &Value::Null)));
            }
            for index in self.indices() {
                // One of ours may be on its way out or in.
                let (status, definition) = self.send("GET", &format!("/{index}"), &Value::Null);
                if status == 404 {
                    continue;
                }
                lines.push(format!("{index} {definition}"));
                let all = json!({ "size": DOCUMENTS_MAX, "version": true, "seq_no_primary_term": true });
                let (_, found) = self.send("POST", &format!("/{index}/_search"), &all);
                let hits = found["hits"]["hits"].as_array().cloned().unwrap_or_default();
                let mut documents: Vec<_> = hits.iter().map(|hit| format!("{index} {hit}")).collect();
                documents.sort();
                lines.extend(documents);
            }
            lines
        })
    }

    fn connections(&mut self) -> LocalBoxFuture<'_, Option<usize>> {
        Box::pin(async {
            let answer = self.get("/_nodes/stats/http");
            let mut nodes = answer["nodes"].as_object().expect("nodes").values();
            let open = nodes.next().and_then(|node| node["http"]["current_open"].as_u64());
            open.map(|open| open as usize)
        })
    }

    fn size<'a>(&'a mut self, owned: &'a [OwnedObject]) -> LocalBoxFuture<'a, Option<u64>> {
        Box::pin(async move {
            let mut documents = 0;
            for object in owned {
                documents += self.get(&format!("/{}/_count", object.name))["count"].as_u64().expect("a number");
            }
            Some(documents)
        })
    }

    fn occupy<'a>(&'a mut self, dataset: &'a Dataset) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let namespace = dataset.namespace();
            match dataset {
                Dataset::Records(_) => self.make(&namespace.object(TABLE), &[]),
                // Somebody's alias, by which our writes would go to their index.
                _ => self.make("others", &[&namespace.object("articles_writes")]),
            }
        })
    }

    fn occupy_manifest(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async { self.make("storelab_manifest", &[]) })
    }

    fn forge<'a>(&'a mut self, forgery: &'static str, namespace: &'a str) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let index = format!("{namespace}_{}", forgery.split('.').next().unwrap_or_default());
            match forgery {
                "documents.owner" => self.change(&index, "ctx._source.document.owner.name = 'forged'"),
                "documents.group" => self.change(&index, "ctx._source.document.group += 1000"),
                "documents.id" => self.change(&index, "ctx._source.id = 1000 - ctx._source.id"),
                "orders.amount" => self.change(&index, "ctx._source.amount += 1"),
                "orders.placed" => self.change(&index, "ctx._source.placed += 86400000L"),
                "articles.title" => self.change(&index, "ctx._source.title = 'forged'"),
                "articles.body" => self.change(&index, "ctx._source.body = 'forged'"),
                "items.payload" => self.change(&index, "ctx._source.payload = 'forged'"),
                "items.code" => self.change(&index, "ctx._source.code += 1"),
                "items.quantity" => self.change(&index, "ctx._source.quantity = -1"),
                "documents.extra" | "orders.extra" | "articles.extra" => self.copy(&index),
                _ => {
                    let path = format!("/{index}/_delete_by_query?refresh=true");
                    self.ask("POST", &path, &json!({ "query": { "match_all": {} } }));
                }
            }
        })
    }
}
