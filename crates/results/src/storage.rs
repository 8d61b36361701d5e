//! The store as a whole: opened, and what can be done with it.

use std::path::PathBuf;

use crate::database::Database;
use crate::keeper::Keeper;
use crate::owner::Owner;
use crate::sink::Active;
use crate::{Error, Location, Result};

/// What can be done with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    ReadWrite,
    /// Reading: the disk is full, or the file belongs to somebody else.
    ReadOnly,
}

/// Runs, samples and histograms, and what a service keeps beside them.
#[derive(Debug)]
pub struct Results {
    pub(crate) database: Database,
    pub(crate) owner: Owner,
    pub(crate) active: Active,
    pub(crate) keeper: Option<Keeper>,
    location: Location,
    access: Access,
}

impl Results {
    /// Opens the store, made where it is absent, and marks runs whose process died as interrupted. Where a file can only be
    /// read (a full disk, another user's file) it is opened for that; see [`access`](Self::access).
    ///
    /// # Errors
    /// `NotADatabase` and `NewerVersion` leave the store as it was; `StorageFull`, `ReadOnly`, `Locked`, `Unreachable`, `Io`.
    pub fn open(location: &Location) -> Result<Self> {
        let (database, access) = Database::open(location)?;
        let mut results = Self {
            database,
            owner: Owner::current(),
            active: Active::default(),
            keeper: None,
            location: location.clone(),
            access,
        };
        if access == Access::ReadOnly {
            return Ok(results);
        }
        match results.recover() {
            // Reading shows such runs as interrupted all the same, and the next to open the store tries again.
            Ok(_) | Err(Error::StorageFull { .. } | Error::Locked { .. } | Error::ReadOnly { .. }) => Ok(results),
            Err(error) => Err(error),
        }
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The folder for what lies beside the store.
    ///
    /// # Errors
    /// As [`Location::folder`].
    pub fn folder(&self) -> Result<PathBuf> {
        self.location.folder()
    }

    /// What can be done with it.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Lets the file grow by so many pages of 4 KiB and no further, for this handle: a quota. Of no effect on a server.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn limit_pages(&mut self, pages: u32) -> Result<()> {
        self.database.limit_pages(pages)
    }

    /// Refuses to write where only reading is possible.
    pub(crate) fn require_writable(&self) -> Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(self.database.not_writable()),
        }
    }
}
