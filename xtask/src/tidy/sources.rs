//! Rules about the text of Rust files.

use super::{File, Finding};

/// Past about 500 lines a file holds a second idea; tests included it gets this far.
const LINES_MAX: usize = 700;

/// Texts that no source holds, with the remedy. Put together from parts, for this file is a source as well.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "do it, or leave it out"),
    (concat!("FIX", "ME"), "do it, or leave it out"),
    (concat!("to", "do!("), "write the code"),
    (concat!("db", "g!("), "remove it"),
    (concat!("#[ig", "nore"), "let the test name what it skips, with `skipped: …`"),
    (concat!("#[al", "low("), "write `#[expect(lint, reason = \"…\")]`"),
    (concat!("#![al", "low("), "write `#![expect(lint, reason = \"…\")]`"),
    (concat!(".unw", "rap()"), "return the error, or write `expect(\"why it cannot fail\")`"),
    (concat!("/ho", "me/"), "no path of one machine: derive it, or use a temporary folder"),
    (concat!("/ro", "ot/"), "no path of one machine: derive it, or use a temporary folder"),
    (concat!("/wo", "rk/"), "no path of one machine: derive it, or use a temporary folder"),
    ("\t", "indent with spaces, and write \\t in strings"),
];

/// The attributes by which a file is let off the ban on unsafe code, and the one file that may have it.
const UNSAFE: &str = concat!("unsafe", "_code");
const UNSAFE_OWNER: &str = "crates/reactor/src/kernel.rs";

/// Where no product is named (ARCHITECTURE.md).
const NAMELESS: &str = "crates/store/src/";

/// Products and the words that mean them, in small letters.
const PRODUCTS: &[&str] = &[
    "cassandra",
    "citus",
    "clickhouse",
    "cockroach",
    "cockroachdb",
    "duckdb",
    "dynamodb",
    "elasticsearch",
    "influxdb",
    "mariadb",
    "memcached",
    "mongo",
    "mongodb",
    "mysql",
    "oceanbase",
    "opensearch",
    "postgres",
    "postgresql",
    "redis",
    "scylla",
    "scylladb",
    "sqlite",
    "tidb",
    "valkey",
    "vitess",
];

/// Names that comments of the nameless crate need: an example of what a method returns, and whose limit a limit is.
const EXAMPLES: &[(&str, &[&str])] =
    &[("crates/store/src/driver.rs", &["postgres", "postgresql"]), ("crates/store/src/dataset.rs", &["postgresql"])];

/// Every finding about a source.
pub(super) fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.text.starts_with("//!") {
        findings.push(file.finding(1, "open the file with `//!` and what it is for"));
    }
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        findings
            .push(file.finding(LINES_MAX + 1, format!("{lines} lines are over {LINES_MAX}: move the second idea out")));
    }
    for (index, line) in file.text.lines().enumerate() {
        for (text, remedy) in FORBIDDEN.iter().filter(|(text, _)| line.contains(text)) {
            findings.push(file.finding(index + 1, format!("`{}`: {remedy}", text.escape_debug())));
        }
    }
    if file.path != UNSAFE_OWNER
        && let Some(line) = file.text.lines().position(|line| line.contains(UNSAFE))
    {
        let message = format!("only {UNSAFE_OWNER} shares memory with the kernel: find a safe way");
        findings.push(file.finding(line + 1, message));
    }
    findings.extend(check_products(file));
    findings
}

/// The nameless crate names no product, but in its tests.
fn check_products(file: &File) -> Vec<Finding> {
    if !file.path.starts_with(NAMELESS) {
        return Vec::new();
    }
    let examples = EXAMPLES.iter().find(|(path, _)| *path == file.path).map_or(&[][..], |(_, words)| words);
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate().take_while(|(_, line)| *line != "#[cfg(test)]") {
        for word in line.split(|character: char| !character.is_alphanumeric()) {
            let lower = word.to_lowercase();
            if PRODUCTS.contains(&lower.as_str()) && !(examples.contains(&lower.as_str()) && is_comment(line)) {
                let message = format!("`{word}` is a product, and `store` names none: make it data of the driver");
                findings.push(file.finding(index + 1, message));
            }
        }
    }
    findings
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_what_is_against_it() {
        let long = format!("//! x\n{}", "\n".repeat(LINES_MAX));
        let task = format!("//! x\n// {}: later\n", concat!("TO", "DO"));
        for (path, text, expect) in [
            ("a.rs", "//! For this.\n", None),
            ("a.rs", "use x;\n", Some("a.rs:1: open the file")),
            ("a.rs", long.as_str(), Some("a.rs:701: 701 lines")),
            ("a.rs", task.as_str(), Some("a.rs:2: `TO")),
            ("a.rs", "//! x\n\tlet y;\n", Some("a.rs:2: `\\t`: indent")),
            ("a.rs", concat!("//! x\n#![expect(unsafe", "_code)]\n"), Some("a.rs:2: only crates/reactor")),
            (UNSAFE_OWNER, concat!("//! x\n#![expect(unsafe", "_code)]\n"), None),
            ("a.rs", "//! x\n// Redis\n", None),
            ("crates/store/src/a.rs", "//! x\n// As Redis does.\n", Some("a.rs:2: `Redis` is a product")),
            ("crates/store/src/a.rs", "//! x\n#[cfg(test)]\n// As Redis does.\n", None),
            ("crates/store/src/driver.rs", "//! x\n/// `postgres`\n", None),
            ("crates/store/src/driver.rs", "//! x\nlet name = \"postgres\";\n", Some("`postgres` is a product")),
        ] {
            let file = File { path: path.to_owned(), text: text.to_owned() };
            let found: Vec<_> = check(&file).iter().map(ToString::to_string).collect();
            match expect {
                None => assert!(found.is_empty(), "{text}: {found:?}"),
                Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{text}: {found:?}"),
            }
        }
    }
}
