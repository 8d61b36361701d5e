//! What can go wrong with the results store, told apart by what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// The result of anything that the results store is asked.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A file system with less room than this is full for our purposes: `SQLite` grows its shared memory by 32 KiB at once.
const FREE_BYTES_MIN: u64 = 64 * 1024;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no room for more.
    #[error("the results store is full ({path})", path = path.display())]
    StorageFull {
        /// The file.
        path: PathBuf,
        /// What `SQLite` says.
        source: rusqlite::Error,
    },
    /// Another process kept the file to itself for longer than we wait.
    #[error("the results store is locked by another process ({path})", path = path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// What `SQLite` says.
        source: rusqlite::Error,
    },
    /// The file can be read but not written.
    #[error("the results store cannot be written ({path})", path = path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What `SQLite` says, where it was asked.
        source: Option<rusqlite::Error>,
    },
    /// The file is something else.
    #[error("{path} is not a results store: {reason}", path = path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// A newer Storelab wrote the file.
    #[error(
        "the results store is of version {found}, this Storelab knows up to {known} ({path})",
        path = path.display()
    )]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// There is no such run.
    #[error("there is no run `{asked}`")]
    NotFound {
        /// What was asked for.
        asked: String,
        /// What was probably meant.
        near: Option<String>,
    },
    /// Several runs fit.
    #[error("`{asked}` may be any of {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// The first that fit, as `id (name)`.
        candidates: Vec<String>,
    },
    /// No run of a history has the operation that is asked for.
    #[error("no run of `{name}` has an operation `{operation}`")]
    NoOperation {
        /// The runs' name.
        name: String,
        /// What was asked for.
        operation: String,
        /// What they have.
        known: Vec<String>,
    },
    /// The run goes on.
    #[error("run {run} is still going on")]
    StillRunning {
        /// The run.
        run: String,
    },
    /// Something that was kept cannot be understood.
    #[error("{what} in the results store cannot be read: {reason}")]
    Damaged {
        /// Of which run, and what.
        what: String,
        /// Why.
        reason: String,
    },
    /// The operating system said no.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: std::io::Error,
    },
    /// What was to be written elsewhere could not be.
    #[error("the output cannot be written")]
    Output {
        /// What was said.
        #[from]
        source: std::io::Error,
    },
    /// `SQLite` said no for another reason.
    #[error("the results store failed ({path})", path = path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
}

impl Error {
    /// Of a file that could only be opened for reading: most often the disk is full, which has another remedy.
    pub(crate) fn not_writable(path: &Path) -> Self {
        if is_full(path) {
            let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            return Self::StorageFull { path: path.to_owned(), source: rusqlite::Error::SqliteFailure(full, None) };
        }
        Self::ReadOnly { path: path.to_owned(), source: None }
    }

    /// Sorts what `SQLite` says by what to do about it.
    pub(crate) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::StorageFull { path, source },
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_full(&path) => {
                Self::StorageFull { path, source }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path, source },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { path, source: Some(source) },
            Some(ErrorCode::NotADatabase) => {
                Self::NotADatabase { path, reason: "it is not an SQLite file, or it is encrypted".to_owned() }
            }
            Some(ErrorCode::DatabaseCorrupt) => {
                Self::Damaged { what: path.display().to_string(), reason: source.to_string() }
            }
            _ => Self::Sqlite { path, source },
        }
    }

    /// Whether the file may still be read although this happened when it was opened for writing.
    pub(crate) fn leaves_readable(&self) -> bool {
        matches!(self, Self::StorageFull { .. } | Self::ReadOnly { .. } | Self::Sqlite { .. } | Self::Io { .. })
    }

    /// What to do about it, as a sentence fragment that follows `hint: `.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::StorageFull { .. } => {
                "free space on that disk, delete old runs, or give another file with --store PATH".to_owned()
            }
            Self::Locked { .. } => {
                "wait for the other storelab process, or give another file with --store PATH".to_owned()
            }
            Self::ReadOnly { .. } => {
                "make the file and its folder writable, or give another with --store PATH".to_owned()
            }
            Self::NotADatabase { .. } => "give another file with --store PATH; this one was left as it is".to_owned(),
            Self::NewerVersion { .. } => "use the newer Storelab, or give another file with --store PATH".to_owned(),
            Self::NotFound { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::NotFound { near: None, .. } => "`storelab runs` lists what there is".to_owned(),
            Self::NoOperation { operation, known, .. } => {
                match store::did_you_mean(operation, known.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("they have {}", known.join(", ")),
                }
            }
            Self::Ambiguous { .. } => "give more digits of the id".to_owned(),
            Self::StillRunning { .. } => "stop it first, or wait for its end".to_owned(),
            Self::Io { .. } => "give another file with --store PATH, or set STORELAB_HOME to a folder".to_owned(),
            Self::Damaged { .. } | Self::Output { .. } | Self::Sqlite { .. } => return None,
        })
    }
}

impl From<Error> for store::Error {
    fn from(error: Error) -> Self {
        let hint = error.hint();
        let converted = Self::rejected(error.to_string()).with_source(error);
        match hint {
            Some(hint) => converted.with_hint(hint),
            None => converted,
        }
    }
}

/// Whether the file's file system has no room. `SQLite` tells a full disk by its own code only where it writes pages; where
/// it makes its shared memory the code is that of any failure.
fn is_full(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::statvfs(folder).is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) < FREE_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use rusqlite::ffi;
    use store::ErrorKind;

    use super::*;

    #[test]
    fn sqlite_codes_are_sorted_by_what_to_do() {
        let path = Path::new("results.db");
        for (code, start) in [
            (ffi::SQLITE_FULL, "the results store is full"),
            (ffi::SQLITE_BUSY, "the results store is locked"),
            (ffi::SQLITE_READONLY, "the results store cannot be written"),
            (ffi::SQLITE_NOTADB, "results.db is not a results store"),
            (ffi::SQLITE_CORRUPT, "results.db in the results store cannot be read"),
            (ffi::SQLITE_IOERR_READ, "the results store failed"),
        ] {
            let error = Error::of(path, rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert!(error.to_string().starts_with(start), "{code}: {error}");
        }
    }

    #[test]
    fn a_full_store_keeps_its_source_and_hint_on_the_way_out() {
        let source = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None);
        let error = store::Error::from(Error::of(Path::new("results.db"), source));
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().starts_with("the results store is full"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--store PATH")));
        assert!(error.source().and_then(std::error::Error::source).is_some());
    }
}
