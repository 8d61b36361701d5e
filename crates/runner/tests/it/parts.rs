//! A load in parts: together they are the whole, from one start.

use std::num::NonZeroU32;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use runner::{Arrivals, Gate, Limit, Load, Part, Rate};
use store::Result;

use crate::support::spec;

/// The second to come decides.
struct Together {
    barrier: Barrier,
    start: Instant,
}

impl Gate for Together {
    fn start(&self) -> Result<Instant> {
        self.barrier.wait();
        Ok(self.start)
    }
}

#[test]
fn two_parts_are_one_load() {
    let sessions = NonZeroU32::new(5).expect("not zero");
    let rate = Rate::per_second(503.0).expect("possible");
    let load = Load::open(sessions, rate, Arrivals::Constant, Limit::Duration(Duration::from_secs(2)));
    let start = Instant::now() + Duration::from_millis(300);
    let gate = Arc::new(Together { barrier: Barrier::new(2), start });
    let parts =
        [(0, 2), (2, 3)].map(|(first, sessions)| Part { first, sessions: NonZeroU32::new(sessions).expect("some") });
    let driven = parts.map(|part| {
        let (load, gate): (Load, Arc<dyn Gate>) = (load.clone(), gate.clone());
        thread::spawn(move || {
            let mut spec = spec("null:", load);
            (spec.part, spec.gate) = (Some(part), Some(gate));
            let mut samples = Vec::new();
            let outcome = runner::run(&spec, &mut |sample| samples.push(sample.clone())).expect("it runs");
            (outcome, samples)
        })
    });
    let [(mut whole, samples), (other, others)] = driven.map(|thread| thread.join().expect("no panic"));
    assert!(start.elapsed() >= Duration::from_secs(2), "they began at the start, not before");
    let scheduled = [&whole, &other].map(|outcome| outcome.phases[0].accounting.scheduled);
    assert_eq!(scheduled.iter().sum::<u64>(), 1006, "{scheduled:?}");
    assert_eq!(scheduled, [403, 603], "each session has its own arrivals");
    whole.merge(other);
    assert!(whole.phases[0].accounting.is_exact());
    assert_eq!(whole.phases[0].cells.total().succeeded, 1006);
    // Second by second, one part's samples are merged into the other's, whichever of them has more.
    let seconds = samples.len().max(others.len());
    let in_seconds: u64 = (0..seconds)
        .map(|second| {
            let mut of_both = [samples.get(second), others.get(second)].into_iter().flatten().cloned();
            let mut merged = of_both.next().expect("one of them has it");
            of_both.for_each(|other| merged.merge(&other));
            merged.phases.iter().map(|(_, cells)| cells.total().succeeded).sum::<u64>()
        })
        .sum();
    assert_eq!(in_seconds, 1006, "nothing is lost between seconds");
}

#[test]
fn a_part_of_another_load_is_refused() {
    let sessions = NonZeroU32::new(2).expect("not zero");
    let mut spec = spec("null:", Load::closed(sessions, Limit::Count(10)));
    spec.part = Some(Part { first: 1, sessions });
    let error = runner::run(&spec, &mut |_| {}).expect_err("refused");
    assert!(error.to_string().contains("sessions that the load has not"), "{error}");
}
