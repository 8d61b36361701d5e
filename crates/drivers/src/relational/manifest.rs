//! The manifest: a table inside the data store that lists what Storelab made there.
//!
//! An entry is written before its object is created, so that nothing of ours is ever without one, and clean-up drops
//! only what has an entry. A table of the manifest's name that has not our columns belongs to somebody else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use store::{Dataset, Error, ErrorKind, LoadState, Namespace, OwnedObject, Result, Value};

use super::{Dialect, Link, RowBuffer};

/// The manifest's table.
const TABLE: &str = "storelab_manifest";

/// How long something is tried again that others are in the way of: a minute is what one of them may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Between two attempts at it: a schema changes in tens of milliseconds.
const PAUSE: Duration = Duration::from_millis(100);

/// After how long a manifest that is being dropped is taken for one whose dropper died.
const ABANDONED_AFTER: Duration = Duration::from_secs(20);

/// What `lock` gives where it must be asked for again.
const LOCK_LATER: i64 = 2;

/// What it is called while it is being dropped, where dropping it at once would take along what others are writing to it.
const RETIRED: &str = "storelab_manifest_retired";

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
    pub(super) async fn run_again(&mut self, text: &str) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.run(text, &[]).await {
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

    /// Keeps other processes out while the manifest changes. To be followed by `unlock`, whatever happens.
    pub(super) async fn lock(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            // Where many want it at once, some products answer so before the lock's own time is over.
            self.run_again(self.dialect.lock).await?;
            if self.rows.is_empty() || self.rows.value(0, 0) == Value::Integer(1) {
                return Ok(());
            }
            if self.rows.value(0, 0) != Value::Integer(LOCK_LATER) || Instant::now() > until {
                return Err(Error::new(ErrorKind::Conflict, "another process is changing storelab's objects there")
                    .with_hint("wait until it has ended and try again"));
            }
        }
    }

    pub(super) async fn unlock<T>(&mut self, result: Result<T>) -> Result<T> {
        let unlocked = self.run(self.dialect.unlock, &[]).await.map(|_| ());
        let value = result?;
        unlocked.map(|()| value)
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

    async fn entries(&mut self) -> Result<Vec<Entry>> {
        let mut entries: BTreeMap<(String, String), Entry> = BTreeMap::new();
        for table in self.tables().await? {
            let text = format!("SELECT namespace, kind, name, fingerprint, state FROM {table}");
            let rows = self.run(&text, &[]).await?;
            let column = |row, column| rows.text(row, column).unwrap_or_default().to_owned();
            for row in 0..rows.len() {
                let entry = Entry {
                    object: OwnedObject { namespace: column(row, 0), kind: column(row, 1), name: column(row, 2) },
                    fingerprint: column(row, 3),
                    loaded: rows.text(row, 4) == Some("loaded"),
                };
                entries.entry((column(row, 0), column(row, 2))).or_insert(entry);
            }
        }
        Ok(entries.into_values().collect())
    }

    /// Where entries can be: the manifest, and one that is being dropped or that somebody who died was dropping.
    async fn tables(&mut self) -> Result<Vec<&'static str>> {
        let mut tables = Vec::new();
        if self.has_manifest().await? {
            tables.push(TABLE);
        }
        if self.dialect.retires_manifest && self.exists(RETIRED).await? {
            tables.push(RETIRED);
        }
        Ok(tables)
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

    /// Drops an empty manifest where dropping does not wait for those who are writing to it. Renaming does: once that has
    /// ended nobody can write to it any more, and what had been written until then is seen and put back. Outside of the lock.
    /// One at a time: several that change the same table would wait for one another until their leases of it end, minutes
    /// later.
    async fn retire_manifest_if_empty(&mut self, others_died: bool) -> Result<()> {
        if self.exists(RETIRED).await? {
            if !others_died {
                return Err(Error::new(ErrorKind::Conflict, "another process is dropping the manifest"));
            }
            self.put_back().await?;
        }
        let is_empty = format!("SELECT name FROM {TABLE} LIMIT 1");
        if !self.has_manifest().await? || !self.run(&is_empty, &[]).await?.is_empty() {
            return Ok(());
        }
        self.run(&format!("ALTER TABLE {TABLE} RENAME TO {RETIRED}"), &[]).await?;
        if self.run(&format!("SELECT name FROM {RETIRED} LIMIT 1"), &[]).await?.is_empty() {
            self.run(&format!("DROP TABLE IF EXISTS {RETIRED}"), &[]).await?;
            return Ok(());
        }
        self.put_back().await
    }

    /// Gives the manifest back what was written to it when it was retired.
    async fn put_back(&mut self) -> Result<()> {
        self.lock().await?;
        let result = async {
            self.create_manifest().await?;
            let columns = COLUMNS.join(", ");
            let text = format!(
                "INSERT INTO {TABLE} ({columns}) SELECT {columns} FROM {RETIRED} ON CONFLICT (name) DO NOTHING"
            );
            self.run(&text, &[]).await?;
            self.run(&format!("DROP TABLE IF EXISTS {RETIRED}"), &[]).await.map(|_| ())
        }
        .await;
        self.unlock(result).await
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
        for table in self.tables().await? {
            for object in &dropped {
                self.run(&format!("DELETE FROM {table} WHERE name = ?"), &[&object.name]).await?;
            }
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

    /// Marks the namespace's load as complete, once nobody is in the way, and where somebody retires the manifest once the
    /// namespace's entries have been put back.
    pub(super) async fn mark_loaded(&mut self, namespace: &Namespace) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.try_mark_loaded(namespace).await {
                Err(error) if self.is_in_the_way(&error) && Instant::now() < until => {
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// Whether others are making, retiring or changing the manifest at this moment.
    fn is_in_the_way(&self, error: &Error) -> bool {
        let gone = || error.kind() == ErrorKind::Rejected && error.to_string().contains(TABLE);
        error.kind() == ErrorKind::Conflict || self.dialect.retires_manifest && gone()
    }

    async fn try_mark_loaded(&mut self, namespace: &Namespace) -> Result<()> {
        let text = format!("UPDATE {TABLE} SET state = 'loaded' WHERE namespace = ?");
        self.run(&text, &[namespace.as_str()]).await?;
        if self.dialect.retires_manifest {
            let text = format!("SELECT name FROM {TABLE} WHERE namespace = ? AND state = 'loaded'");
            if self.run(&text, &[namespace.as_str()]).await?.is_empty() {
                return Err(Error::new(ErrorKind::Conflict, "the manifest is being put back"));
            }
        }
        Ok(())
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
        if !dialect.retires_manifest {
            script.drop_manifest_if_empty().await?;
        }
        Ok(dropped)
    }
    .await;
    let dropped = script.unlock(result).await?;
    // What was dropped must be told once, so that others who are in the way are waited for here.
    let began = Instant::now();
    while dialect.retires_manifest
        && let Err(error) = script.retire_manifest_if_empty(began.elapsed() > ABANDONED_AFTER).await
    {
        if !script.is_in_the_way(&error) || began.elapsed() > PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(dropped)
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
