//! Tables: what each is keyed by, and making and dropping them, which the service does in its own time.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, IndexStatus, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableDescription, TableStatus,
};
use store::{Dataset, Error, ErrorKind, Result};
use tokio::time::{Instant, sleep};

use super::fault::{self, IN_USE, NOT_FOUND};

/// The partition key of records: their shard.
pub(super) const SHARD: &str = "storelab_shard";
/// The sort key of records: their own key.
pub(super) const KEY: &str = "ycsb_key";

/// How long until a table that changes is looked at again: at first, and at most.
const LOOK_AFTER_MIN: Duration = Duration::from_millis(20);
const LOOK_AFTER_MAX: Duration = Duration::from_secs(1);

/// A key's attribute: its name and type.
type Key = (&'static str, ScalarAttributeType);

/// A table that is going to be made.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) name: String,
    partition: Key,
    sort: Option<Key>,
    index: Option<Index>,
}

/// A global secondary index of a table.
#[derive(Debug, Clone)]
struct Index {
    name: String,
    partition: Key,
    sort: Key,
    /// What it holds beside the keys.
    attributes: &'static [&'static str],
}

impl Definition {
    /// A table with a partition key and nothing else.
    pub(super) fn keyed(name: impl Into<String>, partition: &'static str, kind: ScalarAttributeType) -> Self {
        Self { name: name.into(), partition: (partition, kind), sort: None, index: None }
    }

    /// The tables of a dataset.
    ///
    /// # Errors
    /// `Unsupported` for relational tables.
    pub(super) fn all(dataset: &Dataset) -> Result<Vec<Self>> {
        let number = || ScalarAttributeType::N;
        let namespace = dataset.namespace();
        match dataset {
            Dataset::Records(table) => {
                let sort = Some((KEY, ScalarAttributeType::S));
                Ok(vec![Self { sort, ..Self::keyed(namespace.object(table.table), SHARD, number()) }])
            }
            Dataset::Operations(_) => {
                let table = |name, partition| Self::keyed(namespace.object(name), partition, number());
                let by_group = Index {
                    name: index_of_documents(namespace),
                    partition: ("group", number()),
                    sort: ("id", number()),
                    attributes: &["owner", "tags"],
                };
                Ok(vec![
                    table("accounts", "id"),
                    table("customers", "id"),
                    Self { index: Some(by_group), ..table("documents", "id") },
                    table("items", "id"),
                    Self { sort: Some(("id", number())), ..table("orders", "customer") },
                ])
            }
            Dataset::Tables(_) => Err(Error::unsupported("DynamoDB has no relational tables")),
        }
    }

    /// The name of its index, where it has one.
    pub(super) fn index(&self) -> Option<&str> {
        self.index.as_ref().map(|index| index.name.as_str())
    }

    /// Whether a table has this one's key.
    pub(super) fn is_keyed_alike(&self, found: &TableDescription) -> bool {
        let wanted = [Some(&self.partition), self.sort.as_ref()];
        let wanted: Vec<_> = wanted.into_iter().flatten().map(|(name, _)| *name).collect();
        let found: Vec<_> = found.key_schema().iter().map(KeySchemaElement::attribute_name).collect();
        wanted == found
    }

    fn attributes(&self) -> Vec<Key> {
        let index = self.index.iter().flat_map(|index| [index.partition.clone(), index.sort.clone()]);
        let mut attributes: Vec<_> =
            std::iter::once(self.partition.clone()).chain(self.sort.clone()).chain(index).collect();
        attributes.sort_unstable_by_key(|(name, _)| *name);
        attributes.dedup_by_key(|(name, _)| *name);
        attributes
    }
}

/// The index by which documents of a group are found.
pub(super) fn index_of_documents(namespace: &store::Namespace) -> String {
    namespace.object("documents_group")
}

/// What there is of that name.
pub(super) async fn describe(client: &Client, name: &str) -> Result<Option<TableDescription>> {
    match client.describe_table().table_name(name).send().await {
        Ok(answer) => Ok(answer.table),
        Err(error) if fault::code(&error) == Some(NOT_FOUND) => Ok(None),
        Err(error) => Err(fault::error(error)),
    }
}

/// Begins to make a table; false where one of its name is there.
pub(super) async fn begin_create(client: &Client, table: &Definition) -> Result<bool> {
    let mut request = client.create_table().table_name(&table.name).billing_mode(BillingMode::PayPerRequest);
    request = request.set_key_schema(Some(key_schema(&table.partition, table.sort.as_ref()).map_err(incomplete)?));
    for (name, kind) in table.attributes() {
        let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
        request = request.attribute_definitions(attribute.map_err(incomplete)?);
    }
    if let Some(index) = &table.index {
        request = request.global_secondary_indexes(global_index(index).map_err(incomplete)?);
    }
    match request.send().await {
        Ok(_) => Ok(true),
        Err(error) if fault::code(&error) == Some(IN_USE) => Ok(false),
        Err(error) => Err(fault::error(error)),
    }
}

fn key_schema(partition: &Key, sort: Option<&Key>) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let mut schema = vec![element(partition.0, KeyType::Hash)?];
    if let Some(sort) = sort {
        schema.push(element(sort.0, KeyType::Range)?);
    }
    Ok(schema)
}

fn global_index(index: &Index) -> Result<GlobalSecondaryIndex, BuildError> {
    let attributes = index.attributes.iter().map(|name| (*name).to_owned()).collect();
    let projection =
        Projection::builder().projection_type(ProjectionType::Include).set_non_key_attributes(Some(attributes)).build();
    let schema = key_schema(&index.partition, Some(&index.sort))?;
    GlobalSecondaryIndex::builder().index_name(&index.name).set_key_schema(Some(schema)).projection(projection).build()
}

/// The library wants something that was not given.
pub(super) fn incomplete(source: BuildError) -> Error {
    Error::bug("a request of ours is incomplete").with_source(source)
}

/// Waits until a table and its indexes can be used, and tells what it is known by.
pub(super) async fn until_active(client: &Client, name: &str, timeout: Duration) -> Result<String> {
    let mut patience = Patience::new(timeout);
    loop {
        let Some(found) = describe(client, name).await? else {
            return Err(Error::new(ErrorKind::Conflict, format!("the table `{name}` was dropped while it was made"))
                .with_hint("somebody else cleans there: try again"));
        };
        let indexes = found.global_secondary_indexes().iter();
        let is_active = found.table_status() == Some(&TableStatus::Active)
            && indexes.map(|index| index.index_status()).all(|status| status == Some(&IndexStatus::Active));
        if is_active {
            return Ok(identity(&found));
        }
        patience.wait(name, "ready").await?;
    }
}

/// What tells a table from another one of its name: its id, or when it was made where the server gives none.
pub(super) fn identity(table: &TableDescription) -> String {
    table.table_id().map_or_else(
        || table.creation_date_time().map(|time| time.as_secs_f64().to_string()).unwrap_or_default(),
        str::to_owned,
    )
}

/// Begins to drop a table, once it is not just being made; it may be gone.
pub(super) async fn begin_drop(client: &Client, name: &str, timeout: Duration) -> Result<()> {
    let mut patience = Patience::new(timeout);
    loop {
        match client.delete_table().table_name(name).send().await {
            Ok(_) => return Ok(()),
            Err(error) => match fault::code(&error) {
                Some(NOT_FOUND) => return Ok(()),
                Some(IN_USE) if is_going(client, name).await? => return Ok(()),
                // So many tables change at the same time.
                Some(IN_USE | "LimitExceededException") => {}
                _ => return Err(fault::error(error)),
            },
        }
        patience.wait(name, "droppable").await?;
    }
}

async fn is_going(client: &Client, name: &str) -> Result<bool> {
    let found = describe(client, name).await?;
    Ok(found.is_none_or(|table| table.table_status() == Some(&TableStatus::Deleting)))
}

/// Waits until there is no table of that name.
pub(super) async fn until_gone(client: &Client, name: &str, timeout: Duration) -> Result<()> {
    let mut patience = Patience::new(timeout);
    while describe(client, name).await?.is_some() {
        patience.wait(name, "gone").await?;
    }
    Ok(())
}

/// Waits longer from time to time, and not for ever.
pub(super) struct Patience {
    until: Instant,
    next: Duration,
    seconds: f64,
}

impl Patience {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { until: Instant::now() + timeout, next: LOOK_AFTER_MIN, seconds: timeout.as_secs_f64() }
    }

    /// Whether it has come to its end.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Waits until it is worth to look again.
    pub(super) async fn pause(&mut self) {
        sleep(self.next).await;
        self.next = (self.next * 2).min(LOOK_AFTER_MAX);
    }

    /// The same, for a table to be something.
    ///
    /// # Errors
    /// `Timeout` at its end.
    async fn wait(&mut self, table: &str, wanted: &str) -> Result<()> {
        if self.is_over() {
            let error = format!("the table `{table}` is not {wanted} after {} s", self.seconds);
            return Err(Error::new(ErrorKind::Timeout, error)
                .with_hint("look at it in the service's console, or give it more time with table_timeout=SECONDS"));
        }
        self.pause().await;
        Ok(())
    }
}
