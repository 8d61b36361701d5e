//! One connection's worth of work.

use store::{Dataset, Error, Outcome, Request, Result};

use super::api::{Address, Api};
use super::readings::Readings;
use super::records::Records;
use super::{AGGREGATE, QUERY, WRITE};
use crate::lane::LaneClient;
use crate::rows::RowBuffer;

/// What a session's requests are run through.
pub(crate) struct Client {
    api: Api,
    work: Work,
}

/// What they are about.
enum Work {
    Nothing,
    Records(Box<Records>),
    Readings(Box<ReadingsWork>),
}

struct ReadingsWork {
    readings: Readings,
    write_path: String,
    text: String,
    line: Vec<u8>,
}

impl Client {
    pub(crate) fn new(address: &Address, api: Api, dataset: Option<&Dataset>) -> Self {
        let work = match dataset {
            Some(Dataset::Records(table)) => Work::Records(Box::new(Records::new(address, table))),
            Some(Dataset::Operations(rows)) => Work::Readings(Box::new(ReadingsWork {
                readings: Readings::new(rows),
                write_path: address.write_path(rows.namespace.as_str()),
                text: String::new(),
                line: Vec::new(),
            })),
            Some(Dataset::Tables(_)) | None => Work::Nothing,
        };
        Self { api, work }
    }
}

impl ReadingsWork {
    async fn run(&mut self, api: &mut Api, operation: u16, row: u64) -> Result<Outcome> {
        let Self { readings, write_path, text, line } = self;
        let rows = match operation {
            WRITE => {
                line.clear();
                readings.push_line(row, line);
                api.write(write_path, line).await?;
                1
            }
            QUERY => {
                readings.query(row, text);
                readings.verify_query(row, api.query(text).await?)?
            }
            AGGREGATE => {
                readings.aggregate(row, text);
                readings.verify_aggregate(row, api.query(text).await?)?
            }
            _ => return Err(Error::bug(format!("InfluxDB has no operation {operation}"))),
        };
        Ok(Outcome { rows })
    }
}

impl LaneClient for Client {
    async fn run(&mut self, request: &Request<'_>, rows: &mut RowBuffer) -> Result<Outcome> {
        let done = match (&mut self.work, request) {
            (Work::Records(records), request) => records.run(&mut self.api, request, rows).await,
            (Work::Readings(work), Request::Operation { operation, row }) => {
                Some(work.run(&mut self.api, *operation, *row).await)
            }
            (Work::Readings(_) | Work::Nothing, _) => None,
        };
        done.unwrap_or_else(|| Err(Error::bug("the session was opened for other data than the request is about")))
    }

    fn is_broken(&self) -> bool {
        self.api.is_broken()
    }
}
