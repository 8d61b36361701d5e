//! The hot path: one request after another, each a command that is written as it is sent.

use std::ops::Range;
use std::sync::Arc;

use ::mongodb::bson::{RawBsonRef, RawDocument};
use store::{Error, Fields, OperationRows, Outcome, RecordTable, Request, Result, Value, Values};

use super::address::Address;
use super::connection::counted;
use super::document::{Writer, document, document_of, get_text, malformed};
use super::members::Members;
use super::operations::{self, Scratch};
use super::store::collection_of;
use crate::contents::Contents;
use crate::lane::LaneClient;
use crate::rows::{RowBuffer, Shape};

/// What every field's name begins with.
const FIELD: &str = "field";

/// What a command needs beside the values in it: names, key, collection and concerns.
const COMMAND_BYTES: usize = 256;

/// What a value needs beside itself.
const VALUE_BYTES: usize = 16;

/// The names of a record's fields, written once.
pub(crate) struct FieldNames(Vec<String>);

impl FieldNames {
    /// Of that table.
    pub(crate) fn of(table: &RecordTable) -> Self {
        Self((0..table.field_count).map(|field| format!("{FIELD}{field}")).collect())
    }

    /// One of them; a field beyond the table has no name, and no caller.
    pub(crate) fn name(&self, field: u16) -> &str {
        self.0.get(usize::from(field)).map_or("", String::as_str)
    }
}

/// What a session is about.
pub(crate) enum Work {
    /// Nothing that it could be asked.
    Nothing,
    /// The key-value verbs.
    Records(Records),
    /// The operations.
    Operations(Box<Rows>),
}

/// The collection of the key-value verbs.
pub(crate) struct Records {
    collection: String,
    identity: Option<[u8; 16]>,
    names: FieldNames,
}

/// The collections of the operations.
pub(crate) struct Rows {
    pub(crate) contents: Contents,
    /// Of the collection that grows.
    pub(crate) identity: Option<[u8; 16]>,
    pub(crate) scratch: Scratch,
}

impl Work {
    /// The key-value verbs on a collection of that identity.
    pub(crate) fn records(table: &RecordTable, identity: Option<[u8; 16]>) -> Self {
        Self::Records(Records { collection: collection_of(table), identity, names: FieldNames::of(table) })
    }

    /// The operations on collections of which the one that grows has that identity.
    pub(crate) fn operations(rows: &OperationRows, identity: Option<[u8; 16]>) -> Self {
        let contents = Contents::new(rows);
        let scratch = Scratch::new(&contents.namespace);
        Self::Operations(Box::new(Rows { contents, identity, scratch }))
    }
}

/// Does a session's requests on its connections: what a lane runs.
pub(crate) struct Worker {
    members: Members,
    work: Work,
    concerns: Concerns,
}

/// What every command says of how it is to be done.
pub(crate) struct Concerns(Arc<Address>);

impl Concerns {
    /// Appends the write concern, where the target has one.
    pub(crate) fn write(&self, command: &mut Writer<'_>) {
        if let Some(concern) = &self.0.write_concern {
            command.written("writeConcern", concern);
        }
    }

    /// Appends the read concern, where the target has one.
    pub(crate) fn read(&self, command: &mut Writer<'_>) {
        if let Some(concern) = &self.0.read_concern {
            command.written("readConcern", concern);
        }
    }
}

impl Worker {
    /// A worker on its connections.
    pub(crate) fn new(members: Members, work: Work, address: Arc<Address>) -> Self {
        Self { members, work, concerns: Concerns(address) }
    }
}

impl LaneClient for Worker {
    async fn run(&mut self, request: &Request<'_>, rows: &mut RowBuffer) -> Result<Outcome> {
        let count = match (&mut self.work, request) {
            (Work::Operations(work), Request::Operation { operation, row }) => {
                operations::run(work, &mut self.members, &self.concerns, *operation, *row).await
            }
            (Work::Records(records), request) => records.run(&mut self.members, &self.concerns, request, rows).await,
            (_, Request::Operation { .. }) => Err(Error::bug("an operation on a session without its dataset")),
            (_, _) => Err(Error::bug("a key-value verb on a session without records")),
        };
        count.map(|rows| Outcome { rows })
    }

    fn is_broken(&self) -> bool {
        self.members.is_broken()
    }
}

impl Records {
    async fn run(
        &self,
        members: &mut Members,
        concerns: &Concerns,
        request: &Request<'_>,
        rows: &mut RowBuffer,
    ) -> Result<u64> {
        match *request {
            Request::Read { key, fields } => {
                let shown = match fields {
                    Fields::All => 0..self.names.0.len(),
                    Fields::One(field) => usize::from(field)..usize::from(field) + 1,
                };
                rows.set_shape(Shape { key: false, first: shown.start });
                let command = self.read(key, fields, concerns);
                let show = |found: &RawDocument| {
                    rows.begin_row();
                    self.show(found, shown.clone(), rows)
                };
                Ok(members.reader().find(command, show).await?)
            }
            // A limit of 0 would mean none.
            Request::Scan { limit: 0, .. } => Ok(0),
            Request::Scan { start, limit } => {
                rows.set_shape(Shape { key: true, first: 0 });
                let command = self.scan(start, limit, concerns);
                let show = |found: &RawDocument| {
                    let key = get_text(found, "_id").ok_or_else(|| Error::wrong_result("a record's key is no text"))?;
                    rows.begin_row();
                    rows.push(Value::Text(key));
                    self.show(found, 0..self.names.0.len(), rows)
                };
                Ok(members.reader().find(command, show).await?)
            }
            Request::Insert { key, values } => {
                Ok(counted(&members.writer.command(self.insert(key, values, concerns)).await?)?)
            }
            Request::Update { key, values } => {
                Ok(counted(&members.writer.command(self.update(key, values, concerns)?).await?)?)
            }
            Request::Delete { key } => Ok(counted(&members.writer.command(self.delete(key, concerns)).await?)?),
            _ => Err(Error::unsupported("this store has neither SQL nor interactive transactions")),
        }
    }

    fn read(&self, key: &str, fields: Fields, concerns: &Concerns) -> Vec<u8> {
        document(|command| {
            command.text("find", &self.collection);
            command.document("filter", |filter| filter.text("_id", key).end());
            if let Fields::One(field) = fields {
                command.document("projection", |shown| shown.small("_id", 0).small(self.names.name(field), 1).end());
            }
            command.small("limit", 1).boolean("singleBatch", true);
            concerns.read(command);
        })
    }

    fn scan(&self, start: &str, limit: u32, concerns: &Concerns) -> Vec<u8> {
        document(|command| {
            command.text("find", &self.collection);
            command.document("filter", |filter| {
                filter.document("_id", |from| from.text("$gte", start).end());
            });
            command.document("sort", |sort| sort.small("_id", 1).end());
            // The first batch is to have all of them, as far as an answer goes.
            command.integer("limit", limit.into()).integer("batchSize", limit.into());
            concerns.read(command);
        })
    }

    fn insert(&self, key: &str, values: Values<'_>, concerns: &Concerns) -> Vec<u8> {
        document_of(size_of_command(values), |command| {
            command.text("insert", &self.collection);
            if let Some(identity) = self.identity {
                command.uuid("collectionUUID", identity);
            }
            command.array("documents", |documents| {
                documents.document(|record| {
                    record.text("_id", key);
                    self.put(record, values);
                });
            });
            concerns.write(command);
        })
    }

    fn update(&self, key: &str, values: Values<'_>, concerns: &Concerns) -> Result<Vec<u8>> {
        if usize::from(values.first) + values.iter().len() > self.names.0.len() {
            return Err(Error::bug("an update of a field that the table has not"));
        }
        Ok(document_of(size_of_command(values), |command| {
            command.text("update", &self.collection);
            command.array("updates", |updates| {
                updates.document(|update| {
                    update.document("q", |query| query.text("_id", key).end());
                    update.document("u", |change| {
                        change.document("$set", |fields| self.put(fields, values));
                    });
                });
            });
            concerns.write(command);
        }))
    }

    fn delete(&self, key: &str, concerns: &Concerns) -> Vec<u8> {
        document(|command| {
            command.text("delete", &self.collection);
            command.array("deletes", |deletes| {
                deletes.document(|delete| {
                    delete.document("q", |query| query.text("_id", key).end()).small("limit", 1);
                });
            });
            concerns.write(command);
        })
    }

    /// Keeps the fields of those numbers. The server keeps their order; who else has written here may have another one.
    fn show(&self, found: &RawDocument, shown: Range<usize>, rows: &mut RowBuffer) -> Result<()> {
        let mut expected = shown.clone();
        for element in found {
            let (name, value) = element.map_err(|_| malformed())?;
            if self.names.0.get(expected.start).is_some_and(|expected| expected == name.as_str()) {
                push(value, rows);
                expected.start += 1;
            }
            if expected.is_empty() {
                return Ok(());
            }
        }
        for field in expected {
            let value = self.names.0.get(field).and_then(|name| found.get(name).ok()?);
            push(value.unwrap_or(RawBsonRef::Null), rows);
        }
        Ok(())
    }

    fn put(&self, fields: &mut Writer<'_>, values: Values<'_>) {
        for (field, value) in values.iter() {
            fields.ascii(self.names.name(field), value);
        }
    }
}

fn size_of_command(values: Values<'_>) -> usize {
    values.bytes.len() + VALUE_BYTES * values.iter().len() + COMMAND_BYTES
}

/// Keeps what was found; what is no scalar is shown as absent.
fn push(value: RawBsonRef<'_>, rows: &mut RowBuffer) {
    rows.push(match value {
        RawBsonRef::String(text) => Value::Text(text),
        RawBsonRef::Int32(number) => Value::Integer(number.into()),
        RawBsonRef::Int64(number) => Value::Integer(number),
        RawBsonRef::Double(number) => Value::Real(number),
        RawBsonRef::Binary(bytes) => Value::Bytes(bytes.bytes),
        _ => Value::Null,
    });
}
