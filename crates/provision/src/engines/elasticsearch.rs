//! Elasticsearch, and `OpenSearch` that was made of it: nodes put together from the libraries in Maven's repository.
//!
//! Neither knows passwords or encryption here: both are in modules that are not published there. Each listens on loopback
//! only.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::engine::{Engine, Invocation, Plan, Site};
use crate::origin::{Download, Effort, Origin, Tool};
use crate::{Result, Workshop, probe};

/// The class that starts a node, in the words of Elasticsearch.
const MAIN: &str = "StorelabNode";
const MAIN_SOURCE: &str = include_str!("elasticsearch/StorelabNode.java");

/// What both products' classes begin with.
const ROOT_ELASTICSEARCH: &str = "org.elasticsearch.";
const ROOT_OPENSEARCH: &str = "org.opensearch.";

/// Where the libraries are in the engine's folder.
const LIBRARIES: &str = "lib";

/// Several servers run side by side: little memory, one thread for its garbage, and code that is ready soon rather than
/// fast one day. The rest is what the distributions say to Java, or what would need more rights than a server has here.
const OPTIONS: [&str; 12] = [
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Xss512k",
    "-Djava.net.preferIPv4Stack=true",
    "-Djava.security.manager=allow",
    "-Djna.nosys=true",
    "-Dlog4j2.disable.jmx=true",
    "-Dio.netty.allocator.numDirectArenas=0",
    "-Dio.netty.noUnsafe=true",
];

/// What every node is set to, unless it is wanted otherwise: quiet, and not worried about a disk that is nearly full.
/// Requests are refused for the memory that they take, not for garbage that has not been collected yet.
const DEFAULTS: [(&str, &str); 6] = [
    ("cluster.name", "storelab"),
    ("cluster.routing.allocation.disk.threshold_enabled", "false"),
    ("http.type", "netty4"),
    ("indices.breaker.total.use_real_memory", "false"),
    ("logger.level", "WARN"),
    ("transport.type", "netty4"),
];

/// One of the two.
pub(super) struct SearchEngine {
    name: &'static str,
    title: &'static str,
    scheme: &'static str,
    download: &'static Download,
    /// What its distribution tells Java about itself.
    distribution: &'static [&'static str],
}

static ELASTICSEARCH_DOWNLOAD: Download = Download {
    version: "7.10.2",
    from: "Maven: org.codelibs:elasticsearch-cluster-runner:7.10.2.0",
    tools: &[Tool::JDK, Tool::MAVEN],
    effort: Effort::Minutes,
    programs_suffice: false,
    make: make_elasticsearch,
};

pub(super) static ELASTICSEARCH: SearchEngine = SearchEngine {
    name: "elasticsearch",
    title: "Elasticsearch",
    scheme: "elasticsearch",
    download: &ELASTICSEARCH_DOWNLOAD,
    distribution: &["-Des.distribution.flavor=default", "-Des.distribution.type=tar"],
};

static OPENSEARCH_DOWNLOAD: Download = Download {
    version: "2.19.6",
    from: "Maven: org.opensearch:opensearch:2.19.6 and its modules",
    tools: &[Tool::JDK, Tool::MAVEN],
    effort: Effort::Minutes,
    programs_suffice: false,
    make: make_opensearch,
};

pub(super) static OPENSEARCH: SearchEngine = SearchEngine {
    name: "opensearch",
    title: "OpenSearch",
    scheme: "opensearch",
    download: &OPENSEARCH_DOWNLOAD,
    distribution: &["-Dopensearch.distribution.type=tar"],
};

fn make_elasticsearch(workshop: &mut Workshop<'_>) -> Result<()> {
    // A library for tests that depends on the server and on all modules under the free licence.
    let dependency = artifact("org.codelibs", "elasticsearch-cluster-runner", "7.10.2.0");
    workshop.maven_libraries(&dependency, LIBRARIES)?;
    workshop.java_class(MAIN, MAIN_SOURCE, LIBRARIES)
}

fn make_opensearch(workshop: &mut Workshop<'_>) -> Result<()> {
    const VERSION: &str = "2.19.6";
    const CORE: [&str; 2] = ["opensearch", "opensearch-plugin-classloader"];
    const MODULES: [&str; 13] = [
        "aggs-matrix-stats-client",
        "analysis-common",
        "geo",
        "ingest-common",
        "lang-expression",
        "lang-mustache-client",
        "lang-painless",
        "mapper-extras-client",
        "parent-join-client",
        "percolator-client",
        "reindex-client",
        "repository-url",
        "transport-netty4-client",
    ];
    /// What the server names as optional, and does not run without.
    const OPTIONAL: [(&str, &str, &str); 4] = [
        ("org.apache.logging.log4j", "log4j-api", "2.21.0"),
        ("org.apache.logging.log4j", "log4j-core", "2.21.0"),
        ("org.locationtech.jts", "jts-core", "1.15.0"),
        ("org.locationtech.spatial4j", "spatial4j", "0.7"),
    ];
    let mut dependencies: Vec<String> = CORE.iter().map(|name| artifact("org.opensearch", name, VERSION)).collect();
    dependencies.extend(MODULES.iter().map(|name| artifact("org.opensearch.plugin", name, VERSION)));
    dependencies.extend(OPTIONAL.iter().map(|(group, name, version)| artifact(group, name, version)));
    workshop.maven_libraries(&dependencies.join("\n"), LIBRARIES)?;
    workshop.java_class(MAIN, &MAIN_SOURCE.replace(ROOT_ELASTICSEARCH, ROOT_OPENSEARCH), LIBRARIES)
}

fn artifact(group: &str, name: &str, version: &str) -> String {
    format!(
        "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
    )
}

impl Engine for SearchEngine {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn scheme(&self) -> &'static str {
        self.scheme
    }

    fn licence(&self) -> &'static str {
        // Elasticsearch's up to 7.10, whose free modules these are.
        "Apache-2.0"
    }

    fn origin(&self) -> Origin {
        Origin::Download(self.download)
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

    fn nodes_start_together(&self) -> bool {
        true
    }

    fn has_password(&self) -> bool {
        false
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
            .arguments(self.distribution)
            .path_argument("-Djava.io.tmpdir=", &site.folder)
            .argument("-cp")
            .argument(class_path)
            .argument(MAIN);
        let defaults = DEFAULTS.iter().filter(|(name, _)| !site.settings.contains_key(*name));
        command = command.arguments(defaults.map(|(name, value)| format!("{name}={value}")));
        command = command.arguments(site.settings.iter().map(|(name, value)| format!("{name}={value}")));
        command = command
            .arguments(addresses(site))
            .path_argument("path.home=", &site.folder)
            .path_argument("path.logs=", &site.folder)
            .path_argument("path.data=", &site.data);
        Plan { files: Vec::new(), commands: vec![command] }
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        // Answered with 408 where the data is not there yet: after a restart it takes a while until it can be read.
        let answer: [u8; 12] = probe::ask(
            address,
            b"GET /_cluster/health?wait_for_status=yellow&wait_for_no_initializing_shards=true&timeout=300ms HTTP/1.1\r\n\
              Host: localhost\r\nConnection: close\r\n\r\n",
        )?;
        Ok(&answer == b"HTTP/1.1 200")
    }

    fn ready_timeout(&self) -> Duration {
        Duration::from_mins(3)
    }

    fn url(&self, site: &Site) -> String {
        format!("{}://{}:{}", self.scheme, site.address, site.port)
    }
}

/// Where a node listens, and whom it finds the others by.
fn addresses(site: &Site) -> Vec<String> {
    let name = |node: usize| format!("node{node}");
    let mut settings = vec![
        format!("node.name={}", name(site.node)),
        format!("network.host={}", site.address),
        format!("http.port={}", site.port),
        format!("transport.port={}", site.ports.first().copied().unwrap_or_default()),
    ];
    if site.nodes.len() < 2 {
        settings.push("discovery.type=single-node".to_owned());
        return settings;
    }
    let peers = site.nodes.iter().map(|peer| format!("{}:{}", peer.address, peer.ports.first().unwrap_or(&0)));
    settings.push(format!("discovery.seed_hosts={}", peers.collect::<Vec<_>>().join(",")));
    // Only read where there is no cluster yet.
    let names: Vec<_> = (0..site.nodes.len()).map(name).collect();
    settings.push(format!("cluster.initial_master_nodes={}", names.join(",")));
    settings
}
