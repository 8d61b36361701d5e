//! `CockroachDB`, in secure mode: its nodes know each other by certificates that are made for them, clients give a password.
//!
//! The first node begins the cluster alone, so that it is ready by itself; the others join it, and then every zone gets as
//! many replicas as there are nodes to hold them.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::{ACCOUNT, Certificates, Encryption, Engine, Invocation, Plan, Site};
use crate::error::IoContext;
use crate::origin::{Download, Effort, Origin, Tool};
use crate::{Error, ErrorKind, Result, Workshop, probe};

/// The last version of which the whole source, with what its build generates, is a Go module.
const VERSION: &str = "22.2.6";
const MODULE: &str = "github.com/alextalks/cockroach-gen@v0.22.2-6";
/// The Go that this version is built with.
const TOOLCHAIN: &str = "golang.org/toolchain@v0.0.1-go1.19.13.linux-amd64";

/// Stands in for the library of map projections, whose source is no part of the module.
const PROJECTIONS: &str = "// Built without PROJ; projections report an error.\n\
    #include \"proj.h\"\n\
    static char kErr[] = \"built without PROJ\";\n\
    static CR_PROJ_Status err() { CR_PROJ_Status s; s.data = kErr; s.len = sizeof(kErr) - 1; return s; }\n\
    CR_PROJ_Status CR_PROJ_Transform(char*, char*, long, double*, double*, double*) { return err(); }\n\
    CR_PROJ_Status CR_PROJ_GetProjMetadata(char*, int* a, double* b, double* c) \
    { *a = 0; *b = 0; *c = 0; return err(); }\n";

/// More nodes than this on one machine measure the machine.
const NODES_MAX: usize = 9;
/// What the product itself takes for enough.
const REPLICAS_MAX: usize = 3;
/// How long ranges may take until they have their replicas, and how often that is looked at.
const REPLICATION_TIMEOUT: Duration = Duration::from_mins(3);
const REPLICATION_PAUSE: Duration = Duration::from_millis(500);

/// The share of the disk below which it refuses to build indexes: it is somebody else's disk, and small loads fit.
const CAPACITY: &str = "kv.bulk_io_write.min_capacity_remaining_fraction";

/// What goes wrong to its standard error, what may become wrong to its files; no reports of all that it does.
const LOG: &str = "--log={file-defaults: {filter: WARNING}, sinks: {stderr: {filter: ERROR}}}";

/// Keeps it from calling home, from its first moment on.
const QUIET: (&str, &str) = ("COCKROACH_SKIP_ENABLING_DIAGNOSTIC_REPORTING", "true");

static DOWNLOAD: Download = Download {
    version: VERSION,
    from: "Go: github.com/alextalks/cockroach-gen 0.22.2-6",
    tools: &[Tool::GO, Tool::CC],
    effort: Effort::Long,
    programs_suffice: true,
    make,
};

pub(super) struct CockroachDb;

impl Engine for CockroachDb {
    fn name(&self) -> &'static str {
        "cockroachdb"
    }

    fn also_known_as(&self) -> &'static [&'static str] {
        &["cockroach", "crdb"]
    }

    fn title(&self) -> &'static str {
        "CockroachDB"
    }

    fn scheme(&self) -> &'static str {
        "cockroachdb"
    }

    fn licence(&self) -> &'static str {
        // The core's licence since its change date; what is below pkg/ccl has another.
        "Apache-2.0 AND LicenseRef-CockroachDB-Community"
    }

    fn origin(&self) -> Origin {
        Origin::Download(&DOWNLOAD)
    }

    fn programs(&self) -> &'static [&'static str] {
        &["cockroach"]
    }

    fn further_ports(&self) -> usize {
        1
    }

    fn nodes(&self) -> RangeInclusive<usize> {
        1..=NODES_MAX
    }

    fn encryption(&self, _certificates: &Certificates<'_>) -> Option<Encryption> {
        // It always can: its nodes know each other by certificates.
        Some(Encryption { authority: Some("data/certs/ca.crt"), ..Encryption::default() })
    }

    fn preparation(&self, site: &Site) -> Plan {
        // All nodes are on one address, so that the first one's certificates are good for all.
        if site.node > 0 {
            return Plan::default();
        }
        let folder = certificates(site);
        let key = folder.join("ca.key");
        let make = |what: &[&str]| {
            Invocation::new(site.installation.server())
                .arguments(["cert"])
                .arguments(what.iter().copied())
                .path_argument("--certs-dir=", &folder)
                .path_argument("--ca-key=", &key)
        };
        let address = site.address.to_string();
        let commands = vec![make(&["create-ca"]), make(&["create-node", &address]), make(&["create-client", "root"])];
        Plan { files: Vec::new(), commands }
    }

    fn launch(&self, site: &Site) -> Plan {
        let (address, http) = (format!("{}:{}", site.address, site.port), site.ports.first().copied().unwrap_or(0));
        let mut store = std::ffi::OsString::from("--store=path=");
        store.push(site.data.join("store"));
        store.push(",ballast-size=0");
        let mut server = Invocation::new(site.installation.server());
        server = if site.node == 0 {
            server.argument("start-single-node")
        } else {
            let Some(first) = site.nodes.first() else { return Plan::default() };
            server.argument("start").argument(format!("--join={}:{}", first.address, first.port))
        };
        // Modest memory, so that several servers fit beside each other.
        server = server
            .argument(store)
            .arguments(["--cache=64MiB", "--max-sql-memory=256MiB", "--max-tsdb-memory=1MiB", LOG])
            .arguments(site.settings.iter().map(|(name, value)| format!("--{name}={value}")))
            .path_argument("--certs-dir=", &certificates(site))
            .argument(format!("--listen-addr={address}"))
            .argument(format!("--advertise-addr={address}"))
            .argument(format!("--http-addr={}:{http}", site.address))
            .argument("--accept-sql-without-tls")
            .environment(QUIET.0, QUIET.1);
        Plan { files: Vec::new(), commands: vec![server] }
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        // `R…` asks for the password, for which it has read what it keeps about its users.
        let answer: [u8; 1] = probe::ask(address, &startup_message())?;
        Ok(answer == *b"R")
    }

    fn settle(&self, nodes: &[&Site]) -> Result<()> {
        let Some(first) = nodes.first() else { return Ok(()) };
        if nodes.len() > 1 {
            replicate(first, nodes.len().min(REPLICAS_MAX))?;
        }
        let password = first.password.expose();
        ask(
            first,
            &format!(
                "CREATE USER {ACCOUNT} WITH PASSWORD '{password}';\nGRANT admin TO {ACCOUNT};\n\
                 CREATE DATABASE {ACCOUNT};\nSET CLUSTER SETTING {CAPACITY} = 0;\n"
            ),
        )
        .map(drop)
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_mins(1)
    }
}

/// Where the certificates are: with the data, which is of no use without them.
fn certificates(site: &Site) -> PathBuf {
    let first =
        site.nodes.first().map(|node| node.data.as_path()).filter(|data| site.node > 0 && !data.as_os_str().is_empty());
    first.unwrap_or(&site.data).join("certs")
}

/// Gives every zone so many replicas, and waits until every range has them: a node that is lost before would take ranges along.
fn replicate(first: &Site, replicas: usize) -> Result<()> {
    let zones = ask(
        first,
        &format!(
            "SELECT 'ALTER ' || target || ' CONFIGURE ZONE USING num_replicas = {replicas};' FROM crdb_internal.zones \
             WHERE target IS NOT NULL;\n"
        ),
    )?;
    let alter = zones.lines().map(|line| line.trim().trim_matches('"')).filter(|line| line.starts_with("ALTER "));
    let alter: Vec<_> = alter.collect();
    ask(first, &alter.join("\n"))?;
    let lacking =
        format!("SELECT count(*) FROM crdb_internal.ranges_no_leases WHERE array_length(replicas, 1) < {replicas};\n");
    let started = Instant::now();
    while ask(first, &lacking)?.lines().last().map(str::trim) != Some("0") {
        if started.elapsed() > REPLICATION_TIMEOUT {
            let what = format!("not every range has {replicas} replicas after {REPLICATION_TIMEOUT:?}");
            return Err(Error::new(ErrorKind::StartFailed, what));
        }
        thread::sleep(REPLICATION_PAUSE);
    }
    Ok(())
}

/// Runs statements as the server's own user, who is known by a certificate; what they print.
fn ask(site: &Site, statements: &str) -> Result<String> {
    let what = || "run cockroach sql";
    let mut client = Command::new(site.installation.server())
        .args(["sql", "--format=csv"])
        .arg(format!("--host={}:{}", site.address, site.port))
        .arg(joined("--certs-dir=", &certificates(site)))
        .env(QUIET.0, QUIET.1)
        .env("HOME", &site.folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .or_cannot(what)?;
    // Read to its end before anything is printed.
    client.stdin.take().expect("it is piped").write_all(statements.as_bytes()).or_cannot(what)?;
    let output = client.wait_with_output().or_cannot(what)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).replace(site.password.expose(), "***");
    let last = complaint.lines().find(|line| line.starts_with("ERROR")).unwrap_or_else(|| complaint.trim());
    Err(Error::new(ErrorKind::StartFailed, format!("cockroach sql: {last}")))
}

fn joined(name: &str, path: &Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(name);
    text.push(path);
    text
}

/// The first message of a connection (`PostgreSQL`, "Message Formats", `StartupMessage`), of the user that always is.
fn startup_message() -> Vec<u8> {
    const PROTOCOL_VERSION: u32 = 3 << 16;
    let body = "user\0root\0database\0defaultdb\0\0";
    let length = u32::try_from(body.len() + 8).expect("a message of some bytes");
    [&length.to_be_bytes()[..], &PROTOCOL_VERSION.to_be_bytes(), body.as_bytes()].concat()
}

/// Builds it: the program without its console, which needs no tools but Go and C.
fn make(workshop: &mut Workshop<'_>) -> Result<()> {
    let toolchain = workshop.go_module(TOOLCHAIN)?;
    let go = workshop.copy(&toolchain, "go")?;
    let mut executable = workshop.command("chmod");
    executable.args(["-R", "u+x"]).arg(go.join("bin")).arg(go.join("pkg/tool"));
    workshop.run(executable)?;
    let module = workshop.go_module(MODULE)?;
    let source = workshop.copy(&module, "source")?;
    let projections = source.join("pkg/geo/geoproj");
    let binding = projections.join("geoproj.go");
    let what = || format!("change {}", binding.display());
    let text = fs::read_to_string(&binding).or_cannot(what)?;
    let kept: Vec<_> = text.lines().filter(|line| !line.contains("#cgo !windows LDFLAGS: -lproj")).collect();
    fs::write(&binding, kept.join("\n") + "\n").or_cannot(what)?;
    fs::write(projections.join("proj.cc"), PROJECTIONS).or_cannot(what)?;
    workshop.say("building CockroachDB: about 15 minutes on two processors");
    let built = workshop.scratch().join("cockroach");
    let package = "github.com/cockroachdb/cockroach/pkg/build";
    let mut path = go.join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut build = workshop.command(&go.join("bin/go").to_string_lossy());
    build
        .current_dir(&source)
        .args(["build", "-p", "2", "-tags", "stdmalloc", "-ldflags"])
        .arg(format!("-X {package}.tag=v{VERSION} -X {package}.typ=release -s -w"))
        .arg("-o")
        .arg(&built)
        .arg("./pkg/cmd/cockroach-short")
        .env("GOROOT", &go)
        .env("PATH", path)
        .env("GOTOOLCHAIN", "local");
    workshop.run(build)?;
    workshop.keep_program(&built, "bin/cockroach")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_startup_message_counts_itself() {
        let message = startup_message();
        assert_eq!(u32::from_be_bytes([message[0], message[1], message[2], message[3]]) as usize, message.len());
        assert!(message.ends_with(b"\0\0"));
    }
}
