//! Files that belong to a run and are kept with it: flame graphs and the stacks that they were drawn of.

use std::path::Path;

use experiment::{Artifact, Record};
use uuid::Uuid;

use crate::database::{Durability, Transaction, Value};
use crate::report::Picture;
use crate::{Error, Result, Results};

/// The tables.
pub(crate) const TABLES: &str = "CREATE TABLE artifacts (
    run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (run, name)
) STRICT;";

/// A file is no larger: results are to be copied and mailed, and a file is held in memory when it is read.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Files of one run: there are two a flame graph.
const ARTIFACTS_MAX: i64 = 16;

/// A file that is kept with a run, without what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactSummary {
    /// Its name, unique in its run: `flamegraph-server.svg`.
    pub name: String,
    /// What it is: `image/svg+xml`.
    pub media_type: String,
    /// How large it is.
    pub bytes: u64,
}

/// A file that is kept with a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptArtifact {
    /// What it is: `image/svg+xml`.
    pub media_type: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Results {
    /// Keeps a file with a run; one of the same name is replaced.
    ///
    /// # Errors
    /// `NotFound`; `Output` where it is too large, or one too many; what writing may bring.
    pub(crate) fn attach(&mut self, run: Uuid, artifact: &Artifact) -> Result<()> {
        let Artifact { name, media_type, bytes } = artifact;
        if bytes.len() > BYTES_MAX {
            return Err(refused(&format!("`{name}` has {} bytes, and {BYTES_MAX} are allowed", bytes.len())));
        }
        self.write(Durability::Normal, |transaction| {
            let key = key_of(transaction, run)?;
            let others = "SELECT count(*) FROM artifacts WHERE run = ?1 AND name <> ?2";
            let others = transaction.query_one(others, &[key.into(), name.as_str().into()])?;
            if others.map_or(Ok(0), |row| row.get::<i64>(0))? >= ARTIFACTS_MAX {
                return Err(refused(&format!("a run has {ARTIFACTS_MAX} files at most")));
            }
            transaction.execute(
                "INSERT INTO artifacts (run, name, media_type, bytes) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (run, name) DO UPDATE SET media_type = excluded.media_type, bytes = excluded.bytes",
                &[key.into(), name.as_str().into(), (*media_type).into(), Value::Blob(bytes.clone())],
            )?;
            Ok(())
        })
    }

    /// The files of a run, by their names.
    ///
    /// # Errors
    /// What reading may bring. A run that is not there has none.
    pub fn artifacts(&mut self, run: Uuid) -> Result<Vec<ArtifactSummary>> {
        let query = "SELECT name, media_type, CAST(length(bytes) AS BIGINT) FROM artifacts \
                     WHERE run = (SELECT key FROM runs WHERE id = ?1) ORDER BY name";
        let rows = self.database.query(query, &[run.to_string().into()])?;
        rows.iter()
            .map(|row| {
                let bytes = row.get::<i64>(2)?.cast_unsigned();
                Ok(ArtifactSummary { name: row.get(0)?, media_type: row.get(1)?, bytes })
            })
            .collect()
    }

    /// A file of a run; none where there is none of that name.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn artifact(&mut self, run: Uuid, name: &str) -> Result<Option<KeptArtifact>> {
        let query = "SELECT media_type, bytes FROM artifacts \
                     WHERE run = (SELECT key FROM runs WHERE id = ?1) AND name = ?2";
        let row = self.database.query_one(query, &[run.to_string().into(), name.into()])?;
        row.map(|row| Ok(KeptArtifact { media_type: row.get(0)?, bytes: row.get(1)? })).transpose()
    }

    /// The flame graphs that a record says are kept.
    ///
    /// # Errors
    /// What reading may bring.
    pub(crate) fn pictures(&mut self, run: Uuid, record: &Record) -> Result<Vec<Picture>> {
        let names = record.profiles.iter().flat_map(|profile| &profile.artifacts);
        let pictures =
            names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "svg")).map(|name| {
                let kept = self.artifact(run, name)?;
                Ok(kept.map(|artifact| Picture { name: name.clone(), svg: artifact.bytes }))
            });
        pictures.filter_map(Result::transpose).collect()
    }
}

fn key_of(transaction: &mut Transaction<'_>, run: Uuid) -> Result<i64> {
    let row = transaction.query_one("SELECT key FROM runs WHERE id = ?1", &[run.to_string().into()])?;
    row.ok_or_else(|| Error::NotFound { asked: run.to_string(), near: None })?.get(0)
}

fn refused(why: &str) -> Error {
    Error::Output { source: std::io::Error::new(std::io::ErrorKind::FileTooLarge, why.to_owned()) }
}
