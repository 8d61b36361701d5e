//! `InfluxDB` 2, without its web pages.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::engine::{ACCOUNT, Engine, Invocation, Plan, Site};
use crate::origin::{Download, Effort, Origin, Tool};
use crate::{Error, ErrorKind, Result, Workshop, probe};

const VERSION: &str = "2.9.1";

/// The module on Go's proxy, which has the server's sources without the compiled pages.
const MODULE: &str = "github.com/influxdata/influxdb/v2@v2.9.1";

/// Its makers' stand-in for pkg-config: it builds the library of Flux, which is written in Rust, when Go asks for it.
const PKG_CONFIG: &str = "github.com/influxdata/pkg-config@v0.3.0";

/// Without `assets` there are no pages, and nothing fetches them.
const TAGS: &str = "sqlite_foreign_keys,sqlite_json";

/// What chooses the Rust that Flux is built with: whatever is there, where Flux would have an older one fetched.
const RUST_TOOLCHAIN_VARIABLE: &str = "RUSTUP_TOOLCHAIN";
const RUST_TOOLCHAIN: &str = "stable";

/// For rustc and cargo, whose Debian package is older than Flux needs: only ever checked for.
const CARGO: Tool = Tool { program: "cargo", check: &["--version"], package: "cargo" };

/// What its makers' stand-in asks about everything else.
const REAL_PKG_CONFIG: Tool = Tool { program: "pkg-config", check: &["--version"], package: "pkg-config" };

static DOWNLOAD: Download = Download {
    version: VERSION,
    from: "Go: github.com/influxdata/influxdb/v2 2.9.1",
    tools: &[Tool::GO, Tool::CC, CARGO, REAL_PKG_CONFIG],
    effort: Effort::Long,
    // Debian's own `influxd` is of version 1, which has another interface.
    programs_suffice: false,
    make,
};

pub(super) struct InfluxDb;

impl Engine for InfluxDb {
    fn name(&self) -> &'static str {
        "influxdb"
    }

    fn also_known_as(&self) -> &'static [&'static str] {
        &["influx", "influxd", "influxdb2"]
    }

    fn title(&self) -> &'static str {
        "InfluxDB"
    }

    fn scheme(&self) -> &'static str {
        "influxdb"
    }

    fn licence(&self) -> &'static str {
        "MIT"
    }

    fn origin(&self) -> Origin {
        Origin::Download(&DOWNLOAD)
    }

    fn programs(&self) -> &'static [&'static str] {
        &["influxd"]
    }

    fn preparation(&self, _site: &Site) -> Plan {
        Plan::default()
    }

    fn launch(&self, site: &Site) -> Plan {
        let mut command = Invocation::new(site.installation.server()).argument("run");
        for (name, value) in &site.settings {
            command = command.argument(format!("--{name}={value}"));
        }
        // The last of two arguments about a thing is the one that holds.
        let command = command
            .argument(format!("--http-bind-address={}:{}", site.address, site.port))
            .path_argument("--bolt-path=", &site.data.join("influxd.bolt"))
            .path_argument("--sqlite-path=", &site.data.join("influxd.sqlite"))
            .path_argument("--engine-path=", &site.data.join("engine"))
            .argument("--reporting-disabled")
            .argument("--ui-disabled");
        Plan { files: Vec::new(), commands: vec![command] }
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        // As long as it starts it answers 503, or nothing.
        let question = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let answer: [u8; 12] = probe::ask(address, question.as_bytes())?;
        Ok(&answer == b"HTTP/1.1 200")
    }

    /// The first user, organisation and token of an empty server can only be made over its interface, by whoever is first.
    fn settle(&self, nodes: &[&Site]) -> Result<()> {
        nodes.iter().try_for_each(|site| {
            let address = SocketAddr::from((site.address, site.port));
            let answer = set_up(address, site.password.expose())
                .map_err(|source| Error::io(format!("set up InfluxDB at {address}"), source))?;
            if answer.starts_with("HTTP/1.1 201 ") {
                return Ok(());
            }
            // What it answers to a success has the token in it; this is none.
            let said = answer.lines().last().unwrap_or_default();
            Err(Error::new(ErrorKind::StartFailed, format!("InfluxDB did not take its first user: {said}")))
        })
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn url(&self, site: &Site) -> String {
        let (password, address, port) = (site.password.expose(), site.address, site.port);
        format!("influxdb://token:{password}@{address}:{port}/{ACCOUNT}")
    }
}

/// Makes the user, the organisation and its token, which is the password too, and a bucket, which there must be.
fn set_up(address: SocketAddr, password: &str) -> io::Result<String> {
    /// It computes a slow hash of the password.
    const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
    /// The answer has some 5 kB.
    const ANSWER_BYTES_MAX: u64 = 64 << 10;
    let body = serde_json::json!({
        "username": ACCOUNT, "password": password, "token": password, "org": ACCOUNT, "bucket": ACCOUNT,
    })
    .to_string();
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    write!(
        stream,
        "POST /api/v2/setup HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Builds it: Flux first, by cargo, then the server, by Go.
fn make(workshop: &mut Workshop<'_>) -> Result<()> {
    let source = workshop.go_module(MODULE)?;
    let source = workshop.copy(source.as_ref(), "influxdb")?;
    let tools = workshop.scratch().join("tools");
    let mut install = workshop.command("go");
    install.args(["install", PKG_CONFIG]).env("GOBIN", &tools).env("GOTOOLCHAIN", "local");
    workshop.run(install)?;
    let output = workshop.scratch().join("influxd");
    let mut build = workshop.command("go");
    build.current_dir(&source);
    build.args(["build", "-p", "2", "-trimpath", "-tags", TAGS]);
    build.args(["-ldflags", &format!("-s -w -X main.version=v{VERSION} -X main.commit=goproxy")]);
    build.arg("-o").arg(&output).arg("./cmd/influxd");
    build.env("PKG_CONFIG", tools.join("pkg-config")).env("GOTOOLCHAIN", "local");
    if std::env::var_os(RUST_TOOLCHAIN_VARIABLE).is_none() {
        build.env(RUST_TOOLCHAIN_VARIABLE, RUST_TOOLCHAIN);
    }
    workshop.say("building InfluxDB, which takes ten minutes and more");
    workshop.run(build)?;
    workshop.keep_program(&output, "bin/influxd")
}
