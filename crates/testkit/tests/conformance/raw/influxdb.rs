//! A side door into `InfluxDB`: its interface over HTTP 1.0, a connection a request. A trial has an organisation of its own.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use store::{Dataset, LocalBoxFuture, OwnedObject, Target};

use super::{Alone, Side, SideEntry};

/// A server on this machine that does not answer within this time never will.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// A data store's buckets, names as users give them, some nearly ours.
const BUCKETS: [&str; 5] = ["people", "storelab", "my_storelab_manifest", "storelabXc1", "Storelab_c1"];

/// What is in each of them.
const POINTS: &str = "weather,place=Zürich temperature=21.5,rain=0i 1600000000000000000\n\
    weather,place=Zürich temperature=22.5,note=\"a \\\"quoted\\\", text\" 1600000060000000000\n\
    readings,device=d0 value=7i 1577836800000000000\nusertable,id=key000000001 field0=\"mine\" 0\n";

/// When the device of row 7 of 40 measured it: ten seconds a row, from the beginning of 2020 on.
const ROW_7_S: u64 = 1_577_836_870;

/// All times that anybody uses.
const ALL_TIMES: &str = "range(start: 0, stop: 2147483647)";

pub(super) const ENTRY: SideEntry = SideEntry {
    driver: "influxdb",
    open: |target| Box::pin(async move { Box::new(Door::open(target)) as Box<dyn Side> }),
    alone: Alone::Database(|target, number| {
        Box::pin(async move {
            let name = format!("conformance-{number}");
            Door::to(target).ask("POST", "/api/v2/orgs", &json!({ "name": name }));
            name
        })
    }),
    forgeries: &[
        ("query", "value"),
        ("query", "payload"),
        ("query", "missing"),
        ("query", "extra"),
        ("aggregate", "value"),
        ("aggregate", "missing"),
        ("aggregate", "extra"),
    ],
};

struct Door {
    address: String,
    token: String,
    organisation_id: String,
}

impl Door {
    /// To the server, and nobody's organisation.
    fn to(target: &Target) -> Self {
        Self {
            address: format!("{}:{}", target.host(), target.port().expect("servers of ours name their port")),
            token: target.password().expect("servers of ours want a token").expose().to_owned(),
            organisation_id: String::new(),
        }
    }

    fn open(target: &Target) -> Self {
        let mut door = Self::to(target);
        let answer = door.get(&format!("/api/v2/orgs?org={}", target.path()));
        door.organisation_id = text(&answer["orgs"][0]["id"]);
        door
    }

    /// Sends a request that must succeed; what came back.
    fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> String {
        let Self { address, token, .. } = self;
        let mut stream = TcpStream::connect(address).expect("the server is there");
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a time-out can be set");
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Token {token}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let is_success = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
        assert!(is_success, "{method} {path}: {answer}");
        body.to_owned()
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.send(method, path, "application/json", &body.to_string());
        serde_json::from_str(&answer).unwrap_or_default()
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.send("GET", path, "application/json", "")).expect("JSON")
    }

    fn write(&self, bucket: &str, lines: &str) {
        let path = format!("/api/v2/write?org={}&bucket={bucket}&precision=ns", self.organisation_id);
        self.send("POST", &path, "text/plain", lines);
    }

    fn query(&self, flux: &str) -> String {
        let path = format!("/api/v2/query?org={}", self.organisation_id);
        self.send("POST", &path, "application/vnd.flux", flux)
    }

    fn make(&self, bucket: &str, description: &str) {
        let bucket = json!({
            "orgID": self.organisation_id, "name": bucket, "description": description, "retentionRules": [],
        });
        self.ask("POST", "/api/v2/buckets", &bucket);
    }

    fn buckets(&self) -> Vec<Value> {
        let answer = self.get(&format!("/api/v2/buckets?orgID={}&limit=100", self.organisation_id));
        answer["buckets"].as_array().expect("a list").clone()
    }

    /// How many values there are of a field.
    fn count(&self, bucket: &str, field: &str) -> u64 {
        let reply = self.query(&format!(
            "from(bucket: \"{bucket}\") |> {ALL_TIMES} |> filter(fn: (r) => r._field == \"{field}\") |> group() |> count()"
        ));
        let value = reply.lines().rfind(|line| line.starts_with(',') && !line.starts_with(",result"));
        value.and_then(|line| line.trim_end().rsplit(',').next()).map_or(0, |count| count.parse().expect("a number"))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

impl Side for Door {
    fn populate(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            for bucket in BUCKETS {
                self.make(bucket, "storelab is not what made this");
                self.write(bucket, POINTS);
            }
            let label = json!({ "orgID": self.organisation_id, "name": "storelab_manifest", "properties": {} });
            self.ask("POST", "/api/v2/labels", &label);
        })
    }

    fn fingerprint(&mut self) -> LocalBoxFuture<'_, Vec<String>> {
        Box::pin(async {
            let mut lines = Vec::new();
            for bucket in self.buckets() {
                let name = text(&bucket["name"]);
                lines.push(format!("bucket {bucket}"));
                if bucket["type"] == "user" {
                    let points =
                        self.query(&format!("from(bucket: \"{name}\") |> {ALL_TIMES} |> drop(columns: [\"_start\"])"));
                    lines.extend(
                        points.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("{name}: {line}")),
                    );
                }
            }
            for kind in ["labels", "variables", "dashboards", "tasks", "dbrps"] {
                let mut line = String::new();
                let answer = self.get(&format!("/api/v2/{kind}?orgID={}", self.organisation_id));
                write!(line, "{kind} {answer}").expect("a String takes everything");
                lines.push(line);
            }
            lines
        })
    }

    fn size<'a>(&'a mut self, owned: &'a [OwnedObject]) -> LocalBoxFuture<'a, Option<u64>> {
        Box::pin(async { Some(owned.iter().map(|object| self.count(&object.name, "value")).sum()) })
    }

    fn occupy<'a>(&'a mut self, dataset: &'a Dataset) -> LocalBoxFuture<'a, ()> {
        Box::pin(async {
            let bucket = dataset.namespace().as_str();
            self.make(bucket, "mine");
            self.write(bucket, POINTS);
        })
    }

    /// The manifest is what the descriptions of buckets say: here one that says something else.
    fn occupy_manifest(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            self.make("storelab_manifest", "storelab manifest/1 of my own");
            self.write("storelab_manifest", POINTS);
        })
    }

    fn forge<'a>(&'a mut self, forgery: &'static str, namespace: &'a str) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            match forgery {
                "value" => {
                    self.write(namespace, &format!("readings,device=d0 value=77777i {ROW_7_S}000000000"));
                }
                "payload" => {
                    self.write(namespace, &format!("readings,device=d0 payload=\"forged\" {ROW_7_S}000000000"));
                }
                "extra" => {
                    let between = ROW_7_S + 5;
                    self.write(namespace, &format!("readings,device=d0 value=7i,payload=\"x\" {between}000000000"));
                }
                "missing" => {
                    let path = format!("/api/v2/delete?org={}&bucket={namespace}", self.organisation_id);
                    let one = json!({
                        "start": "2020-01-01T00:01:10Z", "stop": "2020-01-01T00:01:10Z",
                        "predicate": "_measurement=\"readings\" AND device=\"d0\"",
                    });
                    self.ask("POST", &path, &one);
                }
                other => panic!("there is no forgery `{other}`"),
            }
        })
    }
}
