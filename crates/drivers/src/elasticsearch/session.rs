//! A session: a lane around one connection.

use store::{Dataset, Error, Outcome, Request, Result, SessionSpec};

use super::client::{Address, Client};
use super::operations::Operations;
use super::records::Records;
use crate::lane::LaneClient;
use crate::rows::RowBuffer;

/// Runs requests, one after the other.
pub(super) struct Worker {
    client: Client,
    work: Work,
}

/// What the requests are about.
enum Work {
    Records(Box<Records>),
    Operations(Box<Operations>),
    Nothing,
}

impl Worker {
    /// For that dataset.
    pub(super) fn new(client: Client, address: &Address, spec: SessionSpec<'_>) -> Self {
        let work = match spec.dataset {
            Some(Dataset::Records(table)) => Work::Records(Box::new(Records::new(address, table))),
            Some(Dataset::Operations(rows)) => Work::Operations(Box::new(Operations::new(address, rows))),
            Some(Dataset::Tables(_)) | None => Work::Nothing,
        };
        Self { client, work }
    }
}

impl LaneClient for Worker {
    async fn run(&mut self, request: &Request<'_>, rows: &mut RowBuffer) -> Result<Outcome> {
        let Self { client, work } = self;
        let rows = match (work, *request) {
            (Work::Records(records), Request::Read { key, fields }) => records.read(client, key, fields, rows).await?,
            (Work::Records(records), Request::Scan { start, limit }) => {
                records.scan(client, start, limit, rows).await?
            }
            (Work::Records(records), Request::Insert { key, values }) => records.insert(client, key, values).await?,
            (Work::Records(records), Request::Update { key, values }) => records.update(client, key, values).await?,
            (Work::Records(records), Request::Delete { key }) => records.delete(client, key).await?,
            (Work::Operations(operations), Request::Operation { operation, row }) => {
                operations.run(client, operation, row).await?
            }
            _ => return Err(Error::bug("the session was opened for other data than the request is about")),
        };
        Ok(Outcome { rows })
    }

    fn is_broken(&self) -> bool {
        self.client.is_broken()
    }
}
