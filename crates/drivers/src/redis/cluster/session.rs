//! The contract of a session over a cluster: one session, as many connections as it needs.
//!
//! A node that cannot be reached fails what was to go there and leaves the session usable; a connection that is lost breaks
//! it, as it does with a single server.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use store::{Completion, Dataset, Effect, Error, Outcome, Request, Result, Rows, Session, Token};

use super::records::{ClusterRecords, ClusterVerb, Next};
use super::router::Router;
use crate::redis::contents::Contents;
use crate::redis::operations::{self, OPERATIONS};
use crate::redis::reply::Replies;
use crate::redis::session::DEPTH_MAX;

/// One session at work in a cluster.
pub(crate) struct ClusterSession {
    router: Router,
    data: Data,
    depth: usize,
    /// By flight.
    jobs: Vec<Option<Job>>,
    in_flight: usize,
}

/// What the requests are about.
enum Data {
    Nothing,
    Records(ClusterRecords),
    Rows(Arc<Contents>),
}

struct Job {
    token: Token,
    work: Work,
}

enum Work {
    Record(ClusterVerb),
    Operation { operation: u16, row: u64 },
}

impl ClusterSession {
    /// Through that router. `contents` are those of the dataset, where it is one of rows.
    pub(crate) fn new(
        router: Router,
        dataset: Option<&Dataset>,
        contents: Option<Arc<Contents>>,
        depth: usize,
    ) -> Self {
        let data = match (dataset, contents) {
            (_, Some(contents)) => Data::Rows(contents),
            (Some(Dataset::Records(table)), None) => Data::Records(ClusterRecords::new(table.namespace.as_str())),
            _ => Data::Nothing,
        };
        Self { router, data, depth: depth.clamp(1, DEPTH_MAX), jobs: Vec::new(), in_flight: 0 }
    }

    /// Takes a flight that landed. None where its request goes on.
    fn take(&mut self, flight: u32, rows: &mut dyn Rows) -> Option<Completion> {
        let Job { token, work } = self.jobs[flight as usize].take()?;
        let step = self.router.replies(flight).and_then(|(bytes, out)| match (work, &mut self.data) {
            (Work::Record(verb), Data::Records(records)) => records.take(verb, token, bytes, rows, out),
            (Work::Operation { operation, row }, Data::Rows(contents)) => {
                operations::check(contents, operation, row, &mut Replies::new(bytes)).map(Next::Done)
            }
            _ => Err(Error::bug("a request was accepted that the session has no data for")),
        });
        let result = match step {
            Ok(Next::More(verb, replies, slot)) => {
                let reads = matches!(verb, ClusterVerb::ScanIndexes { .. } | ClusterVerb::ScanRecords { .. });
                self.jobs[flight as usize] = Some(Job { token, work: Work::Record(verb) });
                self.router.launch(flight, replies, slot, reads);
                return None;
            }
            Ok(Next::Done(rows)) => Ok(Outcome { rows }),
            Err(error) => Err(error),
        };
        self.router.release(flight);
        self.in_flight -= 1;
        Some(Completion { token, result })
    }
}

impl Session for ClusterSession {
    fn depth(&self) -> usize {
        self.depth
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn submit(&mut self, token: Token, request: &Request<'_>) -> Result<()> {
        let (flight, out) = self.router.begin();
        let encoded = match (&mut self.data, *request) {
            (Data::Rows(contents), Request::Operation { operation, row }) => {
                let reads = OPERATIONS.get(usize::from(operation)).is_some_and(|known| known.effect == Effect::Reads);
                operations::encode(contents, operation, row, out)
                    .map(|replies| (Work::Operation { operation, row }, replies, None, reads))
            }
            (Data::Records(records), _) => {
                let reads = matches!(request, Request::Read { .. } | Request::Scan { .. });
                records.encode(request, out).map(|(verb, replies, slot)| (Work::Record(verb), replies, slot, reads))
            }
            _ => Err(Error::unsupported("the session was opened without the data that the request is about")),
        };
        let (work, replies, slot, reads) = encoded.inspect_err(|_| self.router.release(flight))?;
        if self.jobs.len() <= flight as usize {
            self.jobs.resize_with(flight as usize + 1, || None);
        }
        self.jobs[flight as usize] = Some(Job { token, work });
        self.in_flight += 1;
        self.router.launch(flight, replies, slot, reads);
        Ok(())
    }

    fn poll_completion(&mut self, context: &mut Context<'_>, rows: &mut dyn Rows) -> Poll<Completion> {
        loop {
            if self.in_flight == 0 {
                return Poll::Pending;
            }
            let flight = ready!(self.router.poll_landing(context));
            if let Some(completion) = self.take(flight, rows) {
                return Poll::Ready(completion);
            }
        }
    }

    fn is_broken(&self) -> bool {
        self.router.broken().is_some()
    }

    // It may have to connect to another node at any time, which goes through the runtime.
    fn waits_in_reactor(&self) -> bool {
        false
    }
}
