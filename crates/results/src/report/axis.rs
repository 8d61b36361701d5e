//! Axes: which part of the numbers a chart shows, and where its ticks are.

use super::format::{self, Unit};

/// A tick and its label; an empty label is a line of the grid alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// The place along the axis, 0..=1.
    pub(super) place: f64,
    pub(super) label: String,
    /// Whether the label may be left out where there is little room.
    pub(super) is_minor: bool,
}

/// How numbers become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm.
    Log,
    /// By how many nines they have: quantiles.
    Nines,
}

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) scale: Scale,
    pub(super) unit: Unit,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) ticks: Vec<Tick>,
}

impl Axis {
    /// From 0 to a round number above the greatest.
    pub(super) fn linear(unit: Unit, greatest: f64, ticks_about: f64) -> Self {
        let greatest = if greatest.is_finite() && greatest > 0.0 { greatest } else { 1.0 };
        let step = match unit {
            Unit::Bytes | Unit::BytesPerSecond => round_bytes(greatest / ticks_about),
            Unit::Count => round_decimal(greatest / ticks_about).max(1.0),
            _ => round_decimal(greatest / ticks_about),
        };
        let steps = (greatest / step).ceil().max(1.0);
        let ticks = (0..=steps as u32).map(|number| {
            let value = f64::from(number) * step;
            Tick { place: f64::from(number) / steps, label: unit.tick(value), is_minor: false }
        });
        Self { scale: Scale::Linear, unit, from: 0.0, to: steps * step, ticks: ticks.collect() }
    }

    /// From a round number below the least to one above the greatest, evenly. From 0 where the least is not far from it, so
    /// that small changes look small unless they are what is to be seen.
    pub(super) fn between(unit: Unit, least: f64, greatest: f64, ticks_about: f64) -> Self {
        /// A least value below so much of the greatest is near 0.
        const NEAR_ZERO_SHARE: f64 = 0.5;
        if !(least.is_finite() && greatest.is_finite()) || least <= greatest * NEAR_ZERO_SHARE || greatest <= least {
            return Self::linear(unit, greatest, ticks_about);
        }
        let step = round_decimal((greatest - least) / ticks_about);
        let (first, last) = ((least / step).floor(), (greatest / step).ceil());
        let steps = (last - first).max(1.0);
        let ticks = (0..=steps as u32).map(|number| {
            let value = (first + f64::from(number)) * step;
            Tick { place: f64::from(number) / steps, label: unit.tick(value), is_minor: false }
        });
        Self { scale: Scale::Linear, unit, from: first * step, to: (first + steps) * step, ticks: ticks.collect() }
    }

    /// From a round number below the least to one above the greatest.
    pub(super) fn log(unit: Unit, least: f64, greatest: f64) -> Self {
        /// Past so many decades, 2 and 5 between the powers of ten would crowd the axis.
        const DECADES_WITH_HALVES: f64 = 2.6;
        let least = if least.is_finite() && least > 0.0 { least } else { 1.0 };
        let greatest = if greatest.is_finite() && greatest > least { greatest } else { least * 2.0 };
        let (from, to) = (round_below(least), round_above(greatest));
        let mut axis = Self { scale: Scale::Log, unit, from, to, ticks: Vec::new() };
        let is_short = (to / from).log10() <= DECADES_WITH_HALVES;
        for decade in from.log10().floor() as i32..=to.log10().ceil() as i32 {
            for part in [1.0, 2.0, 5.0] {
                let value = 10_f64.powi(decade) * part;
                let is_labelled = is_short || (part - 1.0).abs() < f64::EPSILON;
                if value >= from * 0.999 && value <= to * 1.001 {
                    let label = if is_labelled { unit.tick(value) } else { String::new() };
                    axis.ticks.push(Tick { place: axis.place(value), label, is_minor: false });
                }
            }
        }
        axis
    }

    /// Seconds from 0 to the end of a run.
    pub(super) fn time(end: f64, ticks_about: f64) -> Self {
        const STEPS: [f64; 17] = [
            1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0,
            21_600.0, 43_200.0,
        ];
        let end = if end.is_finite() && end > 0.0 { end } else { 1.0 };
        let step =
            STEPS.into_iter().find(|step| end / step <= ticks_about).unwrap_or(86_400.0_f64.max(end / ticks_about));
        let ticks = (0..=(end / step + 1e-9) as u32).map(|number| {
            let value = f64::from(number) * step;
            Tick { place: value / end, label: format::time(value), is_minor: number % 2 == 1 }
        });
        Self { scale: Scale::Linear, unit: Unit::Seconds, from: 0.0, to: end, ticks: ticks.collect() }
    }

    /// Quantiles from 0 to one with so many nines: each nine takes the same room.
    pub(super) fn nines(nines: f64) -> Self {
        let nines = if nines.is_nan() { 1.0 } else { nines.clamp(1.0, 12.0) };
        let mut axis = Self { scale: Scale::Nines, unit: Unit::Percent, from: 0.0, to: nines, ticks: Vec::new() };
        let mut tick = |quantile: f64, label: String, is_minor| {
            let place = axis.place(quantile);
            if place <= 1.001 {
                axis.ticks.push(Tick { place, label, is_minor });
            }
        };
        tick(0.0, "0 %".to_owned(), false);
        tick(0.5, "50 %".to_owned(), true);
        for number in 1..=nines as i32 {
            let label = match number {
                1 => "90 %".to_owned(),
                2 => "99 %".to_owned(),
                more => format!("99.{} %", "9".repeat(more as usize - 2)),
            };
            tick(1.0 - 10_f64.powi(-number), label, number > 2 && number % 2 == 0);
        }
        axis
    }

    /// Where a number is along the axis: 0..=1 for those that are shown.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value.max(self.from) / self.from).ln() / (self.to / self.from).ln(),
            Scale::Nines => -(1.0 - value).max(10_f64.powf(-self.to)).log10() / self.to,
        }
    }
}

/// The least of 1, 2, 2.5 and 5 times a power of ten that is not below.
fn round_decimal(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|part| part * power)
        .find(|round| *round >= step * 0.9999)
        .unwrap_or(step)
}

/// The same for bytes, round in the unit that they are labelled with.
fn round_bytes(step: f64) -> f64 {
    let unit = 1024_f64.powf(step.max(1.0).log(1024.0).floor());
    let round = round_decimal((step / unit).max(1.0));
    // 1000 MiB is no round number of anything: the next is 1 GiB.
    if round >= 1000.0 { unit * 1024.0 } else { unit * round }
}

fn round_below(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|part| part * power).find(|round| *round <= value * 1.0001).unwrap_or(power)
}

fn round_above(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|part| part * power).find(|round| *round >= value * 0.9999).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).filter(|label| !label.is_empty()).collect()
    }

    #[test]
    fn ticks_are_round() {
        for (axis, expect) in [
            (Axis::linear(Unit::PerSecond, 5_200.0, 5.0), vec!["0", "2k", "4k", "6k"]),
            (Axis::linear(Unit::Count, 2.0, 4.0), vec!["0", "1", "2"]),
            (
                Axis::linear(Unit::Bytes, 900.0 * 1_048_576.0, 4.0),
                vec!["0 B", "250 MiB", "500 MiB", "750 MiB", "1000 MiB"],
            ),
            (
                Axis::log(Unit::Microseconds, 130.0, 9_000.0),
                vec!["100 µs", "200 µs", "500 µs", "1 ms", "2 ms", "5 ms", "10 ms"],
            ),
            (Axis::log(Unit::Microseconds, 130.0, 2e6), vec!["100 µs", "1 ms", "10 ms", "100 ms", "1 s"]),
            (Axis::between(Unit::PerSecond, 980.0, 1_030.0, 5.0), vec!["980", "990", "1k", "1.01k", "1.02k", "1.03k"]),
            (Axis::between(Unit::PerSecond, 10.0, 1_000.0, 5.0), vec!["0", "200", "400", "600", "800", "1k"]),
            (Axis::time(60.0, 8.0), vec!["0 s", "10 s", "20 s", "30 s", "40 s", "50 s", "1 min"]),
            (Axis::time(1800.0, 8.0), vec!["0 s", "5 min", "10 min", "15 min", "20 min", "25 min", "30 min"]),
            (Axis::nines(3.4), vec!["0 %", "50 %", "90 %", "99 %", "99.9 %"]),
        ] {
            assert_eq!(labels(&axis), expect);
        }
    }

    #[test]
    fn every_tick_is_on_the_axis_whatever_the_numbers() {
        for greatest in [0.0, f64::NAN, 1e-9, 0.7, 1.0, 3.0, 1e12] {
            for axis in [
                Axis::linear(Unit::PerSecond, greatest, 5.0),
                Axis::linear(Unit::Bytes, greatest, 5.0),
                Axis::log(Unit::Microseconds, greatest / 3.0, greatest),
                Axis::between(Unit::Count, greatest * 0.9, greatest, 5.0),
                Axis::time(greatest, 8.0),
                Axis::nines(greatest),
            ] {
                assert!(!axis.ticks.is_empty() && axis.ticks.len() < 100, "{axis:?}");
                assert!(axis.ticks.iter().all(|tick| (-0.001..=1.002).contains(&tick.place)), "{axis:?}");
            }
        }
    }
}
