//! Whether a series keeps its level: a run that warms up, drifts or steps has no single figure to report.
//!
//! The test is KPSS for a constant level (Kwiatkowski, Phillips, Schmidt & Shin, "Testing the null hypothesis of stationarity
//! against the alternative of a unit root", Journal of Econometrics 54, 1992): the partial sums of what is left after the
//! mean is taken out stay small where the level is constant. It is the Cramér-von Mises statistic by which Heidelberger &
//! Welch (Operations Research 31(6), 1983) look for the transient of a simulation. Two things differ, both for the sake of
//! short runs of computers: values are first drawn in to three robust deviations of their median (Huber 1964), so that a
//! garbage collection is not a trend; and critical values are our own for each length ([`CRITICAL_VALUES`]), since the
//! paper's are those of an endless series.

/// Below so many values nothing is decided: a perfect step of ten values is found in half of all cases only.
pub const STATIONARITY_SAMPLES_MIN: usize = 10;

/// By length: what the statistic exceeds in 5 % of stationary series, for the worst of white noise, an autoregression of
/// 0.5, and both with Student's t of 2 degrees of freedom instead of normal noise (30,000 and more series a length; the
/// autoregression with heavy tails is the worst nearly everywhere). Between two lengths it is interpolated in the
/// logarithm. The paper's value for endless series is 0.463.
const CRITICAL_VALUES: &[(f64, f64)] = &[
    (10.0, 0.505),
    (12.0, 0.530),
    (15.0, 0.565),
    (20.0, 0.595),
    (30.0, 0.635),
    (60.0, 0.650),
    (100.0, 0.640),
    (300.0, 0.600),
    (1000.0, 0.535),
    (3600.0, 0.500),
];

/// The kernel's width is this many times the root of the length: wide enough for a memory of a few seconds, narrow enough
/// to leave something to find in ten values.
const BANDWIDTH: f64 = 0.3;

/// Values farther from the median are drawn in to so many robust standard deviations.
const DEVIATIONS_MAX: f64 = 3.0;

/// The median absolute deviation of normal noise is the standard deviation over this.
const NORMAL_CONSISTENCY: f64 = 1.4826;

/// What came of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stationarity {
    /// The KPSS statistic; 0 for a constant series.
    pub statistic: f64,
    /// What it exceeds in at most 5 % of series that keep their level.
    pub critical_value: f64,
    /// The medians of the first, second and last third of the series.
    pub thirds: [f64; 3],
    /// How far the greatest and the least of them are apart, as a share of the median of all: how much it matters.
    pub spread: f64,
}

impl Stationarity {
    /// Whether the level changes, at a significance of 5 %.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.statistic > self.critical_value
    }
}

/// Tests whether a series in the order of time keeps its level; none for fewer than [`STATIONARITY_SAMPLES_MIN`] values,
/// which must be finite.
#[must_use]
pub fn stationarity(values: &[f64]) -> Option<Stationarity> {
    if values.len() < STATIONARITY_SAMPLES_MIN {
        return None;
    }
    let third = values.len() / 3;
    let thirds = [
        median(&values[..third]),
        median(&values[third..values.len() - third]),
        median(&values[values.len() - third..]),
    ];
    let greatest = thirds.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let least = thirds.into_iter().fold(f64::INFINITY, f64::min);
    let level = median(values).abs();
    Some(Stationarity {
        statistic: kpss(&drawn_in(values)),
        critical_value: critical_value(values.len()),
        thirds,
        spread: if greatest > least { (greatest - least) / level.max(f64::MIN_POSITIVE) } else { 0.0 },
    })
}

/// The middle value, or the mean of the two in the middle; 0 of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (length, half) if length % 2 == 1 => sorted[half],
        (_, half) => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The values, none farther from their median than [`DEVIATIONS_MAX`]. Where most are equal, all stay as they are.
fn drawn_in(values: &[f64]) -> Vec<f64> {
    let middle = median(values);
    let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    let reach = DEVIATIONS_MAX * NORMAL_CONSISTENCY * median(&distances);
    if reach > 0.0 {
        values.iter().map(|value| value.clamp(middle - reach, middle + reach)).collect()
    } else {
        values.to_vec()
    }
}

/// η of the paper's equation 13: the squared partial sums over n² times the long-run variance, which is estimated by
/// Newey & West (Econometrica 55(3), 1987) with Bartlett's kernel.
fn kpss(values: &[f64]) -> f64 {
    let length = values.len() as f64;
    let mean = values.iter().sum::<f64>() / length;
    let residuals: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let width = BANDWIDTH * length.sqrt() + 1.0;
    let covariance = |lag: usize| {
        residuals.iter().zip(&residuals[lag..]).map(|(earlier, later)| earlier * later).sum::<f64>() / length
    };
    let weighted = (1..residuals.len()).take_while(|lag| (*lag as f64) < width);
    let weighted = weighted.map(|lag| 2.0 * (1.0 - lag as f64 / width) * covariance(lag));
    let variance = covariance(0) + weighted.sum::<f64>();
    // Rounding leaves a constant series with residuals of its last digits.
    if variance <= (mean * length * f64::EPSILON).powi(2) {
        return 0.0;
    }
    let mut sum = 0.0;
    let mut squares = 0.0;
    for residual in &residuals {
        sum += residual;
        squares += sum * sum;
    }
    squares / (length * length * variance)
}

fn critical_value(length: usize) -> f64 {
    let length = length as f64;
    let (first, last) = (CRITICAL_VALUES[0], CRITICAL_VALUES[CRITICAL_VALUES.len() - 1]);
    let between = CRITICAL_VALUES.windows(2).find(|pair| (pair[0].0..=pair[1].0).contains(&length));
    match between {
        Some(pair) => {
            let share = (length / pair[0].0).ln() / (pair[1].0 / pair[0].0).ln();
            pair[0].1 + share * (pair[1].1 - pair[0].1)
        }
        None if length < first.0 => first.1,
        None => last.1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    /// What is added to the level, from noise alone.
    #[derive(Debug, Clone, Copy)]
    enum Noise {
        White,
        /// Each value takes half of the one before it along.
        Autoregressive,
        /// Student's t with 2 degrees of freedom: no variance at all.
        HeavyTailed,
    }

    /// How the level moves over the series, as shares of it.
    #[derive(Debug, Clone, Copy)]
    enum Level {
        Constant,
        Drift(f64),
        Step(f64),
        /// Starts so much lower and comes up with a time constant of an eighth of the series.
        WarmUp(f64),
    }

    struct Random(Xoshiro256PlusPlus);

    impl Random {
        /// Box & Muller.
        fn normal(&mut self) -> f64 {
            let (radius, angle) = (1.0 - self.0.random::<f64>(), self.0.random::<f64>());
            (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
        }

        /// Noise of standard deviation 1, for heavy tails of scale 1.
        fn noise(&mut self, kind: Noise, length: usize) -> Vec<f64> {
            let mut last = self.normal();
            let mut next = || match kind {
                Noise::White => self.normal(),
                Noise::Autoregressive => {
                    last = 0.5 * last + 0.75_f64.sqrt() * self.normal();
                    last
                }
                Noise::HeavyTailed => {
                    let (normal, one, other) = (self.normal(), self.normal(), self.normal());
                    normal / f64::midpoint(one * one, other * other).sqrt()
                }
            };
            (0..length).map(|_| next()).collect()
        }
    }

    /// The share of series that are called unsteady; their noise is 3 % of the level.
    fn rejected(length: usize, kind: Noise, level: Level) -> f64 {
        const SERIES: u32 = 2_000;
        const NOISE: f64 = 0.03;
        let mut random = Random(Xoshiro256PlusPlus::seed_from_u64(length as u64));
        let count = (0..SERIES).filter(|_| {
            let noise = random.noise(kind, length).into_iter().enumerate().map(|(place, noise)| {
                let time = (place as f64 + 0.5) / length as f64;
                let level = match level {
                    Level::Constant => 0.0,
                    Level::Drift(share) => share * time,
                    Level::Step(share) => share * f64::from(u8::from(time > 0.5)),
                    Level::WarmUp(share) => -share * (-8.0 * time).exp(),
                };
                1.0 + level + NOISE * noise
            });
            stationarity(&noise.collect::<Vec<_>>()).expect("long enough").is_rejected()
        });
        count.count() as f64 / f64::from(SERIES)
    }

    /// 5 % and three standard errors of the share of 2,000.
    const FALSE_ALARMS_MAX: f64 = 0.065;

    #[test]
    fn series_that_keep_their_level_are_called_unsteady_in_at_most_one_of_twenty() {
        for length in [10, 13, 20, 30, 45, 60, 120, 300] {
            for kind in [Noise::White, Noise::Autoregressive, Noise::HeavyTailed] {
                let share = rejected(length, kind, Level::Constant);
                assert!(share <= FALSE_ALARMS_MAX, "{length} {kind:?}: {share}");
            }
        }
    }

    /// The figures of docs/statistics/validity.md, less what chance may take from them.
    #[test]
    fn levels_that_move_are_found() {
        for (length, kind, level, at_least) in [
            (10, Noise::White, Level::Drift(0.3), 0.99),
            (10, Noise::White, Level::Step(0.3), 0.38),
            (12, Noise::White, Level::Step(0.3), 0.85),
            (15, Noise::White, Level::WarmUp(0.9), 0.80),
            (20, Noise::White, Level::Drift(0.1), 0.74),
            (20, Noise::White, Level::Step(0.1), 0.83),
            (20, Noise::White, Level::WarmUp(0.9), 0.97),
            (30, Noise::White, Level::Drift(0.1), 0.94),
            (30, Noise::White, Level::Step(0.1), 0.98),
            (30, Noise::White, Level::WarmUp(0.3), 0.90),
            (30, Noise::Autoregressive, Level::Step(0.1), 0.92),
            (60, Noise::White, Level::Drift(0.1), 0.99),
            (60, Noise::Autoregressive, Level::Drift(0.1), 0.95),
            (60, Noise::Autoregressive, Level::Step(0.1), 0.99),
            (60, Noise::Autoregressive, Level::WarmUp(0.3), 0.95),
        ] {
            let share = rejected(length, kind, level);
            assert!(share >= at_least, "{length} {kind:?} {level:?}: {share}");
        }
    }

    #[test]
    fn how_much_it_matters_is_told_beside_whether_it_is_chance() {
        let mut values: Vec<f64> =
            (0..3000).map(|place| 1000.0 + f64::from(place % 7) + f64::from(place / 1000)).collect();
        let small = stationarity(&values).expect("long enough");
        assert!(small.is_rejected() && small.spread < 0.003, "{small:?}");
        values[2000..].iter_mut().for_each(|value| *value += 250.0);
        let large = stationarity(&values).expect("long enough");
        assert!(large.is_rejected() && (large.spread - 0.25).abs() < 0.01, "{large:?}");
        assert!((large.thirds[2] - 1255.0).abs() < 1.0, "{large:?}");
    }

    #[test]
    fn a_stall_of_two_seconds_is_no_trend() {
        let mut values: Vec<f64> = (0..30).map(|place| 500.0 + f64::from(place * 37 % 11)).collect();
        values[12..14].fill(0.0);
        let found = stationarity(&values).expect("long enough");
        assert!(!found.is_rejected() && found.spread < 0.02, "{found:?}");
    }

    #[test]
    fn what_cannot_be_tested_and_what_never_changes() {
        assert_eq!(stationarity(&[1.0; STATIONARITY_SAMPLES_MIN - 1]), None);
        for level in [0.0, 0.1, 1e9] {
            let found = stationarity(&[level; 500]).expect("long enough");
            assert!(!found.is_rejected() && found.spread == 0.0, "{level}: {found:?}");
        }
        assert_eq!((median(&[]), median(&[3.0, 1.0]), median(&[9.0, 1.0, 2.0])), (0.0, 2.0, 2.0));
    }

    proptest! {
        #[test]
        fn unit_and_direction_do_not_matter(
            values in prop::collection::vec(1.0_f64..1000.0, 10..80), factor in 0.001_f64..1000.0
        ) {
            let found = stationarity(&values).expect("long enough");
            let scaled = stationarity(&values.iter().map(|value| value * factor).collect::<Vec<_>>()).expect("as long");
            let reversed = stationarity(&values.iter().rev().copied().collect::<Vec<_>>()).expect("as long");
            for other in [scaled, reversed] {
                prop_assert!((found.statistic - other.statistic).abs() <= 1e-6 * found.statistic.max(1.0));
                prop_assert!((found.spread - other.spread).abs() <= 1e-6 * found.spread.max(1.0));
            }
        }
    }
}
