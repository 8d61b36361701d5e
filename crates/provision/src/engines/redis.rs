//! Redis, and what is made like it.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::engine::{Certificates, Encryption, Engine, Invocation, Plan, PlanFile, Site};
use crate::origin::Origin;
use crate::probe;

/// Redis reads a file that only it can read: its arguments, which everybody can, would show the password.
const CONFIGURATION: &str = "redis.conf";

/// In memory and quiet: nothing is written to disk unless a setting asks for it. 12 000 clients let a load of 10 000
/// connections be tried; Redis lowers it by itself where the process may not open so many files.
const DEFAULTS: &str = "\
daemonize no
supervised no
loglevel notice
logfile \"\"
save \"\"
appendonly no
maxclients 12000
";

pub(super) struct Redis;

impl Engine for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn title(&self) -> &'static str {
        "Redis"
    }

    fn scheme(&self) -> &'static str {
        "redis"
    }

    fn licence(&self) -> &'static str {
        // Up to 7.2, which is what distributions package; later ones are RSALv2 or SSPL, from 8 on AGPL too.
        "BSD-3-Clause"
    }

    fn origin(&self) -> Origin {
        Origin::Debian(&["redis-server"])
    }

    fn image(&self) -> Option<&'static str> {
        Some("redis:7.2")
    }

    fn programs(&self) -> &'static [&'static str] {
        &["redis-server"]
    }

    fn encryption(&self, certificates: &Certificates<'_>) -> Option<Encryption> {
        let [certificate, key] = [certificates.certificate, certificates.key].map(|path| path.display().to_string());
        let settings = vec![
            ("tls-port", certificates.port.to_string()),
            ("tls-cert-file", certificate),
            ("tls-key-file", key),
            ("tls-auth-clients", "no".to_owned()),
        ];
        Some(Encryption { settings, has_own_port: true })
    }

    fn preparation(&self, _site: &Site) -> Plan {
        Plan::default()
    }

    fn launch(&self, site: &Site) -> Plan {
        let path = site.folder.join(CONFIGURATION);
        Plan {
            files: vec![PlanFile { path: path.clone(), content: configuration(site), is_transient: false }],
            commands: vec![Invocation::new(site.installation.server()).argument(path)],
        }
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        // It answers `+PONG`, `-NOAUTH …`, or `-LOADING …` as long as it reads its data.
        let answer: [u8; 5] = probe::ask(address, b"PING\r\n")?;
        Ok(matches!(&answer, b"+PONG" | b"-NOAU"))
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn url(&self, site: &Site) -> String {
        format!("redis://:{}@127.0.0.1:{}", site.password.expose(), site.port)
    }
}

/// The last line about a thing is the one that holds, so what keeps the server to itself comes last.
fn configuration(site: &Site) -> String {
    let mut text = DEFAULTS.to_owned();
    let put = |text: &mut String, name: &str, value: &str| {
        writeln!(text, "{name} {value}").expect("writing to a string cannot fail");
    };
    for (name, value) in &site.settings {
        put(&mut text, name, if value.is_empty() { "\"\"" } else { value });
    }
    put(&mut text, "bind", "127.0.0.1");
    put(&mut text, "port", &site.port.to_string());
    put(&mut text, "protected-mode", "yes");
    put(&mut text, "requirepass", site.password.expose());
    put(&mut text, "dir", &quoted(&site.data.to_string_lossy()));
    text
}

/// A value that may hold blanks, in the quotes that redis.conf knows.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
