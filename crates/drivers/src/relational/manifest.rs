//! The manifest: a table inside the data store that lists what Storelab made there.
//!
//! An entry is written before its object is created, so that nothing of ours is ever without one, and clean-up drops
//! only what has an entry. A table of the manifest's name that has not our columns belongs to somebody else.

use std::time::{Duration, Instant};

use store::{Dataset, Error, ErrorKind, LoadState, Namespace, OwnedObject, Result, Value};

use super::{Dialect, Link, RowBuffer};

/// The manifest's table.
const TABLE: &str = "storelab_manifest";

/// How long something is tried again that others are in the way of: a minute is what one of them may take.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Between two attempts at it: a schema changes in tens of milliseconds.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// For how long a manifest that looks foreign or cannot be read is looked at again: it may have been dropped with its last
/// entry, or made, between two statements of a look that holds no lock, and some products take a moment to show either.
const DOUBT: Duration = Duration::from_secs(1);

/// Its columns in the order in which they are created.
const COLUMNS: [&str; 6] = ["namespace", "kind", "name", "fingerprint", "state", "created_at"];

/// Something that is going to be ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) kind: &'static str,
    pub(super) name: String,
}

/// A table's entry is dropped by name; an index goes with its table.
pub(super) const KIND_TABLE: &str = "table";
pub(super) const KIND_INDEX: &str = "index";

/// An entry of the manifest.
#[derive(Debug, Clone)]
struct Entry {
    object: OwnedObject,
    fingerprint: String,
    loaded: bool,
}

/// Runs statements of our own writing on a link, with one buffer.
pub(super) struct Script<'a, L> {
    pub(super) link: &'a mut L,
    pub(super) dialect: &'static Dialect,
    rows: RowBuffer,
}

impl<'a, L: Link> Script<'a, L> {
    pub(super) fn new(link: &'a mut L, dialect: &'static Dialect) -> Self {
        Self { link, dialect, rows: RowBuffer::default() }
    }

    /// Runs one statement with `?` as parameters.
    pub(super) async fn run(&mut self, text: &str, parameters: &[&str]) -> Result<&RowBuffer> {
        let values: Vec<_> = parameters.iter().map(|text| Value::Text(text)).collect();
        self.rows.clear();
        self.link.run(&self.dialect.placeholder.translate(text), &values, &mut self.rows).await?;
        Ok(&self.rows)
    }

    /// Runs one statement, again where another session was in the way and time is left.
    pub(super) async fn run_again(&mut self, text: &str, parameters: &[&str]) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.run(text, parameters).await {
            if error.kind() != ErrorKind::Conflict || Instant::now() > until {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn exists(&mut self, name: &str) -> Result<bool> {
        Ok(!self.run(self.dialect.object_exists, &[name]).await?.is_empty())
    }

    /// Whether there is a manifest.
    ///
    /// # Errors
    /// `Config` where a table has its name but not its columns.
    async fn has_manifest(&mut self) -> Result<bool> {
        if !self.exists(TABLE).await? {
            return Ok(false);
        }
        let rows = self.run(self.dialect.columns_of, &[TABLE]).await?;
        let ours = rows.len() == COLUMNS.len()
            && (0..rows.len()).all(|row| rows.text(row, 0).is_some_and(|name| COLUMNS.contains(&name)));
        if ours {
            Ok(true)
        } else {
            Err(Error::config(format!("there is a table `{TABLE}` that storelab did not make"))
                .with_hint("use another database or schema, or rename that table"))
        }
    }

    /// What the manifest holds, also while others drop or make it.
    async fn entries(&mut self) -> Result<Vec<Entry>> {
        let until = Instant::now() + DOUBT;
        loop {
            match self.look().await {
                Err(error)
                    if matches!(error.kind(), ErrorKind::Config | ErrorKind::Rejected) && Instant::now() < until =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                entries => return entries,
            }
        }
    }

    async fn look(&mut self) -> Result<Vec<Entry>> {
        if !self.has_manifest().await? {
            return Ok(Vec::new());
        }
        let text = format!("SELECT namespace, kind, name, fingerprint, state FROM {TABLE} ORDER BY namespace, name");
        let rows = self.run(&text, &[]).await?;
        let column = |row, column| rows.text(row, column).unwrap_or_default().to_owned();
        let entry = |row| Entry {
            object: OwnedObject { namespace: column(row, 0), kind: column(row, 1), name: column(row, 2) },
            fingerprint: column(row, 3),
            loaded: rows.text(row, 4) == Some("loaded"),
        };
        Ok((0..rows.len()).map(entry).collect())
    }

    async fn create_manifest(&mut self) -> Result<()> {
        if self.has_manifest().await? {
            return Ok(());
        }
        let [namespace, kind, name, fingerprint, state, created_at] = COLUMNS;
        let text = format!(
            "CREATE TABLE {TABLE} ({namespace} VARCHAR(64) NOT NULL, {kind} VARCHAR(16) NOT NULL, \
             {name} VARCHAR(64) NOT NULL PRIMARY KEY, {fingerprint} VARCHAR(200) NOT NULL, \
             {state} VARCHAR(16) NOT NULL, {created_at} TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL){}",
            self.dialect.table_suffix
        );
        self.run(&text, &[]).await.map(|_| ())
    }

    async fn drop_manifest_if_empty(&mut self) -> Result<()> {
        if self.has_manifest().await? && self.run(&format!("SELECT name FROM {TABLE}"), &[]).await?.is_empty() {
            self.run(&format!("DROP TABLE {TABLE}"), &[]).await?;
        }
        Ok(())
    }

    /// Refuses where a name that is needed belongs to somebody else; drops what an earlier load of the namespace
    /// left; writes the entries. Within the lock.
    pub(super) async fn claim(&mut self, dataset: &Dataset, objects: &[Object]) -> Result<()> {
        let namespace = dataset.namespace();
        let entries = self.entries().await?;
        for object in objects {
            let ours = entries
                .iter()
                .any(|entry| entry.object.name == object.name && entry.object.namespace == namespace.as_str());
            if !ours && self.exists(&object.name).await? {
                return Err(Error::config(format!("`{}` exists there and storelab did not make it", object.name))
                    .with_hint("use another namespace or another database; nothing was touched"));
            }
        }
        self.drop_entries(&entries, Some(namespace)).await?;
        self.create_manifest().await?;
        let text =
            format!("INSERT INTO {TABLE} (namespace, kind, name, fingerprint, state) VALUES (?, ?, ?, ?, 'creating')");
        for object in objects {
            let fingerprint = dataset.fingerprint();
            self.run(&text, &[namespace.as_str(), object.kind, &object.name, &fingerprint]).await?;
        }
        Ok(())
    }

    /// Drops what the entries of a namespace, or all, name; then the entries.
    async fn drop_entries(&mut self, entries: &[Entry], namespace: Option<&Namespace>) -> Result<Vec<OwnedObject>> {
        let mut dropped = Vec::new();
        for entry in entries {
            let object = &entry.object;
            if namespace.is_some_and(|namespace| namespace.as_str() != object.namespace) {
                continue;
            }
            check_name(&object.name)?;
            if object.kind == KIND_TABLE {
                self.run(&format!("DROP TABLE IF EXISTS {}", object.name), &[]).await?;
            }
            dropped.push(object.clone());
        }
        if dropped.is_empty() {
            return Ok(dropped);
        }
        for object in &dropped {
            self.run(&format!("DELETE FROM {TABLE} WHERE name = ?"), &[&object.name]).await?;
        }
        Ok(dropped)
    }

    /// Whether `reads` sees the namespace's entries as they are now: not those of an earlier load.
    #[cfg(feature = "postgres")]
    pub(super) async fn is_seen(&mut self, namespace: &Namespace, reads: &str) -> Result<bool> {
        let mut seen = Vec::new();
        for reads in ["", reads] {
            let text = format!(
                "SELECT name, state, created_at::text FROM {TABLE} {reads} WHERE namespace = ? ORDER BY name, state"
            );
            let rows = self.run(&text, &[namespace.as_str()]).await?;
            let entry = |row| [0, 1, 2].map(|column| rows.text(row, column).unwrap_or_default().to_owned());
            seen.push((0..rows.len()).map(entry).collect::<Vec<_>>());
        }
        Ok(seen[0] == seen[1])
    }

    /// Whether what was claimed is in the manifest that there is now, and not in one that somebody dropped while it was
    /// written. Once it is, the manifest is not empty for anybody who would drop it.
    ///
    /// # Errors
    /// `Conflict` where it is not: to be claimed again.
    pub(super) async fn check_claimed(&mut self, dataset: &Dataset, objects: &[Object]) -> Result<()> {
        let text = format!(
            "SELECT name FROM {TABLE} WHERE namespace = ? AND fingerprint = ? AND state = 'creating' \
             AND {}",
            self.dialect.is_current.replace("{table}", TABLE)
        );
        let rows = self.run(&text, &[dataset.namespace().as_str(), &dataset.fingerprint()]).await?;
        if rows.len() == objects.len() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Conflict, "another process dropped or claimed what was to be loaded"))
        }
    }

    /// Marks the namespace's load as complete.
    pub(super) async fn mark_loaded(&mut self, namespace: &Namespace) -> Result<()> {
        let text = format!("UPDATE {TABLE} SET state = 'loaded' WHERE namespace = ?");
        self.run_again(&text, &[namespace.as_str()]).await
    }
}

/// The manifest is a table that others can write to; what it names must still be a name of ours.
fn check_name(name: &str) -> Result<()> {
    let ours = name.starts_with("storelab_")
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if ours {
        Ok(())
    } else {
        Err(Error::config(format!("the manifest holds a name that storelab never gives: {name:?}"))
            .with_hint(format!("somebody else wrote to `{TABLE}`; remove that row by hand")))
    }
}

/// What the manifest holds.
pub(crate) async fn owned<L: Link>(link: &mut L, dialect: &'static Dialect) -> Result<Vec<OwnedObject>> {
    let entries = Script::new(link, dialect).entries().await?;
    Ok(entries.into_iter().map(|entry| entry.object).collect())
}

/// Drops what the manifest holds, of one namespace or of all, and the manifest with its last entry.
pub(crate) async fn clean<L: Link>(
    link: &mut L,
    dialect: &'static Dialect,
    namespace: Option<&Namespace>,
) -> Result<Vec<OwnedObject>> {
    let mut script = Script::new(link, dialect);
    script.lock().await?;
    let result = async {
        let entries = script.entries().await?;
        let dropped = script.drop_entries(&entries, namespace).await?;
        script.drop_manifest_if_empty().await?;
        Ok(dropped)
    }
    .await;
    script.unlock(result).await
}

/// What there is of a dataset that needs those objects.
pub(super) async fn state<L: Link>(
    link: &mut L,
    dialect: &'static Dialect,
    dataset: &Dataset,
    objects: &[Object],
) -> Result<LoadState> {
    let mut script = Script::new(link, dialect);
    let mut entries = script.entries().await?;
    entries.retain(|entry| entry.object.namespace == dataset.namespace().as_str());
    if entries.is_empty() {
        return Ok(LoadState::Absent);
    }
    let fingerprint = dataset.fingerprint();
    for object in objects {
        let complete = entries
            .iter()
            .any(|entry| entry.object.name == object.name && entry.loaded && entry.fingerprint == fingerprint);
        if !complete || (object.kind == KIND_TABLE && !script.exists(&object.name).await?) {
            return Ok(LoadState::Partial);
        }
    }
    Ok(LoadState::Loaded(fingerprint))
}
