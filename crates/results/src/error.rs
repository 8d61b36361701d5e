//! What can go wrong with the results store, told apart by what to do about it.

use crate::Location;

/// The result of anything that the results store is asked.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a database said.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no room for more.
    #[error("the results store is full ({place})")]
    StorageFull {
        /// Where it is.
        place: Location,
        /// What the database says.
        source: Source,
    },
    /// Another process kept the file to itself for longer than we wait.
    #[error("the results store is locked by another process ({place})")]
    Locked {
        /// Where it is.
        place: Location,
        /// What the database says.
        source: Source,
    },
    /// The file can be read but not written.
    #[error("the results store cannot be written ({place})")]
    ReadOnly {
        /// Where it is.
        place: Location,
        /// What the database says, where it was asked.
        source: Option<Source>,
    },
    /// The file is something else.
    #[error("{place} is not a results store: {reason}")]
    NotADatabase {
        /// Where it is.
        place: Location,
        /// What it is instead.
        reason: String,
    },
    /// A newer Storelab wrote the file.
    #[error("the results store is of version {found}, this Storelab knows up to {known} ({place})")]
    NewerVersion {
        /// Where it is.
        place: Location,
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
    /// The database said no for another reason.
    #[error("the results store failed ({place})")]
    Failed {
        /// Where it is.
        place: Location,
        /// What it said.
        source: Source,
    },
    /// The server does not answer, or refuses us.
    #[error("the results store cannot be reached ({place})")]
    Unreachable {
        /// Where it is.
        place: Location,
        /// What was said, by whom it was.
        source: Source,
    },
    /// What names the store names none.
    #[error("the results store is misnamed: {reason}")]
    Misnamed {
        /// In which respect; what was written is not repeated, since it may hold a password.
        reason: String,
    },
}

impl Error {
    /// What to do about it, as a sentence fragment that follows `hint: `.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::StorageFull { place, .. } if place.is_server() => {
                "free space on the server's disk, or delete old runs".to_owned()
            }
            Self::StorageFull { .. } => {
                "free space on that disk, delete old runs, or give another file with --store PATH".to_owned()
            }
            Self::Locked { .. } => {
                "wait for the other storelab process, or give another store with --store PATH".to_owned()
            }
            Self::ReadOnly { place, .. } if place.is_server() => {
                "grant the user the right to create the schema `storelab` and to write in it, and name the primary server"
                    .to_owned()
            }
            Self::ReadOnly { .. } => {
                "make the file and its folder writable, or give another with --store PATH".to_owned()
            }
            Self::NotADatabase { .. } => "give another store with --store PATH; this one was left as it is".to_owned(),
            Self::NewerVersion { .. } => "use the newer Storelab, or give another store with --store PATH".to_owned(),
            Self::Unreachable { .. } => {
                "see that the server runs and that the URL's host, port, user, password and database are right".to_owned()
            }
            Self::Misnamed { .. } => {
                "give a path, or postgres://USER:PASSWORD@HOST:PORT/DATABASE, with --store or STORELAB_STORE".to_owned()
            }
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
            Self::Damaged { .. } | Self::Output { .. } | Self::Failed { .. } => return None,
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

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::path::PathBuf;

    use store::ErrorKind;

    use super::*;

    #[test]
    fn a_full_store_keeps_its_source_and_hint_on_the_way_out() {
        let place = Location::File(PathBuf::from("results.db"));
        let error = store::Error::from(Error::StorageFull { place, source: "no room".into() });
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().starts_with("the results store is full (results.db)"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--store PATH")));
        assert!(error.source().and_then(std::error::Error::source).is_some());
    }
}
