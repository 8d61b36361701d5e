//! `TiDB`: one server that keeps its data itself, in the store that its makers test it with, instead of in `TiKV`s.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::engine::{ACCOUNT, Certificates, Encryption, Engine, Invocation, Plan, PlanFile, Site};
use crate::origin::{Download, Effort, Origin, Tool};
use crate::{Result, Workshop, probe};

/// What is built.
const VERSION: &str = "8.5.6";
const COMMIT: &str = "ae18096e0237";
const COMMIT_DATE: &str = "2026-04-13";

/// The version of Go whose maps it reads by their layout; it refuses to start where Go's own text does not name it.
const GO_OF_ITS_MAPS: &str = "go1.25";

/// What would be got with `go get`, each version fixed and checked.
const MODULES: &str = include_str!("tidb/go.mod");
const MODULE_SUMS: &str = include_str!("tidb/go.sum");

/// Quiet, as little memory as it does with, and no more threads than two cores need.
const DEFAULTS: &[(&str, &str)] = &[
    ("log.level", "warn"),
    ("performance.tcp-keep-alive", "true"),
    ("instance.tidb_enable_slow_log", "false"),
    ("max-server-connections", "200"),
];

static DOWNLOAD: Download = Download {
    version: VERSION,
    from: "Go: github.com/pingcap/tidb 8.5.6",
    tools: &[Tool::GO],
    effort: Effort::Long,
    programs_suffice: true,
    make,
};

pub(super) struct TiDb;

impl Engine for TiDb {
    fn name(&self) -> &'static str {
        "tidb"
    }

    fn title(&self) -> &'static str {
        "TiDB"
    }

    fn scheme(&self) -> &'static str {
        "tidb"
    }

    fn licence(&self) -> &'static str {
        "Apache-2.0"
    }

    fn origin(&self) -> Origin {
        Origin::Download(&DOWNLOAD)
    }

    fn programs(&self) -> &'static [&'static str] {
        &["tidb-server"]
    }

    fn further_ports(&self) -> usize {
        // Its status, over HTTP.
        1
    }

    fn encryption(&self, certificates: &Certificates<'_>) -> Option<Encryption> {
        let [certificate, key] = [certificates.certificate, certificates.key].map(|path| path.display().to_string());
        let settings = vec![("security.ssl-cert", certificate), ("security.ssl-key", key)];
        Some(Encryption { settings, ..Encryption::default() })
    }

    fn preparation(&self, _site: &Site) -> Plan {
        Plan::default()
    }

    fn launch(&self, site: &Site) -> Plan {
        let file = |name: &str, content, is_transient| PlanFile { path: site.folder.join(name), content, is_transient };
        let configuration = file("tidb.toml", configuration(site), false);
        // Said once, when the data is made, before any client is let in.
        let accounts = file("accounts.sql", accounts(site.password.expose()), true);
        let status_port = site.ports.first().copied().unwrap_or_default();
        // Arguments hold against the configuration.
        let server = Invocation::new(site.installation.server())
            .path_argument("--config=", &configuration.path)
            .path_argument("--initialize-sql-file=", &accounts.path)
            .argument("--store=unistore")
            .path_argument("--path=", &site.data)
            .path_argument("--temp-dir=", &site.folder.join("temporary"))
            .arguments(["--host=127.0.0.1", "--advertise-address=127.0.0.1", "--status-host=127.0.0.1", "--socket="])
            .argument(format!("-P={}", site.port))
            .argument(format!("--status={status_port}"));
        Plan { files: vec![configuration, accounts], commands: vec![server] }
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        // It speaks first: three bytes of length, a number, then 10 for the protocol's version, or 255 for an error.
        let greeting: [u8; 5] = probe::ask(address, b"")?;
        Ok(greeting[4] == 10)
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_mins(2)
    }
}

/// In TOML, where a name with dots means what is in a table.
fn configuration(site: &Site) -> String {
    let given = site.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let others = DEFAULTS.iter().copied().filter(|(name, _)| !site.settings.contains_key(*name));
    given.chain(others).fold(String::new(), |mut text, (name, value)| {
        let is_plain = value.parse::<f64>().is_ok() || matches!(value, "true" | "false");
        let value = if is_plain { value.to_owned() } else { format!("{value:?}") };
        writeln!(text, "{name} = {value}").expect("writing to a string cannot fail");
        text
    })
}

/// The user may do everything on its own throw-away server, and the one that every server begins with nothing.
fn accounts(password: &str) -> String {
    format!(
        "CREATE DATABASE IF NOT EXISTS {ACCOUNT} CHARACTER SET utf8mb4;\n\
         CREATE USER IF NOT EXISTS '{ACCOUNT}'@'%' IDENTIFIED BY '{password}';\n\
         GRANT ALL PRIVILEGES ON *.* TO '{ACCOUNT}'@'%' WITH GRANT OPTION;\n\
         SET GLOBAL tidb_server_memory_limit = '1GB';\n\
         SET GLOBAL tidb_enable_gogc_tuner = OFF;\n\
         DROP USER 'root'@'%';\n"
    )
}

fn make(workshop: &mut Workshop<'_>) -> Result<()> {
    let scratch = workshop.scratch();
    let place = scratch.strip_prefix(workshop.folder()).unwrap_or(&scratch).to_owned();
    for (name, content) in [("go.mod", MODULES), ("go.sum", MODULE_SUMS)] {
        workshop.write(&place.join(name).to_string_lossy(), content)?;
    }
    let mut ask = workshop.command("go");
    ask.args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local");
    let go = workshop.output(ask)?;
    let mut build = workshop.command("go");
    build.args(["build", "-mod=mod", "-p", "2", "-trimpath", "-tags", "codes", "-ldflags", &linker_flags(go.trim())]);
    build.args(["-o", "tidb-server", "github.com/pingcap/tidb/cmd/tidb-server"]).env("GOTOOLCHAIN", "local");
    workshop.say("building TiDB, which takes about ten minutes");
    workshop.run(build)?;
    workshop.keep_program(&scratch.join("tidb-server"), "bin/tidb-server")
}

/// What the server says of its version is written by the linker.
fn linker_flags(go: &str) -> String {
    let package = "github.com/pingcap/tidb/pkg";
    let version = format!("{package}/util/versioninfo");
    let mut flags = format!(
        "-s -w -X {package}/parser/mysql.TiDBReleaseVersion=v{VERSION} -X {version}.TiDBGitHash={COMMIT} \
         -X {version}.TiDBBuildTS={COMMIT_DATE} -X {version}.TiDBGitBranch=release-8.5 -X {version}.TiDBEdition=Community"
    );
    // The layout is the same in the next version of Go, which has not that name in its own.
    if !go.contains(GO_OF_ITS_MAPS) {
        write!(flags, " -X runtime.buildVersion={go}-mapabi-{GO_OF_ITS_MAPS}")
            .expect("writing to a string cannot fail");
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_says_what_the_server_wants_to_hear() {
        assert!(!linker_flags("go1.25.8").contains("buildVersion"));
        assert!(linker_flags("go1.26.8").ends_with("-X runtime.buildVersion=go1.26.8-mapabi-go1.25"));
    }

    #[test]
    fn the_modules_are_of_the_version() {
        assert!(MODULES.contains(&format!("-{COMMIT}")));
    }
}
