//! Operations: which are due, where they are started, and what came of them.

use store::Error;
use workload::{Call, Turn};

use super::{Due, Stage, Worker};
use crate::clock::Nanoseconds;
use crate::load::Mode;
use crate::record::SecondGauges;
use crate::slot::{Connection, Pending};

impl Worker<'_> {
    /// Moves arrivals that have come due to the queue, or sheds them where it is full.
    pub(super) fn admit(&mut self, now: Nanoseconds) {
        let Stage::Running(running) = &mut self.stage else { return };
        let Some(schedule) = &mut running.schedule else { return };
        let accounting = &mut self.tallies[usize::from(running.number)].accounting;
        while let Some(arrival) = schedule.peek().map(|time| running.start + time).filter(|time| *time <= now) {
            schedule.next();
            running.last_arrival = arrival;
            accounting.scheduled += 1;
            if self.due.len() < self.due_max {
                self.due.push_back(Due { intended: arrival, phase: running.number });
            } else {
                accounting.shed += 1;
            }
        }
    }

    /// The next operation of a closed phase, where it may start one.
    pub(super) fn next_closed(&mut self, now: Nanoseconds) -> Option<Due> {
        let Stage::Running(running) = &mut self.stage else { return None };
        if running.schedule.is_some() || running.end.is_some_and(|end| now >= end) {
            return None;
        }
        if let Some(remaining) = &mut running.remaining {
            *remaining = remaining.checked_sub(1)?;
        }
        self.tallies[usize::from(running.number)].accounting.scheduled += 1;
        Some(Due { intended: now, phase: running.number })
    }

    /// Gives idle sessions what is due.
    pub(super) fn start_due(&mut self) {
        if matches!(self.stage, Stage::Stopping(_)) {
            return;
        }
        while let Some(number) = self.idle_list.front().copied() {
            if !self.slots[number as usize].can_send() {
                self.slots[number as usize].in_idle_list = false;
                self.idle_list.pop_front();
                continue;
            }
            let now = self.clock.now();
            self.admit(now);
            let Some(due) = self.due.pop_front().or_else(|| self.next_closed(now)) else { return };
            let slot = &mut self.slots[number as usize];
            if due.intended >= slot.free_since && self.is_open_phase(due.phase) {
                let recorded = self.spec.load.phases[usize::from(due.phase)].recorded;
                self.recorder.late(now - due.intended, recorded);
            }
            self.start(number, due, now);
            // Spread over the sessions before filling any one's pipeline.
            self.idle_list.pop_front();
            let slot = &mut self.slots[number as usize];
            slot.in_idle_list = slot.can_send();
            if slot.in_idle_list {
                self.idle_list.push_back(number);
            }
            self.run_soon(number);
        }
    }

    /// Submits an operation on a session with a free token.
    pub(super) fn start(&mut self, number: u32, due: Due, now: Nanoseconds) {
        let slot = &mut self.slots[number as usize];
        let (Connection::Open(session), Some(token)) = (&mut slot.connection, slot.free.pop()) else {
            debug_assert!(false, "started on a session that cannot send");
            return;
        };
        let turn = Turn { token, operation: self.spec.load.phases[usize::from(due.phase)].operation };
        let Call { operation, request } = slot.client.next(turn);
        let pending = Pending { operation, phase: due.phase, intended: due.intended, sent: now };
        match session.submit(token, &request) {
            Ok(()) => {
                slot.pending[token as usize] = Some(pending);
                self.in_flight += 1;
            }
            Err(error) => {
                slot.free.push(token);
                self.fail(pending, now, &error);
                self.fatal.get_or_insert(error);
                self.stage = Stage::Stopping(now);
            }
        }
    }

    #[inline]
    pub(super) fn succeed(&mut self, pending: Pending, end: Nanoseconds) {
        let open = self.is_open_phase(pending.phase);
        let tally = &mut self.tallies[usize::from(pending.phase)];
        tally.accounting.succeeded += 1;
        tally.end = tally.end.max(end);
        self.spec.absence.succeeded(end);
        self.recorder.succeed(pending.phase, pending.operation, open, pending.intended, pending.sent, end);
    }

    #[cold]
    pub(super) fn fail(&mut self, pending: Pending, end: Nanoseconds, error: &Error) {
        let tally = &mut self.tallies[usize::from(pending.phase)];
        tally.accounting.failed += 1;
        tally.end = tally.end.max(end);
        self.spec.absence.failed(end, error.kind());
        self.recorder.fail(pending.phase, pending.operation, error.kind());
        self.errors.note(error);
    }

    #[inline]
    pub(super) fn is_open_phase(&self, phase: u16) -> bool {
        self.spec.load.phases[usize::from(phase)].mode != Mode::Closed
    }

    pub(super) fn gauges(&self) -> SecondGauges {
        SecondGauges {
            backlog: self.due.len() as u64,
            in_flight: self.in_flight,
            connected: self.slots.iter().filter(|slot| slot.is_open()).count() as u32,
            lateness_ns_max: 0,
        }
    }
}
