//! The workspace's test binaries, as cargo builds them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Binary {
    pub(super) package: String,
    target: String,
    executable: PathBuf,
    /// The package's folder, in which cargo runs it.
    folder: PathBuf,
}

impl Binary {
    /// Runs it as `cargo test` does.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.arg("--show-output").current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }

    /// What a line of cargo's says of one; none for anything else that was built.
    fn of(message: &Value) -> Option<Self> {
        let target = &message["target"];
        if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
            return None;
        }
        let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
        Some(Self {
            package: folder.file_name()?.to_str()?.to_owned(),
            target: target["name"].as_str()?.to_owned(),
            executable: PathBuf::from(message["executable"].as_str()?),
            folder: folder.to_owned(),
        })
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, target, .. } = self;
        if package == target { write!(formatter, "{package}") } else { write!(formatter, "{package}::{target}") }
    }
}

/// Cargo, the one that runs this.
///
/// What it told this program about its package is not passed on: build scripts that look at it would run again, and half
/// of the workspace would be built anew.
pub(super) fn cargo(root: &Path) -> Command {
    const OF_THIS_PACKAGE: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| OF_THIS_PACKAGE.iter().any(|prefix| name.starts_with(prefix))) {
        command.env_remove(name);
    }
    command
}

/// Builds all of them.
pub(super) fn build(root: &Path) -> Result<Vec<Binary>> {
    let output = cargo(root)
        .args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo did not start")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let messages = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut binaries = Vec::new();
    for message in messages {
        let message = serde_json::from_slice(message).context("what cargo says of what it built")?;
        binaries.extend(Binary::of(&message));
    }
    binaries.sort_by_key(Binary::to_string);
    Ok(binaries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_binaries_are_told_from_what_else_is_built() {
        let message = |test: bool| {
            serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": "/lab/crates/runner/Cargo.toml", "profile": { "test": test },
                "target": { "name": "it", "kind": ["test"] }, "executable": "/lab/target/debug/deps/it-0"
            })
        };
        let binary = Binary::of(&message(true)).expect("a test binary");
        assert_eq!((binary.package.as_str(), binary.to_string().as_str()), ("runner", "runner::it"));
        assert_eq!(binary.folder, Path::new("/lab/crates/runner"));
        assert_eq!(Binary::of(&message(false)), None);
        assert_eq!(Binary::of(&serde_json::json!({ "reason": "build-finished", "success": true })), None);
    }
}
