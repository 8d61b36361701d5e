//! What sessions bring: completions, connections that are lost and made again.

use std::cmp::Reverse;
use std::task::{Context, Poll};

use store::{Error, Outcome, Result, Token};
use workload::{Call, Progress, Turn};

use super::{BATCH, Due, Stage, Worker, lost_error};
use crate::clock::{Nanoseconds, nanoseconds};
use crate::slot::{Alarm, Connection, Pending};

impl Worker<'_> {
    pub(super) fn take_woken(&mut self, context: &Context<'_>) {
        let mut woken = std::mem::take(&mut self.woken);
        self.ready.take(&mut woken, context.waker());
        for number in woken.drain(..) {
            self.run_soon(number);
        }
        self.woken = woken;
    }

    pub(super) fn run_soon(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        if !slot.in_run_list {
            slot.in_run_list = true;
            self.run_list.push_back(number);
        }
    }

    pub(super) fn run_sessions(&mut self) {
        for _ in 0..self.run_list.len() {
            let Some(number) = self.run_list.pop_front() else { return };
            let slot = &mut self.slots[number as usize];
            slot.in_run_list = false;
            slot.woken.clear();
            match &slot.connection {
                Connection::None => {}
                Connection::Opening(_) => self.run_opening(number),
                Connection::Open(_) => self.run_session(number),
            }
        }
    }

    /// Takes a session's completions, and in a closed phase starts the next operation at once.
    pub(super) fn run_session(&mut self, number: u32) {
        for _ in 0..BATCH {
            let slot = &mut self.slots[number as usize];
            let Connection::Open(session) = &mut slot.connection else { return };
            let mut context = Context::from_waker(&slot.waker);
            let Poll::Ready(completion) = session.poll_completion(&mut context, &mut *slot.client) else {
                if session.is_broken() && session.in_flight() == 0 {
                    self.lose(number);
                }
                return;
            };
            let end = self.clock.now();
            // A broken session still completes what it had in flight, but must not be given more.
            let broken = completion.result.is_err() && session.is_broken();
            let lost = broken && session.in_flight() == 0;
            self.complete(number, completion.token, completion.result, end, broken);
            if lost {
                self.lose(number);
                return;
            }
            if end >= self.next_tick {
                break;
            }
        }
        self.run_soon(number);
    }

    pub(super) fn complete(
        &mut self,
        number: u32,
        token: Token,
        result: Result<Outcome>,
        end: Nanoseconds,
        broken: bool,
    ) {
        let slot = &mut self.slots[number as usize];
        let Some(pending) = slot.pending[token as usize].take() else {
            debug_assert!(false, "a session completed token {token} twice");
            return;
        };
        self.in_flight -= 1;
        match slot.client.complete(token, result) {
            Ok(Progress::Done) => self.succeed(pending, end),
            Ok(Progress::More) => {
                let Connection::Open(session) = &mut slot.connection else { return };
                match session.submit(token, &slot.client.resume(token)) {
                    Ok(()) => {
                        slot.pending[token as usize] = Some(pending);
                        self.in_flight += 1;
                        return;
                    }
                    Err(error) => {
                        let error = slot.client.complete(token, Err(error)).err();
                        self.fail(pending, end, &error.unwrap_or_else(lost_error));
                    }
                }
            }
            Err(error) => self.fail(pending, end, &error),
        }
        if !broken {
            self.release(number, token, end);
        }
    }

    /// A token is free again: the client thinks, starts the next operation of a closed phase, or waits for an arrival.
    pub(super) fn release(&mut self, number: u32, token: Token, now: Nanoseconds) {
        let slot = &mut self.slots[number as usize];
        slot.free_since = now;
        let Stage::Running(running) = &mut self.stage else {
            slot.free.push(token);
            self.offer(number);
            return;
        };
        if running.schedule.is_none() && !self.spec.load.think.is_zero() {
            let thought = Alarm::Thought(token, slot.generation);
            self.alarms.push(Reverse((now + nanoseconds(self.spec.load.think), number, thought)));
            return;
        }
        slot.free.push(token);
        // The fast path of a closed phase: this reading of the clock is also the next operation's start.
        let goes_on = running.schedule.is_none()
            && self.due.is_empty()
            && slot.is_open()
            && running.end.is_none_or(|end| now < end)
            && running.remaining.is_none_or(|remaining| remaining > 0);
        if goes_on {
            let phase = running.number;
            if let Some(remaining) = &mut running.remaining {
                *remaining -= 1;
            }
            self.tallies[usize::from(phase)].accounting.scheduled += 1;
            self.start(number, Due { intended: now, phase }, now);
        } else {
            self.offer(number);
        }
    }

    /// Puts a slot that can send on the idle list.
    pub(super) fn offer(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        if slot.can_send() && !slot.in_idle_list {
            slot.in_idle_list = true;
            self.idle_list.push_back(number);
        }
    }

    pub(super) fn lose(&mut self, number: u32) {
        let now = self.clock.now();
        for token in 0..self.slots[number as usize].pending.len() {
            if let Some(pending) = self.slots[number as usize].pending[token].take() {
                self.in_flight -= 1;
                self.fail(pending, now, &Error::bug("the connection was lost without ending its requests"));
            }
        }
        self.slots[number as usize].close();
        self.look_where_it_waits(number);
        self.reconnect_at(number as usize, now);
    }

    /// To be called whenever a slot's connection has changed.
    pub(super) fn look_where_it_waits(&mut self, number: u32) {
        self.waiting_elsewhere += self.slots[number as usize].look_where_it_waits();
    }

    pub(super) fn reconnect_at(&mut self, number: usize, at: Nanoseconds) {
        self.reconnects += 1;
        self.slots[number].lost_at = at;
        self.alarms.push(Reverse((at, number as u32, Alarm::Reconnect)));
    }

    pub(super) fn run_opening(&mut self, number: u32) {
        let Poll::Ready(attempt) = self.slots[number as usize].poll_opening() else { return };
        let now = self.clock.now();
        match attempt {
            Ok(session) => {
                let slot = &mut self.slots[number as usize];
                slot.open(session, now);
                self.spec.absence.connected(slot.lost_at, now);
                self.look_where_it_waits(number);
                self.offer(number);
            }
            Err(error) => {
                self.connects_failed += 1;
                let slot = &mut self.slots[number as usize];
                slot.connection = Connection::None;
                let wait = slot.backoff.next(&mut self.random);
                self.look_where_it_waits(number);
                self.alarms.push(Reverse((now + wait, number, Alarm::Reconnect)));
                self.fail_one_for(number, error, now);
            }
        }
    }

    /// An application whose connection cannot be made fails the operation that it wanted it for; so does a client here.
    pub(super) fn fail_one_for(&mut self, number: u32, error: Error, now: Nanoseconds) {
        self.admit(now);
        let due = self.due.pop_front().or_else(|| self.next_closed(now));
        let Some(due) = due else { return };
        let turn = Turn { token: 0, operation: self.spec.load.phases[usize::from(due.phase)].operation };
        let client = &mut self.slots[number as usize].client;
        let Call { operation, .. } = client.next(turn);
        let error = client.complete(0, Err(error)).err().unwrap_or_else(lost_error);
        self.fail(Pending { operation, phase: due.phase, intended: due.intended, sent: now }, now, &error);
    }
}
