//! A server as a whole: what is made, loaded, counted and dropped in it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::store::{
    Counters, Dataset, Error, ErrorKind, LoadPart, LoadState, LocalBoxFuture, Namespace, OwnedObject, RecordSource,
    Result, ServerInfo, Session, SessionSpec, Store, Target,
};
use tokio::runtime;

use super::address::{Address, Place};
use super::connection::Connection;
use super::counting::Counting;
use super::product::Product;
use super::role::Standing;
use super::session::PostgresSession;
use crate::relational::load::{self, Batch, Batches};
use crate::relational::{Choices, Dialect, Link, Plan, RowBuffer, manifest};

/// How long a standby may take to have what was loaded.
const CATCH_UP_TIMEOUT: Duration = Duration::from_mins(2);
/// How often that is looked at.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(20);

/// How long others may be in the way of a load, and how often it is tried meanwhile.
const CONFLICT_PATIENCE: Duration = Duration::from_mins(1);
const CONFLICT_PAUSE_MIN: Duration = Duration::from_millis(5);
const CONFLICT_PAUSE_MAX: Duration = Duration::from_millis(250);

/// A server, or several that are one store.
pub(super) struct PostgresStore {
    address: Address,
    choices: Choices,
    /// For [`counters`](Store::counters), with the runtime that drives it: on another one it would never wake.
    counting: Mutex<Option<(runtime::Id, Counting)>>,
}

impl PostgresStore {
    /// Reaches the server and checks that it lets us in.
    pub(super) async fn connect(product: &'static Product, target: &Target) -> Result<Self> {
        let address = Address::of(product, target)?;
        let choices = (product.choices)(target)?;
        let mut connection = Connection::open(&address).await?;
        if let Some(query) = product.database_exists
            && connection.run(query, &[], &mut RowBuffer::default()).await? == 0
        {
            return Err(Error::rejected("the target's database does not exist")
                .with_hint("name a database that exists, or create it: CREATE DATABASE"));
        }
        Ok(Self { address, choices, counting: Mutex::new(None) })
    }

    fn dialect(&self) -> &'static Dialect {
        self.address.product.dialect
    }

    async fn work(&self) -> Result<Connection> {
        Connection::open_for_work(&self.address).await
    }

    /// Tries again what others were in the way of: where no lock can be waited for, that is what waiting is.
    async fn patiently<T>(&self, mut attempt: impl AsyncFnMut(Connection) -> Result<T>) -> Result<T> {
        let (started, mut pause) = (Instant::now(), CONFLICT_PAUSE_MIN);
        loop {
            match attempt(self.work().await?).await {
                Err(error) if is_in_the_way(&error) && started.elapsed() < CONFLICT_PATIENCE => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(CONFLICT_PAUSE_MAX);
                }
                result => return result,
            }
        }
    }

    async fn read_counters(&self) -> Result<Counters> {
        let runtime = runtime::Handle::current().id();
        let kept = self.counting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut counting = match kept {
            Some((kept_by, counting)) if kept_by == runtime => counting,
            _ => Counting::new(&self.address),
        };
        let counters = counting.read().await;
        *self.counting.lock().unwrap_or_else(PoisonError::into_inner) = Some((runtime, counting));
        counters
    }

    async fn server_info(&self) -> Result<ServerInfo> {
        let mut connection = Connection::open(&self.address).await?;
        let mut rows = RowBuffer::default();
        connection.run("SELECT version()", &[], &mut rows).await?;
        let version = version_of(&connection.server_version, rows.text(0, 0).unwrap_or_default());
        let mut settings = BTreeMap::new();
        for query in self.address.product.settings {
            rows.clear();
            match connection.run(query, &[], &mut rows).await {
                // Not every user may read everything.
                Err(error) if error.kind() == ErrorKind::Rejected => continue,
                result => result?,
            };
            let text = |row, column| rows.text(row, column).unwrap_or_default().to_owned();
            settings.extend((0..rows.len()).map(|row| (text(row, 0), text(row, 1))));
        }
        settings.extend(self.standings().await);
        let mut process_id = None;
        if let Some([query, may]) = self.address.product.process_id
            && connection.run(may, &[], &mut RowBuffer::default()).await.is_ok_and(|rows| rows == 1)
        {
            connection.numbers(query, |_, number| process_id = Some(number as u32)).await?;
        }
        Ok(ServerInfo { version, settings, process_id, ..ServerInfo::default() })
    }

    /// What each of several servers is, by its address.
    async fn standings(&self) -> Vec<(String, String)> {
        let mut standings = Vec::new();
        if self.address.product.has_standbys && self.address.places.len() > 1 {
            for (place, Place { node, .. }) in self.address.places.iter().enumerate() {
                let standing = match Connection::open(&self.address.only(place)).await {
                    Ok(mut connection) => connection.standing().await.map_or("a server", Standing::text),
                    Err(_) => "not reached",
                };
                standings.push((format!("node {node}"), standing.to_owned()));
            }
        }
        standings
    }

    /// Waits until the standbys among the servers have what was written here.
    async fn catch_up(&self) -> Result<()> {
        if !self.address.product.has_standbys || self.address.places.len() == 1 {
            return Ok(());
        }
        let mut rows = RowBuffer::default();
        self.work().await?.run("SELECT pg_current_wal_lsn()::text", &[], &mut rows).await?;
        let written = rows.text(0, 0).unwrap_or_default().to_owned();
        let has_it =
            format!("SELECT 1 WHERE pg_last_wal_replay_lsn() >= '{written}'::pg_lsn OR NOT pg_is_in_recovery()");
        for (place, Place { node, .. }) in self.address.places.iter().enumerate() {
            // One that is not there will not be asked either.
            let Ok(mut connection) = Connection::open(&self.address.only(place)).await else { continue };
            let wait = async {
                while connection.run(&has_it, &[], &mut RowBuffer::default()).await? == 0 {
                    tokio::time::sleep(CATCH_UP_PAUSE).await;
                }
                Ok(())
            };
            tokio::time::timeout(CATCH_UP_TIMEOUT, wait).await.unwrap_or_else(|_| {
                let what = format!("the standby {node} has not got what was loaded within {CATCH_UP_TIMEOUT:?}");
                Err(Error::new(ErrorKind::Timeout, what).with_hint("look into its log: it may not be streaming"))
            })?;
        }
        Ok(())
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
        if !self.address.product.load.is_empty() {
            connection.run(self.address.product.load, &[], &mut rows).await?;
        }
        let mut batches = Batches::new(self.dialect(), dataset, part, source);
        while let Some(batch) = batches.next(&mut rows) {
            if !rows.is_empty() {
                copy_patiently(&mut connection, &batch, &rows).await?;
            }
            progress.fetch_add(batch.completed, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Writes a batch, again where another session was in the way: a `COPY` that fails has written nothing.
async fn copy_patiently(connection: &mut Connection, batch: &Batch<'_>, rows: &RowBuffer) -> Result<()> {
    let started = Instant::now();
    loop {
        match connection.copy(batch, rows).await {
            Err(error) if error.kind() == ErrorKind::Conflict && started.elapsed() < CONFLICT_PATIENCE => {
                tokio::time::sleep(CONFLICT_PAUSE_MAX).await;
            }
            result => return result,
        }
    }
}

/// Whether another process changed the manifest meanwhile: it may also have gone with its last entry just after it was seen.
fn is_in_the_way(error: &Error) -> bool {
    let text = error.to_string();
    error.kind() == ErrorKind::Conflict || (text.contains("storelab_manifest") && text.ends_with("(42P01)"))
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
            let plan = Plan::new(self.dialect(), spec.dataset).with(&self.choices)?;
            let connection = Connection::open(&self.address).await?.settle()?;
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
        Box::pin(self.patiently(async move |mut connection| {
            load::state_as(&mut connection, self.dialect(), &self.choices, dataset).await
        }))
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(self.patiently(async move |mut connection| {
            load::create_as(&mut connection, self.dialect(), &self.choices, dataset).await
        }))
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
        Box::pin(async move {
            let mut connection = self.work().await?;
            load::finish(&mut connection, self.dialect(), dataset).await?;
            load::await_reads(&mut connection, self.dialect(), &self.choices, dataset).await?;
            self.catch_up().await
        })
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(self.patiently(async |mut connection| manifest::owned(&mut connection, self.dialect()).await))
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(
            self.patiently(async move |mut connection| {
                manifest::clean(&mut connection, self.dialect(), namespace).await
            }),
        )
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
