//! What serves a session's requests: a client with its connection, and what the requests are about.

use std::rc::Rc;

use store::{Dataset, Error, Outcome, Request, Result, Session};

use super::address::Settings;
use super::link::Link;
use super::operations::Operations;
use super::records::Records;
use super::{DynamoDb, operations, records};
use crate::lane::{LaneClient, LaneSession, serve};
use crate::rows::RowBuffer;

/// Serves one session.
struct Worker {
    link: Link,
    subject: Subject,
}

/// What a session was opened for.
enum Subject {
    Records(Records),
    Operations(Operations),
    Nothing,
}

/// A session over that link.
pub(super) fn open(link: Link, dataset: Option<&Dataset>, settings: Settings) -> Box<dyn Session> {
    let subject = match dataset {
        Some(Dataset::Records(table)) => Subject::Records(Records::new(table, settings)),
        Some(Dataset::Operations(rows)) => Subject::Operations(Operations::new(rows, settings)),
        Some(Dataset::Tables(_)) | None => Subject::Nothing,
    };
    let capabilities = store::Driver::capabilities(&DynamoDb);
    Box::new(LaneSession::new(capabilities, None, |slot: Rc<_>| Box::pin(serve(Worker { link, subject }, slot))))
}

impl LaneClient for Worker {
    async fn run(&mut self, request: &Request<'_>, rows: &mut RowBuffer) -> Result<Outcome> {
        let Self { link, subject } = self;
        let rows = match (&*subject, *request) {
            (Subject::Operations(subject), Request::Operation { operation, row }) => {
                operations::run(&link.client, subject, operation, row).await?
            }
            (Subject::Records(subject), _) => records::run(&link.client, subject, request, rows).await?,
            _ => return Err(Error::bug("a request about data that the session was not opened for")),
        };
        Ok(Outcome { rows })
    }

    fn is_broken(&self) -> bool {
        self.link.is_broken()
    }
}
