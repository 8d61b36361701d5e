//! Where engines that were downloaded or built are kept, for all checkouts and homes of this machine's user.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use directories::ProjectDirs;

use crate::error::IoContext;
use crate::user::{User, is_root};
use crate::{Error, ErrorKind, Result};

/// The environment's say about the folder that build output and engines are kept in.
const CACHE_VARIABLE: &str = "STORELAB_CACHE";

/// Root's, because servers do not run as root and cannot look into root's home.
const SYSTEM_CACHE: &str = "/var/cache/storelab";

/// Says of a folder that it is complete.
pub(crate) const MARK: &str = "storelab-engine.json";

/// The folder of engines that were made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache(PathBuf);

impl Cache {
    /// `STORELAB_CACHE`, or `/var/cache/storelab` for root, or the platform's folder for what can be got again.
    ///
    /// # Errors
    /// `Config` where the user has no home folder.
    pub fn locate() -> Result<Self> {
        let given = std::env::var_os(CACHE_VARIABLE).filter(|folder| !folder.is_empty());
        let folder = match given {
            Some(folder) => std::path::absolute(folder).or_cannot(|| format!("use {CACHE_VARIABLE}"))?,
            None if is_root() => PathBuf::from(SYSTEM_CACHE),
            None => {
                let folders = ProjectDirs::from("", "", "storelab").ok_or_else(|| {
                    Error::new(ErrorKind::Config, "there is no home folder to keep engines in")
                        .with_hint(format!("set {CACHE_VARIABLE} to a folder"))
                })?;
                folders.cache_dir().to_owned()
            }
        };
        Ok(Self(folder.join("engines")))
    }

    /// A given folder, which is made when it is needed.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// An engine that is complete.
    pub(crate) fn find(&self, engine: &str, version: &str) -> Option<PathBuf> {
        let folder = self.place(engine, version);
        folder.join(MARK).is_file().then_some(folder)
    }

    /// Where an engine's finished folder is.
    pub(crate) fn place(&self, engine: &str, version: &str) -> PathBuf {
        self.0.join(format!("{engine}-{version}"))
    }

    /// Where it is made; what an interrupted attempt left is still there.
    pub(crate) fn workplace(&self, engine: &str, version: &str) -> Result<PathBuf> {
        let folder = self.0.join(format!("{engine}-{version}.partial"));
        fs::create_dir_all(&folder).map_err(|error| {
            Error::io(format!("make {}", folder.display()), error)
                .with_hint(format!("set {CACHE_VARIABLE} to a folder that can be written"))
        })?;
        User::for_servers().check_reach(&folder)?;
        Ok(folder)
    }

    /// Waits until nobody else makes that engine, and keeps others from it for as long as the file is open.
    pub(crate) fn lock(&self, engine: &str) -> Result<File> {
        let what = || format!("lock {}", self.0.display());
        fs::create_dir_all(&self.0).or_cannot(what)?;
        let file = File::create(self.0.join(format!("{engine}.lock"))).or_cannot(what)?;
        file.lock().or_cannot(what)?;
        Ok(file)
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_there_once_it_is_marked() {
        let root = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(root.path());
        let folder = cache.place("x", "1.0");
        fs::create_dir_all(&folder).expect("made");
        assert_eq!(cache.find("x", "1.0"), None);
        fs::write(folder.join(MARK), "{}").expect("written");
        assert_eq!(cache.find("x", "1.0"), Some(folder));
        assert_eq!(cache.find("x", "1.1"), None);
    }
}
