//! `OceanBase` in one process (seekdb): the server out of a wheel for Python.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::engine::{ACCOUNT, Engine, Invocation, Plan, Site};
use crate::origin::{Download, Effort, Origin, Tool};
use crate::{Error, ErrorKind, Result, Workshop, probe};

/// Listens on all addresses by itself, and there is no setting against it.
const LOOPBACK_SOURCE: &str = include_str!("oceanbase/loopback.c");
const LOOPBACK: &str = "lib/loopback.so";

/// Modest memory and disk, so that several servers fit beside each other; the data grows as it must. It takes no less of
/// a log. As many prepared statements in a session as `MySQL` has, and a look for deadlocks as often as the larger editions
/// have it: seekdb's own 50, and 5 s, are in the way of most loads.
const DEFAULTS: &[(&str, &str)] = &[
    ("_lcl_op_interval", "30ms"),
    ("cpu_count", "2"),
    ("datafile_size", "64M"),
    ("log_disk_size", "2G"),
    ("max_syslog_file_count", "2"),
    ("memory_limit", "1G"),
    ("open_cursors", "65535"),
];

/// What its own files have in their names until they are complete.
const UNFINISHED: &[u8] = b".tmp";

/// How long it may think about one statement about its users.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

static DOWNLOAD: Download = Download {
    version: "1.4.0",
    from: "PyPI: pylibseekdb 1.4.0.post1",
    tools: &[Tool::PIP, Tool::CC],
    effort: Effort::Minutes,
    programs_suffice: false,
    make,
};

pub(super) struct OceanBase;

impl Engine for OceanBase {
    fn name(&self) -> &'static str {
        "oceanbase"
    }

    fn also_known_as(&self) -> &'static [&'static str] {
        &["seekdb"]
    }

    fn title(&self) -> &'static str {
        "OceanBase"
    }

    fn scheme(&self) -> &'static str {
        "oceanbase"
    }

    fn licence(&self) -> &'static str {
        "Apache-2.0"
    }

    fn origin(&self) -> Origin {
        Origin::Download(&DOWNLOAD)
    }

    fn programs(&self) -> &'static [&'static str] {
        &["seekdb"]
    }

    fn check_data(&self, path: &Path) -> Result<()> {
        // It would make the data, and not find it again.
        if path.as_os_str().as_encoded_bytes().windows(UNFINISHED.len()).any(|part| part == UNFINISHED) {
            let text = format!("OceanBase takes all of {} for files that were not finished", path.display());
            let hint = "give it a data folder whose path has no `.tmp` in it";
            return Err(Error::new(ErrorKind::Config, text).with_hint(hint));
        }
        Ok(())
    }

    fn preparation(&self, _site: &Site) -> Plan {
        Plan::default()
    }

    fn launch(&self, site: &Site) -> Plan {
        let folder = site.installation.folder();
        let given = site.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let others = DEFAULTS.iter().copied().filter(|(name, _)| !site.settings.contains_key(*name));
        let parameters = given.chain(others).map(|(name, value)| format!("--parameter={name}={value}"));
        let server = Invocation::new(site.installation.server())
            .environment("LD_PRELOAD", folder.join(LOOPBACK))
            .environment("LD_LIBRARY_PATH", folder.join("lib"))
            // It would report its first start to its makers.
            .environment("TELEMETRY_ENABLED", "false")
            .arguments(["--nodaemon", "--log-level=ERROR"])
            .argument(format!("--port={}", site.port))
            .path_argument("--base-dir=", &site.data)
            .arguments(parameters);
        Plan { files: Vec::new(), commands: vec![server] }
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        // It speaks first: three bytes of length, a number, then 10 for the protocol's version, or 255 for an error.
        let greeting: [u8; 5] = probe::ask(address, b"")?;
        Ok(greeting[4] == 10)
    }

    fn settle(&self, nodes: &[&Site]) -> Result<()> {
        let Some(site) = nodes.first() else { return Ok(()) };
        let password = site.password.expose();
        let told = Administrator::enter(SocketAddr::from((site.address, site.port))).and_then(|mut administrator| {
            for statement in [
                format!("CREATE DATABASE IF NOT EXISTS {ACCOUNT} CHARACTER SET utf8mb4"),
                format!("CREATE USER IF NOT EXISTS '{ACCOUNT}'@'%' IDENTIFIED BY '{password}'"),
                format!("GRANT ALL PRIVILEGES ON *.* TO '{ACCOUNT}'@'%' WITH GRANT OPTION"),
                format!("ALTER USER 'root'@'%' IDENTIFIED BY '{password}'"),
            ] {
                administrator.tell(&statement)?;
            }
            Ok(())
        });
        told.map_err(|error| Error::new(ErrorKind::StartFailed, format!("its users could not be made: {error}")))
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_mins(3)
    }
}

fn make(workshop: &mut Workshop<'_>) -> Result<()> {
    let wheel = workshop.wheel("pylibseekdb==1.4.0.post1")?;
    let programs = wheel.join("pylibseekdb");
    workshop.keep_program(&programs.join("seekdb"), "bin/seekdb")?;
    workshop.keep(&programs.join("libaio.so.1"), "lib/libaio.so.1")?;
    workshop.write("lib/loopback.c", LOOPBACK_SOURCE)?;
    let mut compile = workshop.command("cc");
    compile.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(workshop.folder().join(LOOPBACK));
    compile.arg(workshop.folder().join("lib/loopback.c")).arg("-ldl");
    workshop.run(compile)
}

/// The user that a new server begins with, who has no password yet, on `MySQL`'s wire.
struct Administrator(TcpStream);

impl Administrator {
    fn enter(address: SocketAddr) -> io::Result<Self> {
        /// Long password, long flags, protocol 4.1, transactions, authentication by plugins.
        const CAPABILITIES: u32 = 0x1 | 0x4 | 0x200 | 0x2000 | 0x8000 | 0x8_0000;
        const PACKET_BYTES_MAX: u32 = 1 << 24;
        const COLLATION: u8 = 45;
        let stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let mut administrator = Self(stream);
        administrator.receive()?;
        let numbers = [CAPABILITIES.to_le_bytes(), PACKET_BYTES_MAX.to_le_bytes()].concat();
        administrator.send(1, &[&numbers, &[COLLATION], &[0; 23], b"root\0", b"\0", b"mysql_native_password\0"])?;
        administrator.accepted()?;
        Ok(administrator)
    }

    fn tell(&mut self, statement: &str) -> io::Result<()> {
        const QUERY: u8 = 3;
        self.send(0, &[&[QUERY], statement.as_bytes()])?;
        self.accepted()
    }

    fn send(&mut self, sequence: u8, parts: &[&[u8]]) -> io::Result<()> {
        let payload = parts.concat();
        let [a, b, c, _] = u32::try_from(payload.len()).map_err(io::Error::other)?.to_le_bytes();
        self.0.write_all(&[&[a, b, c, sequence], payload.as_slice()].concat())
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.0.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
        self.0.read_exact(&mut payload)?;
        Ok(payload)
    }

    fn accepted(&mut self) -> io::Result<()> {
        /// Behind the mark of an error: its number, and the state of SQL's standard.
        const MESSAGE: usize = 9;
        match self.receive()?.as_slice() {
            [0, ..] => Ok(()),
            [0xff, error @ ..] => {
                let message = error.get(MESSAGE - 1..).unwrap_or(error);
                Err(io::Error::other(String::from_utf8_lossy(message).into_owned()))
            }
            _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }
}
