//! Where Storelab keeps what it must know about servers after it ended: one small file for each that runs.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use directories::ProjectDirs;

use crate::error::IoContext;
use crate::record::{Instance, Record};
use crate::{Error, ErrorKind, Result};

/// The environment's say about the folder.
const HOME_VARIABLE: &str = "STORELAB_HOME";

/// How long a server that nobody wants any more may take to stop in order: enough to give back what SIGKILL would leave.
const SWEEP_PATIENCE: Duration = Duration::from_secs(1);

/// Storelab's own folder: records of servers, and programs that were downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// `STORELAB_HOME`, or the platform's folder for a user's own data.
    ///
    /// # Errors
    /// `Config` where the user has no home folder.
    pub fn locate() -> Result<Self> {
        if let Some(folder) = std::env::var_os(HOME_VARIABLE).filter(|folder| !folder.is_empty()) {
            return std::path::absolute(folder).map(Self).or_cannot(|| format!("use {HOME_VARIABLE}"));
        }
        ProjectDirs::from("", "", "storelab").map(|folders| Self(folders.data_local_dir().to_owned())).ok_or_else(
            || {
                Error::new(ErrorKind::Config, "there is no home folder to keep records of servers in")
                    .with_hint(format!("set {HOME_VARIABLE} to a folder"))
            },
        )
    }

    /// A given folder, which is made when it is needed.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Where downloaded programs of an engine are: `downloads/NAME` and the `bin` folders below it, in the order of their names.
    pub(crate) fn downloads(&self, engine: &str) -> Vec<PathBuf> {
        let folder = self.0.join("downloads").join(engine);
        let mut versions: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|at| at.path()).collect();
        versions.sort();
        let below = versions.into_iter().rev().flat_map(|version| [version.join("bin"), version]);
        [folder.join("bin"), folder.clone()].into_iter().chain(below).collect()
    }

    /// The servers that are running, or were meant to, by name.
    ///
    /// # Errors
    /// `Io` where the records cannot be read.
    pub fn instances(&self) -> Result<Vec<Instance>> {
        let folder = self.records();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(format!("read {}", folder.display()), error)),
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let mut instances: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .filter_map(|path| Instance::read(path).transpose())
            .collect::<Result<_>>()?;
        instances.sort_by(|first, second| first.name().cmp(second.name()));
        Ok(instances)
    }

    /// The server of a name.
    ///
    /// # Errors
    /// `Unknown`, naming those that run.
    pub fn instance(&self, name: &str) -> Result<Instance> {
        let mut instances = self.instances()?;
        if let Some(place) = instances.iter().position(|instance| instance.name() == name) {
            return Ok(instances.swap_remove(place));
        }
        let names: Vec<_> = instances.iter().map(Instance::name).collect();
        let error = Error::new(ErrorKind::Unknown, format!("no server named `{name}` is running"));
        Err(if names.is_empty() {
            error.with_hint("storelab engines up NAME starts one")
        } else {
            error.with_hint(format!("running are {}", names.join(", ")))
        })
    }

    /// Stops and removes what dead owners left behind, and forgets detached servers that ended. Returns their names.
    /// Called before each start of a server.
    ///
    /// # Errors
    /// `Io` where the records cannot be read, or a folder not removed.
    pub fn sweep(&self) -> Result<Vec<String>> {
        let abandoned: Vec<_> = self.instances()?.into_iter().filter(Instance::is_abandoned).collect();
        for instance in &abandoned {
            tracing::info!(name = instance.name(), "removing a server that its owner left behind");
            instance.remove(SWEEP_PATIENCE)?;
        }
        Ok(abandoned.iter().map(|instance| instance.name().to_owned()).collect())
    }

    /// Takes a name for a new server.
    pub(crate) fn claim(&self, record: Record) -> Result<Instance> {
        let folder = self.records();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
            Error::io(format!("make {}", folder.display()), error)
                .with_hint(format!("set {HOME_VARIABLE} to a folder that can be written"))
        })?;
        let path = folder.join(format!("{}.json", record.name));
        Instance::create(record, path)
    }

    fn records(&self) -> PathBuf {
        self.0.join("engines")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_are_looked_for_newest_first() {
        let root = tempfile::tempdir().expect("a folder");
        let engine = root.path().join("downloads/x");
        for version in ["17", "18"] {
            fs::create_dir_all(engine.join(version)).expect("made");
        }
        let expect = [engine.join("bin"), engine.clone(), engine.join("18/bin"), engine.join("18")];
        assert_eq!(Home::at(root.path()).downloads("x")[..4], expect);
    }

    #[test]
    fn nothing_runs_where_nothing_was_started() {
        let root = tempfile::tempdir().expect("a folder");
        let home = Home::at(root.path().join("absent"));
        assert!(home.instances().expect("readable").is_empty() && home.sweep().expect("nothing to do").is_empty());
        assert_eq!(home.instance("redis").expect_err("absent").kind(), ErrorKind::Unknown);
    }
}
