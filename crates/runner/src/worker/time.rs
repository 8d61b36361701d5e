//! What the clock brings: phases that end, seconds that are over, time-outs, alarms, the stop signal.

use std::cmp::Reverse;

use store::{Error, ErrorKind, SessionSpec, Token};

use super::{QUARTER, QUARTERS, Running, STOP_GRACE, Stage, TICK, Worker, lost_error};
use crate::clock::{Nanoseconds, nanoseconds};
use crate::load::{Limit, Mode};
use crate::record::SecondGauges;
use crate::schedule::{Schedule, dealt, phase_end};
use crate::slot::{Alarm, Connection, Pending};

impl Worker<'_> {
    /// The stage in which phase `number` runs from `start` on, or the drain where there is no such phase.
    pub(super) fn phase(&mut self, number: usize, start: Nanoseconds) -> Stage {
        let load = self.spec.load;
        let Some(phase) = load.phases.get(number) else {
            return Stage::Draining(start.saturating_add(nanoseconds(load.drain)));
        };
        let (first, ours, all) = (self.spec.first_session, self.spec.sessions, load.sessions.get());
        let seed = self.spec.seed.wrapping_add(number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(first);
        self.tallies[number].start = start;
        Stage::Running(Running {
            number: number as u16,
            end: phase_end(phase, start),
            schedule: Schedule::new(phase, seed, first, ours, all),
            start,
            last_arrival: 0,
            remaining: match (phase.mode, phase.limit) {
                (Mode::Closed, Limit::Count(count)) => Some(dealt(count, first.into(), ours.into(), all.into())),
                _ => None,
            },
        })
    }

    /// Goes on to the next phase where the running one is over.
    pub(super) fn advance_phase(&mut self, now: Nanoseconds) {
        loop {
            let Stage::Running(running) = &self.stage else { return };
            let end = match (running.end, running.remaining) {
                (Some(end), _) if now >= end => end,
                // A counted phase is over when its last operation is, so that the next one starts on idle sessions.
                (None, Some(0)) if self.in_flight == 0 => now,
                _ => return,
            };
            self.admit(now);
            let Stage::Running(running) = &self.stage else { return };
            // A Poisson phase limited by count may have arrivals after its expected end; the next phase waits for them.
            if running.schedule.as_ref().is_some_and(|schedule| schedule.peek().is_some()) {
                return;
            }
            let number = usize::from(running.number);
            let end = end.max(running.last_arrival);
            self.tallies[number].end = self.tallies[number].end.max(end);
            self.stage = self.phase(number + 1, end);
        }
    }

    /// Looks at what needs no finer clock: the end of a second or of a quarter that is watched, time-outs, the stop signal.
    pub(super) fn tick(&mut self, now: Nanoseconds) {
        // Quarters that passed while the thread did not run are ended too, empty but for the first.
        for quarter in self.running_quarter()..now / QUARTER {
            self.end_quarter(now, quarter);
        }
        self.next_tick = (now / TICK + 1) * TICK;
        if self.is_watched {
            self.next_tick = self.next_tick.min((now / QUARTER + 1) * QUARTER);
        }
        self.expire(now);
        if self.spec.stop.is_requested() && !matches!(self.stage, Stage::Stopping(_)) {
            self.admit(now);
            if let Stage::Running(running) = &self.stage {
                self.tallies[usize::from(running.number)].end = now;
            }
            self.stage = Stage::Stopping(now + STOP_GRACE);
        }
    }

    /// The first quarter of a second, since the start, whose end has not been looked at.
    fn running_quarter(&self) -> u64 {
        // Of a second that is watched no quarter ends between a tick and the next one, which may be its end; no second ever does.
        (self.next_tick - 1) / QUARTER
    }

    /// Hands over what ended in it, if that is its second's last one or is watched.
    fn end_quarter(&mut self, now: Nanoseconds, quarter: u64) {
        let (second, place) = (quarter / QUARTERS, (quarter % QUARTERS) as u8);
        let ends_second = u64::from(place) + 1 == QUARTERS;
        if !ends_second && !self.is_watched {
            return;
        }
        // Where no session is free nobody looked at what came due.
        self.admit(now);
        let gauges = self.gauges();
        if self.is_watched {
            self.recorder.cut_quarter(second, place, gauges);
        }
        if ends_second {
            self.recorder.cut(second, gauges);
            self.is_watched = self.spec.watch.is_wanted();
        }
    }

    /// Hands over what ended in the running quarter, where that is watched and there are gauges, and takes leave of those
    /// that others may live to see of its second.
    pub(super) fn leave_quarters(&mut self, second: u64, gauges: Option<SecondGauges>) {
        let quarter = self.running_quarter();
        if !self.is_watched || quarter / QUARTERS != second {
            return;
        }
        let mut left = (quarter % QUARTERS) as u8..QUARTERS as u8;
        if let Some((place, gauges)) = gauges.and_then(|gauges| Some((left.next()?, gauges))) {
            self.recorder.cut_quarter(second, place, gauges);
        }
        left.for_each(|later| self.recorder.leave_quarter(second, later));
    }

    /// Fails what has been in flight for too long, with the connection that it is on.
    pub(super) fn expire(&mut self, now: Nanoseconds) {
        let timeout = nanoseconds(self.spec.load.timeout);
        let expired = |pending: &Pending| now.saturating_sub(pending.sent) >= timeout;
        for number in 0..self.slots.len() {
            if !self.slots[number].pending.iter().flatten().any(expired) {
                continue;
            }
            for token in 0..self.slots[number].pending.len() {
                let Some(pending) = self.slots[number].pending[token].take() else { continue };
                let error = if expired(&pending) {
                    Error::new(ErrorKind::Timeout, format!("no answer within {:?}", self.spec.load.timeout))
                } else {
                    Error::unreachable("the connection was given up after another request's time-out")
                };
                self.in_flight -= 1;
                let error = self.slots[number].client.complete(token as Token, Err(error)).err();
                self.fail(pending, now, &error.unwrap_or_else(lost_error));
            }
            self.slots[number].close();
            self.look_where_it_waits(number as u32);
            self.reconnect_at(number, now);
        }
    }

    pub(super) fn ring_alarms(&mut self, now: Nanoseconds) {
        while let Some(Reverse((_, number, alarm))) = self.alarms.peek().copied().filter(|Reverse((at, ..))| *at <= now)
        {
            self.alarms.pop();
            match alarm {
                Alarm::Thought(token, generation) => {
                    let slot = &mut self.slots[number as usize];
                    if slot.is_open() && slot.generation == generation {
                        slot.free.push(token);
                        self.offer(number);
                    }
                }
                Alarm::Reconnect if matches!(self.stage, Stage::Stopping(_)) => {}
                Alarm::Reconnect => {
                    let spec = SessionSpec {
                        dataset: self.spec.instance.dataset(),
                        depth: self.spec.load.depth.get() as usize,
                    };
                    let store = self.spec.store;
                    self.slots[number as usize].connection = Connection::Opening(store.session(spec));
                    self.look_where_it_waits(number);
                    self.run_soon(number);
                }
            }
        }
    }

    /// When the worker must come back if nothing else wakes it, and the arrival after that, where there is one.
    pub(super) fn next_deadline(&self, now: Nanoseconds) -> (Nanoseconds, Option<Nanoseconds>) {
        let mut deadline = self.next_tick;
        let mut following = None;
        if let Some(Reverse((at, ..))) = self.alarms.peek() {
            deadline = deadline.min(*at);
        }
        match &self.stage {
            Stage::Running(running) => {
                let end = running.end.filter(|end| *end > now);
                deadline = deadline.min(end.unwrap_or(u64::MAX));
                let is_awaited = end.is_none() || !self.idle_list.is_empty();
                if let Some(schedule) = running.schedule.as_ref().filter(|_| is_awaited)
                    && let Some(arrival) = schedule.peek().map(|arrival| running.start + arrival)
                {
                    following = if arrival <= deadline {
                        schedule.peek_following().map(|arrival| running.start + arrival)
                    } else {
                        Some(arrival)
                    };
                    deadline = deadline.min(arrival);
                }
            }
            Stage::Draining(end) | Stage::Stopping(end) => deadline = deadline.min(*end),
        }
        (deadline, following)
    }

    pub(super) fn is_over(&self) -> bool {
        match self.stage {
            Stage::Running(_) => false,
            Stage::Draining(end) => (self.in_flight == 0 && self.due.is_empty()) || self.clock.now() >= end,
            Stage::Stopping(end) => self.in_flight == 0 || self.clock.now() >= end,
        }
    }
}
