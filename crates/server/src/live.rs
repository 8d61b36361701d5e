//! What runs tell while they go on: numbered messages, each written once and shared by all who follow the run.
//!
//! A [`Channel`] keeps the newest messages of a run in a ring of fixed length, and nothing for each viewer: a viewer has the
//! number that it has come to, and takes what is behind it. One that falls out of the ring did not keep up and is dropped, with
//! the reason. Messages that the ring has no more, or that another process told, come from the store, where each second and
//! each message lies before it is told here.
//!
//! Quarters of seconds are for viewers who want them, and told only while there is one. They have a ring of their own and no
//! numbers: what falls out of it is lost to whoever was too late, and stands in the second that follows.

mod follow;
mod message;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use experiment::QuarterRecord;
use runner::{Watch, Watcher};
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) use follow::{Every, Follower, follow};
pub(crate) use message::{Kind, Message, SampleBody, ended_body, sample_body};

/// Messages of a run that are in memory: two minutes of seconds. A viewer that is further behind reads the store, or is
/// dropped where it had been in time before.
const RING_MESSAGES: usize = 128;

/// Quarters of seconds that are in memory: five seconds, after which nobody looks at them live.
const RING_QUARTERS: usize = 20;

/// The runs of this process that can be followed.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    channels: Mutex<HashMap<Uuid, Arc<Channel>>>,
}

/// The newest messages of one run.
#[derive(Debug)]
pub(crate) struct Channel {
    run: Uuid,
    ring: Mutex<Ring>,
    /// The number of the last message; wakes who waits for the next.
    news: watch::Sender<u64>,
    /// How many quarters were told; wakes who waits for the next.
    quarters_told: watch::Sender<u64>,
    /// Those who want quarters.
    watch: Watch,
}

#[derive(Debug, Default)]
struct Ring {
    messages: VecDeque<Arc<Message>>,
    quarters: VecDeque<Arc<Message>>,
    /// How many quarters were told before those of the ring.
    quarters_before: u64,
    is_over: bool,
}

/// Where a viewer has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the last message that it has.
    pub(crate) after: u64,
    /// Quarters that it has, or has let pass, of all that were told; none where it does not want them.
    pub(crate) quarters: Option<u64>,
}

/// What a channel has behind a place.
#[derive(Debug, PartialEq)]
pub(crate) enum Behind {
    /// These messages, in order and without a gap in their numbers, and the quarters after them that somebody has come to.
    Messages(Vec<Arc<Message>>, Option<u64>),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will come.
    Over,
    /// The ring begins later.
    Forgotten,
}

/// Hears of news.
pub(crate) struct Listener {
    news: watch::Receiver<u64>,
    quarters_told: Option<watch::Receiver<u64>>,
}

impl Hub {
    /// Opens the channel of a run that begins.
    pub(crate) fn open(&self, run: Uuid) -> Arc<Channel> {
        let channel = Arc::new(Channel {
            run,
            ring: Mutex::default(),
            news: watch::Sender::new(0),
            quarters_told: watch::Sender::new(0),
            watch: Watch::default(),
        });
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

    /// Tells a quarter of a second to those who want that.
    pub(crate) fn glimpse(&self, quarter: &QuarterRecord) {
        let body = message::quarter_body(quarter);
        let told = {
            let mut ring = self.ring();
            let number = ring.messages.back().map_or(0, |message| message.number());
            if ring.quarters.len() >= RING_QUARTERS {
                ring.quarters.pop_front();
                ring.quarters_before += 1;
            }
            ring.quarters.push_back(Arc::new(Message::new(self.run, number, Kind::Quarter, &body)));
            ring.quarters_before + ring.quarters.len() as u64
        };
        self.quarters_told.send_replace(told);
    }

    /// Those who want quarters of seconds.
    pub(crate) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Wants quarters from the next second on, as long as what is returned lives.
    pub(crate) fn join(&self) -> Watcher {
        self.watch.join()
    }

    /// What is behind that place.
    pub(crate) fn behind(&self, place: Place) -> Behind {
        let Place { after, quarters } = place;
        let ring = self.ring();
        let Some(first) = ring.messages.front().map(|message| message.number()) else {
            return if ring.is_over { Behind::Over } else { Behind::Nothing };
        };
        if after.saturating_add(1) < first {
            return Behind::Forgotten;
        }
        let skipped = usize::try_from(after.saturating_add(1) - first).unwrap_or(usize::MAX);
        let mut messages: Vec<_> = ring.messages.iter().skip(skipped).cloned().collect();
        if let Some(known) = quarters {
            let skipped = usize::try_from(known.saturating_sub(ring.quarters_before)).unwrap_or(usize::MAX);
            // Those from before the viewer's place are nothing live to it any more.
            let quarters = ring.quarters.iter().skip(skipped).filter(|quarter| quarter.number() >= after);
            messages.extend(quarters.cloned());
            // A quarter has the number of the message before it; the order is kept otherwise.
            messages.sort_by_key(|message| message.number());
        }
        if !messages.is_empty() {
            Behind::Messages(messages, quarters.map(|_| ring.quarters_before + ring.quarters.len() as u64))
        } else if ring.is_over {
            Behind::Over
        } else {
            Behind::Nothing
        }
    }

    /// Hears of what comes, of quarters too where those are wanted.
    pub(crate) fn listen(&self, wants_quarters: bool) -> Listener {
        Listener { news: self.news.subscribe(), quarters_told: wants_quarters.then(|| self.quarters_told.subscribe()) }
    }

    fn end(&self) {
        self.ring().is_over = true;
        self.news.send_modify(|_| {});
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Waits until there is something since it began to listen, or nothing more will come.
    pub(crate) async fn heard(&mut self) {
        let Some(quarters_told) = &mut self.quarters_told else {
            // The sender lives in the channel, whose owner waits here.
            let _ = self.news.changed().await;
            return;
        };
        tokio::select! {
            _ = self.news.changed() => {}
            _ = quarters_told.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiment::SampleRecord;

    fn told(channel: &Channel, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            channel.tell(Message::new(Uuid::nil(), number, Kind::Event, &serde_json::json!({"text": "x"})));
        }
    }

    fn quarter(second: u64, quarter: u8) -> QuarterRecord {
        let sample = SampleRecord { second, operations: Vec::new(), gauges: std::collections::BTreeMap::new() };
        QuarterRecord { quarter, sample }
    }

    fn after(after: u64) -> Place {
        Place { after, quarters: None }
    }

    fn numbers(behind: &Behind) -> Vec<u64> {
        match behind {
            Behind::Messages(messages, _) => messages.iter().map(|message| message.number()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn whoever_comes_back_goes_on_without_a_gap() {
        let hub = Hub::default();
        let channel = hub.open(Uuid::nil());
        assert_eq!(channel.behind(after(0)), Behind::Nothing);
        told(&channel, 1..=5);
        assert_eq!(numbers(&channel.behind(after(0))), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(&channel.behind(after(3))), [4, 5]);
        assert_eq!(channel.behind(after(5)), Behind::Nothing);
        assert_eq!(channel.behind(after(u64::MAX)), Behind::Nothing);
        hub.close(Uuid::nil());
        assert_eq!(channel.behind(after(5)), Behind::Over);
        assert!(hub.channel(Uuid::nil()).is_none());
    }

    #[test]
    fn memory_has_a_bound_and_who_falls_out_is_told() {
        let channel = Hub::default().open(Uuid::nil());
        let last = RING_MESSAGES as u64 + 10;
        told(&channel, 1..=last);
        assert_eq!(channel.ring().messages.len(), RING_MESSAGES);
        assert_eq!(channel.behind(after(9)), Behind::Forgotten);
        assert_eq!(numbers(&channel.behind(after(10))).len(), RING_MESSAGES);
    }

    #[test]
    fn quarters_stand_between_the_messages_that_they_were_told_between() {
        let channel = Hub::default().open(Uuid::nil());
        told(&channel, 1..=2);
        (0..4).for_each(|at| channel.glimpse(&quarter(0, at)));
        told(&channel, 3..=3);
        channel.glimpse(&quarter(1, 0));
        let seen = |place| match channel.behind(place) {
            Behind::Messages(messages, quarters) => {
                (messages.iter().map(|message| (message.number(), message.kind())).collect(), quarters)
            }
            _ => (Vec::new(), None),
        };
        let (event, quarter) = (Kind::Event, Kind::Quarter);
        let all =
            [(1, event), (2, event), (2, quarter), (2, quarter), (2, quarter), (2, quarter), (3, event), (3, quarter)];
        assert_eq!(seen(Place { after: 0, quarters: Some(0) }), (all.to_vec(), Some(5)));
        assert_eq!(seen(Place { after: 2, quarters: Some(2) }), (all[4..].to_vec(), Some(5)));
        // Whoever has come to the third message has seen the second that its quarters are of.
        assert_eq!(seen(Place { after: 3, quarters: Some(0) }), (all[7..].to_vec(), Some(5)));
        assert_eq!(seen(Place { after: 3, quarters: Some(5) }), (Vec::new(), None));
        assert_eq!(seen(after(2)), (vec![(3, event)], None));
    }

    #[test]
    fn quarters_have_a_bound_and_dropping_them_drops_nobody() {
        let channel = Hub::default().open(Uuid::nil());
        told(&channel, 1..=1);
        (0..RING_QUARTERS as u64 + 7).for_each(|second| channel.glimpse(&quarter(second, 0)));
        assert_eq!(channel.ring().quarters.len(), RING_QUARTERS);
        let behind = channel.behind(Place { after: 1, quarters: Some(2) });
        assert_eq!(numbers(&behind).len(), RING_QUARTERS);
        assert!(matches!(behind, Behind::Messages(_, Some(told)) if told == RING_QUARTERS as u64 + 7));
    }
}
