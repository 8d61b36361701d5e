//! The manifest: a table that lists what Storelab made beside it.
//!
//! An entry is written before its table is made, so that nothing of ours is ever without one, and clean-up drops only
//! what has an entry and is still the table that was made. There are no locks that somebody who dies could keep: entries
//! of a dataset are written together or not at all, and never while the manifest is about to go, which a mark in it says.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{ConditionCheck, Put, ScalarAttributeType, TableStatus, TransactWriteItem};
use store::{Dataset, Error, ErrorKind, LoadState, Namespace, OwnedObject, Result};

use super::address::Settings;
use super::fault::{self, CANCELED, CONDITION_FAILED, NOT_FOUND};
use super::item::{Item, number, number_of, text, text_of};
use super::tables::{self, Definition, Patience, incomplete};

/// The manifest's table.
const TABLE: &str = "storelab_manifest";
/// Its key, by which it is known as ours.
const OBJECT: &str = "storelab_object";
/// The key of the mark that says that the manifest is about to go.
const CLOSING: &str = "!closing";

const KIND_TABLE: &str = "table";
const KIND_INDEX: &str = "index";

const CREATING: &str = "creating";
const MADE: &str = "made";
const LOADED: &str = "loaded";
/// Somebody else made it just before we could.
const FOREIGN: &str = "foreign";

/// Whoever closes the manifest is done within this time, or dead.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// What was sent by somebody who is gone is done within this time.
const SETTLED_WITHIN: Duration = Duration::from_millis(250);

/// How often something is begun anew because others changed the manifest meanwhile.
const ATTEMPTS_MAX: usize = 100;

/// An entry of the manifest.
#[derive(Debug, Clone)]
struct Entry {
    object: OwnedObject,
    fingerprint: String,
    state: String,
    /// Partitions of a table of records; 0 for others.
    shards: i64,
    /// What the table is known by, once it is made.
    identity: String,
}

impl Entry {
    fn of(item: &Item) -> Result<Self> {
        let get = |name: &str| text_of(item, name).map(str::to_owned).ok_or_else(stranger);
        let object = OwnedObject { namespace: get("namespace")?, kind: get("kind")?, name: get(OBJECT)? };
        check_name(&object.name)?;
        Ok(Self {
            object,
            fingerprint: get("fingerprint")?,
            state: get("state")?,
            shards: number_of(item, "shards").unwrap_or_default(),
            identity: text_of(item, "identity").unwrap_or_default().to_owned(),
        })
    }

    fn put(&self) -> Result<TransactWriteItem> {
        let put = Put::builder()
            .table_name(TABLE)
            .item(OBJECT, text(&self.object.name))
            .item("namespace", text(&self.object.namespace))
            .item("kind", text(&self.object.kind))
            .item("fingerprint", text(&self.fingerprint))
            .item("state", text(&self.state))
            .item("shards", number(self.shards));
        Ok(TransactWriteItem::builder().put(put.build().map_err(incomplete)?).build())
    }

    fn is_table(&self) -> bool {
        self.object.kind == KIND_TABLE
    }
}

/// The manifest of a service.
pub(super) struct Manifest<'a> {
    client: &'a Client,
    settings: Settings,
}

impl<'a> Manifest<'a> {
    pub(super) fn new(client: &'a Client, settings: Settings) -> Self {
        Self { client, settings }
    }

    /// What it holds.
    pub(super) async fn owned(&self) -> Result<Vec<OwnedObject>> {
        Ok(self.entries().await?.into_iter().map(|entry| entry.object).collect())
    }

    /// What there is of a dataset.
    pub(super) async fn state(&self, dataset: &Dataset) -> Result<LoadState> {
        let mut entries = self.entries().await?;
        entries.retain(|entry| entry.object.namespace == dataset.namespace().as_str());
        if entries.is_empty() {
            return Ok(LoadState::Absent);
        }
        let fingerprint = dataset.fingerprint();
        for wanted in self.wanted(dataset)? {
            let complete = entries.iter().any(|entry| {
                entry.object.name == wanted.object.name
                    && (entry.state.as_str(), entry.shards) == (LOADED, wanted.shards)
                    && entry.fingerprint == fingerprint
            });
            if !complete || (wanted.is_table() && tables::describe(self.client, &wanted.object.name).await?.is_none()) {
                return Ok(LoadState::Partial);
            }
        }
        Ok(LoadState::Loaded(fingerprint))
    }

    /// Makes the dataset's empty tables, replacing earlier ones of ours.
    pub(super) async fn create(&self, dataset: &Dataset) -> Result<()> {
        let definitions = Definition::all(dataset)?;
        let namespace = dataset.namespace();
        let entries = self.entries().await?;
        for table in &definitions {
            let is_ours = entries
                .iter()
                .any(|entry| entry.object.name == table.name && entry.object.namespace == namespace.as_str());
            if !is_ours && tables::describe(self.client, &table.name).await?.is_some() {
                return Err(foreign(&table.name));
            }
        }
        self.drop_entries(&entries, Some(namespace)).await?;
        self.add(&self.wanted(dataset)?).await?;
        for table in &definitions {
            if !tables::begin_create(self.client, table).await? {
                // A clean-up must not take it for ours, unless another process of ours says that it made it.
                self.mark(&table.name, FOREIGN, None).await?;
                return Err(Error::new(ErrorKind::Conflict, format!("somebody else made the table `{}`", table.name))
                    .with_hint("let only one process at a time make the same data"));
            }
        }
        for table in &definitions {
            let identity = tables::until_active(self.client, &table.name, self.settings.table_timeout).await?;
            self.mark(&table.name, MADE, Some(identity)).await?;
        }
        Ok(())
    }

    /// Marks a dataset's load as complete.
    pub(super) async fn mark_loaded(&self, dataset: &Dataset) -> Result<()> {
        for entry in self.wanted(dataset)? {
            self.mark(&entry.object.name, LOADED, None).await?;
        }
        Ok(())
    }

    /// Drops what it holds, of one namespace or of all, and itself with its last entry.
    pub(super) async fn clean(&self, namespace: Option<&Namespace>) -> Result<Vec<OwnedObject>> {
        let entries = self.entries().await?;
        let dropped = self.drop_entries(&entries, namespace).await?;
        self.close_if_empty().await?;
        Ok(dropped)
    }

    /// The entries of a dataset's objects, as they are at first.
    fn wanted(&self, dataset: &Dataset) -> Result<Vec<Entry>> {
        let namespace = dataset.namespace().as_str();
        let shards = if matches!(dataset, Dataset::Records(_)) { i64::from(self.settings.shards) } else { 0 };
        let entry = |kind: &str, name: &str| Entry {
            object: OwnedObject { namespace: namespace.to_owned(), kind: kind.to_owned(), name: name.to_owned() },
            fingerprint: dataset.fingerprint(),
            state: CREATING.to_owned(),
            shards,
            identity: String::new(),
        };
        let definitions = Definition::all(dataset)?;
        let indexes = definitions.iter().filter_map(Definition::index).map(|name| entry(KIND_INDEX, name));
        Ok(definitions.iter().map(|table| entry(KIND_TABLE, &table.name)).chain(indexes).collect())
    }

    /// Whether there is a manifest that can be used.
    ///
    /// # Errors
    /// `Config` where a table has its name but not its key.
    async fn exists(&self) -> Result<bool> {
        let Some(found) = tables::describe(self.client, TABLE).await? else { return Ok(false) };
        if !definition().is_keyed_alike(&found) {
            return Err(stranger());
        }
        let timeout = self.settings.table_timeout;
        match found.table_status() {
            Some(TableStatus::Active) => Ok(true),
            Some(TableStatus::Deleting) => tables::until_gone(self.client, TABLE, timeout).await.map(|()| false),
            _ => tables::until_active(self.client, TABLE, timeout).await.map(|_| true),
        }
    }

    /// Its entries, by namespace and name.
    async fn entries(&self) -> Result<Vec<Entry>> {
        if !self.exists().await? {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        let mut from: Option<Item> = None;
        loop {
            let request = self.client.scan().table_name(TABLE).consistent_read(true).set_exclusive_start_key(from);
            let answer = match request.send().await {
                Ok(answer) => answer,
                // It went with its last entry since it was looked for.
                Err(error) if fault::code(&error) == Some(NOT_FOUND) => return Ok(Vec::new()),
                Err(error) => return Err(fault::error(error)),
            };
            for item in answer.items().iter().filter(|item| text_of(item, OBJECT) != Some(CLOSING)) {
                entries.push(Entry::of(item)?);
            }
            from = answer.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        let order = |entry: &Entry| (entry.object.namespace.clone(), entry.object.name.clone());
        entries.sort_by_key(order);
        Ok(entries)
    }

    /// Writes entries, all or none, where the manifest is not about to go; makes it where there is none.
    async fn add(&self, entries: &[Entry]) -> Result<()> {
        let stays = ConditionCheck::builder()
            .table_name(TABLE)
            .key(OBJECT, text(CLOSING))
            .condition_expression(format!("attribute_not_exists({OBJECT})"));
        let stays = TransactWriteItem::builder().condition_check(stays.build().map_err(incomplete)?).build();
        for _ in 0..ATTEMPTS_MAX {
            if !self.exists().await? {
                // Where somebody else makes it at the same time, so be it.
                tables::begin_create(self.client, &definition()).await?;
                tables::until_active(self.client, TABLE, self.settings.table_timeout)
                    .await
                    .or_else(conflict_is_fine)?;
            }
            let mut request = self.client.transact_write_items().transact_items(stays.clone());
            for entry in entries {
                request = request.transact_items(entry.put()?);
            }
            match request.send().await {
                Ok(_) => return Ok(()),
                Err(error) => match fault::code(&error) {
                    Some(CANCELED) => self.until_closed().await?,
                    Some(NOT_FOUND) => {}
                    _ => return Err(fault::error(error)),
                },
            }
        }
        Err(busy())
    }

    /// Changes what an entry says of its object; that it is somebody else's only where nothing else is known.
    async fn mark(&self, name: &str, state: &str, identity: Option<String>) -> Result<()> {
        let set = if identity.is_some() { "SET #state = :state, #identity = :identity" } else { "SET #state = :state" };
        let is_foreign = state == FOREIGN;
        let condition =
            if is_foreign { "#state = :creating".to_owned() } else { format!("attribute_exists({OBJECT})") };
        let request = self
            .client
            .update_item()
            .table_name(TABLE)
            .key(OBJECT, text(name))
            .condition_expression(condition)
            .update_expression(set)
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", text(state));
        let request = match identity {
            Some(identity) => request
                .expression_attribute_names("#identity", "identity")
                .expression_attribute_values(":identity", text(identity)),
            None => request,
        };
        let request =
            if is_foreign { request.expression_attribute_values(":creating", text(CREATING)) } else { request };
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if matches!(fault::code(&error), Some(CONDITION_FAILED | NOT_FOUND)) => {
                if is_foreign {
                    return Ok(());
                }
                Err(Error::new(ErrorKind::Conflict, format!("`{name}` was cleaned while it was made"))
                    .with_hint("let only one process at a time make and clean the same data"))
            }
            Err(error) => Err(fault::error(error)),
        }
    }

    /// Drops what the entries of a namespace, or all, name; then the entries.
    async fn drop_entries(&self, entries: &[Entry], namespace: Option<&Namespace>) -> Result<Vec<OwnedObject>> {
        let concerned = |entry: &&Entry| namespace.is_none_or(|wanted| wanted.as_str() == entry.object.namespace);
        let concerned: Vec<_> = entries.iter().filter(concerned).collect();
        let mut is_settled = false;
        let ours = || concerned.iter().filter(|entry| entry.is_table() && entry.state != FOREIGN);
        for entry in ours() {
            let name = &entry.object.name;
            let mut found = tables::describe(self.client, name).await?;
            if found.is_none() && entry.state == CREATING && !is_settled {
                // Whoever began to make it may have been cut off, and its last request not have been done yet.
                tokio::time::sleep(SETTLED_WITHIN).await;
                is_settled = true;
                found = tables::describe(self.client, name).await?;
            }
            let Some(found) = found else { continue };
            if !entry.identity.is_empty() && tables::identity(&found) != entry.identity {
                return Err(Error::config(format!("the table `{name}` is not the one that storelab made")).with_hint(
                    format!("if it can go, drop it by hand; its entry in `{TABLE}` goes with the next clean-up"),
                ));
            }
            tables::begin_drop(self.client, name, self.settings.table_timeout).await?;
        }
        for entry in ours() {
            tables::until_gone(self.client, &entry.object.name, self.settings.table_timeout).await?;
        }
        for entry in &concerned {
            let request = self.client.delete_item().table_name(TABLE).key(OBJECT, text(&entry.object.name));
            match request.send().await {
                Ok(_) => {}
                Err(error) if fault::code(&error) == Some(NOT_FOUND) => {}
                Err(error) => return Err(fault::error(error)),
            }
        }
        Ok(concerned.into_iter().map(|entry| entry.object.clone()).collect())
    }

    /// Drops the manifest where it holds nothing.
    async fn close_if_empty(&self) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            if !self.exists().await? || !self.entries().await?.is_empty() {
                return Ok(());
            }
            let closing = self
                .client
                .put_item()
                .table_name(TABLE)
                .item(OBJECT, text(CLOSING))
                .condition_expression(format!("attribute_not_exists({OBJECT})"));
            match closing.send().await {
                Ok(_) => return self.close().await,
                Err(error) => match fault::code(&error) {
                    Some(CONDITION_FAILED) => self.until_closed().await?,
                    Some(NOT_FOUND) => return Ok(()),
                    _ => return Err(fault::error(error)),
                },
            }
        }
        Err(busy())
    }

    /// With the mark in it, nothing is added any more: what is empty now can go.
    async fn close(&self) -> Result<()> {
        if !self.entries().await?.is_empty() {
            return self.reopen().await;
        }
        let timeout = self.settings.table_timeout;
        tables::begin_drop(self.client, TABLE, timeout).await?;
        tables::until_gone(self.client, TABLE, timeout).await
    }

    async fn reopen(&self) -> Result<()> {
        match self.client.delete_item().table_name(TABLE).key(OBJECT, text(CLOSING)).send().await {
            Ok(_) => Ok(()),
            Err(error) if fault::code(&error) == Some(NOT_FOUND) => Ok(()),
            Err(error) => Err(fault::error(error)),
        }
    }

    /// Waits for somebody else to have closed the manifest, and takes the mark away where nobody does.
    async fn until_closed(&self) -> Result<()> {
        let mut patience = Patience::new(CLOSED_WITHIN);
        while self.exists().await? {
            let mark = self.client.get_item().table_name(TABLE).key(OBJECT, text(CLOSING)).consistent_read(true);
            match mark.send().await {
                Ok(answer) if answer.item.is_none() => return Ok(()),
                Ok(_) if patience.is_over() => return self.reopen().await,
                Ok(_) => patience.pause().await,
                Err(error) if fault::code(&error) == Some(NOT_FOUND) => return Ok(()),
                Err(error) => return Err(fault::error(error)),
            }
        }
        Ok(())
    }
}

/// The manifest as a table.
fn definition() -> Definition {
    Definition::keyed(TABLE, OBJECT, ScalarAttributeType::S)
}

/// The manifest is a table that others can write to; what it names must still be a name of ours.
fn check_name(name: &str) -> Result<()> {
    let is_ours = name.starts_with("storelab_")
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if is_ours {
        return Ok(());
    }
    Err(Error::config(format!("the manifest holds a name that storelab never gives: {name:?}"))
        .with_hint(format!("somebody else wrote to `{TABLE}`; remove that item by hand")))
}

fn foreign(name: &str) -> Error {
    Error::config(format!("`{name}` exists there and storelab did not make it"))
        .with_hint("use another account or region, or rename that table")
}

fn stranger() -> Error {
    Error::config(format!("there is a table `{TABLE}` that storelab did not make"))
        .with_hint("use another account or region, or drop that table")
}

fn busy() -> Error {
    Error::new(ErrorKind::Conflict, "other processes are changing storelab's objects there")
        .with_hint("wait until they have ended and try again")
}

/// That something was gone again is found out by the next attempt.
fn conflict_is_fine(error: Error) -> Result<String> {
    if error.kind() == ErrorKind::Conflict { Ok(String::new()) } else { Err(error) }
}
