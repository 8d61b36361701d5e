//! Scylla's library, on Cassandra.

use anyhow::{Context, Result};
use scylla::client::PoolSize;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use url::Url;

use crate::{Bare, FIELDS, RECORDS, field, key, value};

const TABLE: &str = "storelab_floor.records";

/// As many partitions as make each small.
fn shard(number: usize) -> i32 {
    const SHARDS: usize = 16;
    i32::try_from(number % SHARDS).unwrap_or_default()
}

pub(crate) struct Scylla<'a>(pub(crate) &'a Url);

impl Scylla<'_> {
    async fn session(&self) -> Result<Session> {
        let node = format!("{}:{}", self.0.host_str().unwrap_or("127.0.0.1"), self.0.port().unwrap_or(9042));
        let mut builder = SessionBuilder::new()
            .known_node(node)
            .pool_size(PoolSize::PerHost(std::num::NonZeroUsize::MIN))
            .disallow_shard_aware_port(true);
        if let Some(password) = self.0.password() {
            builder = builder.user(self.0.username(), password);
        }
        Ok(builder.build().await?)
    }
}

impl Bare for Scylla<'_> {
    async fn fill(&self) -> Result<()> {
        let session = self.session().await?;
        let columns: Vec<_> = (0..FIELDS).map(field).collect();
        let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
        session.query_unpaged(format!("CREATE KEYSPACE storelab_floor WITH replication = {replication}"), ()).await?;
        let definitions: Vec<_> = columns.iter().map(|column| format!("{column} text")).collect();
        let table =
            format!("CREATE TABLE {TABLE} (shard int, key text, {}, PRIMARY KEY (shard, key))", definitions.join(", "));
        session.query_unpaged(table, ()).await?;
        let values = format!("'{}'", vec![value(); FIELDS].join("', '"));
        let insert = format!("INSERT INTO {TABLE} (shard, key, {}) VALUES (?, ?, {values})", columns.join(", "));
        let insert = session.prepare(insert).await?;
        for number in 0..RECORDS {
            session.execute_unpaged(&insert, (shard(number), key(number))).await?;
        }
        Ok(())
    }

    async fn read(&self, reads: usize) -> Result<()> {
        let session = self.session().await?;
        let columns: Vec<_> = (0..FIELDS).map(field).collect();
        let select = format!("SELECT {} FROM {TABLE} WHERE shard = ? AND key = ?", columns.join(", "));
        let mut select = session.prepare(select).await?;
        select.set_use_cached_result_metadata(true);
        for number in 0..reads {
            let number = number % RECORDS;
            let rows = session.execute_unpaged(&select, (shard(number), key(number))).await?.into_rows_result()?;
            (rows.rows_num() == 1).then_some(()).context("no such record")?;
        }
        Ok(())
    }
}
