//! A connection: the library's client, and values on their way in and out.

use std::sync::Arc;
use std::time::Duration;

use scylla::client::PoolSize;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::cluster::NodeRef;
use scylla::deserialize::row::ColumnIterator;
use scylla::frame::response::result::{ColumnType, NativeType};
use scylla::policies::host_filter::AllowListHostFilter;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::policies::timestamp_generator::MonotonicTimestampGenerator;
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::{CellOverflowError, RowWriter};
use scylla::statement::Statement;
use scylla::statement::prepared::PreparedStatement;
use store::{Error, Result, Value};
use tokio::time::timeout;

use super::address::Address;
use super::error;
use super::permitted::Permitted;
use crate::rows::RowBuffer;

/// A node that says nothing is asked whether it lives; twice this later it is given up, and what it was to answer is lost.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Between two looks whether all nodes know of a table: a round trip or two in one data centre.
const AGREEMENT_INTERVAL: Duration = Duration::from_millis(20);

/// Longer than any schema of ours needs; a cluster with a node that is half dead never agrees.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Many requests, each to a replica: the library has to know how the keyspace is spread.
    Work,
    /// A few statements, to anybody.
    Administration,
}

/// The library's client, which is ours alone: one connection to each listed node, and one that it hears of the cluster by.
pub(crate) struct Client {
    session: Session,
    server: String,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// As [`Driver::connect`](store::Driver::connect), within its time.
    pub(crate) async fn open(address: &Address, purpose: Purpose) -> Result<Self> {
        let server = address.nodes[0].to_string();
        let open = async {
            let nodes = address.resolve().await?;
            let addresses: Vec<_> = nodes.iter().map(|(address, _)| *address).collect();
            let filter = AllowListHostFilter::new(addresses.iter().copied())
                .map_err(|source| Error::bug("cassandra: addresses are not addresses").with_source(source))?;
            let mut builder = SessionBuilder::new()
                .known_nodes_addr(addresses)
                .host_filter(Arc::new(filter))
                .connection_timeout(address.connect_timeout)
                .pool_size(PoolSize::PerHost(std::num::NonZeroUsize::MIN))
                .disallow_shard_aware_port(true)
                .tcp_nodelay(true)
                .keepalive_interval(KEEPALIVE)
                .keepalive_timeout(KEEPALIVE)
                .timestamp_generator(Arc::new(MonotonicTimestampGenerator::new()))
                .default_execution_profile_handle(address.profile.clone())
                // One request is in flight, so that nothing would be gained by waiting for another one to go with it.
                .write_coalescing(false)
                .schema_agreement_interval(AGREEMENT_INTERVAL)
                .schema_agreement_timeout(AGREEMENT_TIMEOUT)
                .refresh_metadata_on_auto_schema_agreement(false)
                .fetch_schema_metadata(purpose == Purpose::Work)
                .fetch_full_schema_metadata(false)
                .keyspaces_to_fetch([&address.keyspace]);
            if purpose == Purpose::Work {
                // So that a server's list of its clients says whose they are.
                builder = builder.use_keyspace(&address.keyspace, true);
            }
            if address.limits.exist() {
                builder = builder.address_translator(Arc::new(Permitted::new(&nodes, &address.limits)));
            }
            if let Some((user, password)) = &address.account {
                builder = builder.user(user, password);
            }
            let session = builder.build().await.map_err(|source| error::connecting(source, &server))?;
            let client = Self { session, server: server.clone() };
            // The library has a client also for servers that did not say what they are.
            client.run("SELECT release_version FROM system.local").await?;
            Ok(client)
        };
        timeout(address.connect_timeout, open).await.unwrap_or_else(|_| {
            let seconds = address.connect_timeout.as_secs_f64();
            Err(Error::unreachable(format!("cassandra: no answer from {server} within {seconds} s"))
                .with_hint("check that the server runs and that host and port are right"))
        })
    }

    /// Prepares a statement.
    pub(crate) async fn prepare(&self, text: &str) -> Result<PreparedStatement> {
        let prepared = self.session.prepare(text).await;
        let mut prepared = prepared.map_err(|source| error::preparing(source, &self.server))?;
        // No table of ours is ever altered.
        prepared.set_use_cached_result_metadata(true);
        Ok(prepared)
    }

    /// Runs a statement, all rows at once, and appends them.
    pub(crate) async fn execute(
        &self,
        statement: &PreparedStatement,
        parameters: &[Value<'_>],
        rows: &mut RowBuffer,
    ) -> Result<()> {
        let result = self.session.execute_unpaged(statement, Cells(parameters)).await;
        append(result.map_err(|source| error::execution(source, &self.server))?, rows)
    }

    /// Runs a statement without parameters.
    pub(crate) async fn run(&self, text: impl Into<Statement>) -> Result<RowBuffer> {
        let result = self.session.query_unpaged(text, ()).await;
        let mut rows = RowBuffer::default();
        append(result.map_err(|source| error::execution(source, &self.server))?, &mut rows)?;
        Ok(rows)
    }

    /// The same, on that node and no other.
    pub(crate) async fn run_on(&self, node: NodeRef<'_>, text: &str) -> Result<RowBuffer> {
        let mut statement = Statement::new(text);
        let target = NodeIdentifier::Node(Arc::clone(node));
        statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(target, None)));
        self.run(statement).await
    }

    /// Runs a statement; its rows as the library has them.
    pub(crate) async fn rows(&self, text: &str) -> Result<QueryRowsResult> {
        let result = self.session.query_unpaged(text, ()).await;
        let result = result.map_err(|source| error::execution(source, &self.server))?;
        result.into_rows_result().map_err(out_of_protocol)
    }

    /// What the library knows of the cluster.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }
}

/// An answer that is none: whoever gives it may give any.
pub(crate) fn out_of_protocol(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::unreachable("cassandra: the server's answer is not what the protocol says").with_source(source)
}

/// Appends the rows of an answer, where it has some.
fn append(result: QueryResult, rows: &mut RowBuffer) -> Result<()> {
    if !result.is_rows() {
        return Ok(());
    }
    let result = result.into_rows_result().map_err(out_of_protocol)?;
    for row in result.rows::<ColumnIterator<'_, '_>>().map_err(out_of_protocol)? {
        rows.begin_row();
        for column in row.map_err(out_of_protocol)? {
            let column = column.map_err(out_of_protocol)?;
            rows.push(column.slice.map_or(Value::Null, |slice| decode(column.spec.typ(), slice.as_slice())));
        }
    }
    Ok(())
}

/// A cell's value; what is of no type of ours comes as its bytes.
fn decode<'a>(kind: &ColumnType<'_>, bytes: &'a [u8]) -> Value<'a> {
    let ColumnType::Native(kind) = kind else { return Value::Bytes(bytes) };
    let value = match kind {
        NativeType::Ascii | NativeType::Text => std::str::from_utf8(bytes).ok().map(Value::Text),
        NativeType::BigInt | NativeType::Counter | NativeType::Timestamp => {
            bytes.try_into().ok().map(|bytes| Value::Integer(i64::from_be_bytes(bytes)))
        }
        NativeType::Int => bytes.try_into().ok().map(|bytes| Value::Integer(i64::from(i32::from_be_bytes(bytes)))),
        NativeType::Boolean => bytes.first().map(|byte| Value::Integer(i64::from(*byte != 0))),
        NativeType::Double => bytes.try_into().ok().map(|bytes| Value::Real(f64::from_be_bytes(bytes))),
        _ => None,
    };
    value.unwrap_or(Value::Bytes(bytes))
}

/// The values of a statement, written as the statement's own types want them.
struct Cells<'a>(&'a [Value<'a>]);

impl SerializeRow for Cells<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let columns = context.columns();
        if columns.len() != self.0.len() {
            let (given, expected) = (self.0.len(), columns.len());
            let error = Error::bug(format!("{given} values for a statement that takes {expected}"));
            return Err(SerializationError::new(error));
        }
        for (value, column) in self.0.iter().zip(columns) {
            let cell = writer.make_cell_writer();
            let overflow = |error: CellOverflowError| SerializationError::new(error);
            match *value {
                Value::Null => cell.set_null(),
                Value::Integer(number) if matches!(column.typ(), ColumnType::Native(NativeType::Int)) => {
                    let number = i32::try_from(number).map_err(SerializationError::new)?;
                    cell.set_value(&number.to_be_bytes()).map_err(overflow)?
                }
                Value::Integer(_) if matches!(column.typ(), ColumnType::Native(NativeType::Boolean)) => {
                    cell.set_value(&[u8::from(*value != Value::Integer(0))]).map_err(overflow)?
                }
                Value::Integer(number) => cell.set_value(&number.to_be_bytes()).map_err(overflow)?,
                Value::Real(number) => cell.set_value(&number.to_be_bytes()).map_err(overflow)?,
                Value::Text(text) => cell.set_value(text.as_bytes()).map_err(overflow)?,
                Value::Bytes(bytes) => cell.set_value(bytes).map_err(overflow)?,
            };
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scylla::frame::response::result::{ColumnSpec, TableSpec};

    use super::*;

    /// Writes one value as a statement's parameter of that type; what is behind its length.
    fn encode(value: Value<'_>, kind: NativeType) -> Result<Vec<u8>, SerializationError> {
        let spec = ColumnSpec::borrowed("c", ColumnType::Native(kind), TableSpec::borrowed("k", "t"));
        let mut bytes = Vec::new();
        let context = RowSerializationContext::from_specs(std::slice::from_ref(&spec));
        Cells(&[value]).serialize(&context, &mut RowWriter::new(&mut bytes))?;
        Ok(bytes.split_off(4))
    }

    proptest! {
        #[test]
        fn values_come_back(number: i64, small: i32, text: String, bytes: Vec<u8>) {
            for (kind, value) in [
                (NativeType::BigInt, Value::Integer(number)),
                (NativeType::Timestamp, Value::Integer(number)),
                (NativeType::Int, Value::Integer(i64::from(small))),
                (NativeType::Boolean, Value::Integer(i64::from(small > 0))),
                (NativeType::Double, Value::Real(number as f64)),
                (NativeType::Text, Value::Text(&text)),
                (NativeType::Blob, Value::Bytes(&bytes)),
            ] {
                let encoded = encode(value, kind.clone()).expect("it fits");
                prop_assert_eq!(decode(&ColumnType::Native(kind), &encoded), value);
            }
        }

        /// What a server may send for a cell is shown, whatever its length.
        #[test]
        fn cells_of_any_length_are_values(bytes: Vec<u8>) {
            for kind in [NativeType::BigInt, NativeType::Int, NativeType::Double, NativeType::Boolean, NativeType::Text] {
                decode(&ColumnType::Native(kind), &bytes);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(encode(Value::Integer(1 << 40), NativeType::Int).is_err());
        let mut bytes = Vec::new();
        let context = RowSerializationContext::from_specs(&[]);
        assert!(Cells(&[Value::Null]).serialize(&context, &mut RowWriter::new(&mut bytes)).is_err());
    }
}
