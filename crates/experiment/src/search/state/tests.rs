//! The search against servers whose knee is known, with and without noise.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;

const BOUNDS: Bounds = Bounds {
    start: 100.0,
    least: 1.0,
    greatest: 1e8,
    precision: 0.05,
    step_seconds: 5.0,
    operations_min: 2_000.0,
    whole: false,
};
const SESSIONS: Bounds = Bounds { start: 1.0, greatest: 1_024.0, whole: true, ..BOUNDS };

/// A server whose figure is its limit at `knee`: a queue that saturates at 1.4 times that.
#[derive(Debug, Clone, Copy)]
struct Server {
    knee: f64,
    /// Standard deviation of the figure's logarithm after a step of bisection; it falls with the root of the time.
    noise: f64,
    /// Above it the generator cannot do what is planned.
    generator_max: f64,
}

impl Server {
    fn quiet(knee: f64) -> Self {
        Self { knee, noise: 0.0, generator_max: f64::INFINITY }
    }

    fn excess(&self, load: f64) -> f64 {
        /// Utilization at the knee.
        const AT_KNEE: f64 = 0.7;
        let figure = |utilization: f64| 1.0 + 2.3 * utilization / (1.0 - utilization);
        let utilization = load / self.knee * AT_KNEE;
        if utilization >= 0.99 { 100.0 } else { figure(utilization) / figure(AT_KNEE) }
    }

    fn answer(&self, tried: Try, random: &mut Xoshiro256PlusPlus) -> Answer {
        // Sums of uniform numbers are near enough to normal ones.
        let normal = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let noise = self.noise * (BOUNDS.step_seconds / tried.seconds).sqrt() * normal;
        let excess = self.excess(tried.load) * noise.exp();
        Answer { kept: excess <= 1.0, valid: tried.load <= self.generator_max, excess: Some(excess) }
    }
}

/// Searches to the end, with everything that was tried.
fn search(bounds: Bounds, mut answer: impl FnMut(Try) -> Answer) -> (Search, Vec<Try>) {
    let mut search = Search::new(bounds);
    let mut tries = Vec::new();
    while let Some(tried) = search.next() {
        tries.push(tried);
        assert!(tries.len() <= TRIES_MAX as usize, "it does not end");
        assert!((bounds.least..=bounds.greatest).contains(&tried.load), "{tried:?} is out of bounds");
        assert!(!bounds.whole || tried.load.fract() == 0.0, "{tried:?} is no number of sessions");
        search.answer(tried, answer(tried));
    }
    (search, tries)
}

fn search_server(bounds: Bounds, server: Server, seed: u64) -> (Search, Vec<Try>) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    search(bounds, |tried| server.answer(tried, &mut random))
}

#[test]
fn without_noise_the_knee_is_just_above_what_is_found() {
    for knee in [1.3, 3.0, 77.0, 100.0, 101.0, 640.0, 12_345.0, 9.9e5, 5e7] {
        let (search, tries) = search_server(BOUNDS, Server::quiet(knee), 0);
        let Knee { found, interval, confirmed, .. } = search.knee();
        let (found, [low, high]) = (found.expect("found"), interval.expect("bracketed"));
        assert!(confirmed && found <= knee && found > knee / 1.06, "{knee}: {found}");
        assert!(low <= knee && knee <= high && high < knee * 1.06, "{knee}: {low} to {high}");
        assert!(tries.len() <= 40, "{knee}: {} tries", tries.len());
        assert_eq!(search.notes("/s"), Vec::<String>::new(), "{knee}");
    }
}

#[test]
fn sessions_are_found_to_the_one() {
    for knee in 1..=40 {
        let (search, _) = search_server(SESSIONS, Server::quiet(f64::from(knee)), 0);
        let Knee { found, interval, confirmed, .. } = search.knee();
        assert_eq!((found, confirmed), (Some(f64::from(knee)), true), "{knee}");
        let [low, high] = interval.expect("bracketed");
        assert!(low <= f64::from(knee) && f64::from(knee) <= high, "{knee}: {low} to {high}");
    }
}

/// What docs/statistics/knee.md says of the search is what this measures.
#[test]
fn a_noisy_knee_is_found_and_lies_in_its_interval() {
    const SEARCHES: u32 = 400;
    for (noise, near, found_near, held, bias_max) in
        [(0.03, 1.0, 0.99, 0.93, 0.01), (0.08, 0.98, 0.93, 0.87, 0.01), (0.15, 0.93, 0.75, 0.8, 0.015)]
    {
        let mut counts = [0; 4];
        let mut bias = 0.0;
        for seed in 0..SEARCHES {
            let truth = 300.0 * 1.013_f64.powi(seed.cast_signed());
            let server = Server { knee: truth, noise, generator_max: f64::INFINITY };
            let (search, tries) = search_server(BOUNDS, server, seed.into());
            let Knee { found, at, interval, confirmed } = search.knee();
            assert!(tries.len() <= 50, "{} tries", tries.len());
            let [low, high] = interval.expect("bracketed");
            let [off, found_off] = [at, found].map(|load| load.expect("found") / truth - 1.0);
            bias += off / f64::from(SEARCHES);
            let holds = [off.abs() <= 0.05, found_off.abs() <= 0.05, (low..=high).contains(&truth), confirmed];
            for (count, holds) in counts.iter_mut().zip(holds) {
                *count += u32::from(holds);
            }
        }
        let shares = counts.map(|count| f64::from(count) / f64::from(SEARCHES));
        let wanted = [near, found_near, held, 0.98];
        assert!(shares.iter().zip(wanted).all(|(share, wanted)| *share >= wanted), "noise {noise}: {shares:?}");
        assert!(bias.abs() <= bias_max, "noise {noise}: {bias}");
    }
}

/// One bad second of the host in a coarse step must not put a lid on the search.
#[test]
fn one_step_that_failed_by_chance_is_tried_again() {
    let server = Server::quiet(10_000.0);
    let mut hit = false;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(0);
    let (search, _) = search(BOUNDS, |tried| {
        if tried.load > 390.0 && !std::mem::replace(&mut hit, true) {
            return Answer { kept: false, valid: true, excess: Some(40.0) };
        }
        server.answer(tried, &mut random)
    });
    let found = search.knee().found.expect("found");
    assert!((found / 10_000.0 - 1.0).abs() < 0.06, "{found}");
}

/// A store that falls over at once has no curve to draw a line through.
#[test]
fn a_cliff_is_bracketed() {
    for cliff in [57.0, 1_000.0, 33_333.0] {
        let (search, _) = search(BOUNDS, |tried| {
            let kept = tried.load <= cliff;
            Answer { kept, valid: true, excess: Some(if kept { 0.1 } else { 50.0 }) }
        });
        let Knee { found, interval, confirmed, .. } = search.knee();
        let (found, [low, high]) = (found.expect("found"), interval.expect("bracketed"));
        assert!(confirmed && found <= cliff && found > cliff / 1.06, "{cliff}: {found}");
        assert!(low <= cliff && cliff < high && high < cliff * 1.06, "{cliff}: {low} to {high}");
    }
}

#[test]
fn a_condition_without_a_number_is_bracketed_too() {
    let (search, _) = search(BOUNDS, |tried| Answer { kept: tried.load < 1_234.0, valid: true, excess: None });
    let found = search.knee().found.expect("found");
    assert!(found < 1_234.0 && found > 1_234.0 / 1.06, "{found}");
}

#[test]
fn the_generators_limit_is_not_taken_for_the_stores() {
    for (knee, limit) in [(5_000.0, 1_500.0), (5_000.0, 4_000.0), (1e6, 90_000.0)] {
        let server = Server { generator_max: limit, ..Server::quiet(knee) };
        let (search, tries) = search_server(BOUNDS, server, 0);
        let Knee { found, interval, confirmed, .. } = search.knee();
        assert!(confirmed && interval.is_none() && found.expect("found") <= limit, "{found:?} {interval:?}");
        assert_eq!(tries.iter().filter(|tried| tried.load > limit).count(), DOUBTS_MAX as usize, "and no further");
        let notes = search.notes("/s");
        assert!(notes.iter().any(|note| note.contains("the generator or its host was the bottleneck")), "{notes:?}");
    }
    let nowhere = Server { generator_max: 1.0, ..Server::quiet(5_000.0) };
    let (search, tries) = search_server(BOUNDS, nowhere, 0);
    assert_eq!((search.knee().found, tries.len()), (None, DOUBTS_MAX as usize));
}

#[test]
fn a_generator_that_was_disturbed_once_is_asked_again() {
    let server = Server::quiet(5_000.0);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(0);
    let mut number = 0;
    let (search, _) = search(BOUNDS, |tried| {
        number += 1;
        Answer { valid: number != 4, ..server.answer(tried, &mut random) }
    });
    assert!(search.knee().confirmed && search.knee().found.expect("found") > 4_700.0);
    assert_eq!(search.notes("/s"), Vec::<String>::new());
}

#[test]
fn ends_without_a_knee_are_said() {
    for (knee, found, part) in [
        (1e9, Some(1e8), "the greatest load that was to be tried"),
        (0.5, None, "did not hold even at 1/s, the least that was tried"),
    ] {
        let (search, _) = search_server(BOUNDS, Server::quiet(knee), 0);
        assert_eq!((search.knee().found, search.knee().interval), (found, None));
        let notes = search.notes("/s");
        assert!(notes.len() == 1 && notes[0].contains(part), "{notes:?}");
    }
}

#[test]
fn confirmations_that_fail_step_down_and_end() {
    let server = Server::quiet(1_000.0);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(0);
    let (search, tries) = search(BOUNDS, |tried| {
        let answer = server.answer(tried, &mut random);
        Answer { kept: answer.kept && tried.stage != Stage::Confirmation, ..answer }
    });
    let confirmations: Vec<_> = tries.iter().filter(|tried| tried.stage == Stage::Confirmation).collect();
    assert_eq!(confirmations.len(), 2 * REFUTATIONS_MAX as usize);
    assert!(confirmations.chunks(2).all(|twice| twice[0] == twice[1]), "{confirmations:?}");
    assert!(confirmations.chunks(2).is_sorted_by(|one, next| next[0].load < one[0].load), "{confirmations:?}");
    let Knee { found, confirmed, .. } = search.knee();
    let least = confirmations.last().expect("some").load;
    assert!(!confirmed && found.is_some_and(|found| found < least), "{found:?}");
    assert!(search.notes("/s").iter().any(|note| note.contains("did not keep the condition")));
}

#[test]
fn one_bad_moment_does_not_refute_a_load() {
    let server = Server::quiet(1_000.0);
    for disturbed in 0..2 {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(0);
        let mut confirmations = 0;
        let (search, tries) = search(BOUNDS, |tried| {
            let answer = server.answer(tried, &mut random);
            confirmations += u32::from(tried.stage == Stage::Confirmation);
            let is_disturbed = tried.stage == Stage::Confirmation && confirmations <= disturbed;
            Answer {
                kept: answer.kept && !is_disturbed,
                excess: answer.excess.map(|excess| if is_disturbed { 30.0 } else { excess }),
                ..answer
            }
        });
        let last: Vec<_> = tries.iter().rev().take_while(|tried| tried.stage == Stage::Confirmation).collect();
        assert_eq!(last.len(), if disturbed == 0 { 1 } else { 3 }, "{last:?}");
        assert!(search.knee().confirmed && search.knee().found == Some(last[0].load) && search.notes("/s").is_empty());
    }
}

/// A store with a cache or a log that fills only in longer runs.
#[test]
fn a_store_that_keeps_less_for_longer_is_found_below() {
    for lasting in [990.0, 900.0, 700.0] {
        let (search, _) = search(BOUNDS, |tried| {
            let kept = tried.load <= if tried.stage == Stage::Confirmation { lasting } else { 1_000.0 };
            Answer { kept, valid: true, excess: Some(if kept { 0.3 } else { 4.0 }) }
        });
        let Knee { found, interval, confirmed, .. } = search.knee();
        let (found, [low, high]) = (found.expect("found"), interval.expect("bracketed"));
        assert!(confirmed && found <= lasting && found > lasting / 1.25, "{lasting}: {found}");
        assert!(low <= lasting && lasting < high, "{lasting}: {low} to {high}");
    }
}

#[test]
fn steps_are_as_long_as_their_percentile_needs_within_bounds() {
    for (stage, load, expect) in [
        (Stage::Coarse, 1.0, 20.0),
        (Stage::Coarse, 100.0, 5.0),
        (Stage::Coarse, 1e5, 2.0),
        (Stage::Bisection, 1.0, 20.0),
        (Stage::Bisection, 200.0, 10.0),
        (Stage::Bisection, 1e5, 5.0),
        (Stage::Confirmation, 1e5, 15.0),
    ] {
        let told = Search::new(BOUNDS).step(stage, load).seconds;
        assert!((told - expect).abs() < 1e-9, "{stage:?} at {load}: {told}");
    }
}

proptest! {
    /// Whatever a store does, the search ends within its bounds, and what it has found was tried and kept.
    #[test]
    fn any_answers_end_it(answers in prop::collection::vec((any::<bool>(), 0_u8..20, 0.01_f64..10.0), 64), whole in any::<bool>()) {
        let bounds = if whole { SESSIONS } else { Bounds { greatest: 1e6, ..BOUNDS } };
        let mut place = 0;
        let mut kept_loads = Vec::new();
        let (search, _) = search(bounds, |tried| {
            let (kept, doubt, excess) = answers[place % answers.len()];
            place += 1;
            let valid = doubt > 0;
            if kept && valid {
                kept_loads.push(tried.load);
            }
            Answer { kept, valid, excess: Some(excess) }
        });
        let knee = search.knee();
        if let Some(found) = knee.found {
            prop_assert!(kept_loads.contains(&found));
        }
        if let (Some([low, high]), Some(found)) = (knee.interval, knee.found) {
            prop_assert!(low <= found && found <= high);
        }
        let _ = search.notes("/s");
    }
}
