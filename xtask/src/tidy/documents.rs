//! Rules about documents that must tell what the tree holds.

use super::manifests::shared;
use super::{File, Finding, Workspace};

/// How a crate's paragraph in ARCHITECTURE.md begins: ``### `crates/stats` ``.
const MAP_ENTRY: &str = "### `";

/// The part of CONTRIBUTING.md with the table of dependencies.
const DEPENDENCIES: &str = "## Dependencies";

/// Every finding about a document.
pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let folders: Vec<_> = workspace.members.iter().map(|member| member.folder.as_str()).collect();
    let mut names: Vec<_> = shared(&workspace.manifest).collect();
    names.sort_unstable();
    let mut findings = check_map(&workspace.architecture, &folders);
    findings.extend(check_table(&workspace.contributing, &names));
    findings
}

/// Every crate has its paragraph in the code map, and every paragraph its crate.
fn check_map(architecture: &File, folders: &[&str]) -> Vec<Finding> {
    let map = quoted_lines(architecture, MAP_ENTRY, "");
    let missing = folders.iter().filter(|folder| map.iter().all(|(_, name)| name != *folder));
    let mut findings: Vec<_> = missing
        .map(|folder| architecture.finding(1, format!("the code map has no paragraph `{MAP_ENTRY}{folder}`: write it")))
        .collect();
    let strange = map.iter().filter(|(_, name)| !folders.contains(name));
    findings.extend(strange.map(|(line, name)| architecture.finding(*line, format!("there is no crate `{name}`"))));
    findings
}

/// Every dependency has its line in the table, in alphabetic order, and every line its dependency.
fn check_table(contributing: &File, names: &[&str]) -> Vec<Finding> {
    let table = quoted_lines(contributing, "| `", DEPENDENCIES);
    let heading = contributing.line_where(|line| line == DEPENDENCIES);
    let missing = names.iter().filter(|name| table.iter().all(|(_, listed)| listed != *name));
    let mut findings: Vec<_> = missing
        .map(|name| {
            contributing.finding(heading, format!("the table does not say why we depend on `{name}`: add a line"))
        })
        .collect();
    for (line, name) in table.iter().filter(|(_, name)| !names.contains(name)) {
        findings
            .push(contributing.finding(*line, format!("the workspace does not depend on `{name}`: remove the line")));
    }
    for pair in table.windows(2) {
        if let [(_, before), (line, name)] = pair
            && before >= name
        {
            findings.push(
                contributing.finding(*line, format!("`{name}` belongs before `{before}`: the table is alphabetic")),
            );
        }
    }
    findings
}

/// The lines that begin with `start`, which ends in a backtick, below a heading: each with what stands in the backticks.
fn quoted_lines<'a>(file: &'a File, start: &str, heading: &str) -> Vec<(usize, &'a str)> {
    let mut is_inside = heading.is_empty();
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if !heading.is_empty() && line.starts_with("## ") {
            is_inside = line == heading;
        }
        if is_inside && let Some((name, _)) = line.strip_prefix(start).and_then(|rest| rest.split_once('`')) {
            found.push((index + 1, name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { path: "A.md".to_owned(), text: text.to_owned() }
    }

    fn lines(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_code_map_and_the_tree_must_agree() {
        let map = file("# A\n### `crates/stats`\nNumbers.\n### `crates/gone`\n");
        let found = lines(&check_map(&map, &["crates/stats", "xtask"]));
        assert_eq!(
            found,
            ["A.md:1: the code map has no paragraph `### `xtask`: write it", "A.md:4: there is no crate `crates/gone`"]
        );
    }

    #[test]
    fn the_table_and_the_manifest_must_agree() {
        let table =
            file("## Other\n| `x` | y |\n## Dependencies\n| what | why |\n| `b` | y |\n| `a` | y |\n| `z` | y |\n");
        let found = lines(&check_table(&table, &["a", "b", "c"]));
        assert_eq!(
            found,
            [
                "A.md:3: the table does not say why we depend on `c`: add a line",
                "A.md:7: the workspace does not depend on `z`: remove the line",
                "A.md:6: `a` belongs before `b`: the table is alphabetic",
            ]
        );
    }
}
