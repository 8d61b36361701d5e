//! A service on a free port with a store of its own, and a client that says exactly what a test wants it to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use results::service::{NewToken, Role, TokenSecret};
use results::{Location, Results};
use serde_json::Value;
use server::{Service, Settings};
use tempfile::TempDir;
use uuid::Uuid;

/// How long a client waits for an answer before a test fails: far more than anything takes.
const ANSWER_TIME_MAX: Duration = Duration::from_mins(1);

/// A service that runs, and ends with the test.
pub(crate) struct Lab {
    service: Option<Service>,
    address: SocketAddr,
    folder: TempDir,
}

impl Lab {
    /// One for this machine alone, without a token.
    pub(crate) fn open() -> Self {
        Self::with(Settings::default())
    }

    /// One with those settings.
    pub(crate) fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let location = Location::File(folder.path().join("results.db"));
        let service = Service::start(settings, &location, listener).expect("it starts");
        Self { address: service.address(), service: Some(service), folder }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder that its store is in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Another process' way to its store.
    pub(crate) fn results(&self) -> Results {
        Results::open(&Location::File(self.folder.path().join("results.db"))).expect("it can be opened")
    }

    /// A new token, and its id. The service knows it when this returns.
    pub(crate) fn token(&self, name: &str, role: Role) -> (String, Uuid) {
        let secret = TokenSecret::draw().expect("randomness");
        let new = NewToken { name: name.to_owned(), role, hash: secret.hash(), expires_at: None };
        let made = self.results().create_token(new, Timestamp::now()).expect("kept").expect("there is room");
        while self.get("/api/v1/stores").token(secret.expose()).send().status != 200 {
            std::thread::yield_now();
        }
        (secret.expose().to_owned(), made.id)
    }

    /// A request to it.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Request {
        Request {
            address: self.address,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: vec![("Host".to_owned(), self.address.to_string()), ("Connection".to_owned(), "close".to_owned())],
            body: None,
        }
    }

    /// A GET.
    pub(crate) fn get(&self, path: &str) -> Request {
        self.ask("GET", path)
    }

    /// A POST of JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Request {
        self.ask("POST", path).json(body)
    }

    /// Stops it, and returns once it is over.
    pub(crate) fn stop(mut self) {
        self.service.take().expect("it runs").stop().expect("it ends well");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            let _ = service.stop();
        }
    }
}

/// A request that is being put together.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    address: SocketAddr,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// With a header, in place of one of that name.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// With a token.
    pub(crate) fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// With a body of JSON.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string().as_bytes())
    }

    /// With a body.
    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self
    }

    /// Sends it on a connection of its own.
    pub(crate) fn send(&self) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(ANSWER_TIME_MAX)).expect("a socket");
        // A body that is refused is answered before it has been read, and then the connection may be closed already.
        let _ = stream.write_all(&self.bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Answer::parse(&bytes, &self.method).unwrap_or_else(|| panic!("no answer to {} {}", self.method, self.path))
    }

    /// Everything that is sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(body) = &self.body
            && !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Content-Length"))
        {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// An answer that was read to the connection's end.
    pub(crate) fn parse(bytes: &[u8], method: &str) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Self { status, headers, body: bytes[end + 4..].to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") && method != "HEAD" {
            answer.body = unchunked(&answer.body)?;
        }
        Some(answer)
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    /// The same answer, if it has that status.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// The problem, whole and with that status.
    pub(crate) fn problem(self, status: u16) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        for member in ["type", "title", "detail", "instance", "code", "reason", "remedy", "request_id"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
        }
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"));
        problem
    }
}

fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        bytes = bytes.get(end + 2..)?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..length)?);
        bytes = bytes.get(length + 2..)?;
    }
}
