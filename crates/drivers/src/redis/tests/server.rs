//! A server that lives as long as its test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// Set where a missing server must not pass unnoticed.
const REQUIRE: &str = "STORELAB_REQUIRE_ENGINES";

/// Between choosing a free port and the server's taking it somebody else may: then the next is tried.
const TRIES_MAX: usize = 5;

/// A `redis-server` with its own folder.
pub(super) struct Server {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Server {
    /// With further arguments. None where no server is installed, which is said.
    pub(super) fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_in(TempDir::new().expect("a folder can be made"), |port| {
            let own = ["--port".to_owned(), port.to_string()];
            own.into_iter().chain(arguments.iter().map(|argument| (*argument).to_owned())).collect()
        })
    }

    /// With TLS, and the file of the authority that signed its certificate.
    pub(super) fn start_encrypted() -> Option<(Self, PathBuf)> {
        let folder = TempDir::new().expect("a folder can be made");
        let (authority, certificate, key) = certificates();
        let write = |name: &str, text: String| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).expect("the folder is ours");
            file
        };
        let authority = write("authority.pem", authority);
        let files = [write("certificate.pem", certificate), write("key.pem", key)];
        let server = Self::start_in(folder, |port| {
            let [certificate, key] = files.each_ref().map(|file| file.display().to_string());
            let port = port.to_string();
            let arguments: [&str; 10] = [
                "--port",
                "0",
                "--tls-port",
                &port,
                "--tls-cert-file",
                &certificate,
                "--tls-key-file",
                &key,
                "--tls-auth-clients",
                "no",
            ];
            arguments.map(str::to_owned).to_vec()
        })?;
        Some((server, authority))
    }

    fn start_in(folder: TempDir, arguments: impl Fn(u16) -> Vec<String>) -> Option<Self> {
        for _ in 0..TRIES_MAX {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            let port = free.expect("loopback has free ports").port();
            let child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
                .arg(folder.path())
                .args(arguments(port))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn();
            let Ok(mut child) = child else {
                missing();
                return None;
            };
            let log = child.stdout.take().expect("it was asked for");
            if BufReader::new(log).lines().map_while(Result::ok).any(|line| line.contains("Ready to accept")) {
                return Some(Self { child, port, folder });
            }
            end(&mut child);
        }
        panic!("redis-server did not start in {} tries in {}", TRIES_MAX, folder.path().display());
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// At once, as `kill -9` does.
    pub(super) fn kill(&mut self) {
        end(&mut self.child);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
        debug_assert!(self.folder.path().exists(), "the folder outlives its server");
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

#[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
fn missing() {
    eprintln!("skipped: redis-server is not installed");
    assert!(std::env::var_os(REQUIRE).is_none(), "{REQUIRE} is set, and redis-server is not installed");
}

/// An authority's certificate, a server's that it signed, and the server's key.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = || KeyPair::generate().expect("ring makes keys");
    let authority = CertifiedIssuer::self_signed(params, key()).expect("the parameters are complete");
    let server_key = key();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .and_then(|params| params.signed_by(&server_key, &authority))
        .expect("the parameters are complete");
    (authority.pem(), server.pem(), server_key.serialize_pem())
}
