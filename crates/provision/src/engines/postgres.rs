//! `PostgreSQL`.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::{ACCOUNT, Certificates, Encryption, Engine, Invocation, Plan, PlanFile, Site, StopSignal};
use crate::origin::Origin;
use crate::probe;

/// Where Debian and its kin keep one folder for each major version.
const VERSIONS_FOLDER: &str = "/usr/lib/postgresql";

/// The library behind the statistics of statements, which must be loaded with the server; from the contrib package.
const STATEMENTS: &str = "pg_stat_statements";

/// A primary and standbys; a server takes ten of them unless it is told otherwise (`max_wal_senders`).
const NODES_MAX: usize = 8;

/// Modest memory, so that several servers fit beside each other, and no logging of statements, which would both slow
/// the server down and write down what was asked.
const DEFAULTS: &[&str] = &[
    "shared_buffers=32MB",
    "max_connections=200",
    "log_statement=none",
    "log_connections=off",
    "log_disconnections=off",
    "logging_collector=off",
    "log_destination=stderr",
];

pub(super) struct Postgres;

impl Engine for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn also_known_as(&self) -> &'static [&'static str] {
        &["pg", "postgresql"]
    }

    fn title(&self) -> &'static str {
        "PostgreSQL"
    }

    fn scheme(&self) -> &'static str {
        "postgres"
    }

    fn licence(&self) -> &'static str {
        "PostgreSQL"
    }

    fn origin(&self) -> Origin {
        Origin::Debian(&["postgresql"])
    }

    fn image(&self) -> Option<&'static str> {
        Some("postgres:17")
    }

    fn programs(&self) -> &'static [&'static str] {
        &["postgres", "initdb", "pg_basebackup"]
    }

    fn nodes(&self) -> RangeInclusive<usize> {
        1..=NODES_MAX
    }

    fn folders(&self) -> Vec<PathBuf> {
        let versions = std::fs::read_dir(VERSIONS_FOLDER).into_iter().flatten().flatten();
        newest_first(versions.map(|entry| entry.path()).collect())
    }

    fn encryption(&self, certificates: &Certificates<'_>) -> Option<Encryption> {
        let [certificate, key] = [certificates.certificate, certificates.key].map(|path| path.display().to_string());
        let settings = vec![("ssl", "on".to_owned()), ("ssl_cert_file", certificate), ("ssl_key_file", key)];
        Some(Encryption { settings, ..Encryption::default() })
    }

    fn preparation(&self, site: &Site) -> Plan {
        if site.node > 0 {
            return copy_of_first(site);
        }
        let file = |name: &str, content: String| PlanFile { path: site.folder.join(name), content, is_transient: true };
        let password = file("password", format!("{}\n", site.password.expose()));
        // The template has the extension, so that every database that is made has it.
        let mut sql = format!("CREATE DATABASE {ACCOUNT};\n");
        if has_statements(site) {
            sql.insert_str(0, &format!("CREATE EXTENSION {STATEMENTS};\n"));
        }
        let sql = file("prepare.sql", sql);
        let initialise = Invocation::new(site.installation.program("initdb"))
            .path_argument("--pgdata=", &site.data)
            .path_argument("--pwfile=", &password.path)
            .argument(format!("--username={ACCOUNT}"))
            .arguments(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]);
        // Without its own network: the mode that takes statements from its input, one a line.
        let create = Invocation::new(site.installation.server())
            .arguments(["--single", "-F", "-D"])
            .argument(&site.data)
            .arguments(["-c", "exit_on_error=on", "template1"])
            .input(&sql.path);
        Plan { files: vec![password, sql], commands: vec![initialise, create] }
    }

    fn launch(&self, site: &Site) -> Plan {
        let mut settings: Vec<String> = DEFAULTS.iter().map(|&setting| setting.to_owned()).collect();
        if has_statements(site) {
            settings.push(format!("shared_preload_libraries={STATEMENTS}"));
        }
        settings.extend(site.settings.iter().map(|(name, value)| format!("{name}={value}")));
        // The last of a name is the one that holds, so what keeps the server to itself comes last.
        if site.node > 0 {
            // Kept data has another way in it: that of the servers that there were then.
            settings.push(format!("primary_conninfo={}", way_to_first(site)));
        }
        settings.push("listen_addresses=127.0.0.1".to_owned());
        settings.push(format!("port={}", site.port));
        settings.push("unix_socket_directories=".to_owned());
        let server = Invocation::new(site.installation.server())
            .argument("-D")
            .argument(&site.data)
            .arguments(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        let files = if site.node > 0 { vec![password_file(site)] } else { Vec::new() };
        Plan { files, commands: vec![server] }
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        // `R…` asks for the password; as long as it starts or recovers it answers `E…`, an error (57P03).
        let answer: [u8; 1] = probe::ask(address, &startup_message())?;
        Ok(answer == *b"R")
    }

    fn stop_signal(&self) -> StopSignal {
        StopSignal::Interrupt
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_secs(30)
    }
}

/// The first node is the primary, the others are standbys that stream from it: a copy of its data, and where to go on.
fn copy_of_first(site: &Site) -> Plan {
    let copy = Invocation::new(site.installation.program("pg_basebackup"))
        .path_argument("--pgdata=", &site.data)
        .argument(format!("--dbname={}", way_to_first(site)))
        .arguments(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
    Plan { files: vec![password_file(site)], commands: vec![copy] }
}

/// How a standby enters the first node, as the client library reads it.
fn way_to_first(site: &Site) -> String {
    let first = &site.nodes[0];
    let (address, port, node) = (first.address, first.port, site.node + 1);
    let file = password_file(site).path;
    format!("host={address} port={port} user={ACCOUNT} application_name=node{node} passfile={}", file.display())
}

/// The password where the client library looks for it: not in an argument, which everybody can read.
fn password_file(site: &Site) -> PlanFile {
    let content = format!("*:*:*:{ACCOUNT}:{}\n", site.password.expose());
    PlanFile { path: site.folder.join("pgpass"), content, is_transient: false }
}

/// Version folders' programs, the highest version first: 9.6 is before 15.
fn newest_first(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let version = |folder: &PathBuf| -> Vec<u32> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        name.split('.').filter_map(|part| part.parse().ok()).collect()
    };
    folders.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    folders.into_iter().map(|folder| folder.join("bin")).collect()
}

/// Whether the contrib library is there: beside the programs (Debian) or where `make install` puts it.
fn has_statements(site: &Site) -> bool {
    let programs = site.installation.server().parent().unwrap_or(Path::new("/"));
    let library = format!("{STATEMENTS}.so");
    ["../lib", "../lib/postgresql", "../lib64/postgresql"]
        .iter()
        .any(|folder| programs.join(folder).join(&library).is_file())
}

/// The first message of a connection: protocol 3.0 and who asks for what (`PostgreSQL`, "Message Formats", `StartupMessage`).
fn startup_message() -> Vec<u8> {
    const PROTOCOL_VERSION: u32 = 3 << 16;
    let body = format!("user\0{ACCOUNT}\0database\0{ACCOUNT}\0\0");
    let length = u32::try_from(body.len() + 8).expect("a message of some bytes");
    [&length.to_be_bytes(), &PROTOCOL_VERSION.to_be_bytes(), body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let folders = ["/v/9.6", "/v/15", "/v/9.10", "/v/18"].map(PathBuf::from).to_vec();
        let expect = ["/v/18/bin", "/v/15/bin", "/v/9.10/bin", "/v/9.6/bin"].map(PathBuf::from);
        assert_eq!(newest_first(folders), expect);
    }

    #[test]
    fn the_startup_message_counts_itself() {
        let message = startup_message();
        assert_eq!(u32::from_be_bytes([message[0], message[1], message[2], message[3]]) as usize, message.len());
        assert!(message.ends_with(b"\0\0"));
    }
}
