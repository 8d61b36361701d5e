//! A service of a test's own, and a client that depends on nothing of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Lab;

/// How long a service may take to start on a busy machine, and a request to be answered.
const PATIENCE: Duration = Duration::from_mins(1);

/// A service, killed when the test ends.
pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) address: String,
    errors: Arc<Mutex<String>>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Service {
    /// Starts the program in a laboratory, on a port of the system's choice.
    pub(crate) fn start(lab: &Lab) -> Self {
        Self::of(lab.command(&["serve", "--listen", "127.0.0.1:0"]))
    }

    /// The same with a command of the test's own.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped"));
        let (mut said, mut address) = (String::new(), None);
        while address.is_none() {
            let read = lines.read_line(&mut said).expect("text");
            assert!(read > 0, "the service ended at its start: {said}");
            address = said.lines().last().and_then(|line| {
                let rest = line.split_once("serving http://")?.1;
                Some(rest.split_whitespace().next()?.to_owned())
            });
        }
        // What it says later must be read, or it would wait; and tests want to know it.
        let errors = Arc::new(Mutex::new(said));
        let kept = Arc::clone(&errors);
        thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
                line.clear();
            }
        });
        Self { child, address: address.expect("it has one"), errors }
    }

    /// What it has said on stderr.
    pub(crate) fn said(&self) -> String {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        request(&self.address, "GET", path, None).expect("an answer")
    }

    pub(crate) fn post(&self, path: &str, body: Option<&Value>) -> Answer {
        request(&self.address, "POST", path, body).expect("an answer")
    }

    /// Makes an experiment, which must succeed, and returns its id.
    pub(crate) fn create(&self, body: &Value) -> String {
        let answer = self.post("/api/v1/experiments/", Some(body));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Runs an experiment, which must be accepted, and returns the run's id.
    pub(crate) fn run(&self, experiment: &str) -> String {
        let answer = self.post(&format!("/api/v1/experiments/{experiment}/run"), None);
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["run_id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn experiment(&self, id: &str) -> Value {
        let answer = self.get(&format!("/api/v1/experiments/{id}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Waits until an experiment stands so.
    pub(crate) fn await_status(&self, id: &str, wanted: &[&str]) -> Value {
        let started = Instant::now();
        loop {
            let found = self.experiment(id);
            if wanted.iter().any(|status| found["status"] == *status) {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "{wanted:?}: {found} {}", self.said());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a run has kept so many seconds.
    pub(crate) fn await_seconds(&self, run: &str, seconds: usize) {
        let started = Instant::now();
        loop {
            let answer = self.get(&format!("/api/v1/runs/{run}/samples"));
            if answer.status == 200 && answer.json()["items"].as_array().is_some_and(|items| items.len() >= seconds) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{}: {}", answer.text(), self.said());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself; a service of ours never outlives its test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// One request on a connection of its own.
pub(crate) fn request(address: &str, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let typed = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{typed}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    parse(&received).ok_or_else(|| std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "half an answer"))
}

/// An answer that was received whole; none where it was not.
fn parse(received: &[u8]) -> Option<Answer> {
    let head_bytes = received.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&received[..head_bytes]).into_owned();
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let rest = &received[head_bytes + 4..];
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.split_once(':').filter(|(found, _)| found.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value.trim().to_owned())
    };
    let body = if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        chunks(rest)?
    } else {
        let length: usize = header("content-length").map_or(Some(0), |value| value.parse().ok())?;
        rest.get(..length)?.to_vec()
    };
    Some(Answer { status, body })
}

fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

/// The results store of a laboratory.
pub(crate) fn store_of(lab: &Lab) -> PathBuf {
    lab.path("results.db")
}
