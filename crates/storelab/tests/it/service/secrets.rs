//! A password of a target: it enters, and is nowhere to be seen.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Service;
use crate::support::{Lab, eventually};

/// A password that stands nowhere else. In a URL it is the same with and without encoding.
const CANARY: &str = "c4narySecretOfNobodyElse";

/// Everything that a service has to say about itself, its experiments and its runs.
const PATHS: [&str; 9] = [
    "/api/v1/experiments/",
    "/api/v1/runs",
    "/api/v1/plans",
    "/api/v1/audit",
    "/api/v1/targets",
    "/api/v1/stores",
    "/metrics",
    "/health",
    "/openapi.json",
];

/// Whether the program was built so that it can send traces.
const HAS_TRACES: bool = cfg!(feature = "otlp");

/// What a service sends to a collector, as it came: OTLP's text is not encoded in any way that could hide some.
struct Traces(Arc<Mutex<Vec<u8>>>);

impl Traces {
    /// Lets a service send all of them to us.
    fn of(command: &mut Command) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let traces = Self(Arc::clone(&received));
        if HAS_TRACES {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("it is bound");
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
            thread::spawn(move || collect(&listener, &received));
        }
        traces
    }

    fn have(&self, text: &str) -> bool {
        has(&self.0.lock().unwrap_or_else(PoisonError::into_inner), text)
    }

    /// Waits until the span of the last request has come: they come in their order.
    fn await_last(&self) {
        let last = format!("GET {}", PATHS[PATHS.len() - 1]);
        eventually("the last request is traced", Duration::from_mins(1), || !HAS_TRACES || self.have(&last));
    }
}

/// Takes requests with spans until nobody sends any more, each on a connection of its own.
fn collect(listener: &TcpListener, received: &Mutex<Vec<u8>>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let mut reader = BufReader::new(stream);
        let (mut head, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            head.push_str(&line.to_lowercase());
            line.clear();
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        if reader.read_exact(&mut body).is_ok() {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            received.extend_from_slice(head.as_bytes());
            received.extend_from_slice(&body);
        }
        // Whoever has ended meanwhile needs no answer.
        let _ = reader.into_inner().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
}

fn plan(database_type: &str, target: &str) -> Value {
    json!({
        "name": "secret", "database_type": database_type,
        "config": { "workload": "ycsb:c", "settings": { "records": 10 }, "target": target, "load": { "for": "1s", "sessions": 2 } },
    })
}

#[test]
fn a_targets_password_is_in_no_log_store_answer_page_or_argument() {
    let lab = Lab::new();
    let mut command = lab.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("LOG_LEVEL", "TRACE").env("POSTGRES_PASSWORD", CANARY).env("POSTGRES_PORT", "1");
    let traces = Traces::of(&mut command);
    let service = Service::of(command);
    let mut told = Vec::new();
    // Targets that do not answer, in every form that takes a password: what goes wrong must not show it either.
    for (database_type, target) in [
        ("postgres", format!("postgres://u:{CANARY}@127.0.0.1:1/db")),
        ("redis", format!("redis://:{CANARY}@127.0.0.1:1/0")),
        ("redis", format!("redis://{CANARY}@@127.0.0.1:1/0")),
        ("mysql", format!("mysql://u:{CANARY}@127.0.0.1:1/db")),
        ("mysql", format!("mysql://u:{CANARY}@127.0.0.1:1/db?no_such_option=1")),
        ("mysql", format!("postgres://u:{CANARY}@127.0.0.1:1/db")),
        ("redis", format!("redis://u:{CANARY}@127.0.0.2:1")),
        ("sqlite", format!("u:{CANARY}@127.0.0.1")),
    ] {
        let body = plan(database_type, &target);
        let created = service.post("/api/v1/experiments/", Some(&body));
        told.push(created.text());
        let kept = service.post("/api/v1/thresholds/check", Some(&json!({ "expressions": ["errors < 1%"], "plan": { "database_type": database_type, "config": body["config"] } })));
        told.push(kept.text());
        if created.status == 201 {
            let id = created.json()["id"].as_str().expect("an id").to_owned();
            told.push(service.post(&format!("/api/v1/experiments/{id}/run"), None).text());
            told.push(service.get(&format!("/api/v1/experiments/{id}")).text());
            assert!(service.experiment(&id)["config"]["target"].as_str().is_some_and(|shown| shown.contains("***")));
        }
    }
    let environment = service.create(&json!({ "name": "environment", "database_type": "postgres" }));
    let unreachable = service.post(&format!("/api/v1/experiments/{environment}/run"), None);
    assert_eq!(unreachable.status, 503, "{}", unreachable.text());
    told.push(unreachable.text());
    check_nowhere(&lab, &service, CANARY, told, &traces);
}

#[test]
fn the_password_of_a_target_that_answers_is_nowhere_either() {
    for engine in ["redis", "postgres"] {
        let lab = Lab::new();
        let Some(server) = lab.server(engine) else { continue };
        let (_, after) = server.url().split_once("://").expect("a URL");
        let password =
            after.split_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password.to_owned());
        let Some(password) = password.filter(|password| password.len() >= 8) else { continue };
        let mut command = lab.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("LOG_LEVEL", "TRACE");
        let traces = Traces::of(&mut command);
        let service = Service::of(command);
        let id = service.create(&plan(engine, server.url()));
        let run = service.run(&id);
        let done = service.await_status(&id, &["completed", "failed"]);
        assert_eq!(done["status"], "completed", "{done} {}", service.said());
        let mut told = vec![done.to_string()];
        for path in ["", "/report", "/samples", "/live", "/exports/json", "/exports/openmetrics", "/exports/markdown"] {
            let answer = service.get(&format!("/api/v1/runs/{run}{path}"));
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            told.push(answer.text());
        }
        check_nowhere(&lab, &service, &password, told, &traces);
        assert!(!HAS_TRACES || traces.have(&run), "the run is a span");
    }
}

fn check_nowhere(lab: &Lab, service: &Service, secret: &str, mut told: Vec<String>, traces: &Traces) {
    told.extend(PATHS.map(|path| service.get(path).text()));
    for answer in &told {
        assert!(!answer.contains(secret), "an answer shows it: {answer}");
    }
    traces.await_last();
    assert!(!traces.have(secret), "a trace shows it");
    let arguments = fs::read(format!("/proc/{}/cmdline", service.child.id())).expect("it runs");
    assert!(!has(&arguments, secret), "its arguments show it");
    let said = service.said();
    assert!(
        !said.contains(secret),
        "its log shows it: {}",
        said.lines().find(|line| line.contains(secret)).unwrap_or_default()
    );
    for file in files(lab.path("").as_path()) {
        // The key is there as well, and what it sealed; the password itself is in neither.
        let bytes = fs::read(&file).unwrap_or_default();
        assert!(!has(&bytes, secret), "{} shows it", file.display());
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Files of the laboratory that the service wrote: those of throw-away servers hold their own passwords.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("readable").filter_map(Result::ok).map(|entry| entry.path());
    entries.filter(|path| path.is_file()).collect()
}
