//! The hot path: requests are encoded into one buffer, leave in one write, and their replies are read where they lie.
//!
//! The server answers in the order in which it was asked, so a queue says whose replies come next. A request with
//! a second step appends that step's commands and takes its place at the end of the queue, which is where their replies
//! will come; nothing else waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use store::{Completion, Dataset, Error, Outcome, Request, Result, Rows, Session, Token};

use super::connection::{Connection, lost};
use super::contents::Contents;
use super::operations;
use super::records::{RecordKeys, ScanKeys, Step, Verb};
use super::reply::Replies;
use crate::resp::Framer;
use crate::wire::{Settled, Wire};

/// Requests in flight: past this a deeper pipeline only lengthens the queue.
pub(crate) const DEPTH_MAX: usize = 1024;

/// One connection at work.
pub(crate) struct RedisSession {
    wire: Wire<Settled>,
    framer: Framer,
    data: Data,
    depth: usize,
    in_flight: VecDeque<InFlight>,
    /// Memory of scans that have ended.
    spare: Vec<ScanKeys>,
    broken: Option<Error>,
}

/// What the requests are about.
enum Data {
    Nothing,
    Records(RecordKeys),
    Rows(Arc<Contents>),
}

struct InFlight {
    token: Token,
    replies: u32,
    work: Work,
}

enum Work {
    Record(Verb),
    Operation { operation: u16, row: u64 },
}

impl RedisSession {
    /// On a connection of its own. `contents` are those of the dataset, where it is one of rows.
    pub(crate) fn new(
        connection: Connection,
        dataset: Option<&Dataset>,
        contents: Option<Arc<Contents>>,
        depth: usize,
    ) -> Result<Self> {
        let data = match (dataset, contents) {
            (_, Some(contents)) => Data::Rows(contents),
            (Some(Dataset::Records(table)), None) => Data::Records(RecordKeys::new(table.namespace.as_str())),
            _ => Data::Nothing,
        };
        Ok(Self {
            wire: connection.into_wire().settle()?,
            framer: Framer::default(),
            data,
            depth: depth.clamp(1, DEPTH_MAX),
            in_flight: VecDeque::new(),
            spare: Vec::new(),
            broken: None,
        })
    }

    /// Takes the first request in flight, whose replies are all there. None where it goes on.
    fn take(&mut self, length: usize, rows: &mut dyn Rows) -> Option<Completion> {
        let InFlight { token, work, .. } = self.in_flight.pop_front()?;
        let (buffered, out) = self.wire.split();
        let mut replies = Replies::new(&buffered[..length]);
        let result = match (work, &self.data) {
            (Work::Record(verb), Data::Records(keys)) => {
                keys.take(verb, token, &mut replies, rows, out, &mut self.spare)
            }
            (Work::Operation { operation, row }, Data::Rows(contents)) => {
                operations::check(contents, operation, row, &mut replies).map(Step::Done)
            }
            _ => Err(Error::bug("a request was accepted that the session has no data for")),
        };
        self.wire.consume(length);
        let result = match result {
            Ok(Step::More(verb, replies)) => {
                self.in_flight.push_back(InFlight { token, replies, work: Work::Record(verb) });
                return None;
            }
            Ok(Step::Done(rows)) => Ok(Outcome { rows }),
            Err(error) => Err(error),
        };
        Some(Completion { token, result })
    }

    /// Whether commands were appended that have not left.
    #[cfg(test)]
    pub(crate) fn has_unsent(&mut self) -> bool {
        !self.wire.out().is_empty()
    }

    /// Moves bytes until more have come in.
    fn poll_wire(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        if let Poll::Ready(Err(source)) = self.wire.poll_flush(context) {
            return Poll::Ready(Err(lost(source)));
        }
        Poll::Ready(ready!(self.wire.poll_fill(context)).map_err(lost))
    }
}

impl Session for RedisSession {
    fn depth(&self) -> usize {
        self.depth
    }

    fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn submit(&mut self, token: Token, request: &Request<'_>) -> Result<()> {
        if self.in_flight.is_empty() && !self.wire.buffered().is_empty() {
            self.broken = Some(out_of_step());
        }
        let out = self.wire.out();
        let (work, replies) = match (&self.data, *request) {
            (Data::Rows(contents), Request::Operation { operation, row }) => {
                (Work::Operation { operation, row }, operations::encode(contents, operation, row, out)?)
            }
            (Data::Records(keys), _) => {
                let (verb, replies) = keys.encode(request, out, &mut self.spare)?;
                (Work::Record(verb), replies)
            }
            _ => return Err(Error::unsupported("the session was opened without the data that the request is about")),
        };
        self.in_flight.push_back(InFlight { token, replies, work });
        Ok(())
    }

    fn poll_completion(&mut self, context: &mut Context<'_>, rows: &mut dyn Rows) -> Poll<Completion> {
        loop {
            let Some(first) = self.in_flight.front() else {
                return Poll::Pending;
            };
            if let Some(error) = &self.broken {
                let (token, result) = (first.token, Err(error.repeated()));
                self.in_flight.pop_front();
                return Poll::Ready(Completion { token, result });
            }
            match self.framer.frame(self.wire.buffered(), first.replies) {
                Ok(Some(length)) => match self.take(length, rows) {
                    Some(completion) => return Poll::Ready(completion),
                    None => continue,
                },
                Ok(None) => {}
                Err(_) => {
                    self.broken = Some(out_of_step());
                    continue;
                }
            }
            if let Err(error) = ready!(self.poll_wire(context)) {
                self.broken = Some(error);
            }
        }
    }

    fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    fn waits_in_reactor(&self) -> bool {
        self.wire.is_queued()
    }
}

/// What came in cannot be the answer to what was asked, so no later answer can be trusted either.
pub(crate) fn out_of_step() -> Error {
    Error::unreachable("the connection is out of step: the server's answers are not in the Redis protocol")
        .with_hint("check what stands between Storelab and the server, and that it is a Redis or Valkey server")
}
