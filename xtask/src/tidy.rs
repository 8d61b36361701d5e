//! `cargo xtask tidy`: the rules of the house that no compiler knows, checked by reading manifests, documents and sources.
//!
//! The same check is a test, so that `cargo test` fails where the tree is not tidy.

mod documents;
mod manifests;
mod sources;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use toml::Table;

/// Something that is against a rule, with the place and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Relative to the workspace.
    file: String,
    /// From 1.
    line: usize,
    /// What is wrong and what to do.
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// A text file of the workspace.
#[derive(Debug, Clone)]
struct File {
    /// Relative to the workspace.
    path: String,
    text: String,
}

impl File {
    fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { file: self.path.clone(), line, message: message.into() }
    }

    /// The first line that satisfies a condition, from 1; 1 where none does.
    fn line_where(&self, condition: impl Fn(&str) -> bool) -> usize {
        self.text.lines().position(condition).map_or(1, |index| index + 1)
    }
}

/// A `Cargo.toml`.
#[derive(Debug)]
struct Manifest {
    file: File,
    table: Table,
}

impl Manifest {
    fn parse(file: File) -> Result<Self> {
        let table = file.text.parse().with_context(|| format!("{} is no TOML", file.path))?;
        Ok(Self { file, table })
    }

    /// The line on which a key is set, from 1.
    fn line_of(&self, key: &str) -> usize {
        self.file.line_where(|line| {
            line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
        })
    }
}

/// A crate of the workspace.
#[derive(Debug)]
struct Member {
    /// `stats`.
    name: String,
    /// `crates/stats`.
    folder: String,
    manifest: Manifest,
}

/// Everything that the rules look at.
#[derive(Debug)]
struct Workspace {
    manifest: Manifest,
    members: Vec<Member>,
    architecture: File,
    contributing: File,
    sources: Vec<File>,
}

/// Prints what is against the rules.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "findings are its output, and their number is talk")]
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    let findings = check(&Workspace::read(root)?);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{} against the rules of STYLE.md and ARCHITECTURE.md", findings.len());
    Ok(ExitCode::FAILURE)
}

/// All findings, by file and line.
fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = manifests::check(workspace);
    findings.extend(documents::check(workspace));
    findings.extend(workspace.sources.iter().flat_map(sources::check));
    findings.sort();
    findings
}

impl Workspace {
    fn read(root: &Path) -> Result<Self> {
        let mut folders = vec!["xtask".to_owned()];
        for parent in ["bench", "crates"] {
            for entry in fs::read_dir(root.join(parent)).with_context(|| format!("{parent}/ cannot be listed"))? {
                let path = entry?.path();
                if path.join("Cargo.toml").is_file() {
                    folders.push(relative(root, &path)?);
                }
            }
        }
        folders.sort();
        let mut members = Vec::new();
        let mut sources = Vec::new();
        for folder in folders {
            let manifest = Manifest::parse(read(root, &format!("{folder}/Cargo.toml"))?)?;
            let mut paths = Vec::new();
            collect_sources(&root.join(&folder), &mut paths)?;
            for path in paths {
                sources.push(read(root, &relative(root, &path)?)?);
            }
            let name = folder.rsplit('/').next().unwrap_or(&folder).to_owned();
            members.push(Member { name, folder, manifest });
        }
        Ok(Self {
            manifest: Manifest::parse(read(root, "Cargo.toml")?)?,
            members,
            architecture: read(root, "ARCHITECTURE.md")?,
            contributing: read(root, "CONTRIBUTING.md")?,
            sources,
        })
    }
}

fn read(root: &Path, path: &str) -> Result<File> {
    let text = fs::read_to_string(root.join(path)).with_context(|| format!("{path} cannot be read"))?;
    Ok(File { path: path.to_owned(), text })
}

fn relative(root: &Path, path: &Path) -> Result<String> {
    Ok(path.strip_prefix(root)?.to_str().context("paths of the workspace are UTF-8")?.to_owned())
}

/// Every Rust file below a folder.
fn collect_sources(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be listed", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            // A crate that is built by itself has its build output here.
            if !path.ends_with("target") {
                collect_sources(&path, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let root = crate::root().expect("xtask lies in the workspace");
        let findings = check(&Workspace::read(root).expect("the workspace can be read"));
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "against the rules:\n{}", lines.join("\n"));
    }
}
