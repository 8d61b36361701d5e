//! A cluster as a whole: what is made, loaded, counted and dropped in it.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use store::{
    Counters, Dataset, Driver, ErrorKind, LoadPart, LoadState, LocalBoxFuture, Namespace, OwnedObject, RecordSource,
    Result, ServerInfo, Session, SessionSpec, Store, Target,
};
use tokio::runtime;

use super::client::{Address, Client};
use super::session::Worker;
use super::{Elasticsearch, indices, manifest, statistics};
use crate::lane::{LaneSession, serve};

/// A cluster.
pub(super) struct Cluster {
    address: Arc<Address>,
    /// For [`counters`](Store::counters), with the runtime that drives it: on another one it would never wake.
    counting: Mutex<Option<(runtime::Id, Client)>>,
}

impl Cluster {
    /// Reaches the cluster and checks that it lets us in and is one.
    pub(super) async fn connect(target: &Target) -> Result<Self> {
        let address = Arc::new(Address::of(target)?);
        let asked = async {
            let mut client = Client::open(&address).await?;
            statistics::product(&mut client, &address.prefix).await
        };
        address.in_time(asked).await?;
        Ok(Self { address, counting: Mutex::new(None) })
    }

    async fn open(&self) -> Result<Client> {
        Client::open(&self.address).await
    }

    async fn read_counters(&self) -> Result<Counters> {
        let runtime = runtime::Handle::current().id();
        let kept = self.counting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut client = match kept {
            Some((kept_by, client)) if kept_by == runtime => client,
            _ => self.open().await?,
        };
        let counters = match statistics::counters(&mut client, &self.address.prefix).await {
            // The server may have been started anew since the last look.
            Err(error) if error.kind() == ErrorKind::Unreachable => {
                client = self.open().await?;
                statistics::counters(&mut client, &self.address.prefix).await?
            }
            result => result?,
        };
        *self.counting.lock().unwrap_or_else(PoisonError::into_inner) = Some((runtime, client));
        Ok(counters)
    }
}

impl Store for Cluster {
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(async move {
            let worker = Worker::new(self.open().await?, &self.address, spec);
            let session = LaneSession::new(Elasticsearch.capabilities(), None, |slot| {
                Box::pin(async { serve(worker, slot).await })
            });
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }

    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(async { statistics::server(&mut self.open().await?, &self.address).await })
    }

    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(self.read_counters())
    }

    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(async { manifest::state(&mut self.open().await?, &self.address.prefix, dataset).await })
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let indices = indices::of(dataset)?;
            let mut client = self.open().await?;
            manifest::begin(&mut client, &self.address.prefix, dataset, &indices).await?;
            for index in &indices {
                indices::make(&mut client, &self.address, dataset.namespace(), index).await?;
            }
            Ok(())
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
                Dataset::Records(table) => indices::load_records(&self.address, table, numbers, source, progress).await,
                Dataset::Operations(rows) => indices::load_rows(&self.address, rows, numbers, progress).await,
                Dataset::Tables(_) => indices::of(dataset).map(|_| ()),
            }
        })
    }

    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let indices = indices::of(dataset)?;
            let mut client = self.open().await?;
            indices::settle(&mut client, &self.address, dataset.namespace(), &indices).await?;
            manifest::finish(&mut client, &self.address.prefix, dataset, &indices).await
        })
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(async {
            let entries = manifest::entries(&mut self.open().await?, &self.address.prefix).await?;
            Ok(entries.iter().flat_map(|(namespace, entry)| entry.objects(namespace)).collect())
        })
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(async move {
            let mut client = self.open().await?;
            let prefix = &self.address.prefix;
            let mut gone = Vec::new();
            for (found, entry) in manifest::entries(&mut client, prefix).await? {
                if namespace.is_none_or(|wanted| *wanted == found) {
                    gone.extend(manifest::clean(&mut client, prefix, &found, &entry).await?);
                }
            }
            Ok(gone)
        })
    }
}
