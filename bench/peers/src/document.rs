//! The part of `docs/benchmarks.md` that is measured.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::Value;
use telemetry::Provenance;

const BEGIN: &str = "<!-- measured: begin (make bench-peers writes what follows) -->\n";
const END: &str = "<!-- measured: end -->\n";

/// The document with other content between its markers.
pub(crate) fn replaced(document: &str, content: &str) -> anyhow::Result<String> {
    let marker = |marker: &str| format!("the document has no line `{}`", marker.trim());
    let (before, rest) = document.split_once(BEGIN).with_context(|| marker(BEGIN))?;
    let (_, after) = rest.split_once(END).with_context(|| marker(END))?;
    Ok(format!("{before}{BEGIN}\n{content}\n{END}{after}"))
}

/// On what, with what and how often it was measured.
pub(crate) fn about(
    host: &Provenance,
    servers: &[String],
    versions: &BTreeMap<String, Value>,
    rounds: u32,
    seconds: u32,
) -> String {
    let unknown = || "unknown".to_owned();
    let memory =
        host.memory_bytes.map_or_else(unknown, |bytes| format!("{:.0} GiB", bytes as f64 / f64::from(1 << 30)));
    let programs = versions.iter().filter_map(|(name, version)| {
        let version = version.as_str()?;
        Some(if version.contains(name) { version.to_owned() } else { format!("{name} {version}") })
    });
    format!(
        "Medians of {rounds} rounds of {seconds} s. {}{} with {} processors and {memory}, {}, Linux {}, client and server on the \
         same host. {}; {}.",
        host.cpu_model.clone().unwrap_or_else(unknown),
        if host.virtualisation.is_some() { " (a virtual machine)" } else { "" },
        host.cores_online.map_or_else(unknown, |cores| cores.to_string()),
        host.distribution.clone().unwrap_or_else(unknown),
        host.kernel.clone().unwrap_or_else(unknown),
        servers.join(", "),
        programs.collect::<Vec<_>>().join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let document = format!("before\n{BEGIN}old\n{END}after\n");
        let expect = format!("before\n{BEGIN}\nnew\n\n{END}after\n");
        assert_eq!(replaced(&document, "new\n").expect("markers"), expect);
        assert!(replaced("no markers", "new").is_err());
    }
}
