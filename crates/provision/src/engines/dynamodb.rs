//! `DynamoDB` Local: Amazon's own edition for one machine, a Java library over `SQLite`.
//!
//! It listens on all addresses and knows no passwords, so it is started by a few lines of Java of ours that bind it to
//! loopback, and encrypt on a second port where that is wanted.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::engine::{Certificates, Encryption, Engine, Invocation, Plan, Site};
use crate::origin::{Download, Effort, Origin, Tool};
use crate::{Result, Workshop, probe};

/// The class that starts it.
const MAIN: &str = "LoopbackMain";

/// Where its libraries are in the engine's folder; one of them is SQLite's in machine code.
const LIBRARIES: &str = "lib";

const DEPENDENCY: &str = "<dependency><groupId>software.amazon.dynamodb</groupId>\
    <artifactId>DynamoDBLocal</artifactId><version>3.1.0</version></dependency>";

/// Several servers run side by side: little memory, one thread for its garbage, and code that is ready soon rather than
/// fast one day. Nothing is left in the folder for temporary files.
const OPTIONS: [&str; 5] =
    ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Djava.net.preferIPv4Stack=true"];

/// What must be known of it to encrypt.
const TLS_SETTINGS: [&str; 3] = ["tls-port", "tls-cert-file", "tls-key-file"];

pub(super) struct DynamoDb;

static DOWNLOAD: Download = Download {
    version: "3.1.0",
    from: "Maven: software.amazon.dynamodb:DynamoDBLocal:3.1.0",
    tools: &[Tool::JDK, Tool::MAVEN],
    effort: Effort::Minutes,
    programs_suffice: false,
    make,
};

fn make(workshop: &mut Workshop<'_>) -> Result<()> {
    workshop.maven_libraries(DEPENDENCY, LIBRARIES)?;
    workshop.java_class(MAIN, include_str!("dynamodb/LoopbackMain.java"), LIBRARIES)
}

impl Engine for DynamoDb {
    fn name(&self) -> &'static str {
        "dynamodb"
    }

    fn also_known_as(&self) -> &'static [&'static str] {
        &["dynamodb-local", "dynamo"]
    }

    fn title(&self) -> &'static str {
        "DynamoDB Local"
    }

    fn scheme(&self) -> &'static str {
        "dynamodb"
    }

    fn licence(&self) -> &'static str {
        // Amazon's own: it may be used to develop and test for DynamoDB.
        "LicenseRef-DynamoDBLocal"
    }

    fn origin(&self) -> Origin {
        Origin::Download(&DOWNLOAD)
    }

    fn programs(&self) -> &'static [&'static str] {
        &["java"]
    }

    fn has_password(&self) -> bool {
        false
    }

    fn encryption(&self, certificates: &Certificates<'_>) -> Option<Encryption> {
        let Certificates { certificate, key, port, .. } = certificates;
        let values = [port.to_string(), certificate.display().to_string(), key.display().to_string()];
        Some(Encryption {
            settings: TLS_SETTINGS.into_iter().zip(values).collect(),
            has_own_port: true,
            ..Encryption::default()
        })
    }

    fn preparation(&self, _site: &Site) -> Plan {
        Plan::default()
    }

    fn launch(&self, site: &Site) -> Plan {
        let folder = site.installation.folder();
        let mut class_path = OsString::from(folder.join("classes"));
        class_path.push(":");
        class_path.push(folder.join(LIBRARIES).join("*"));
        let mut command = Invocation::new(site.installation.server())
            .arguments(OPTIONS)
            .path_argument("-Dsqlite4java.library.path=", &folder.join(LIBRARIES))
            .path_argument("-Djava.io.tmpdir=", &site.folder)
            .path_argument("-Duser.home=", &site.folder)
            .argument(format!("-Dstorelab.address={}", site.address));
        for name in TLS_SETTINGS {
            if let Some(value) = site.settings.get(name) {
                command = command.argument(format!("-Dstorelab.{name}={value}"));
            }
        }
        let command = command
            .argument("-cp")
            .argument(class_path)
            .argument(MAIN)
            .arguments(["-port", &site.port.to_string(), "-disableTelemetry", "-sharedDb", "-dbPath"])
            .argument(site.data.clone());
        // Everything else that is asked for is an option of its own, such as `delayTransientStatuses`.
        let others = site.settings.iter().filter(|(name, _)| !TLS_SETTINGS.contains(&name.as_str()));
        let command = others.fold(command, |command, (name, value)| {
            let command = command.argument(format!("-{name}"));
            if value.is_empty() { command } else { command.argument(value) }
        });
        Plan { files: Vec::new(), commands: vec![command] }
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        // It has no passwords and checks no signature, but wants one; this also makes it load what clients use first.
        const QUESTION: &[u8] = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\
            Content-Type: application/x-amz-json-1.0\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\n\
            Authorization: AWS4-HMAC-SHA256 Credential=storelab/20260101/us-east-1/dynamodb/aws4_request, \
            SignedHeaders=host, Signature=0\r\n\r\n{}";
        let answer: [u8; 12] = probe::ask(address, QUESTION)?;
        Ok(&answer == b"HTTP/1.1 200")
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn url(&self, site: &Site) -> String {
        format!("dynamodb://{}:{}", site.address, site.port)
    }
}
