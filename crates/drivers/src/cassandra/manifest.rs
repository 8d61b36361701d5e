//! What in a cluster is known to be Storelab's: a table in the keyspace where all else lies, with a row for each table that
//! was made, written before it is.
//!
//! A keyspace of our own holds the manifest and goes with it. Cassandra has no transactions over several rows, so whoever
//! changes the manifest holds a row of it as a lock, taken by a lightweight transaction: otherwise one process could drop
//! the manifest with its last entry while another one adds to it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use scylla::statement::Consistency;
use store::{Dataset, Error, ErrorKind, LoadState, Namespace, OwnedObject, Result, Value};
use tokio::sync::Mutex;

use super::address::{Address, Replication};
use super::client::Client;
use crate::rows::RowBuffer;

/// The manifest's own table.
const TABLE: &str = "storelab_manifest";

/// Its columns, by which it is recognised.
const COLUMNS: [&str; 5] = ["complete", "content", "kind", "name", "namespace"];

/// Where the lock is: no namespace is called so.
const LOCK: &str = "!lock";

/// A process that died with the lock keeps it for so long: longer than making all tables of a dataset takes.
const LOCK_SECONDS: u32 = 60;

/// How often a lock that another process holds is asked for, and how often in all.
const LOCK_INTERVAL: Duration = Duration::from_millis(200);
const LOCK_ATTEMPTS: usize = 50;

/// One at a time in this process; what a dropped future held is then free for the next.
static TURN: Mutex<()> = Mutex::const_new(());

/// Who this process is, as the lock names it.
static OWNER: LazyLock<String> =
    LazyLock::new(|| format!("{}-{:016x}", std::process::id(), RandomState::new().hash_one(TABLE)));

/// A table of the dataset and what is between the brackets of its definition.
pub(crate) struct Definition {
    /// Its name.
    pub(crate) name: String,
    /// Columns and primary key.
    pub(crate) columns: String,
    /// In which order it is kept, where that is not the usual one: `CLUSTERING ORDER BY (…)`.
    pub(crate) order: Option<&'static str>,
}

/// The manifest of a keyspace, seen by one connection.
pub(crate) struct Manifest<'a> {
    client: &'a Client,
    address: &'a Address,
}

/// What there is in the keyspace.
enum Found {
    /// No such keyspace, which is only possible for our own.
    Nothing,
    /// The keyspace, with these tables, and no manifest.
    NoManifest(BTreeSet<String>),
    /// The keyspace, with these tables and our manifest.
    Manifest(BTreeSet<String>),
}

/// What the manifest says of a namespace.
#[derive(Default)]
struct Entry {
    content: String,
    is_complete: bool,
    tables: Vec<String>,
}

impl<'a> Manifest<'a> {
    /// The manifest of the address' keyspace.
    pub(crate) fn new(client: &'a Client, address: &'a Address) -> Self {
        Self { client, address }
    }

    /// What there is of a dataset, whose content is written so.
    pub(crate) async fn load_state(&self, dataset: &Dataset, content: &str) -> Result<LoadState> {
        Ok(match self.known().await?.get(dataset.namespace().as_str()) {
            None => LoadState::Absent,
            Some(entry) if entry.is_complete && entry.content == content => LoadState::Loaded(dataset.fingerprint()),
            Some(_) => LoadState::Partial,
        })
    }

    /// Everything that is ours.
    pub(crate) async fn owned(&self) -> Result<Vec<OwnedObject>> {
        Ok(self.known().await?.iter().flat_map(|(namespace, entry)| objects(namespace, entry)).collect())
    }

    /// Makes the tables of a namespace, in place of what it had.
    ///
    /// # Errors
    /// `Config` where one of the names is somebody else's; nothing is changed then.
    pub(crate) async fn create(&self, namespace: &Namespace, content: &str, tables: &[Definition]) -> Result<()> {
        let _turn = TURN.lock().await;
        match self.look().await? {
            Found::Nothing => {}
            Found::NoManifest(existing) if self.address.is_own_keyspace && !existing.is_empty() => {
                return Err(self.foreign(&format!("a keyspace `{}`", self.address.keyspace)));
            }
            Found::NoManifest(existing) => self.refuse_foreign(&existing, &Entry::default(), tables)?,
            Found::Manifest(existing) => {
                let entries = self.known().await?;
                let ours = entries.get(namespace.as_str());
                self.refuse_foreign(&existing, ours.unwrap_or(&Entry::default()), tables)?;
            }
        }
        self.lock(true).await?;
        let result = self.replace(namespace, content, tables).await;
        self.unlock().await?;
        result
    }

    /// With the lock: drops what the namespace had, writes its entry, and makes its tables.
    async fn replace(&self, namespace: &Namespace, content: &str, tables: &[Definition]) -> Result<()> {
        let Found::Manifest(existing) = self.look().await? else {
            return Err(changed_meanwhile());
        };
        let mut entries = self.entries().await?;
        let former = entries.remove(namespace.as_str()).unwrap_or_default();
        self.refuse_foreign(&existing, &former, tables)?;
        self.state(namespace, content, false).await?;
        for table in former.tables.iter().filter(|table| existing.contains(*table)) {
            self.drop_table(table).await?;
        }
        for table in &former.tables {
            if !tables.iter().any(|wanted| wanted.name == *table) {
                let text = format!("DELETE FROM {} WHERE namespace = ? AND name = ?", self.table());
                self.write(&text, &[Value::Text(namespace.as_str()), Value::Text(table)]).await?;
            }
        }
        for table in tables {
            let text = format!("INSERT INTO {} (namespace, name, kind) VALUES (?, ?, 'table')", self.table());
            self.write(&text, &[Value::Text(namespace.as_str()), Value::Text(&table.name)]).await?;
        }
        // Where another machine's clock is ahead, what it removed a moment ago hides what is written now.
        let written = self.entries().await?.remove(namespace.as_str()).unwrap_or_default();
        if written.content != content || tables.iter().any(|table| !written.tables.contains(&table.name)) {
            return Err(changed_meanwhile());
        }
        let options = if self.can_forgo_snapshots().await? { Some("allow_auto_snapshot = false") } else { None };
        for table in tables {
            let with: Vec<_> = table.order.into_iter().chain(options).collect();
            let with = if with.is_empty() { String::new() } else { format!(" WITH {}", with.join(" AND ")) };
            let name = self.address.table(&table.name);
            self.client.run(format!("CREATE TABLE {name} ({}){with}", table.columns)).await?;
        }
        Ok(())
    }

    /// Notes that the dataset is complete.
    pub(crate) async fn finish(&self, namespace: &Namespace, content: &str) -> Result<()> {
        self.state(namespace, content, true).await
    }

    /// Drops what the manifest holds, of one namespace or of all, and the manifest with its last entry.
    pub(crate) async fn clean(&self, namespace: Option<&Namespace>) -> Result<Vec<OwnedObject>> {
        let _turn = TURN.lock().await;
        match self.look().await? {
            Found::Nothing => return Ok(Vec::new()),
            Found::NoManifest(tables) => {
                // What a process left that ended between making the keyspace and the manifest.
                if self.address.is_own_keyspace && tables.is_empty() {
                    self.drop_keyspace().await?;
                }
                return Ok(Vec::new());
            }
            Found::Manifest(_) => {}
        }
        self.lock(false).await?;
        let result = self.remove(namespace).await;
        if !matches!(result, Ok((_, true))) {
            self.unlock().await?;
        }
        result.map(|(gone, _)| gone)
    }

    /// With the lock: what is gone, and whether the manifest is.
    async fn remove(&self, namespace: Option<&Namespace>) -> Result<(Vec<OwnedObject>, bool)> {
        let Found::Manifest(existing) = self.look().await? else {
            return Err(changed_meanwhile());
        };
        let (mut gone, mut stays) = (Vec::new(), false);
        for (name, entry) in self.entries().await? {
            if namespace.is_some_and(|wanted| wanted.as_str() != name) {
                stays = true;
                continue;
            }
            for table in entry.tables.iter().filter(|table| existing.contains(*table)) {
                self.drop_table(table).await?;
            }
            let text = format!("DELETE FROM {} WHERE namespace = ?", self.table());
            self.write(&text, &[Value::Text(&name)]).await?;
            gone.extend(objects(&name, &entry));
        }
        if stays {
            return Ok((gone, false));
        }
        if self.address.is_own_keyspace && existing.iter().all(|table| table == TABLE || is_among(&gone, table)) {
            self.drop_keyspace().await?;
        } else {
            self.drop_table(TABLE).await?;
        }
        Ok((gone, true))
    }

    /// Takes the lock, making keyspace and manifest first where they are not there and may be made.
    async fn lock(&self, may_make: bool) -> Result<()> {
        for _ in 0..LOCK_ATTEMPTS {
            if may_make {
                self.make().await?;
            }
            let text = format!(
                "INSERT INTO {} (namespace, name, kind) VALUES ('{LOCK}', '', '{}') IF NOT EXISTS USING TTL {LOCK_SECONDS}",
                self.table(),
                *OWNER
            );
            match self.client.run(text).await {
                Ok(rows) => {
                    let is_applied = rows.value(0, 0) == Value::Integer(1);
                    if is_applied || rows.row(0).any(|value| value == Value::Text(&OWNER)) {
                        return Ok(());
                    }
                }
                // Its last entry went, and the manifest with it.
                Err(error) if error.kind() == ErrorKind::Rejected && may_make => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(LOCK_INTERVAL).await;
        }
        Err(Error::new(ErrorKind::Conflict, "cassandra: another Storelab is making or dropping tables in the keyspace")
            .with_hint(format!("try again; one that was killed is in the way for {LOCK_SECONDS} s")))
    }

    async fn unlock(&self) -> Result<()> {
        let text =
            format!("DELETE FROM {} WHERE namespace = '{LOCK}' AND name = '' IF kind = '{}'", self.table(), *OWNER);
        self.client.run(text).await.map(|_| ())
    }

    /// Makes keyspace and manifest, where they are not there.
    async fn make(&self) -> Result<()> {
        let found = self.look().await?;
        if matches!(found, Found::Manifest(_)) {
            return Ok(());
        }
        let Address { keyspace, replication, is_own_keyspace, .. } = self.address;
        if matches!(found, Found::Nothing) && *is_own_keyspace {
            let factor = replication.factor();
            let text = format!(
                "CREATE KEYSPACE IF NOT EXISTS \"{keyspace}\" \
                 WITH replication = {{'class': 'NetworkTopologyStrategy', 'replication_factor': {factor}}}"
            );
            self.client.run(text).await?;
        }
        let with = if self.can_forgo_snapshots().await? { " WITH allow_auto_snapshot = false" } else { "" };
        let text = format!(
            "CREATE TABLE IF NOT EXISTS {} (namespace text, name text, kind text, content text static, \
             complete boolean static, PRIMARY KEY (namespace, name)){with}",
            self.table()
        );
        self.client.run(text).await.map(|_| ())
    }

    /// What is there, and that a manifest, if there is one, is ours: looked at again where it seems not to be, since it may be
    /// made or dropped between two statements.
    async fn look(&self) -> Result<Found> {
        const LOOKS: usize = 4;
        for _ in 1..LOOKS {
            match self.look_once().await {
                Err(error) if error.kind() == ErrorKind::Config => tokio::time::sleep(LOCK_INTERVAL).await,
                found => return found,
            }
        }
        self.look_once().await
    }

    async fn look_once(&self) -> Result<Found> {
        let Address { keyspace, .. } = self.address;
        let text = format!("SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace}'");
        let found = self.client.rows(&text).await?;
        let replication = found.maybe_first_row::<(BTreeMap<String, String>,)>();
        let Some((replication,)) = replication.map_err(super::client::out_of_protocol)? else {
            return Ok(Found::Nothing);
        };
        let text = format!("SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}'");
        let tables = names(&self.client.run(text).await?);
        if !tables.contains(TABLE) {
            return Ok(Found::NoManifest(tables));
        }
        let text = format!(
            "SELECT column_name FROM system_schema.columns WHERE keyspace_name = '{keyspace}' AND table_name = '{TABLE}'"
        );
        let columns = names(&self.client.run(text).await?);
        if !columns.iter().map(String::as_str).eq(COLUMNS) {
            return Err(self.foreign(&format!("a table `{TABLE}`")));
        }
        self.check_replication(&replication)?;
        Ok(Found::Manifest(tables))
    }

    /// Refuses a number of copies that the keyspace was not made with.
    fn check_replication(&self, replication: &BTreeMap<String, String>) -> Result<()> {
        let Replication::Asked(asked) = self.address.replication else { return Ok(()) };
        // Its class, and a number for each data centre.
        let factors: Vec<usize> = replication.values().filter_map(|value| value.parse().ok()).collect();
        if factors.iter().all(|factor| *factor == asked) {
            return Ok(());
        }
        Err(Error::config(format!(
            "cassandra: the keyspace `{}` was made with other copies ({factors:?}) than replication={asked}",
            self.address.keyspace
        ))
        .with_hint("run `storelab clean` on the target without that option first, or leave the option out"))
    }

    /// What the manifest holds; nothing where there is none. It goes with its last entry, and another session may take that
    /// out between our look and our reading.
    async fn known(&self) -> Result<BTreeMap<String, Entry>> {
        /// The schema tells of a table before it can be read and after it could be: for as long as a server takes to make or
        /// drop one.
        const ATTEMPTS_MAX: usize = 100;
        const PAUSE: Duration = Duration::from_millis(50);
        let mut attempt = 1;
        loop {
            if !matches!(self.look().await?, Found::Manifest(_)) {
                return Ok(BTreeMap::new());
            }
            match self.entries().await {
                Err(error) if error.kind() == ErrorKind::Rejected && attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }

    async fn entries(&self) -> Result<BTreeMap<String, Entry>> {
        let text = format!("SELECT namespace, name, content, complete FROM {}", self.table());
        let rows = self.read(&text).await?;
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        for row in 0..rows.len() {
            let Some(namespace) = rows.text(row, 0).filter(|name| is_namespace(name)) else { continue };
            let entry = entries.entry(namespace.to_owned()).or_default();
            rows.text(row, 2).unwrap_or_default().clone_into(&mut entry.content);
            entry.is_complete = rows.value(row, 3) == Value::Integer(1);
            // Nothing else can be ours, whatever the row says; an entry whose tables were not noted yet has no name.
            let is_ours = |name: &&str| name.strip_prefix(namespace).is_some_and(|rest| is_plain(rest, '_'));
            entry.tables.extend(rows.text(row, 1).filter(is_ours).map(str::to_owned));
        }
        Ok(entries)
    }

    async fn state(&self, namespace: &Namespace, content: &str, is_complete: bool) -> Result<()> {
        let text = format!("INSERT INTO {} (namespace, content, complete) VALUES (?, ?, ?)", self.table());
        let values = [Value::Text(namespace.as_str()), Value::Text(content), Value::Integer(i64::from(is_complete))];
        self.write(&text, &values).await
    }

    /// What is read was written, whatever consistency the URL asks for.
    async fn read(&self, text: &str) -> Result<RowBuffer> {
        let mut statement = scylla::statement::Statement::new(text);
        statement.set_consistency(Consistency::Quorum);
        self.client.run(statement).await
    }

    async fn write(&self, text: &str, values: &[Value<'_>]) -> Result<()> {
        let mut statement = self.client.prepare(text).await?;
        statement.set_consistency(Consistency::Quorum);
        self.client.execute(&statement, values, &mut RowBuffer::default()).await
    }

    async fn drop_table(&self, name: &str) -> Result<()> {
        self.client.run(format!("DROP TABLE IF EXISTS {}", self.address.table(name))).await.map(|_| ())
    }

    /// Drops our keyspace, which has no table left but the manifest; where somebody put other things into it, only that.
    async fn drop_keyspace(&self) -> Result<()> {
        let Address { keyspace, .. } = self.address;
        for kind in ["types", "functions", "aggregates", "views"] {
            let text =
                format!("SELECT keyspace_name FROM system_schema.{kind} WHERE keyspace_name = '{keyspace}' LIMIT 1");
            if !self.client.run(text).await?.is_empty() {
                return self.drop_table(TABLE).await;
            }
        }
        self.client.run(format!("DROP KEYSPACE IF EXISTS \"{keyspace}\"")).await.map(|_| ())
    }

    /// Whether tables can say that nothing is to be kept of them when they are dropped, as they can since 4.1. Without it the
    /// servers keep their files as a snapshot, as they are set to.
    async fn can_forgo_snapshots(&self) -> Result<bool> {
        let text = "SELECT column_name FROM system_schema.columns WHERE keyspace_name = 'system_schema' \
                    AND table_name = 'tables'";
        Ok(names(&self.client.run(text).await?).contains("allow_auto_snapshot"))
    }

    fn refuse_foreign(&self, existing: &BTreeSet<String>, ours: &Entry, wanted: &[Definition]) -> Result<()> {
        match wanted.iter().find(|table| existing.contains(&table.name) && !ours.tables.contains(&table.name)) {
            Some(table) => Err(self.foreign(&format!("a table `{}`", table.name))),
            None => Ok(()),
        }
    }

    fn foreign(&self, what: &str) -> Error {
        Error::config(format!("cassandra: {what} exists in `{}` that Storelab did not make", self.address.keyspace))
            .with_hint("rename or remove it, name another keyspace in the URL, or run under another namespace")
    }

    fn table(&self) -> String {
        self.address.table(TABLE)
    }
}

fn changed_meanwhile() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "cassandra: somebody else changed what is Storelab's in the keyspace at the same time",
    )
    .with_hint("try again; if it stays, the clocks of machines that use the keyspace differ")
}

fn objects(namespace: &str, entry: &Entry) -> Vec<OwnedObject> {
    let object =
        |name: &String| OwnedObject { namespace: namespace.to_owned(), kind: "table".to_owned(), name: name.clone() };
    entry.tables.iter().map(object).collect()
}

fn is_among(objects: &[OwnedObject], table: &str) -> bool {
    objects.iter().any(|object| object.name == table)
}

fn names(rows: &RowBuffer) -> BTreeSet<String> {
    (0..rows.len()).filter_map(|row| rows.text(row, 0).map(str::to_owned)).collect()
}

/// Whether the text is a namespace of ours, and not what somebody else wrote into the manifest.
fn is_namespace(text: &str) -> bool {
    text.strip_prefix("storelab_").is_some_and(|name| Namespace::new(name).is_ok())
}

/// Whether the text goes on with that character and then as names of ours do.
fn is_plain(text: &str, first: char) -> bool {
    let rest = text.strip_prefix(first);
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}
