//! Which sessions have something to do: wakers that carry the slot's number.
//!
//! A worker drives thousands of sessions from one task. Polling all of them at each wake-up would cost the square of
//! their number; so each has a waker of its own that notes its slot before it wakes the worker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Notes woken slots for one worker.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    // The lock is all but uncontended: wakes come from the worker's own runtime.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    woken: Vec<u32>,
    worker: Option<Waker>,
}

impl ReadyQueue {
    /// A queue for that many slots, so that noting one never allocates.
    pub(crate) fn with_capacity(slots: usize) -> Self {
        let queue = Self::default();
        queue.lock().woken.reserve(slots);
        queue
    }

    /// The waker of a slot, and the flag that must be cleared before the slot is polled.
    pub(crate) fn slot(&self, slot: u32) -> Arc<SlotWaker> {
        Arc::new(SlotWaker { shared: Arc::clone(&self.shared), slot, noted: AtomicBool::new(false) })
    }

    /// Moves the woken slots to `into` (which is empty) and remembers whom to wake for later ones.
    pub(crate) fn take(&self, into: &mut Vec<u32>, worker: &Waker) {
        let mut state = self.lock();
        std::mem::swap(&mut state.woken, into);
        if !state.worker.as_ref().is_some_and(|known| known.will_wake(worker)) {
            state.worker = Some(worker.clone());
        }
    }

    /// Whether no slot is woken.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().woken.is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes one slot.
#[derive(Debug)]
pub(crate) struct SlotWaker {
    shared: Arc<Shared>,
    slot: u32,
    noted: AtomicBool,
}

impl SlotWaker {
    /// To be called before the slot is polled: a wake from here on notes it again.
    pub(crate) fn clear(&self) {
        self.noted.store(false, Ordering::Release);
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.noted.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.woken.push(self.slot);
        if let Some(worker) = &state.worker {
            worker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_noted_once_until_it_is_cleared() {
        let queue = ReadyQueue::with_capacity(4);
        let slots: Vec<_> = (0..4).map(|slot| queue.slot(slot)).collect();
        let wakers: Vec<Waker> = slots.iter().map(|slot| Waker::from(Arc::clone(slot))).collect();
        for slot in [2, 0, 2] {
            wakers[slot].wake_by_ref();
        }
        let mut woken = Vec::new();
        queue.take(&mut woken, Waker::noop());
        assert_eq!(woken, [2, 0]);
        wakers[2].wake_by_ref();
        assert!(queue.is_empty());
        slots[2].clear();
        wakers[2].wake_by_ref();
        assert!(!queue.is_empty());
    }
}
