//! Where the results store is.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use store::Target;

use crate::{Error, Result};

/// The environment's say about the folder that everything is kept in.
const HOME_VARIABLE: &str = "STORELAB_HOME";

/// The file's name in that folder.
const FILE_NAME: &str = "results.db";

/// What a URL of the file begins with.
const FILE_SCHEME: &str = "sqlite:";

/// What a URL of a server begins with.
const SERVER_SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Where results are kept. Shown, it tells no password.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// In a file of `SQLite`, which is made where it is absent.
    File(PathBuf),
    /// In the schema `storelab` of a `PostgreSQL` server's database: its URL, **with the password**.
    Postgres(String),
}

impl Location {
    /// Reads a path, `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; nothing means the default file.
    ///
    /// # Errors
    /// `Misnamed` for any other URL; `Io` where the default is meant and the user has no home folder.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return default_path().map(Self::File) };
        if SERVER_SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            Target::parse(text).map_err(|error| Error::Misnamed { reason: error.to_string() })?;
            return Ok(Self::Postgres(text.to_owned()));
        }
        if let Some(path) = text.strip_prefix(FILE_SCHEME) {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err(Error::Misnamed { reason: "`sqlite:` names no file".to_owned() }),
                path => Ok(Self::File(PathBuf::from(path))),
            };
        }
        match text.split_once("://") {
            Some((scheme, _)) => Err(Error::Misnamed {
                reason: format!("results are not kept in `{scheme}`, but in a file or PostgreSQL"),
            }),
            None => Ok(Self::File(PathBuf::from(text))),
        }
    }

    /// The folder for what lies beside the store: reports, calibrations. Beside a server that is the user's own.
    ///
    /// # Errors
    /// `Io` where that is meant and the user has no home folder.
    pub fn folder(&self) -> Result<PathBuf> {
        let beside = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
        match self {
            Self::File(path) => Ok(beside(path)),
            Self::Postgres(_) => default_path().map(|path| beside(&path)),
        }
    }

    /// Whether it is a server's.
    pub fn is_server(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            // A target shows its password as `***`.
            Self::Postgres(url) => match Target::parse(url) {
                Ok(target) => target.fmt(formatter),
                Err(_) => formatter.write_str("postgres://…"),
            },
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Location({self})")
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

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
    fn a_location_is_read_and_shown_without_its_password() {
        let shown = |text: &str| Location::parse(Some(text)).map(|location| format!("{location} {location:?}"));
        for (text, expect) in [
            ("results.db", "results.db Location(results.db)"),
            ("/a b/ü.db", "/a b/ü.db Location(/a b/ü.db)"),
            ("sqlite:a.db", "a.db Location(a.db)"),
            ("sqlite:///a.db", "/a.db Location(/a.db)"),
        ] {
            assert_eq!(shown(text).expect(text), expect);
        }
        for url in ["postgres://me:canary@127.0.0.1:5432/lab", "postgresql://me:canary@h/lab?application_name=x"] {
            let shown = shown(url).expect("a server");
            assert!(!shown.contains("canary") && shown.contains("***"), "{shown}");
            assert_eq!(Location::parse(Some(url)).expect("a server"), Location::Postgres(url.to_owned()));
        }
        for wrong in ["mysql://me:canary@h/lab", "sqlite:", "postgres://me:canary@h:99999/lab", "redis://"] {
            let error = Location::parse(Some(wrong)).expect_err(wrong);
            assert!(matches!(error, Error::Misnamed { .. }) && error.hint().is_some(), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
        let folder = Location::File(PathBuf::from("/a/results.db")).folder().expect("its own");
        assert_eq!(folder, Path::new("/a"));
    }

    #[test]
    fn the_environment_names_the_folder() {
        assert_eq!(path_in(Some("/somewhere".into())).expect("given"), Path::new("/somewhere/results.db"));
        if let Ok(path) = path_in(Some(OsString::new())) {
            assert!(path.ends_with("storelab/results.db"), "{}", path.display());
        }
    }
}
