//! Real servers: started, paused, killed, abandoned, swept up. One that is not installed is skipped by name, and fails
//! the test where `STORELAB_REQUIRE_ENGINES` is set.

mod clusters;
mod container;
mod lifecycle;
mod options;
mod owner;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use provision::{ENGINES, Effort, Engine, ErrorKind, Home, Instance, Options, Server};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine; only a failure waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A home of one test's own. What still runs there when the test ends, because it failed, is stopped.
fn home() -> (Guard, Home) {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::at(folder.path());
    (Guard { home: home.clone(), _folder: folder }, home)
}

/// Leaves nothing of a test behind, however it ends.
struct Guard {
    home: Home,
    _folder: TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        for instance in self.home.instances().unwrap_or_default() {
            if let Err(error) = instance.stop() {
                assert!(std::thread::panicking(), "{}: {error}", instance.name());
            }
        }
    }
}

fn options(home: &Home) -> Options {
    Options { home: Some(home.clone()), ..Options::default() }
}

fn start(engine: &'static dyn Engine, options: &Options) -> Server {
    Server::start(engine, options).unwrap_or_else(|error| panic!("{}: {error}", engine.name()))
}

/// The engines that are here; the others are said to be skipped.
fn installed() -> Vec<&'static dyn Engine> {
    let (_folder, home) = home();
    ENGINES.iter().copied().filter(|engine| is_installed(*engine, &home)).collect()
}

/// Those of them that what an owner and a supervisor do is shown with, since it depends on a server's processes and not on the
/// product; all where `STORELAB_EVERY_WAY` is set.
fn kinds() -> Vec<&'static dyn Engine> {
    /// One process; one with a child for each connection; one that takes long to end; one within Java.
    const KINDS: [&str; 4] = ["redis", "postgres", "mysql", "elasticsearch"];
    let every = std::env::var_os("STORELAB_EVERY_WAY").is_some();
    installed().into_iter().filter(|engine| every || KINDS.contains(&engine.name())).collect()
}

#[expect(clippy::print_stderr, reason = "a test's report goes to whoever runs it")]
fn is_installed(engine: &dyn Engine, home: &Home) -> bool {
    match engine.find(home) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotInstalled);
            let is_quick = engine.origin().effort() == Effort::Minutes;
            assert!(!is_quick || std::env::var_os("STORELAB_REQUIRE_ENGINES").is_none(), "{error}");
            eprintln!("skipped: {} is not installed", engine.name());
            false
        }
    }
}

/// Waits for what must come to hold.
fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(PATIENCE, what, condition);
}

fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a real client says to a server with a password; `None` where there is no such client here.
fn query(instance: &Instance, password: &str, statement: &str) -> Option<String> {
    let port = instance.port().to_string();
    let mut command = match instance.engine() {
        "redis" | "valkey" => return Some(ask_redis(instance.port(), password, statement)),
        "postgres" => {
            let mut command = Command::new("psql");
            command.args(["-X", "-w", "-A", "-t", "-h", "127.0.0.1", "-p", &port, "-U", "storelab", "-d", "storelab"]);
            command.args(["-c", statement]).env("PGPASSWORD", password);
            command
        }
        "mariadb" | "mysql" | "oceanbase" | "tidb" => {
            let mut command = Command::new("mariadb");
            command.args(["--no-defaults", "--protocol=tcp", "-N", "-h", "127.0.0.1", "-P", &port, "-u", "storelab"]);
            command.args(["-D", "storelab", "-e", statement]).env("MYSQL_PWD", password);
            command
        }
        _ => return None,
    };
    let Output { stdout, stderr, .. } = command.stdin(Stdio::null()).output().ok()?;
    let text = [stdout, stderr].concat();
    Some(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Redis is easily spoken by hand: the last of two answers.
fn ask_redis(port: u16, password: &str, statement: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    write!(stream, "AUTH {password}\r\n{statement}\r\n").expect("sent");
    let lines = BufReader::new(stream).lines();
    lines.take(2).last().expect("two answers").expect("read")
}

/// The password in a URL.
fn password(url: &str) -> String {
    // Some engines have none.
    let Some((account, _)) = url.rsplit_once('@') else { return String::new() };
    account.rsplit_once(':').expect("a password").1.to_owned()
}

/// A statement that every engine answers, and its answer.
fn greeting(engine: &str) -> (&'static str, &'static str) {
    if matches!(engine, "redis" | "valkey") { ("PING", "+PONG") } else { ("SELECT 42", "42") }
}
