//! Apache Cassandra: nodes put together from the libraries in Maven's repository.
//!
//! Nodes are told apart by their addresses and have all the same ports, as Cassandra's native protocol wants it. A password
//! can only be set by a client, so the few frames of the protocol that this needs are written here by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::engine::{ACCOUNT, Engine, Invocation, Plan, PlanFile, Site};
use crate::origin::{Download, Effort, Origin, Tool};
use crate::process::wait_until;
use crate::{Error, ErrorKind, Result, Workshop, probe};

/// Where the libraries are in the engine's folder.
const LIBRARIES: &str = "lib";

/// Measures how much memory objects take: one of the libraries, which Java loads as its agent.
const AGENT: &str = "lib/jamm-0.4.0.jar";

static DOWNLOAD: Download = Download {
    version: "5.0.9",
    from: "Maven: org.apache.cassandra:cassandra-all:5.0.9",
    tools: &[Tool::JDK, Tool::MAVEN],
    effort: Effort::Minutes,
    programs_suffice: false,
    make,
};

fn make(workshop: &mut Workshop<'_>) -> Result<()> {
    let dependency = "<dependency><groupId>org.apache.cassandra</groupId><artifactId>cassandra-all</artifactId>\
                      <version>5.0.9</version></dependency>";
    workshop.maven_libraries(dependency, LIBRARIES)
}

/// Several servers run side by side: little memory, one thread for its garbage, and code that is ready soon rather than
/// fast one day.
const OPTIONS: [&str; 9] = [
    "-Xms96m",
    "-Xmx320m",
    "-XX:MaxDirectMemorySize=256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Xss512k",
    "-Djava.net.preferIPv4Stack=true",
    "-Djdk.attach.allowAttachSelf=true",
];

/// What the distribution tells Java 17 that Cassandra may look into: `conf/jvm17-server.options`.
const EXPORTS: [&str; 9] = [
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
];
const OPENS: [&str; 20] = [
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "java.rmi/sun.rmi.transport.tcp",
    "jdk.compiler/com.sun.tools.javac",
    "jdk.management/com.sun.management.internal",
    "jdk.naming.dns/com.sun.jndi.dns",
];

/// What a server is told beside its configuration.
///
/// The first role is made at once, and a login costs 2⁴ rounds of bcrypt instead of 2¹⁰, as every connection has to log in.
/// Who joins waits for nobody.
const PROPERTIES: [&str; 7] = [
    "cassandra-foreground=yes",
    "cassandra.superuser_setup_delay_ms=0",
    "cassandra.auth_bcrypt_gensalt_log2_rounds=4",
    "cassandra.skip_wait_for_gossip_to_settle=0",
    "cassandra.skip_schema_check=true",
    "cassandra.consistent.rangemovement=false",
    "com.sun.jndi.rmiURLParsing=legacy",
];

/// Until nodes of a cluster take one another for steady; a node alone waits for nobody.
const RING_DELAY_MS: u32 = 15_000;

/// Small in memory, steady, and what is written is safe from a kill; the rest is Cassandra's own.
const DEFAULTS: [(&str, &str); 25] = [
    ("auto_bootstrap", "false"),
    // What is dropped is gone.
    ("auto_snapshot", "false"),
    ("cluster_name", "storelab"),
    ("commitlog_segment_size", "8MiB"),
    // A write is answered once it is on disk, together with others of the same few milliseconds.
    ("commitlog_sync", "group"),
    ("commitlog_sync_group_window", "5ms"),
    ("commitlog_total_space", "128MiB"),
    ("concurrent_compactors", "1"),
    ("concurrent_counter_writes", "4"),
    ("concurrent_reads", "8"),
    // They wait for the disk, each for its turn.
    ("concurrent_writes", "32"),
    ("counter_cache_size", "1MiB"),
    ("endpoint_snitch", "SimpleSnitch"),
    ("file_cache_size", "32MiB"),
    ("hinted_handoff_enabled", "true"),
    ("key_cache_size", "8MiB"),
    ("memtable_heap_space", "64MiB"),
    ("memtable_offheap_space", "64MiB"),
    ("networking_cache_size", "32MiB"),
    ("num_tokens", "1"),
    ("partitioner", "org.apache.cassandra.dht.Murmur3Partitioner"),
    // A dead peer is marked down after about 12 s instead of 18 s.
    ("phi_convict_threshold", "5"),
    // A machine that does much beside is slow, and no test is about that.
    ("read_request_timeout", "10000ms"),
    ("write_request_timeout", "10000ms"),
    ("cas_contention_timeout", "5000ms"),
];

/// To the standard output, in one line each.
const LOGGING: &str = r#"<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{ISO8601} %logger{20} - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"#;

/// What a fresh data store lets in.
const FIRST_ACCOUNT: (&str, &str) = ("cassandra", "cassandra");

/// How long the first role may take to be there, and the nodes to know of one another.
const SETTLED_WITHIN: Duration = Duration::from_mins(2);

/// Table changes take a while on a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The server says little to us; more is not Cassandra.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Frames of the native protocol, version 4 (`doc/native_protocol_v4.spec` in Cassandra's sources).
const REQUEST: u8 = 0x04;
const RESPONSE: u8 = 0x84;
const ERROR: u8 = 0x00;
const STARTUP: u8 = 0x01;
const OPTIONS_REQUEST: u8 = 0x05;
const SUPPORTED: u8 = 0x06;
const QUERY: u8 = 0x07;
const AUTH_RESPONSE: u8 = 0x0f;
const AUTH_SUCCESS: u8 = 0x10;

/// The consistency level ONE.
const ONE: u16 = 1;

pub(super) struct Cassandra;

impl Engine for Cassandra {
    fn name(&self) -> &'static str {
        "cassandra"
    }

    fn also_known_as(&self) -> &'static [&'static str] {
        &["apache-cassandra", "cql"]
    }

    fn title(&self) -> &'static str {
        "Cassandra"
    }

    fn scheme(&self) -> &'static str {
        "cassandra"
    }

    fn licence(&self) -> &'static str {
        "Apache-2.0"
    }

    fn origin(&self) -> Origin {
        Origin::Download(&DOWNLOAD)
    }

    fn programs(&self) -> &'static [&'static str] {
        &["java"]
    }

    fn further_ports(&self) -> usize {
        1
    }

    fn nodes(&self) -> RangeInclusive<usize> {
        1..=3
    }

    fn nodes_have_addresses(&self) -> bool {
        true
    }

    fn nodes_start_together(&self) -> bool {
        true
    }

    fn preparation(&self, _site: &Site) -> Plan {
        Plan::default()
    }

    fn launch(&self, site: &Site) -> Plan {
        let libraries = site.installation.folder();
        let file =
            |name: &str, content: String| PlanFile { path: site.folder.join(name), content, is_transient: false };
        let (configuration, logging) =
            (file("cassandra.yaml", configuration(site)), file("logback.xml", LOGGING.to_owned()));
        let ring_delay = if site.nodes.len() > 1 { RING_DELAY_MS } else { 0 };
        let command = Invocation::new(site.installation.server())
            .arguments(OPTIONS)
            .arguments(EXPORTS.map(|package| format!("--add-exports={package}=ALL-UNNAMED")))
            .arguments(OPENS.map(|package| format!("--add-opens={package}=ALL-UNNAMED")))
            .arguments(PROPERTIES.map(|property| format!("-D{property}")))
            .argument(format!("-Dcassandra.ring_delay_ms={ring_delay}"))
            .path_argument("-Djava.io.tmpdir=", &site.folder)
            .path_argument("-Djna.tmpdir=", &site.folder)
            .path_argument("-Djava.library.path=", &site.folder)
            .path_argument("-javaagent:", &libraries.join(AGENT))
            .path_argument("-Dlogback.configurationFile=file:", &logging.path)
            .path_argument("-Dcassandra.config=file:", &configuration.path)
            .path_argument("-Dcassandra.storagedir=", &site.data)
            .argument("-cp")
            .argument(libraries.join(LIBRARIES).join("*"))
            .argument("org.apache.cassandra.service.CassandraDaemon");
        Plan { files: vec![configuration, logging], commands: vec![command] }
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        let answer: [u8; 5] = probe::ask(address, &[REQUEST, 0, 0, 0, OPTIONS_REQUEST, 0, 0, 0, 0])?;
        Ok(answer[0] == RESPONSE && answer[4] == SUPPORTED)
    }

    fn settle(&self, nodes: &[&Site]) -> Result<()> {
        let Some(site) = nodes.first() else { return Ok(()) };
        let failed = |what: &str| Error::new(ErrorKind::StartFailed, format!("cassandra: {what}"));
        let deadline = Instant::now() + SETTLED_WITHIN;
        let (mut client, (user, password)) = (None, FIRST_ACCOUNT);
        let enter = || Client::enter(site, user, password).map(|entered| client = Some(entered)).is_ok();
        if !wait_until(deadline, enter) {
            return Err(failed("the first role was not made in time"));
        }
        let mut client = client.ok_or_else(|| failed("nobody was let in"))?;
        // Roles are as safe as the data: whoever is left of the nodes knows them.
        let copies = nodes.len();
        let replication = format!("{{'class': 'SimpleStrategy', 'replication_factor': {copies}}}");
        let first = [
            format!("ALTER KEYSPACE system_auth WITH replication = {replication}"),
            format!(
                "CREATE ROLE IF NOT EXISTS {ACCOUNT} WITH PASSWORD = '{}' AND SUPERUSER = true AND LOGIN = true",
                site.password.expose()
            ),
        ];
        for statement in first {
            client.run_until(&statement, deadline)?;
        }
        // Only another one may lock out the first.
        let mut client = None;
        let enter =
            || Client::enter(site, ACCOUNT, site.password.expose()).map(|entered| client = Some(entered)).is_ok();
        if !wait_until(deadline, enter) {
            return Err(failed("the role that was made is not let in"));
        }
        let mut client = client.ok_or_else(|| failed("nobody was let in"))?;
        client.run_until(&format!("ALTER ROLE {user} WITH LOGIN = false AND SUPERUSER = false"), deadline)
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_mins(3)
    }

    fn url(&self, site: &Site) -> String {
        format!("cassandra://{ACCOUNT}:{}@{}:{}", site.password.expose(), site.address, site.port)
    }
}

/// The configuration: defaults, settings that are wanted otherwise, and what keeps it to itself.
fn configuration(site: &Site) -> String {
    let address = site.address.to_string();
    let storage_port = site.ports.first().copied().unwrap_or_default();
    let seed = site.nodes.first().map_or(Ipv4Addr::LOCALHOST, |peer| peer.address);
    let data = |name: &str| quoted(&site.data.join(name).to_string_lossy());
    let mut settings: BTreeMap<&str, String> =
        DEFAULTS.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    settings.extend(site.settings.iter().map(|(name, value)| (name.as_str(), value.clone())));
    settings.extend([
        ("authenticator", "PasswordAuthenticator".to_owned()),
        ("authorizer", "CassandraAuthorizer".to_owned()),
        ("cdc_raw_directory", data("cdc_raw")),
        ("commitlog_directory", data("commitlog")),
        ("data_file_directories", format!("[{}]", data("data"))),
        ("hints_directory", data("hints")),
        ("initial_token", token(site.node, site.nodes.len()).to_string()),
        ("listen_address", address.clone()),
        ("native_transport_port", site.port.to_string()),
        ("rpc_address", address),
        ("saved_caches_directory", data("saved_caches")),
        ("start_native_transport", "true".to_owned()),
        ("storage_port", storage_port.to_string()),
    ]);
    let mut text = String::new();
    for (name, value) in &settings {
        writeln!(text, "{name}: {value}").expect("writing to a string cannot fail");
    }
    write!(
        text,
        "seed_provider:\n  - class_name: org.apache.cassandra.locator.SimpleSeedProvider\n    parameters:\n      \
         - seeds: \"{seed}:{storage_port}\"\n"
    )
    .expect("writing to a string cannot fail");
    text
}

/// A node's place in the ring of 2⁶⁴ tokens, which begins at the least one: each has an equal part.
fn token(node: usize, nodes: usize) -> i64 {
    let part = (1_i128 << 64) / nodes.max(1) as i128 * node as i128;
    (i128::from(i64::MIN) + part) as i64
}

/// A text in YAML's double quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A connection that somebody was let in by.
struct Client(TcpStream);

impl Client {
    /// Logs in.
    fn enter(site: &Site, user: &str, password: &str) -> io::Result<Self> {
        let address = SocketAddr::from((site.address, site.port));
        let stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let mut client = Self(stream);
        let mut body = 1_u16.to_be_bytes().to_vec();
        for text in ["CQL_VERSION", "3.0.0"] {
            body.extend((text.len() as u16).to_be_bytes());
            body.extend(text.as_bytes());
        }
        client.ask(STARTUP, &body)?;
        let token = format!("\0{user}\0{password}");
        let mut body = (token.len() as u32).to_be_bytes().to_vec();
        body.extend(token.as_bytes());
        match client.ask(AUTH_RESPONSE, &body)? {
            AUTH_SUCCESS => Ok(client),
            _ => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        }
    }

    /// Runs a statement, again and again until it succeeds: nodes that have just started may not see one another yet.
    fn run_until(&mut self, statement: &str, deadline: Instant) -> Result<()> {
        let mut body = (statement.len() as u32).to_be_bytes().to_vec();
        body.extend(statement.as_bytes());
        body.extend(ONE.to_be_bytes());
        body.push(0);
        let mut failure = None;
        let run = || match self.ask(QUERY, &body) {
            Ok(_) => true,
            Err(error) => {
                failure = Some(error);
                false
            }
        };
        if wait_until(deadline, run) {
            return Ok(());
        }
        // The statement may hold a password, and is not shown.
        let reason = failure.map_or_else(String::new, |error| error.to_string());
        Err(Error::new(ErrorKind::StartFailed, format!("cassandra: its roles cannot be set up: {reason}")))
    }

    /// Sends a frame; the kind of the answer, where it is no error.
    fn ask(&mut self, kind: u8, body: &[u8]) -> io::Result<u8> {
        let mut frame = vec![REQUEST, 0, 0, 0, kind];
        frame.extend((body.len() as u32).to_be_bytes());
        frame.extend(body);
        self.0.write_all(&frame)?;
        let mut header = [0; 9];
        self.0.read_exact(&mut header)?;
        let length = u32::from_be_bytes([header[5], header[6], header[7], header[8]]) as usize;
        if header[0] != RESPONSE || length > ANSWER_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        if header[4] == ERROR {
            // A number of four bytes, a length of two, and a text.
            return Err(io::Error::other(String::from_utf8_lossy(body.get(6..).unwrap_or_default()).into_owned()));
        }
        Ok(header[4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_share_the_ring() {
        for (nodes, expect) in [
            (1, vec![i64::MIN]),
            (2, vec![i64::MIN, 0]),
            (3, vec![i64::MIN, -3_074_457_345_618_258_603, 3_074_457_345_618_258_602]),
        ] {
            assert_eq!((0..nodes).map(|node| token(node, nodes)).collect::<Vec<_>>(), expect);
        }
    }
}
