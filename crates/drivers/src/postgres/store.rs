//! A server as a whole: what is made, loaded, counted and dropped in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ::store::{
    Counters, Dataset, ErrorKind, LoadPart, LoadState, LocalBoxFuture, Namespace, OwnedObject, RecordSource, Result,
    ServerInfo, Session, SessionSpec, Store, Target,
};
use tokio::runtime;

use super::address::Address;
use super::connection::Connection;
use super::dialect::DIALECT;
use super::session::PostgresSession;
use crate::relational::load::{self, Batches};
use crate::relational::{Link, Plan, RowBuffer, manifest};

/// Settings that decide how fast a server is, or that say which one it is.
const SETTINGS: &str = "SELECT name::text, current_setting(name)::text FROM pg_catalog.pg_settings WHERE name IN (\
    'autovacuum', 'checkpoint_timeout', 'data_checksums', 'default_transaction_isolation', 'effective_cache_size', \
    'effective_io_concurrency', 'fsync', 'full_page_writes', 'huge_pages', 'io_method', 'jit', 'maintenance_work_mem', \
    'max_connections', 'max_parallel_workers', 'max_parallel_workers_per_gather', 'max_wal_size', 'random_page_cost', \
    'server_version_num', 'shared_buffers', 'shared_preload_libraries', 'synchronous_commit', 'wal_buffers', \
    'wal_compression', 'wal_level', 'work_mem')";

/// What a server counts. Not every version has every one, nor may every user read them.
const COUNTERS: [&str; 4] = [
    "SELECT * FROM pg_catalog.pg_stat_database WHERE datname = current_database()",
    "SELECT * FROM pg_catalog.pg_stat_bgwriter",
    "SELECT * FROM pg_catalog.pg_stat_wal",
    "SELECT * FROM pg_catalog.pg_stat_checkpointer",
];

/// A load is made durable as a whole when it is finished, not batch by batch.
const LOAD_SETTINGS: &str = "SELECT set_config('synchronous_commit', 'off', false)";

/// A server.
pub(super) struct PostgresStore {
    address: Address,
    /// For [`counters`](Store::counters), with the runtime that drives it: on another one it would never wake.
    counting: Mutex<Option<(runtime::Id, Counting)>>,
}

/// A connection that counters are read through.
struct Counting {
    connection: Connection,
    /// Those of [`COUNTERS`] that this server has.
    has: [bool; COUNTERS.len()],
}

impl PostgresStore {
    /// Reaches the server and checks that it lets us in.
    pub(super) async fn connect(target: &Target) -> Result<Self> {
        let address = Address::of(target)?;
        Connection::open(&address).await?;
        Ok(Self { address, counting: Mutex::new(None) })
    }

    async fn work(&self) -> Result<Connection> {
        Connection::open_for_work(&self.address).await
    }

    async fn counting(&self) -> Result<Counting> {
        Ok(Counting { connection: Connection::open(&self.address).await?, has: [true; COUNTERS.len()] })
    }

    async fn read_counters(&self) -> Result<Counters> {
        let runtime = runtime::Handle::current().id();
        let kept = self.counting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut counting = match kept {
            Some((kept_by, counting)) if kept_by == runtime => counting,
            _ => self.counting().await?,
        };
        let counters = match counting.read().await {
            // The server may have been started anew since the last look.
            Err(error) if error.kind() == ErrorKind::Unreachable => {
                counting = self.counting().await?;
                counting.read().await?
            }
            result => result?,
        };
        *self.counting.lock().unwrap_or_else(PoisonError::into_inner) = Some((runtime, counting));
        Ok(counters)
    }

    async fn server_info(&self) -> Result<ServerInfo> {
        let mut connection = Connection::open(&self.address).await?;
        let mut rows = RowBuffer::default();
        connection.run("SELECT version()", &[], &mut rows).await?;
        let version = version_of(&connection.server_version, rows.text(0, 0).unwrap_or_default());
        rows.clear();
        connection.run(SETTINGS, &[], &mut rows).await?;
        let text = |row, column| rows.text(row, column).unwrap_or_default().to_owned();
        let settings = (0..rows.len()).map(|row| (text(row, 0), text(row, 1))).collect();
        // Only a superuser may read the file.
        let mut process_id = None;
        let file = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::bigint AS process_id";
        let may = "SELECT 1 WHERE has_function_privilege('pg_catalog.pg_read_file(text)', 'execute')";
        if connection.run(may, &[], &mut RowBuffer::default()).await.is_ok_and(|rows| rows == 1) {
            connection.numbers(file, |_, number| process_id = Some(number as u32)).await?;
        }
        Ok(ServerInfo { version, settings, process_id, ..ServerInfo::default() })
    }

    async fn load_part(
        &self,
        dataset: &Dataset,
        part: LoadPart,
        source: &dyn RecordSource,
        progress: &AtomicU64,
    ) -> Result<()> {
        let mut connection = self.work().await?;
        let mut rows = RowBuffer::default();
        connection.run(LOAD_SETTINGS, &[], &mut rows).await?;
        let mut batches = Batches::new(&DIALECT, dataset, part, source);
        while let Some(batch) = batches.next(&mut rows) {
            if !rows.is_empty() {
                connection.copy(&batch, &rows).await?;
            }
            progress.fetch_add(batch.completed, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Counting {
    async fn read(&mut self) -> Result<Counters> {
        let mut counters = Counters::new();
        for (text, has) in COUNTERS.iter().zip(&mut self.has) {
            if *has {
                let show = |name: &str, number| {
                    counters.insert(name.to_owned(), number);
                };
                *has = self.connection.numbers(text, show).await?;
            }
        }
        Ok(counters)
    }
}

/// Product and version in one line. Others who speak the protocol say in `version()` who they are.
fn version_of(parameter: &str, function: &str) -> String {
    if function.is_empty() || function.starts_with("PostgreSQL") {
        let number = parameter.split_whitespace().next().unwrap_or("of an unknown version");
        return format!("PostgreSQL {number}");
    }
    function.split(" (").next().unwrap_or(function).to_owned()
}

impl Store for PostgresStore {
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(async move {
            let connection = Connection::open(&self.address).await?.settle()?;
            let plan = Plan::new(&DIALECT, spec.dataset);
            Ok(Box::new(PostgresSession::new(connection, plan, spec.depth)) as Box<dyn Session>)
        })
    }

    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(self.server_info())
    }

    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(self.read_counters())
    }

    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(async move { load::state(&mut self.work().await?, &DIALECT, dataset).await })
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move { load::create(&mut self.work().await?, &DIALECT, dataset).await })
    }

    fn load<'a>(
        &'a self,
        dataset: &'a Dataset,
        part: LoadPart,
        source: &'a dyn RecordSource,
        progress: &'a AtomicU64,
    ) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(self.load_part(dataset, part, source, progress))
    }

    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move { load::finish(&mut self.work().await?, &DIALECT, dataset).await })
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(async { manifest::owned(&mut self.work().await?, &DIALECT).await })
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(async move { manifest::clean(&mut self.work().await?, &DIALECT, namespace).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_name_the_product() {
        for (parameter, function, expect) in [
            (
                "15.18 (Debian 15.18-0+deb12u1)",
                "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64",
                "PostgreSQL 15.18",
            ),
            ("13.0.0", "CockroachDB CCL v24.1.0 (x86_64-pc-linux-gnu)", "CockroachDB CCL v24.1.0"),
            ("17beta1", "", "PostgreSQL 17beta1"),
        ] {
            assert_eq!(version_of(parameter, function), expect);
        }
    }
}
