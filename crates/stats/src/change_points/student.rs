//! Student's t-test of two neighbouring pieces, to the last digit as Apache Otava 0.8 has it.

use statrs::function::beta::beta_reg;

/// What two pieces differ by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Difference {
    /// Mean of the left piece.
    pub(super) before: f64,
    /// Mean of the right piece.
    pub(super) after: f64,
    /// Two-sided; not a number where both pieces are the same constant.
    pub(super) p_value: f64,
}

impl Difference {
    /// Compares two pieces, of which none is empty.
    ///
    /// The deviations that go into the pooled variance divide by n, not by n − 1, since Otava's do: p is a little too
    /// small where pieces are short.
    pub(super) fn of(left: &[f64], right: &[f64]) -> Self {
        let (before, left_deviation) = mean_and_deviation(left);
        let (after, right_deviation) = mean_and_deviation(right);
        let (n, m) = (left.len() as f64, right.len() as f64);
        let freedom = n + m - 2.0;
        if freedom <= 0.0 {
            return Self { before, after, p_value: 1.0 };
        }
        let variance = ((n - 1.0) * left_deviation.powi(2) + (m - 1.0) * right_deviation.powi(2)) / freedom;
        let t = (before - after) / (variance * (1.0 / n + 1.0 / m)).sqrt();
        Self { before, after, p_value: two_sided(t, freedom) }
    }
}

/// The chance that |t| is at least so great: the regularised incomplete beta function `I(ν/(ν+t²); ν/2, 1/2)`.
fn two_sided(t: f64, freedom: f64) -> f64 {
    if t.is_nan() {
        return f64::NAN;
    }
    if t.is_infinite() {
        return 0.0;
    }
    beta_reg(freedom / 2.0, 0.5, freedom / (freedom + t * t))
}

/// Mean, and standard deviation with n below the line; none is empty.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = sum(values, |value| value) / count;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let squares = sum(values, |value| (value - mean) * (value - mean));
    (mean, (squares / count).sqrt())
}

/// Sums in the order in which `NumPy` does (pairwise, eight sums side by side in blocks of up to 128): whether a
/// constant piece has no deviation at all depends on the last digit.
fn sum(values: &[f64], of: impl Fn(f64) -> f64 + Copy) -> f64 {
    const LANES: usize = 8;
    const BLOCK: usize = 128;
    if values.len() < LANES {
        return values.iter().fold(0.0, |total, value| total + of(*value));
    }
    if values.len() <= BLOCK {
        let (chunks, rest) = values.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for chunk in chunks {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane += of(*value);
            }
        }
        let four = |first: usize| (lanes[first] + lanes[first + 1]) + (lanes[first + 2] + lanes[first + 3]);
        let total = four(0) + four(4);
        return rest.iter().fold(total, |total, value| total + of(*value));
    }
    let half = values.len() / 2;
    let (left, right) = values.split_at(half - half % LANES);
    sum(left, of) + sum(right, of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_those_of_tables() {
        // scipy.stats.t.sf(t, df) * 2, SciPy 1.16.3.
        for (t, freedom, expect) in [
            (0.0, 5.0, 1.0),
            (2.0, 5.0, 0.101_939_478_829_858_28),
            (3.5, 48.0, 0.001_015_235_097_964_988_3),
            (-3.5, 48.0, 0.001_015_235_097_964_988_3),
            (4.0, 9_998.0, 6.379_876_031_120_843e-5),
            (30.0, 98.0, 3.466_352_323_464_849e-51),
            (f64::INFINITY, 3.0, 0.0),
        ] {
            let p_value = two_sided(t, freedom);
            assert!((p_value - expect).abs() <= expect * 1e-10, "t {t}, {freedom}: {p_value}");
        }
    }
}
