//! A server as a whole: what is made, loaded, counted and dropped in it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use store::{
    Counters, Dataset, Driver, Error, ErrorKind, LoadPart, LoadState, LocalBoxFuture, Namespace, OperationRows,
    OwnedObject, Record, RecordSource, RecordTable, Result, ServerInfo, Session, SessionSpec, Store, Target,
};
use tokio::runtime;

use super::api::{Address, Api, Health};
use super::readings::Readings;
use super::session::Client;
use super::{InfluxDb, line, manifest, metrics};
use crate::http::Method;
use crate::lane::{LaneSession, serve};

/// Lines that are sent at a time: the server's makers advise batches of 5,000 lines, and records have long ones
/// (<https://docs.influxdata.com/influxdb/v2/write-data/best-practices/optimize-writes/>).
const LOAD_BATCH_LINES: u64 = 5_000;
const LOAD_BATCH_BYTES: usize = 1 << 20;

/// Settings that decide how fast a server is, as `influxd` calls them.
const SETTINGS: [&str; 14] = [
    "query-concurrency",
    "query-memory-bytes",
    "query-queue-size",
    "storage-cache-max-memory-size",
    "storage-cache-snapshot-memory-size",
    "storage-cache-snapshot-write-cold-duration",
    "storage-compact-full-write-cold-duration",
    "storage-compact-throughput-burst",
    "storage-max-concurrent-compactions",
    "storage-max-index-log-file-size",
    "storage-series-id-set-cache-size",
    "storage-wal-fsync-delay",
    "storage-wal-max-concurrent-writes",
    "use-hashed-tokens",
];

/// A server.
pub(crate) struct InfluxStore {
    address: Address,
    /// For [`counters`](Store::counters), with the runtime that drives it: on another one it would never wake.
    counting: Mutex<Option<(runtime::Id, Api)>>,
}

impl InfluxStore {
    /// Reaches the server and checks that it lets us in.
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        Ok(Self { address: Address::of(target).await?, counting: Mutex::new(None) })
    }

    async fn open(&self) -> Result<Api> {
        self.address.open().await
    }

    /// Sends the lines that `push` makes of each number.
    async fn send(
        &self,
        bucket: &Namespace,
        numbers: Range<u64>,
        progress: &AtomicU64,
        mut push: impl FnMut(u64, &mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let mut api = self.open().await?;
        let path = self.address.write_path(bucket.as_str());
        let (mut lines, mut count) = (Vec::with_capacity(LOAD_BATCH_BYTES), 0);
        for number in numbers.clone() {
            push(number, &mut lines)?;
            count += 1;
            if count == LOAD_BATCH_LINES || lines.len() >= LOAD_BATCH_BYTES || number + 1 == numbers.end {
                api.write(&path, &lines).await?;
                progress.fetch_add(count, Ordering::Relaxed);
                lines.clear();
                count = 0;
            }
        }
        Ok(())
    }

    async fn load_records(
        &self,
        table: &RecordTable,
        numbers: Range<u64>,
        source: &dyn RecordSource,
        progress: &AtomicU64,
    ) -> Result<()> {
        let (mut record, mut tag) = (Record::default(), String::new());
        self.send(&table.namespace, numbers, progress, |number, lines| {
            source.fill(number, &mut record);
            tag.clear();
            line::encode_key(&record.key, &mut tag)?;
            line::push_record(lines, table.table, &tag, record.values(table.field_length));
            Ok(())
        })
        .await
    }

    async fn load_rows(&self, rows: &OperationRows, numbers: Range<u64>, progress: &AtomicU64) -> Result<()> {
        let mut readings = Readings::new(rows);
        self.send(&rows.namespace, numbers, progress, |number, lines| {
            readings.push_line(number, lines);
            Ok(())
        })
        .await
    }

    async fn server_info(&self) -> Result<ServerInfo> {
        let mut api = self.open().await?;
        let Health { version, commit } = api.health().await?;
        let mut settings = settings_of(&mut api).await?;
        settings.insert("commit".to_owned(), commit);
        Ok(ServerInfo { version: format!("InfluxDB {version}"), settings, ..ServerInfo::default() })
    }

    async fn read_counters(&self) -> Result<Counters> {
        let runtime = runtime::Handle::current().id();
        let kept = self.counting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut api = match kept {
            Some((kept_by, api)) if kept_by == runtime => api,
            _ => self.open().await?,
        };
        let counters = match api.metrics().await {
            Ok(text) => metrics::parse(text),
            // The server may have been started anew since the last look.
            Err(error) if error.kind() == ErrorKind::Unreachable => {
                api = self.open().await?;
                metrics::parse(api.metrics().await?)
            }
            Err(error) => return Err(error),
        };
        *self.counting.lock().unwrap_or_else(PoisonError::into_inner) = Some((runtime, api));
        Ok(counters)
    }
}

/// The server's settings, as far as the token may see them: none without an operator's.
async fn settings_of(api: &mut Api) -> Result<BTreeMap<String, String>> {
    let answer = match api.ask(Method::GET, "/api/v2/config", None).await {
        Err(error) if error.kind() == ErrorKind::Rejected => return Ok(BTreeMap::new()),
        answer => answer?,
    };
    let config = answer.get("config").unwrap_or(&Value::Null);
    let setting = |name: &str| {
        let value = match config.get(name)? {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        Some((name.to_owned(), value))
    };
    Ok(SETTINGS.into_iter().filter_map(setting).collect())
}

fn no_tables() -> Error {
    Error::unsupported("InfluxDB has no tables for a workload's own statements")
        .with_hint("choose a workload of records or of the driver's operations")
}

impl Store for InfluxStore {
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(async move {
            let client = Client::new(&self.address, self.open().await?, spec.dataset);
            let session = LaneSession::new(InfluxDb.capabilities(), None, |slot| {
                Box::pin(async move { serve(client, slot).await })
            });
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }

    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(self.address.in_time(self.server_info()))
    }

    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(self.address.in_time(self.read_counters()))
    }

    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(async { manifest::load_state(&mut self.open().await?, dataset).await })
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if let Dataset::Tables(_) = dataset {
                return Err(no_tables());
            }
            manifest::create(&mut self.open().await?, dataset.namespace()).await
        })
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
                Dataset::Tables(_) => Err(no_tables()),
            }
        })
    }

    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async { manifest::finish(&mut self.open().await?, dataset).await })
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(async {
            let entries = manifest::entries(&mut self.open().await?).await?;
            Ok(entries.iter().map(manifest::Entry::object).collect())
        })
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(async move {
            let mut api = self.open().await?;
            let mut gone = Vec::new();
            for entry in manifest::entries(&mut api).await? {
                if namespace.is_none_or(|wanted| *wanted == entry.namespace) {
                    manifest::remove(&mut api, &entry).await?;
                    gone.push(entry.object());
                }
            }
            Ok(gone)
        })
    }
}
