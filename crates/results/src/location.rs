//! Where the results store is.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;

use crate::{Error, Result};

/// The environment's say about the folder that everything is kept in.
const HOME_VARIABLE: &str = "STORELAB_HOME";

/// The file's name in that folder.
const FILE_NAME: &str = "results.db";

/// The file that is used where none is named: `results.db` in `STORELAB_HOME`, or in the platform's folder for a user's data.
///
/// # Errors
/// `Io` where the user has no home folder.
pub fn default_path() -> Result<PathBuf> {
    path_in(std::env::var_os(HOME_VARIABLE))
}

fn path_in(home: Option<OsString>) -> Result<PathBuf> {
    if let Some(folder) = home.filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder).join(FILE_NAME));
    }
    let folders = ProjectDirs::from("", "", "storelab").ok_or_else(|| Error::Io {
        what: "find a folder to keep results in".to_owned(),
        source: io::Error::new(io::ErrorKind::NotFound, "the user has no home folder"),
    })?;
    Ok(folders.data_dir().join(FILE_NAME))
}

/// Makes the folder that the file is to be in; what it makes is the user's own.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| Error::Io { what: format!("make the folder {}", folder.display()), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_folder() {
        assert_eq!(path_in(Some("/somewhere".into())).expect("given"), Path::new("/somewhere/results.db"));
        if let Ok(path) = path_in(Some(OsString::new())) {
            assert!(path.ends_with("storelab/results.db"), "{}", path.display());
        }
    }
}
