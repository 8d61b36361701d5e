//! What a server tells of itself: version, settings and counters.

use std::collections::BTreeMap;

use ::mongodb::bson::{Document, RawBsonRef, RawDocumentBuf};
use store::{Counters, Error, ErrorKind, Result, ServerInfo};

use super::connection::{Connection, Hello};
use super::document::{document, get_path, number};
use super::operations;

/// Counters that are worth a series, by their place in `serverStatus`. A server's storage engine and place in a replica set
/// decide which of them it has.
const COUNTERS: [&str; 47] = [
    "connections.active",
    "connections.current",
    "connections.totalCreated",
    "extra_info.page_faults",
    "globalLock.activeClients.readers",
    "globalLock.activeClients.writers",
    "globalLock.currentQueue.readers",
    "globalLock.currentQueue.writers",
    "mem.resident",
    "metrics.cursor.open.total",
    "metrics.document.deleted",
    "metrics.document.inserted",
    "metrics.document.returned",
    "metrics.document.updated",
    "metrics.operation.scanAndOrder",
    "metrics.operation.writeConflicts",
    "metrics.queryExecutor.scanned",
    "metrics.queryExecutor.scannedObjects",
    "network.bytesIn",
    "network.bytesOut",
    "network.numRequests",
    "opLatencies.commands.latency",
    "opLatencies.commands.ops",
    "opLatencies.reads.latency",
    "opLatencies.reads.ops",
    "opLatencies.transactions.latency",
    "opLatencies.transactions.ops",
    "opLatencies.writes.latency",
    "opLatencies.writes.ops",
    "opcounters.command",
    "opcounters.delete",
    "opcounters.getmore",
    "opcounters.insert",
    "opcounters.query",
    "opcounters.update",
    "transactions.totalAborted",
    "transactions.totalCommitted",
    "transactions.totalStarted",
    "uptimeMillis",
    "wiredTiger.cache.bytes currently in the cache",
    "wiredTiger.cache.bytes read into cache",
    "wiredTiger.cache.bytes written from cache",
    "wiredTiger.cache.modified pages evicted",
    "wiredTiger.cache.tracked dirty bytes in the cache",
    "wiredTiger.cache.unmodified pages evicted",
    "wiredTiger.log.log bytes written",
    "wiredTiger.log.log sync operations",
];

/// Parameters of the server that decide how fast it is.
const PARAMETERS: [&str; 4] = [
    "journalCommitInterval",
    "syncdelay",
    "wiredTigerConcurrentReadTransactions",
    "wiredTigerConcurrentWriteTransactions",
];

/// The server's counters; none where the user may not see them.
pub(crate) async fn counters(connection: &mut Connection) -> Result<Counters> {
    let Some(status) = status(connection).await? else { return Ok(Counters::new()) };
    let counter = |path: &str| Some((path.to_owned(), number(get_path(&status, path)?)?));
    Ok(COUNTERS.iter().filter_map(|path| counter(path)).collect())
}

async fn status(connection: &mut Connection) -> Result<Option<RawDocumentBuf>> {
    let reply = permitted(connection, document(|command| command.small("serverStatus", 1).end())).await?;
    let raw = reply.as_ref().map(RawDocumentBuf::try_from).transpose();
    raw.map_err(|source| Error::rejected("the server's status cannot be read").with_source(source))
}

/// Asks what the user may not be permitted to know.
async fn permitted(connection: &mut Connection, command: Vec<u8>) -> Result<Option<Document>> {
    match connection.command_on("admin", command).await {
        Ok(reply) => Ok(Some(reply)),
        Err(failure) if failure.is_broken => Err(failure.error),
        Err(failure) if matches!(failure.error.kind(), ErrorKind::Rejected | ErrorKind::Unsupported) => Ok(None),
        Err(failure) => Err(failure.error),
    }
}

/// Version, topology and settings.
pub(crate) async fn info(connection: &mut Connection, hello: &Hello) -> Result<ServerInfo> {
    let build = connection.command_on("admin", document(|command| command.small("buildInfo", 1).end())).await?;
    let version = build.get_str("version").unwrap_or("of unknown version");
    let mut settings = BTreeMap::from([("topology".to_owned(), topology(hello))]);
    let mut process_id = None;
    if let Some(status) = status(connection).await? {
        process_id = get_path(&status, "pid").and_then(number).map(|id| id as u32);
        if let Some(engine) = get_path(&status, "storageEngine.name").and_then(RawBsonRef::as_str) {
            settings.insert("storage_engine".to_owned(), engine.to_owned());
        }
        let cache = get_path(&status, "wiredTiger.cache.maximum bytes configured").and_then(number);
        settings.extend(cache.map(|bytes| ("wiredTiger.cache.maximum bytes configured".to_owned(), bytes.to_string())));
    }
    let asked = document(|command| {
        command.small("getParameter", 1);
        for parameter in PARAMETERS {
            command.small(parameter, 1);
        }
    });
    if let Some(parameters) = permitted(connection, asked).await? {
        let value = |name: &str| Some((name.to_owned(), parameters.get(name)?.to_string()));
        settings.extend(PARAMETERS.iter().filter_map(|name| value(name)));
    }
    settings.extend(defaults(connection).await?);
    let mut operations_missing = BTreeMap::new();
    if !hello.has_transactions() {
        let reason = "a server alone has no transactions: start it as a replica set, of one member if need be";
        operations_missing.insert(operations::TRANSACTION, reason.to_owned());
    }
    Ok(ServerInfo { version: format!("MongoDB {version}"), settings, process_id, operations_missing })
}

/// What reads and writes are held to that say nothing themselves.
async fn defaults(connection: &mut Connection) -> Result<Vec<(String, String)>> {
    let asked = document(|command| command.small("getDefaultRWConcern", 1).end());
    let Some(reply) = permitted(connection, asked).await? else { return Ok(Vec::new()) };
    let of = |name: &str, value: &str| {
        let value = reply.get_document(name).ok()?.get(value)?;
        Some((name.to_owned(), value.to_string().trim_matches('"').to_owned()))
    };
    Ok([of("defaultWriteConcern", "w"), of("defaultReadConcern", "level")].into_iter().flatten().collect())
}

fn topology(hello: &Hello) -> String {
    match &hello.set_name {
        _ if hello.is_router => "sharded cluster, through a router".to_owned(),
        Some(name) => format!("replica set `{name}` of {}", hello.members),
        None => "a server alone".to_owned(),
    }
}
