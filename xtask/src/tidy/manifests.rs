//! Rules about who may depend on whom. The invariants they keep are those of ARCHITECTURE.md.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::{File, Finding, Manifest, Member, Workspace};

/// Our crates, each of which may depend on those before it.
const ORDER: &[&str] = &[
    "stats",
    "store",
    "reactor",
    "drivers",
    "workload",
    "runner",
    "telemetry",
    "provision",
    "fault",
    "diagnosis",
    "advisor",
    "cache",
    "monitor",
    "proxy",
    "experiment",
    "results",
    "server",
    "storelab",
    "testkit",
    "figures",
    "floors",
    "history",
    "instructions",
    "peers",
    "service",
    "xtask",
];

/// A kind of dependency that only some of our crates may have.
struct Fence {
    /// What it is about, for the message.
    what: &'static str,
    /// The dependencies.
    names: &'static [&'static str],
    /// Who may have them.
    owners: &'static [&'static str],
}

/// Every section that dependencies stand in.
const SECTIONS: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

const FENCES: &[Fence] = &[
    Fence {
        what: "a database client",
        names: &[
            "aws-sdk-dynamodb",
            "aws-smithy-runtime-api",
            "mongodb",
            "mysql_async",
            "mysql_common",
            "postgres",
            "postgres-protocol",
            "redis",
            "rusqlite",
            "scylla",
            "tokio-postgres",
            "tokio-postgres-rustls",
        ],
        owners: &["drivers", "floors", "peers", "results"],
    },
    Fence {
        what: "HTTP service",
        names: &["axum", "tower", "tower-http", "utoipa", "utoipa-axum", "utoipa-scalar"],
        owners: &["server"],
    },
    Fence { what: "HTTP", names: &["http-body-util", "hyper", "hyper-util"], owners: &["drivers", "floors", "server"] },
    Fence { what: "a profiler's picture", names: &["inferno"], owners: &["telemetry"] },
    Fence {
        what: "traces",
        names: &["opentelemetry", "opentelemetry-proto", "opentelemetry_sdk", "prost"],
        owners: &["server"],
    },
    Fence { what: "a format of exports", names: &["parquet"], owners: &["results"] },
    Fence { what: "a terminal", names: &["comfy-table", "crossterm", "ratatui"], owners: &["storelab"] },
    Fence {
        what: "errors without a type",
        names: &["anyhow"],
        owners: &["figures", "floors", "history", "instructions", "peers", "service", "storelab", "xtask"],
    },
];

/// Crates that take values and give values.
const PURE: &[&str] = &["stats", "diagnosis"];

/// What I/O and async runtimes come with.
const IMPURE: &[&str] = &[
    "async-trait",
    "futures-core",
    "futures-util",
    "libc",
    "mio",
    "reqwest",
    "rustix",
    "tempfile",
    "tokio",
    "tracing",
];

/// Every finding about a manifest.
pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings: Vec<_> = workspace.members.iter().flat_map(check_member).collect();
    findings.extend(workspace.members.iter().flat_map(|member| check_unnamed(member, &workspace.sources)));
    findings.extend(check_unused(workspace));
    findings
}

fn check_member(member: &Member) -> Vec<Finding> {
    let Member { name, manifest, .. } = member;
    let mut findings = Vec::new();
    let mut report = |key: &str, message: String| findings.push(manifest.file.finding(manifest.line_of(key), message));
    let package = manifest.table.get("package").and_then(Value::as_table);
    if package.and_then(|package| package.get("name")).and_then(Value::as_str) != Some(name) {
        report("name", format!("a crate is called as its folder: `{name}`"));
    }
    for key in ["edition", "license", "publish", "rust-version", "version"] {
        if !package.and_then(|package| package.get(key)).is_some_and(is_inherited) {
            report(key, format!("write `{key}.workspace = true`: the workspace decides it"));
        }
    }
    if !manifest.table.get("lints").is_some_and(is_inherited) {
        report("workspace", "add `[lints]` with `workspace = true`".to_owned());
    }
    if !ORDER.contains(&name.as_str()) {
        report("name", format!("`{name}` has no place in the dependency order: give it one in xtask's ORDER"));
    }
    for (dependency, value) in dependencies(&manifest.table, SECTIONS) {
        if !is_inherited(value) {
            report(
                dependency,
                format!("write `{dependency}.workspace = true`: versions are in the root manifest only"),
            );
        }
    }
    for (dependency, _) in dependencies(&manifest.table, &["dependencies", "build-dependencies"]) {
        for message in forbidden(name, dependency) {
            report(dependency, message);
        }
    }
    findings
}

/// Why a crate may not depend on something.
fn forbidden(name: &str, dependency: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let place = |wanted: &str| ORDER.iter().position(|known| *known == wanted);
    if let (Some(from), Some(to)) = (place(name), place(dependency))
        && to >= from
    {
        messages
            .push(format!("`{name}` comes before `{dependency}` and may not depend on it: move what both need down"));
    }
    for fence in FENCES {
        if fence.names.contains(&dependency) && !fence.owners.contains(&name) {
            let owners = fence.owners.join("` and `");
            messages.push(format!("`{dependency}` is {}, which only `{owners}` may know", fence.what));
        }
    }
    if PURE.contains(&name) && IMPURE.contains(&dependency) {
        messages
            .push(format!("`{name}` does no I/O and knows no runtime: pass it values instead of using `{dependency}`"));
    }
    messages
}

/// Dependencies that none of the crate's sources names.
fn check_unnamed(member: &Member, sources: &[File]) -> Vec<Finding> {
    let folder = format!("{}/", member.folder);
    let of_crate: Vec<_> = sources.iter().filter(|source| source.path.starts_with(&folder)).collect();
    let manifest = &member.manifest;
    let mut findings = Vec::new();
    for (dependency, _) in dependencies(&manifest.table, SECTIONS) {
        let identifier = dependency.replace('-', "_");
        let names_it = |source: &&File| source.text.split(is_no_identifier).any(|word| word == identifier);
        if !of_crate.iter().any(names_it) {
            let message = format!("no source of `{}` names `{dependency}`: remove it", member.name);
            findings.push(manifest.file.finding(manifest.line_of(dependency), message));
        }
    }
    findings
}

fn is_no_identifier(character: char) -> bool {
    !character.is_alphanumeric() && character != '_'
}

/// Dependencies of the workspace that no crate has.
fn check_unused(workspace: &Workspace) -> Vec<Finding> {
    let used: BTreeSet<&str> = workspace
        .members
        .iter()
        .flat_map(|member| dependencies(&member.manifest.table, SECTIONS))
        .map(|(dependency, _)| dependency)
        .collect();
    let manifest = &workspace.manifest;
    let unused = shared(manifest).filter(|name| !used.contains(name));
    let message = |name: &str| format!("no crate depends on `{name}`: remove it");
    unused.map(|name| manifest.file.finding(manifest.line_of(name), message(name))).collect()
}

/// The names of other people's crates in `[workspace.dependencies]`.
pub(super) fn shared(manifest: &Manifest) -> impl Iterator<Item = &str> {
    let table = manifest.table.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let entries = table.and_then(Value::as_table).into_iter().flatten();
    entries.filter(|(_, value)| value.get("path").is_none()).map(|(name, _)| name.as_str())
}

/// Whether a value is `{ workspace = true }`.
fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// The dependencies in sections of a manifest, those for some platforms only as well.
fn dependencies<'a>(table: &'a Table, sections: &[&str]) -> Vec<(&'a str, &'a Value)> {
    let targets = table.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = targets.filter_map(|(_, target)| target.as_table()).chain([table]);
    let in_sections = |table: &'a Table| {
        let found: Vec<_> = sections.iter().filter_map(|section| table.get(*section)?.as_table()).collect();
        found.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
    };
    tables.flat_map(in_sections).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "edition.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
        rust-version.workspace = true\nversion.workspace = true\n[lints]\nworkspace = true\n";

    fn findings(name: &str, rest: &str) -> Vec<String> {
        let text = format!("[package]\nname = \"{name}\"\n{HEAD}{rest}\n");
        let folder = format!("crates/{name}");
        let file = File { path: format!("{folder}/Cargo.toml"), text };
        let manifest = Manifest::parse(file).expect("TOML");
        check_member(&Member { name: name.to_owned(), folder, manifest }).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_dependency_that_nobody_names_is_found() {
        let text =
            "[dependencies]\nserde.workspace = true\nserde_json.workspace = true\ntokio-rustls.workspace = true\n";
        let file = File { path: "crates/a/Cargo.toml".to_owned(), text: text.to_owned() };
        let manifest = Manifest::parse(file).expect("TOML");
        let member = Member { name: "a".to_owned(), folder: "crates/a".to_owned(), manifest };
        let source = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let sources = [
            source("crates/a/src/lib.rs", "use serde_json::Value;\nuse tokio_rustls::client;\n"),
            source("crates/ab/src/lib.rs", "use serde::Serialize;\n"),
        ];
        let found: Vec<_> = check_unnamed(&member, &sources).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["crates/a/Cargo.toml:2: no source of `a` names `serde`: remove it"]);
    }

    #[test]
    fn each_rule_finds_what_is_against_it() {
        for (name, rest, expect) in [
            ("stats", "[dependencies]\nserde.workspace = true", None),
            (
                "stats",
                "[dependencies]\ntokio.workspace = true",
                Some("crates/stats/Cargo.toml:11: `stats` does no I/O"),
            ),
            ("stats", "[target.'cfg(unix)'.dependencies]\nrustix.workspace = true", Some(":11: `stats` does no I/O")),
            ("store", "[dependencies]\nrunner.workspace = true", Some("`store` comes before `runner`")),
            ("store", "[dev-dependencies]\nrunner.workspace = true", None),
            ("runner", "[dependencies]\nserde = \"1\"", Some(":11: write `serde.workspace = true`")),
            (
                "runner",
                "[dependencies]\nanyhow.workspace = true",
                Some(
                    "which only `figures` and `floors` and `history` and `instructions` and `peers` and `service` and `storelab` and `xtask` may know",
                ),
            ),
            (
                "runner",
                "[dependencies]\nrusqlite = { workspace = true }",
                Some("only `drivers` and `floors` and `peers` and `results` may know"),
            ),
            ("results", "[dependencies]\nrusqlite = { workspace = true }", None),
            ("experiment", "[dependencies]\naxum.workspace = true", Some("only `server` may know")),
            ("gadgets", "", Some("crates/gadgets/Cargo.toml:2: `gadgets` has no place")),
        ] {
            let found = findings(name, rest);
            match expect {
                None => assert!(found.is_empty(), "{name} {rest}: {found:?}"),
                Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{name} {rest}: {found:?}"),
            }
        }
    }
}
