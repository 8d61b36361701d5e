//! One viewer of one run: first what the store has, then what comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use experiment::Status;
use results::service::{ExperimentStatus, Told};
use runner::Watcher;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::message::{Kind, Message, ended_body, sample_body};
use super::{Behind, Channel, Place};
use crate::app::App;
use crate::problem::Problem;

/// Messages that are read from the store at a time: some hundred kilobytes.
const STORED_MESSAGES: usize = 200;

/// How often a run of another process, or one that waits for its turn, is looked at: as often as it has something to say.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often a viewer is told what a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) enum Every {
    /// Once a second.
    #[default]
    #[serde(rename = "1s")]
    Second,
    /// Each quarter of a second too.
    #[serde(rename = "250ms")]
    Quarter,
}

/// A viewer: where it has come to, and what it has been handed and not yet taken.
pub(crate) struct Follower {
    app: App,
    run: Uuid,
    every: Every,
    place: Place,
    taken: VecDeque<Arc<Message>>,
    /// The channel that it takes from, once it has caught up with it, and that quarters are wanted of it.
    channel: Option<(Arc<Channel>, Option<Watcher>)>,
    is_done: bool,
}

/// Follows a run behind a number.
///
/// # Errors
/// 404 where there is no such run, neither kept nor in the queue.
pub(crate) async fn follow(app: App, run: Uuid, after: u64, every: Every) -> Result<Follower, Problem> {
    let is_known = app
        .storage
        .read(move |results| Ok(results.queue_entry(run)?.is_some() || results.status_of(run)?.is_some()))
        .await?;
    if !is_known {
        return Err(Problem::not_found(format!("there is no run `{run}`")).with_remedy("GET /api/v1/runs lists runs"));
    }
    let place = Place { after, quarters: (every == Every::Quarter).then_some(0) };
    let taken = VecDeque::new();
    Ok(Follower { app, run, every, place, taken, channel: None, is_done: false })
}

impl Follower {
    /// The next message; none after the last one.
    pub(crate) async fn next(&mut self) -> Option<Arc<Message>> {
        loop {
            if let Some(message) = self.taken.pop_front() {
                self.place.after = message.number();
                self.is_done = message.kind() == Kind::Ended;
                return Some(message);
            }
            if self.is_done {
                return None;
            }
            if let Some(message) = self.look().await {
                self.is_done = true;
                return Some(message);
            }
        }
    }

    /// Looks for more, waiting where there is none yet. Returns a message that is the last one and not numbered.
    async fn look(&mut self) -> Option<Arc<Message>> {
        let Some((channel, _)) = &self.channel else { return self.catch_up().await };
        let mut listener = channel.listen(self.every == Every::Quarter);
        match channel.behind(self.place) {
            Behind::Messages(messages, quarters) => {
                self.taken.extend(messages);
                self.place.quarters = quarters;
            }
            // What was told last may be in the store alone.
            Behind::Over => self.channel = None,
            Behind::Forgotten => return Some(self.dropped()),
            Behind::Nothing => listener.heard().await,
        }
        None
    }

    /// Takes what the store has, and then joins the channel.
    async fn catch_up(&mut self) -> Option<Arc<Message>> {
        // The channel first: what is told between the two looks is in it.
        let channel = self.app.live.channel(self.run);
        if let Some(channel) = channel
            && channel.behind(self.place) != Behind::Forgotten
        {
            let watcher = (self.every == Every::Quarter).then(|| channel.join());
            self.channel = Some((channel, watcher));
            return None;
        }
        let (run, after) = (self.run, self.place.after);
        let stored = self.app.storage.read(move |results| stored(results, run, after)).await;
        match stored {
            Err(problem) => return Some(self.failed(&problem)),
            Ok(Stored { messages, is_over: true }) if messages.is_empty() => self.is_done = true,
            Ok(Stored { messages, .. }) if messages.is_empty() => tokio::time::sleep(LOOK_INTERVAL).await,
            Ok(Stored { messages, .. }) => self.taken.extend(messages.into_iter().map(Arc::new)),
        }
        None
    }

    fn dropped(&self) -> Arc<Message> {
        let reason = "messages were not read as quickly as they came; go on behind the last one with `after`";
        Arc::new(Message::new(self.run, self.place.after, Kind::Dropped, &json!({ "reason": reason })))
    }

    fn failed(&self, problem: &Problem) -> Arc<Message> {
        Arc::new(Message::new(self.run, self.place.after, Kind::Dropped, &json!({ "reason": problem.reason() })))
    }
}

/// What the store has behind a number.
struct Stored {
    messages: Vec<Message>,
    /// Whether nothing will come behind them.
    is_over: bool,
}

/// Messages that the store has behind a number. Of a run that is over the last one says so, also where its process died
/// before it could.
fn stored(results: &mut results::Results, run: Uuid, after: u64) -> results::Result<Stored> {
    // Where the run stands is looked at first: a run that is over then tells nothing more.
    let status = results.status_of(run)?;
    let entry = results.queue_entry(run)?;
    let told = results.messages(run, after, STORED_MESSAGES)?;
    let mut messages: Vec<_> = told
        .into_iter()
        .map(|(number, told)| match told {
            Told::Sample(sample) => Message::new(run, number, Kind::Sample, &sample_body(&sample)),
            Told::Message { kind, body } => {
                let body: Value = serde_json::from_str(&body).unwrap_or_default();
                Message::new(run, number, Kind::named(&kind), &body)
            }
        })
        .collect();
    let is_open = entry.as_ref().is_some_and(|entry| entry.status.is_active());
    let is_over = !is_open && status != Some(Status::Running);
    if is_over && messages.is_empty() {
        let (last, is_told) = results.last_message(run, Kind::Ended.name())?;
        if !is_told && after <= last {
            let reason = entry.as_ref().and_then(|entry| entry.reason.as_deref());
            let body = match status {
                Some(_) => ended_body(&results.record(run)?, reason),
                None => unstarted(entry.as_ref().map(|entry| entry.status), reason),
            };
            messages.push(Message::new(run, last + 1, Kind::Ended, &body));
        }
    }
    Ok(Stored { messages, is_over })
}

/// The end of a run that never began.
fn unstarted(status: Option<ExperimentStatus>, reason: Option<&str>) -> Value {
    json!({ "status": status.unwrap_or(ExperimentStatus::Interrupted).name(), "reason": reason })
}
