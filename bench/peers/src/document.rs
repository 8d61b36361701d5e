//! The part of `docs/benchmarks.md` that is measured.

use std::collections::BTreeMap;

use serde_json::Value;
use telemetry::Provenance;

/// The place of the table on its page.
pub(crate) const PLACE: &str = "measured";

/// On what, with what and how often it was measured.
pub(crate) fn about(
    host: &Provenance,
    servers: &[String],
    versions: &BTreeMap<String, Value>,
    rounds: u32,
    seconds: u32,
) -> String {
    let programs = versions.iter().filter_map(|(name, version)| {
        let version = version.as_str()?;
        Some(if version.contains(name) { version.to_owned() } else { format!("{name} {version}") })
    });
    format!(
        "Medians of {rounds} rounds of {seconds} s. {}, client and server on the same host. {}; {}.",
        figures::machine(host),
        servers.join(", "),
        programs.collect::<Vec<_>>().join(", "),
    )
}
