//! `MariaDB`.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::engine::{ACCOUNT, Certificates, Encryption, Engine, Invocation, Plan, PlanFile, Site};
use crate::origin::Origin;
use crate::probe;

/// Modest memory, so that several servers fit beside each other. As many clients as the other engines take.
const DEFAULTS: &[&str] =
    &["--innodb-buffer-pool-size=64M", "--max-connections=200", "--performance-schema=off", "--general-log=off"];

pub(super) struct MariaDb;

impl Engine for MariaDb {
    fn name(&self) -> &'static str {
        "mariadb"
    }

    fn also_known_as(&self) -> &'static [&'static str] {
        &["maria"]
    }

    fn title(&self) -> &'static str {
        "MariaDB"
    }

    fn scheme(&self) -> &'static str {
        "mariadb"
    }

    fn licence(&self) -> &'static str {
        "GPL-2.0-only"
    }

    fn origin(&self) -> Origin {
        Origin::Debian(&["mariadb-server"])
    }

    fn image(&self) -> Option<&'static str> {
        Some("mariadb:11.4")
    }

    fn programs(&self) -> &'static [&'static str] {
        &["mariadbd", "mariadb-install-db"]
    }

    fn encryption(&self, certificates: &Certificates<'_>) -> Option<Encryption> {
        let [certificate, key] = [certificates.certificate, certificates.key].map(|path| path.display().to_string());
        Some(Encryption { settings: vec![("ssl-cert", certificate), ("ssl-key", key)], ..Encryption::default() })
    }

    fn preparation(&self, site: &Site) -> Plan {
        // `socket`: the server's own administrator can only come from its own user on a socket, which it does not open.
        let initialise = Invocation::new(site.installation.program("mariadb-install-db"))
            .argument("--no-defaults")
            .path_argument("--basedir=", base(site))
            .path_argument("--datadir=", &site.data)
            .arguments(["--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"]);
        Plan { files: Vec::new(), commands: vec![initialise] }
    }

    fn launch(&self, site: &Site) -> Plan {
        let accounts = PlanFile {
            path: site.folder.join("accounts.sql"),
            content: accounts(site.password.expose()),
            is_transient: true,
        };
        // The last of a name is the one that holds, so what keeps the server to itself comes last.
        let server = Invocation::new(site.installation.server())
            .argument("--no-defaults")
            .path_argument("--basedir=", base(site))
            .path_argument("--datadir=", &site.data)
            .path_argument("--tmpdir=", &site.folder)
            .arguments(DEFAULTS)
            .arguments(site.settings.iter().map(|(name, value)| format!("--{name}={value}")))
            .path_argument("--init-file=", &accounts.path)
            .path_argument("--pid-file=", &site.folder.join("mariadb.pid"))
            .path_argument("--socket=", &site.folder.join("mariadb.sock"))
            .arguments(["--bind-address=127.0.0.1", "--skip-name-resolve"])
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

/// The folder that the server finds its messages and plugins below: the one that holds `sbin` or `bin`.
fn base(site: &Site) -> &Path {
    site.installation.server().parent().and_then(Path::parent).unwrap_or(Path::new("/usr"))
}

/// What is said at each start before any client is let in, one statement a line. The user may do everything on its own throw-away server.
fn accounts(password: &str) -> String {
    format!(
        "CREATE DATABASE IF NOT EXISTS {ACCOUNT} CHARACTER SET utf8mb4;\n\
         CREATE USER IF NOT EXISTS '{ACCOUNT}'@'127.0.0.1' IDENTIFIED BY '{password}';\n\
         ALTER USER '{ACCOUNT}'@'127.0.0.1' IDENTIFIED BY '{password}';\n\
         GRANT ALL PRIVILEGES ON *.* TO '{ACCOUNT}'@'127.0.0.1' WITH GRANT OPTION;\n"
    )
}
