//! What runs tell while they go on: numbered messages, each written once and shared by all who follow the run.
//!
//! A [`Channel`] keeps the newest messages of a run in a ring of fixed length, and nothing for each viewer: a viewer has the
//! number that it has come to, and takes what is behind it. One that falls out of the ring did not keep up and is dropped, with
//! the reason. Messages that the ring has no more, or that another process told, come from the store, where each second and
//! each message lies before it is told here.

mod follow;
mod message;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

pub(crate) use follow::{Follower, follow};
pub(crate) use message::{Kind, Message, SampleBody, ended_body, sample_body};

/// Messages of a run that are in memory: two minutes of seconds. A viewer that is further behind reads the store, or is
/// dropped where it had been in time before.
const RING_MESSAGES: usize = 128;

/// The runs of this process that can be followed.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    channels: Mutex<HashMap<Uuid, Arc<Channel>>>,
}

/// The newest messages of one run.
#[derive(Debug)]
pub(crate) struct Channel {
    ring: Mutex<Ring>,
    /// The number of the last message; wakes who waits for the next.
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    messages: VecDeque<Arc<Message>>,
    is_over: bool,
}

/// What a channel has behind a number.
#[derive(Debug, PartialEq)]
pub(crate) enum Behind {
    /// These messages, in order and without a gap.
    Messages(Vec<Arc<Message>>),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come.
    Over,
    /// The ring begins later.
    Forgotten,
}

impl Hub {
    /// Opens the channel of a run that begins.
    pub(crate) fn open(&self, run: Uuid) -> Arc<Channel> {
        let channel = Arc::new(Channel { ring: Mutex::default(), news: watch::Sender::new(0) });
        self.channels().insert(run, Arc::clone(&channel));
        channel
    }

    /// The channel of a run of this process that goes on.
    pub(crate) fn channel(&self, run: Uuid) -> Option<Arc<Channel>> {
        self.channels().get(&run).cloned()
    }

    /// Forgets a run that is over. Its viewers keep what they need of its channel.
    pub(crate) fn close(&self, run: Uuid) {
        if let Some(channel) = self.channels().remove(&run) {
            channel.end();
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel {
    /// Tells everybody. Messages come in order of their numbers, without a gap.
    pub(crate) fn tell(&self, message: Message) {
        let number = message.number();
        {
            let mut ring = self.ring();
            if ring.messages.len() >= RING_MESSAGES {
                ring.messages.pop_front();
            }
            ring.messages.push_back(Arc::new(message));
        }
        self.news.send_replace(number);
    }

    /// What is behind that number.
    pub(crate) fn behind(&self, after: u64) -> Behind {
        let ring = self.ring();
        let Some(first) = ring.messages.front().map(|message| message.number()) else {
            return if ring.is_over { Behind::Over } else { Behind::Nothing };
        };
        if after.saturating_add(1) < first {
            return Behind::Forgotten;
        }
        let skipped = usize::try_from(after.saturating_add(1) - first).unwrap_or(usize::MAX);
        let messages: Vec<_> = ring.messages.iter().skip(skipped).cloned().collect();
        if !messages.is_empty() {
            Behind::Messages(messages)
        } else if ring.is_over {
            Behind::Over
        } else {
            Behind::Nothing
        }
    }

    /// Hears of news.
    pub(crate) fn listen(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn end(&self) {
        self.ring().is_over = true;
        self.news.send_modify(|_| {});
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(channel: &Channel, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            channel.tell(Message::new(Uuid::nil(), number, Kind::Event, &serde_json::json!({"text": "x"})));
        }
    }

    fn numbers(behind: &Behind) -> Vec<u64> {
        match behind {
            Behind::Messages(messages) => messages.iter().map(|message| message.number()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn whoever_comes_back_goes_on_without_a_gap() {
        let hub = Hub::default();
        let channel = hub.open(Uuid::nil());
        assert_eq!(channel.behind(0), Behind::Nothing);
        told(&channel, 1..=5);
        assert_eq!(numbers(&channel.behind(0)), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(&channel.behind(3)), [4, 5]);
        assert_eq!(channel.behind(5), Behind::Nothing);
        assert_eq!(channel.behind(u64::MAX), Behind::Nothing);
        hub.close(Uuid::nil());
        assert_eq!(channel.behind(5), Behind::Over);
        assert!(hub.channel(Uuid::nil()).is_none());
    }

    #[test]
    fn memory_has_a_bound_and_who_falls_out_is_told() {
        let channel = Hub::default().open(Uuid::nil());
        let last = RING_MESSAGES as u64 + 10;
        told(&channel, 1..=last);
        assert_eq!(channel.ring().messages.len(), RING_MESSAGES);
        assert_eq!(channel.behind(9), Behind::Forgotten);
        assert_eq!(numbers(&channel.behind(10)).len(), RING_MESSAGES);
    }
}
