//! A server as a whole: what is made, loaded, counted and dropped in it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use store::{
    Counters, Dataset, Error, ErrorKind, LoadPart, LoadState, LocalBoxFuture, Namespace, OperationRows, OwnedObject,
    Record, RecordSource, RecordTable, Result, ServerInfo, Session, SessionSpec, Store, Target,
};
use tokio::runtime;

use super::cluster::{Cluster, ClusterRecords, ClusterSession, Found};
use super::connection::{Address, Connection};
use super::contents::Contents;
use super::records::RecordKeys;
use super::reply::Replies;
use super::servers::Servers;
use super::session::RedisSession;
use super::{manifest, operations};
use crate::resp::{Item, command_of};

/// Bytes of commands that are sent before their replies are awaited: enough to hide the round trip, and little memory.
const LOAD_BATCH_BYTES: usize = 128 << 10;

/// Rows between two looks at how far the load is, however small they are.
const LOAD_BATCH_ROWS: usize = 1000;

/// Settings that decide how fast a server is.
const SETTINGS: [&str; 6] = ["maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "save", "io-threads"];

/// The same, as far as `INFO` has them, where `CONFIG` is not permitted.
const SETTINGS_OF_INFO: [(&str, &str); 4] = [
    ("maxmemory", "maxmemory"),
    ("maxmemory_policy", "maxmemory-policy"),
    ("aof_enabled", "appendonly"),
    ("io_threads_active", "io-threads"),
];

/// Sections of `INFO` with numbers that are worth a series.
const COUNTER_SECTIONS: [&[u8]; 4] = [b"stats", b"memory", b"cpu", b"clients"];

/// A server, or a cluster of them.
pub(crate) struct RedisStore {
    address: Address,
    cluster: Option<Arc<Cluster>>,
    /// For [`counters`](Store::counters), with the runtime that drives it: on another one it would never wake.
    counting: Mutex<Option<(runtime::Id, Servers)>>,
    /// What the rows hold, shared by the sessions: 10,000 of them must not have a copy each.
    contents: Mutex<Option<Arc<Contents>>>,
}

impl RedisStore {
    /// Reaches the server and checks that it lets us in.
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let address = Address::of(target)?;
        let cluster = match Cluster::find(target, &address).await? {
            Found::Alone => None,
            Found::Cluster(cluster) => Some(cluster),
        };
        Ok(Self { address, cluster, counting: Mutex::new(None), contents: Mutex::new(None) })
    }

    async fn open(&self) -> Result<Servers> {
        match &self.cluster {
            None => Connection::open(&self.address).await.map(Servers::alone),
            Some(cluster) => cluster.masters(manifest::KEY).await,
        }
    }

    fn contents(&self, rows: &OperationRows) -> Arc<Contents> {
        let mut kept = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref().filter(|contents| contents.rows == *rows) {
            Some(contents) => Arc::clone(contents),
            None => Arc::clone(kept.insert(Arc::new(Contents::new(rows)))),
        }
    }

    async fn load_records(
        &self,
        table: &RecordTable,
        numbers: std::ops::Range<u64>,
        source: &dyn RecordSource,
        progress: &AtomicU64,
    ) -> Result<()> {
        if let Some(cluster) = &self.cluster {
            return load_records_of_cluster(cluster, table, numbers, source, progress).await;
        }
        let mut connection = Connection::open(&self.address).await?;
        let keys = RecordKeys::new(table.namespace.as_str());
        let (mut record, mut batch) = (Record::default(), Vec::new());
        for number in numbers.clone() {
            source.fill(number, &mut record);
            keys.load(connection.out(), &record, table.field_length)?;
            batch.push(record.key.clone());
            let full = batch.len() == LOAD_BATCH_ROWS || connection.out().len() >= LOAD_BATCH_BYTES;
            if full || number + 1 == numbers.end {
                keys.index_all(connection.out(), batch.iter().map(String::as_str));
                connection.confirm(batch.len() as u32 + 1).await?;
                progress.fetch_add(batch.len() as u64, Ordering::Relaxed);
                batch.clear();
            }
        }
        Ok(())
    }

    async fn load_rows(&self, rows: &OperationRows, numbers: std::ops::Range<u64>, progress: &AtomicU64) -> Result<()> {
        let contents = self.contents(rows);
        if let Some(cluster) = &self.cluster {
            let has_json = operations::has_json(self.open().await?.keeper()).await?;
            return load_rows_of_cluster(cluster, &contents, has_json, numbers, progress).await;
        }
        let mut connection = Connection::open(&self.address).await?;
        let has_json = operations::has_json(&mut connection).await?;
        let (mut replies, mut loaded) = (0, 0);
        for number in numbers.clone() {
            replies += operations::load(&contents, number, has_json, connection.out());
            loaded += 1;
            if connection.out().len() >= LOAD_BATCH_BYTES || number + 1 == numbers.end {
                connection.confirm(replies).await?;
                progress.fetch_add(loaded, Ordering::Relaxed);
                (replies, loaded) = (0, 0);
            }
        }
        Ok(())
    }

    async fn read_counters(&self) -> Result<Counters> {
        let runtime = runtime::Handle::current().id();
        let kept = self.counting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut servers = match kept {
            Some((kept_by, servers)) if kept_by == runtime => servers,
            _ => self.open().await?,
        };
        let counters = match counters_of_all(&mut servers).await {
            // The server may have been started anew since the last look.
            Err(error) if error.kind() == ErrorKind::Unreachable => {
                servers = self.open().await?;
                counters_of_all(&mut servers).await?
            }
            result => result?,
        };
        *self.counting.lock().unwrap_or_else(PoisonError::into_inner) = Some((runtime, servers));
        Ok(counters)
    }
}

impl Store for RedisStore {
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(async move {
            let contents = match spec.dataset {
                Some(Dataset::Operations(rows)) => Some(self.contents(rows)),
                _ => None,
            };
            if let Some(cluster) = &self.cluster {
                let session = ClusterSession::new(cluster.router().await?, spec.dataset, contents, spec.depth);
                return Ok(Box::new(session) as Box<dyn Session>);
            }
            let connection = Connection::open(&self.address).await?;
            let session = RedisSession::new(connection, spec.dataset, contents, spec.depth)?;
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }

    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(async {
            let mut servers = self.open().await?;
            let connection = servers.keeper();
            let info = info_of(connection, b"default").await?;
            let mut settings = settings_of(connection).await?;
            if settings.is_empty() {
                let has = |(name, setting): (&str, &str)| Some((setting.to_owned(), info.get(name)?.clone()));
                settings = SETTINGS_OF_INFO.into_iter().filter_map(has).collect();
            }
            let operations_missing = operations::missing(connection).await?;
            let mut process_id = info.get("process_id").and_then(|text| text.parse().ok());
            if let Some(cluster) = &self.cluster {
                settings.insert("cluster".to_owned(), cluster.describe());
                // One of several would pass for all of them.
                process_id = None;
            }
            Ok(ServerInfo { version: version_of(&info), settings, process_id, operations_missing })
        })
    }

    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(self.read_counters())
    }

    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(async { manifest::load_state(&mut self.open().await?, dataset).await })
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async { manifest::begin(&mut self.open().await?, dataset).await })
    }

    fn load<'a>(
        &'a self,
        dataset: &'a Dataset,
        part: LoadPart,
        source: &'a dyn RecordSource,
        progress: &'a AtomicU64,
    ) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let numbers = dataset.part(part.index, part.of);
            match dataset {
                Dataset::Records(table) => self.load_records(table, numbers, source, progress).await,
                Dataset::Operations(rows) => self.load_rows(rows, numbers, progress).await,
                Dataset::Tables(_) => Err(Error::unsupported("Redis has no relational tables")),
            }
        })
    }

    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let mut servers = self.open().await?;
            if self.cluster.as_ref().is_some_and(|cluster| cluster.reads_from_replicas()) {
                servers.await_replicas().await?;
            }
            manifest::finish(&mut servers, dataset).await
        })
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(async {
            let entries = manifest::entries(&mut self.open().await?).await?;
            Ok(entries.values().map(|(namespace, _)| manifest::owned_object(namespace)).collect())
        })
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(async move {
            let mut servers = self.open().await?;
            let mut gone = Vec::new();
            for (entry, _) in manifest::entries(&mut servers).await?.into_values() {
                if namespace.is_none_or(|wanted| *wanted == entry) {
                    gone.push(manifest::clean(&mut servers, &entry).await?);
                }
            }
            Ok(gone)
        })
    }
}

/// Loads records through a router, which sends each part of the index where its records are.
async fn load_records_of_cluster(
    cluster: &Arc<Cluster>,
    table: &RecordTable,
    numbers: std::ops::Range<u64>,
    source: &dyn RecordSource,
    progress: &AtomicU64,
) -> Result<()> {
    let mut router = cluster.router().await?;
    let records = ClusterRecords::new(table.namespace.as_str());
    let (mut record, mut next) = (Record::default(), numbers.start);
    let mut keys = records.no_keys();
    while next < numbers.end {
        let first = next;
        keys.iter_mut().for_each(Vec::clear);
        let encode = |out: &mut Vec<u8>| {
            while next < numbers.end && next - first < LOAD_BATCH_ROWS as u64 && out.len() < LOAD_BATCH_BYTES {
                source.fill(next, &mut record);
                let part = records.load(out, &record, table.field_length)?;
                keys[part].push(record.key.clone());
                next += 1;
            }
            Ok((next - first) as u32 + records.index_all(out, &keys))
        };
        router.confirm(encode).await?;
        progress.fetch_add(next - first, Ordering::Relaxed);
    }
    Ok(())
}

/// Loads the operations' rows through a router.
async fn load_rows_of_cluster(
    cluster: &Arc<Cluster>,
    contents: &Contents,
    has_json: bool,
    numbers: std::ops::Range<u64>,
    progress: &AtomicU64,
) -> Result<()> {
    let mut router = cluster.router().await?;
    let mut next = numbers.start;
    while next < numbers.end {
        let (first, mut replies) = (next, 0);
        let encode = |out: &mut Vec<u8>| {
            while next < numbers.end && out.len() < LOAD_BATCH_BYTES {
                replies += operations::load(contents, next, has_json, out);
                next += 1;
            }
            Ok(replies)
        };
        router.confirm(encode).await?;
        progress.fetch_add(next - first, Ordering::Relaxed);
    }
    Ok(())
}

/// Lines `name:value` of a section of `INFO`.
async fn info_of(connection: &mut Connection, section: &[u8]) -> Result<BTreeMap<String, String>> {
    connection.ask(&[b"INFO", section], |replies| Ok(parse_info(replies.bytes()?))).await
}

fn parse_info(text: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(text);
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect()
}

/// Product and version in one line. Valkey also states the version of Redis that it is compatible with.
fn version_of(info: &BTreeMap<String, String>) -> String {
    match (info.get("valkey_version"), info.get("redis_version")) {
        (Some(version), _) => format!("Valkey {version}"),
        (None, Some(version)) => format!("Redis {version}"),
        (None, None) => "a server that does not tell its version".to_owned(),
    }
}

async fn settings_of(connection: &mut Connection) -> Result<BTreeMap<String, String>> {
    for name in SETTINGS {
        command_of(connection.out(), &[b"CONFIG", b"GET", name.as_bytes()]);
    }
    let read = |replies: &mut Replies<'_>| {
        let mut settings = BTreeMap::new();
        for _ in SETTINGS {
            // An error means that the user may not ask; an empty array, that the server has no such setting.
            if let Item::Array(items) = replies.item()? {
                for _ in 0..items / 2 {
                    let (name, value) = (replies.bytes()?, replies.bytes()?);
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    settings.insert(text(name), text(value));
                }
            }
        }
        Ok(settings)
    };
    connection.replies(SETTINGS.len() as u32, read).await
}

/// The sums over all servers. One that does not answer is an error: a sum without it would look like a server started anew.
async fn counters_of_all(servers: &mut Servers) -> Result<Counters> {
    let mut sums = Counters::new();
    for connection in servers.all() {
        for (name, number) in counters_of(connection).await? {
            *sums.entry(name).or_default() += number;
        }
    }
    Ok(sums)
}

async fn counters_of(connection: &mut Connection) -> Result<Counters> {
    for section in COUNTER_SECTIONS {
        command_of(connection.out(), &[b"INFO", section]);
    }
    command_of(connection.out(), &[b"INFO", b"commandstats"]);
    let read = |replies: &mut Replies<'_>| {
        let mut counters = Counters::new();
        for _ in COUNTER_SECTIONS {
            let info = parse_info(replies.bytes()?);
            counters.extend(info.into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))));
        }
        sum_commands(&parse_info(replies.bytes()?), &mut counters);
        Ok(counters)
    };
    connection.replies(COUNTER_SECTIONS.len() as u32 + 1, read).await
}

/// Adds up `cmdstat_get:calls=1,usec=2,…` over all commands.
fn sum_commands(info: &BTreeMap<String, String>, counters: &mut Counters) {
    for part in info.values().flat_map(|value| value.split(',')) {
        let sum = match part.split_once('=') {
            Some((name @ ("calls" | "usec" | "rejected_calls" | "failed_calls"), value)) => Some((name, value)),
            _ => None,
        };
        if let Some((name, number)) = sum.and_then(|(name, value)| Some((name, value.parse::<f64>().ok()?))) {
            *counters.entry(format!("commandstats_{name}")).or_default() += number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_name_the_product() {
        let check = |text: &str, expect: &str| assert_eq!(version_of(&parse_info(text.as_bytes())), expect);
        check("# Server\r\nredis_version:7.0.15\r\nos:Linux\r\n", "Redis 7.0.15");
        check("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n", "Valkey 8.0.1");
    }

    #[test]
    fn commands_are_summed() {
        let info = parse_info(b"cmdstat_get:calls=2,usec=10,usec_per_call=5.00\r\ncmdstat_set:calls=3,usec=x\r\n");
        let mut counters = Counters::new();
        sum_commands(&info, &mut counters);
        let expect = [("commandstats_calls".to_owned(), 5.0), ("commandstats_usec".to_owned(), 10.0)];
        assert_eq!(counters, Counters::from(expect));
    }
}
