//! Seconds that somebody watches, in quarters.

use std::collections::BTreeMap;

use runner::{Arrivals, Ended, Load, OperationCells, Quarter, Sample, Watch, Watcher, run_watched};

use crate::support::{count, for_ms, rate, spec};

/// Adds what ended in a quarter to what ended in others of its second.
fn add(sum: &mut BTreeMap<u16, OperationCells>, quarter: &Quarter) {
    for (phase, cells) in &quarter.sample.phases {
        sum.entry(*phase).or_default().merge(cells);
    }
}

/// What ended in each quarter by second, and the seconds.
fn watched(watch: &Watch, mut seen: impl FnMut(&Sample)) -> (BTreeMap<u64, Vec<Quarter>>, Vec<Sample>) {
    let mut spec = spec("null:?latency=1ms", Load::open(count(4), rate(500.0), Arrivals::Poisson, for_ms(2_700)));
    spec.workers = Some(count(2));
    let (mut quarters, mut seconds) = (BTreeMap::<u64, Vec<Quarter>>::new(), Vec::new());
    let outcome = run_watched(&spec, watch, &mut |ended| match ended {
        Ended::Quarter(quarter) => quarters.entry(quarter.sample.second).or_default().push(quarter.clone()),
        Ended::Second(second) => {
            seen(second);
            seconds.push(second.clone());
        }
    });
    let outcome = outcome.expect("it runs");
    let sum: u64 = seconds.iter().flat_map(|second| &second.phases).map(|(_, cells)| cells.total().succeeded).sum();
    assert_eq!(sum, outcome.phases[0].accounting.succeeded, "watching loses nothing");
    (quarters, seconds)
}

#[test]
fn a_watched_second_is_the_sum_of_its_quarters_bit_for_bit() {
    let watch = Watch::default();
    let _watcher = watch.join();
    let (quarters, seconds) = watched(&watch, |_| {});
    assert!(seconds.len() >= 3, "{seconds:?}");
    for (place, second) in seconds.iter().enumerate() {
        let of_second = &quarters[&second.second];
        let places: Vec<u8> = of_second.iter().map(|quarter| quarter.quarter).collect();
        assert!([0, 1, 2, 3].starts_with(&places), "{}: {places:?}", second.second);
        assert!(places.len() == 4 || place + 1 == seconds.len(), "{}: {places:?}", second.second);
        let mut sum = BTreeMap::new();
        for quarter in of_second {
            add(&mut sum, quarter);
        }
        assert_eq!(sum.into_iter().collect::<Vec<_>>(), second.phases);
        let latest = of_second.iter().map(|quarter| quarter.sample.gauges.lateness_ns_max).max();
        assert_eq!(latest, Some(second.gauges.lateness_ns_max));
    }
}

#[test]
fn who_comes_later_sees_whole_seconds_from_then_on() {
    let watch = Watch::default();
    let mut watcher: Option<Watcher> = None;
    let (quarters, seconds) = watched(&watch, |_| {
        watcher.get_or_insert_with(|| watch.join());
    });
    assert!(seconds.len() >= 3, "{seconds:?}");
    // The second that had begun, and which workers may not agree on, is told whole or not at all.
    assert!(!quarters.contains_key(&0), "nobody watched it");
    assert!(quarters.get(&1).is_none_or(|of_second| of_second.len() == 4), "{quarters:?}");
    assert!(quarters.contains_key(&2), "{quarters:?}");
}

#[test]
fn nobody_is_told_who_does_not_watch() {
    let (quarters, seconds) = watched(&Watch::default(), |_| {});
    assert!(quarters.is_empty() && seconds.len() >= 3, "{quarters:?}");
}
