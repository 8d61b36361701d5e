//! Which load is tried next, and what is known of the knee: a state machine without a clock and without a store.
//!
//! 1. **Coarse**: from a start the load doubles until the condition is not kept (or, where it is not kept at the start, goes
//!    down by quarters until it is). These steps are short: each end of what they bracket is looked at again.
//! 2. **Bisection** in the geometric middle of the greatest load that kept the condition and the least that did not, until
//!    they are nearer than the precision. A figure is noisy, most of all near the limit: a load whose figure lies near it is
//!    tried again, twice at most, and the majority counts; and the upper end, on which all rests that was tried below it, is
//!    tried again where it was tried once. So one bad second of the host cannot put a lid on the search.
//! 3. **Confirmation**, for longer, at the load where a line through the curve around the limit crosses it
//!    ([`stats::Crossing`]), or where there is no such line at the greatest load that kept the condition. One that fails
//!    is made again, and the majority of three counts. Where that failed, it outvotes what was tried at that load before, and
//!    the search goes on below it.
//!
//! Where the generator could not do what was planned the point says nothing about the store: it is tried again, twice at most,
//! and then the search ends there, with a note. No load is tried outside of the bounds, and no more than [`TRIES_MAX`] are.

use stats::{Crossing, CrossingPoint};

use super::record::Stage;

/// Loads that are tried at most: 27 doublings lead from 1/s to 100,000,000/s, and a bracket needs a dozen more.
pub(crate) const TRIES_MAX: u32 = 64;
/// Times that one load is tried at most, of which the majority counts.
const VOTES_MAX: u32 = 3;
/// A figure this near to its limit, as a share of it, may lie on its wrong side: p99 of some thousand operations of a queue
/// near saturation scatters by a tenth (docs/statistics/knee.md).
const NEAR: f64 = 0.15;
/// Loads at which a confirmation may fail: a condition that fails so many, each below the one before, is kept by luck.
const REFUTATIONS_MAX: u32 = 6;
/// Times that a load is tried at most without the generator doing what was planned.
const DOUBTS_MAX: u32 = 3;
/// How the load grows, and shrinks, before the knee is bracketed.
const GROWTH: f64 = 2.0;
const SHRINKAGE: f64 = 4.0;
/// A coarse step against another.
const COARSE_SHARE: f64 = 0.4;
/// A coarse step has this share of the operations that a percentile needs.
const COARSE_OPERATIONS_SHARE: f64 = 0.25;
/// A confirmation against a step of bisection.
const CONFIRMATION_FACTOR: f64 = 3.0;
/// A step is made longer for the operations that a percentile needs, up to so many times.
const EXTENSION_MAX: f64 = 4.0;
/// The curve is taken for a straight line, in logarithms, from the bracket's ends to this factor beyond them …
const WINDOW: f64 = 1.35;
/// … where the figure is not further from its limit than by this factor: past saturation it is no curve but a matter of time.
const EXCESS_MAX: f64 = 3.0;
/// An interval of the line that is wider says less than the bracket.
const INTERVAL_MAX: f64 = 1.35;

/// Within what is searched, and how finely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds {
    /// The first load.
    pub(crate) start: f64,
    /// No load is tried below it.
    pub(crate) least: f64,
    /// No load is tried above it.
    pub(crate) greatest: f64,
    /// Relative width of the bracket that is narrow enough.
    pub(crate) precision: f64,
    /// How long a step takes.
    pub(crate) step_seconds: f64,
    /// Operations that the condition's figure needs to be worth something.
    pub(crate) operations_min: f64,
    /// Whether loads are whole numbers, and not operations a second: sessions.
    pub(crate) whole: bool,
}

/// A load to try.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Try {
    pub(crate) stage: Stage,
    pub(crate) load: f64,
    pub(crate) seconds: f64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Answer {
    /// Whether the condition held.
    pub(crate) kept: bool,
    /// Whether the generator did what was planned.
    pub(crate) valid: bool,
    /// The condition's figure over its limit, so that more than 1 is beyond it; none where there is no such number.
    pub(crate) excess: Option<f64>,
}

/// What is known at the end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Knee {
    /// The greatest load that was seen to keep the condition.
    pub(crate) found: Option<f64>,
    /// Where the condition is just kept, of all that was tried; none where nothing broke it.
    pub(crate) at: Option<f64>,
    /// It lies between these.
    pub(crate) interval: Option<[f64; 2]>,
    /// Whether a confirmation at `found` kept the condition.
    pub(crate) confirmed: bool,
}

/// A search that goes on.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    bounds: Bounds,
    /// By load, ascending.
    tried: Vec<Tried>,
    curve: Vec<CrossingPoint>,
    tries: u32,
    /// What is to be tried again because the generator did not do what was planned, and how often it did not.
    doubted: Option<(Try, u32)>,
    /// The least load at which it did not as often as it may.
    bottleneck: Option<f64>,
    /// What longer runs at the load that is being confirmed have shown, where the first of them did not keep the condition.
    contested: Option<Contested>,
    refutations: u32,
    confirmed: Option<f64>,
    /// The load whose confirmation failed last, and so the least.
    refuted: Option<f64>,
    is_over: bool,
}

/// Longer runs at one load that do not agree, or not yet.
#[derive(Debug, Clone, Copy)]
struct Contested {
    load: f64,
    kept: u32,
    not_kept: u32,
}

/// A load that was tried, not counting confirmations.
#[derive(Debug, Clone, Copy)]
struct Tried {
    load: f64,
    kept: u32,
    not_kept: u32,
    is_near: bool,
    /// It was tried in coarse steps only.
    is_brief: bool,
}

impl Tried {
    fn votes(&self) -> u32 {
        self.kept + self.not_kept
    }

    fn has_kept(&self) -> bool {
        self.kept > self.not_kept
    }

    fn is_undecided(&self) -> bool {
        let is_open = if self.votes() == 1 { self.is_near } else { self.kept == self.not_kept };
        is_open && self.votes() < VOTES_MAX
    }
}

impl Search {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            tried: Vec::new(),
            curve: Vec::new(),
            tries: 0,
            doubted: None,
            bottleneck: None,
            contested: None,
            refutations: 0,
            confirmed: None,
            refuted: None,
            is_over: false,
        }
    }

    /// What to try next; none where the search is over.
    pub(crate) fn next(&self) -> Option<Try> {
        if self.is_over || self.confirmed.is_some() || self.tries >= TRIES_MAX {
            return None;
        }
        if let Some((doubted, _)) = self.doubted {
            return Some(doubted);
        }
        if let Some(Contested { load, .. }) = self.contested {
            return Some(self.step(Stage::Confirmation, load));
        }
        if self.bottleneck.is_none()
            && self.refutations < REFUTATIONS_MAX
            && let Some((stage, load)) = self.explore()
        {
            return Some(self.step(stage, load));
        }
        let load = self.to_confirm()?;
        Some(self.step(Stage::Confirmation, load))
    }

    /// Takes what came of a try.
    pub(crate) fn answer(&mut self, tried: Try, answer: Answer) {
        self.tries += 1;
        if !answer.valid {
            let doubts = self.doubted.take().map_or(0, |(_, doubts)| doubts) + 1;
            if doubts < DOUBTS_MAX {
                self.doubted = Some((tried, doubts));
            } else {
                self.bottleneck = Some(self.bottleneck.map_or(tried.load, |load| load.min(tried.load)));
                self.is_over = tried.stage == Stage::Confirmation;
            }
            return;
        }
        self.doubted = None;
        if let Some(excess) = answer.excess.filter(|excess| excess.is_finite() && *excess > 0.0) {
            // What scatters less the more operations there are behind it.
            let weight = tried.seconds * if self.bounds.whole { 1.0 } else { tried.load };
            self.curve.push(CrossingPoint { x: tried.load.ln(), y: excess.ln(), weight });
        }
        let mut votes = 1;
        if tried.stage == Stage::Confirmation {
            let mut contested = self.contested.take().unwrap_or(Contested { load: tried.load, kept: 0, not_kept: 0 });
            *(if answer.kept { &mut contested.kept } else { &mut contested.not_kept }) += 1;
            let majority = VOTES_MAX / 2 + 1;
            // One that is kept at once needs no other: what led there are votes for it.
            if contested.kept >= majority || contested.not_kept == 0 {
                self.confirmed = Some(tried.load);
                return;
            }
            if contested.not_kept < majority {
                self.contested = Some(contested);
                return;
            }
            self.refutations += 1;
            self.refuted = Some(tried.load);
            votes = VOTES_MAX;
        }
        let is_near = answer.excess.is_some_and(|excess| (excess.ln()).abs() <= NEAR.ln_1p());
        let place = self.tried.partition_point(|other| other.load < tried.load);
        if self.tried.get(place).is_none_or(|other| other.load > tried.load) {
            self.tried.insert(place, Tried { load: tried.load, kept: 0, not_kept: 0, is_near: false, is_brief: true });
        }
        let entry = &mut self.tried[place];
        entry.is_near |= is_near;
        entry.is_brief &= tried.stage == Stage::Coarse;
        *(if answer.kept { &mut entry.kept } else { &mut entry.not_kept }) += votes;
    }

    /// What is known now.
    pub(crate) fn knee(&self) -> Knee {
        let (kept, not_kept) = self.ends();
        let found = self.confirmed.or(kept.map(|tried| tried.load));
        let lid = not_kept.map(|tried| tried.load);
        let bracket = found.zip(lid).filter(|(found, lid)| lid > found);
        let line = |found: f64| {
            let Crossing { at, low, high } = self.crossing()?;
            let is_narrow = high - low <= INTERVAL_MAX.ln();
            // Of whole numbers the last that keeps the condition was found itself.
            let at = if self.bounds.whole { found } else { at.exp() };
            is_narrow.then(|| (at, [low.exp().min(found), high.exp().max(found)]))
        };
        let known = bracket.map(|(found, lid)| line(found).unwrap_or((found, [found, lid])));
        Knee {
            found,
            at: known.map(|(at, _)| at),
            interval: known.map(|(_, interval)| interval),
            confirmed: self.confirmed.is_some(),
        }
    }

    /// What the search could not do, in words; `unit` follows a load.
    pub(crate) fn notes(&self, unit: &str) -> Vec<String> {
        let load = |load: f64| format!("{}{unit}", shown(load));
        let knee = self.knee();
        let mut notes = Vec::new();
        if let Some(bottleneck) = self.bottleneck {
            notes.push(format!(
                "at {} the generator or its host was the bottleneck, not the store, so nothing beyond it was tried",
                load(bottleneck)
            ));
        }
        match (knee.found, self.ends().1) {
            (None, Some(least)) => {
                notes
                    .push(format!("the condition did not hold even at {}, the least that was tried", load(least.load)));
            }
            (Some(found), None) if self.refuted.is_none() && found >= self.bounds.greatest => {
                notes.push(format!("the condition held up to {}, the greatest load that was to be tried", load(found)));
            }
            _ => {}
        }
        if let Some(refuted) = self.refuted.filter(|_| !knee.confirmed) {
            notes.push(format!("longer runs down to {} did not keep the condition", load(refuted)));
        }
        if let (Some(found), (_, Some(not_kept))) = (knee.found, self.ends())
            && let Some(beyond) =
                self.tried.iter().rfind(|tried| tried.has_kept() && self.is_wide(not_kept.load, tried.load))
        {
            notes.push(format!(
                "the condition held at {} too, though not at {} below it: {} is what is sure",
                load(beyond.load),
                load(not_kept.load),
                load(found)
            ));
        }
        if self.tries >= TRIES_MAX && self.confirmed.is_none() {
            notes.push(format!("the search ended after {TRIES_MAX} tries"));
        }
        notes
    }

    /// The greatest load that kept the condition below the least that did not, and that one.
    fn ends(&self) -> (Option<&Tried>, Option<&Tried>) {
        let not_kept = self.tried.iter().find(|tried| !tried.has_kept());
        let below = |tried: &&Tried| not_kept.is_none_or(|lid| tried.load < lid.load);
        (self.tried.iter().rfind(below), not_kept)
    }

    /// What to try before anything is confirmed; none where the ends are near enough, or at the bounds.
    fn explore(&self) -> Option<(Stage, f64)> {
        let (kept, not_kept) = self.ends();
        let again = |tried: &Tried| (Stage::Bisection, tried.load);
        if let Some(tried) = [kept, not_kept].into_iter().flatten().find(|tried| tried.is_undecided()) {
            return Some(again(tried));
        }
        let coarse = |load: f64| (Stage::Coarse, self.whole(load).clamp(self.bounds.least, self.bounds.greatest));
        match (kept, not_kept) {
            (None, None) => Some(coarse(self.bounds.start)),
            (Some(kept), None) => (kept.load < self.bounds.greatest).then(|| coarse(kept.load * GROWTH)),
            (None, Some(not_kept)) if not_kept.load > self.bounds.least => Some(coarse(not_kept.load / SHRINKAGE)),
            // One try at the least load says little about a condition that is not kept anywhere.
            (None, Some(not_kept)) => (not_kept.votes() == 1).then(|| again(not_kept)),
            (Some(kept), Some(not_kept)) => {
                if self.is_wide(kept.load, not_kept.load) {
                    return Some((Stage::Bisection, self.middle(kept.load, not_kept.load)));
                }
                if kept.is_brief {
                    return Some(again(kept));
                }
                (not_kept.votes() == 1).then(|| again(not_kept))
            }
        }
    }

    /// Where a longer run is to show that the condition is kept.
    fn to_confirm(&self) -> Option<f64> {
        if self.refutations >= REFUTATIONS_MAX {
            return None;
        }
        let (kept, not_kept) = self.ends();
        let kept = kept?.load;
        let Some(not_kept) = not_kept.filter(|_| self.bottleneck.is_none()) else { return Some(kept) };
        let crossing = self.crossing().map(|crossing| self.whole(crossing.at.exp()));
        let highest = self.below(not_kept.load);
        let lowest = self.whole(kept / (1.0 + self.bounds.precision)).min(highest);
        let load = crossing.map_or(kept.min(highest), |at| at.clamp(lowest, highest));
        (load >= self.bounds.least).then_some(load)
    }

    /// The next load below one that did not keep the condition: by half of the precision, at least by one. After two
    /// that failed confirmation by twice as much, and twice that, in case longer runs keep far less than short ones.
    fn below(&self, load: f64) -> f64 {
        let steps = 1_u32 << self.refutations.saturating_sub(2);
        let below = self.whole(load / (1.0 + self.bounds.precision / 2.0).powi(steps.cast_signed()));
        if self.bounds.whole { below.min(load - 1.0) } else { below }
    }

    /// Where the curve around the limit crosses it, in logarithms.
    fn crossing(&self) -> Option<Crossing> {
        let (kept, not_kept) = self.ends();
        let (from, to) = (kept?.load.ln() - WINDOW.ln(), not_kept?.load.ln() + WINDOW.ln());
        let near = |point: &&CrossingPoint| (from..=to).contains(&point.x) && point.y.abs() <= EXCESS_MAX.ln();
        Crossing::of_rising(&self.curve.iter().filter(near).copied().collect::<Vec<_>>())
    }

    fn step(&self, stage: Stage, load: f64) -> Try {
        let Bounds { step_seconds, operations_min, whole, .. } = self.bounds;
        // How many operations a closed load makes a second is not known beforehand.
        let needed = if whole { 0.0 } else { operations_min / load };
        let long = |step: f64, needed: f64| needed.clamp(step, EXTENSION_MAX * step_seconds);
        let seconds = match stage {
            Stage::Coarse => long(step_seconds * COARSE_SHARE, needed * COARSE_OPERATIONS_SHARE),
            Stage::Bisection => long(step_seconds, needed),
            Stage::Confirmation => long(step_seconds, needed) * CONFIRMATION_FACTOR,
        };
        Try { stage, load, seconds }
    }

    fn whole(&self, load: f64) -> f64 {
        if self.bounds.whole { load.round() } else { load }
    }

    fn is_wide(&self, kept: f64, not_kept: f64) -> bool {
        let is_wide = not_kept > kept * (1.0 + self.bounds.precision);
        is_wide && (!self.bounds.whole || not_kept - kept > 1.5)
    }

    fn middle(&self, kept: f64, not_kept: f64) -> f64 {
        let middle = self.whole((kept * not_kept).sqrt());
        if self.bounds.whole { middle.clamp(kept + 1.0, not_kept - 1.0) } else { middle }
    }
}

/// A load without digits that say nothing.
pub(crate) fn shown(load: f64) -> String {
    if load >= 100.0 { format!("{load:.0}") } else { format!("{}", (load * 100.0).round() / 100.0) }
}

#[cfg(test)]
mod tests;
