//! A service as a whole: what is made, loaded and dropped in it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use store::{
    Counters, Dataset, LoadPart, LoadState, LocalBoxFuture, Namespace, OwnedObject, RecordSource, Result, ServerInfo,
    Session, SessionSpec, Store, Target,
};

use super::address::Address;
use super::fault::{self, UNKNOWN_OPERATION};
use super::link::Link;
use super::manifest::Manifest;
use super::{load, session};

/// A service.
pub(super) struct DynamoStore {
    address: Address,
}

impl DynamoStore {
    /// Reaches the service and checks that it lets us in.
    pub(super) async fn connect(target: &Target) -> Result<Self> {
        let address = Address::of(target)?;
        let entered = async {
            let link = Link::open(&address).await?;
            link.client.list_tables().limit(1).send().await.map_err(fault::error)
        };
        address.endpoint.in_time(entered).await?;
        Ok(Self { address })
    }

    /// A connection for one call: it would not go on where another thread asks next.
    async fn link(&self) -> Result<Link> {
        Link::open(&self.address).await
    }

    fn manifest<'a>(&self, link: &'a Link) -> Manifest<'a> {
        Manifest::new(&link.client, self.address.settings)
    }

    async fn info(&self) -> Result<ServerInfo> {
        let link = self.link().await?;
        let address = &self.address;
        // The service tells where it is reached; the edition for one machine does not know the question, nor its version.
        let product = match link.client.describe_endpoints().send().await {
            Ok(_) => format!("DynamoDB of {}", address.region),
            Err(error) if fault::code(&error) == Some(UNKNOWN_OPERATION) => "DynamoDB Local".to_owned(),
            Err(error) => match fault::error(error) {
                error if error.kind() == store::ErrorKind::Rejected => "DynamoDB".to_owned(),
                error => return Err(error),
            },
        };
        let mut settings = BTreeMap::from([
            ("billing_mode".to_owned(), "PAY_PER_REQUEST".to_owned()),
            ("consistency".to_owned(), if address.settings.consistent { "strong" } else { "eventual" }.to_owned()),
            ("endpoint".to_owned(), address.url.clone()),
            ("region".to_owned(), address.region.clone()),
            ("shards".to_owned(), address.settings.shards.to_string()),
        ]);
        // Not everybody may ask for the account's limits.
        if let Ok(limits) = link.client.describe_limits().send().await {
            let limits = [
                ("account_max_read_capacity_units", limits.account_max_read_capacity_units),
                ("account_max_write_capacity_units", limits.account_max_write_capacity_units),
                ("table_max_read_capacity_units", limits.table_max_read_capacity_units),
                ("table_max_write_capacity_units", limits.table_max_write_capacity_units),
            ];
            let told = limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), limit?.to_string())));
            settings.extend(told);
        }
        let version = format!("{product}, API 2012-08-10");
        Ok(ServerInfo { version, settings, process_id: None, operations_missing: BTreeMap::new() })
    }
}

impl Store for DynamoStore {
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(async move { Ok(session::open(self.link().await?, spec.dataset, self.address.settings)) })
    }

    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(self.info())
    }

    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(async { Ok(Counters::new()) })
    }

    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(async { self.manifest(&self.link().await?).state(dataset).await })
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async { self.manifest(&self.link().await?).create(dataset).await })
    }

    fn load<'a>(
        &'a self,
        dataset: &'a Dataset,
        part: LoadPart,
        source: &'a dyn RecordSource,
        progress: &'a AtomicU64,
    ) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let link = self.link().await?;
            load::part(&link.client, self.address.settings, dataset, part, source, progress).await
        })
    }

    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let link = self.link().await?;
            load::until_indexed(&link.client, self.address.settings, dataset).await?;
            self.manifest(&link).mark_loaded(dataset).await
        })
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(async { self.manifest(&self.link().await?).owned().await })
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(async move { self.manifest(&self.link().await?).clean(namespace).await })
    }
}
