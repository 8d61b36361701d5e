//! What a bootstrap says about a figure: an interval, and how likely it is beyond a limit by chance alone.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Replicates beyond a quantile from which on it is read off them; further out it is extrapolated as that of a normal
/// distribution would be.
const RESOLVED: f64 = 5.0;

/// A figure with the distribution that a bootstrap gives it.
///
/// A bootstrap of few blocks is too narrow: it takes the variance of those few for the true one. Its percentiles are
/// therefore taken further out, as far as Student's t is wider than the normal distribution at so many degrees of freedom
/// (the expanded percentiles of Hesterberg 2015, "What teachers should know about the bootstrap", section 5.3), and shifted
/// for bias and skewness (the percentiles that are called `BCa`; Efron 1987).
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The figure itself.
    estimate: f64,
    /// What the resamples gave, in order.
    replicates: Vec<f64>,
    /// How much wider the figure's distribution is than that of the replicates.
    inflation: f64,
    /// What its width is known by.
    degrees_of_freedom: f64,
    /// Efron's bias correction: where the estimate lies among the replicates.
    bias: f64,
    /// Efron's acceleration: how the width changes with the true figure, which comes of skewness.
    acceleration: f64,
}

/// More acceleration than this is a single block's doing, from which nothing is to be concluded.
const ACCELERATION_MAX: f64 = 0.25;

/// More bias than this does not come from a figure but from replicates that hardly vary.
const BIAS_MAX: f64 = 0.5;

/// Where Efron's correction goes on as a straight line: it has a pole at 1, and comes to a rest at minus infinity.
const BENT: [f64; 2] = [-1.0, 0.5];

impl Evidence {
    /// Takes the replicates in any order; none where there are none, or one is not a number.
    pub(crate) fn new(
        estimate: f64,
        mut replicates: Vec<f64>,
        inflation: f64,
        degrees_of_freedom: f64,
    ) -> Option<Self> {
        if replicates.is_empty() || !estimate.is_finite() || replicates.iter().any(|value| !value.is_finite()) {
            return None;
        }
        replicates.sort_by(f64::total_cmp);
        let mut evidence = Self {
            estimate,
            replicates,
            inflation: inflation.max(1.0),
            degrees_of_freedom: degrees_of_freedom.max(1.0),
            bias: 0.0,
            acceleration: 0.0,
        };
        let bias = evidence.z_of(estimate);
        evidence.bias = if bias.is_finite() { bias.clamp(-BIAS_MAX, BIAS_MAX) } else { 0.0 };
        Some(evidence)
    }

    /// Corrects for skewness, by what the figure becomes without each of its parts.
    pub(crate) fn accelerated(mut self, without_each: &[f64]) -> Self {
        let count = without_each.len() as f64;
        let mean = without_each.iter().sum::<f64>() / count;
        let power = |exponent| without_each.iter().map(|value| (mean - value).powi(exponent)).sum::<f64>();
        // The skewness of few is less than that of all: adjusted as Fisher and Pearson's coefficient is.
        let adjusted = (count * (count - 1.0)).sqrt() / (count - 2.0).max(1.0);
        let acceleration = adjusted * power(3) / (6.0 * power(2).powf(1.5));
        if acceleration.is_finite() {
            self.acceleration = acceleration.clamp(-ACCELERATION_MAX, ACCELERATION_MAX);
        }
        self
    }

    /// The figure.
    pub fn estimate(&self) -> f64 {
        self.estimate
    }

    /// The interval that holds the true figure with that confidence (0.95, say).
    pub fn interval(&self, confidence: f64) -> [f64; 2] {
        let student = self.student().inverse_cdf(0.5 + confidence / 2.0);
        let z = student * self.inflation;
        let [low, high] = [self.at(self.corrected(-z)), self.at(self.corrected(z))];
        // The estimate is a value that the interval must not leave out, however skewed the replicates are.
        [low.min(self.estimate), high.max(self.estimate)]
    }

    /// The chance of a figure as far beyond `limit`, on either side of 0, where the true one is not beyond it: two-sided,
    /// so that it is below 0.05 where the 95 % interval lies beyond the limit whole.
    pub fn p_value(&self, limit: f64) -> f64 {
        let limit = limit.abs();
        if self.estimate.abs() <= limit {
            return 1.0;
        }
        let z = if self.estimate > 0.0 { self.uncorrected(limit) } else { -self.uncorrected(-limit) };
        if z.is_infinite() {
            return if z < 0.0 { 0.0 } else { 1.0 };
        }
        (2.0 * self.student().cdf(z / self.inflation)).min(1.0)
    }

    /// Efron's correction of a place among the replicates.
    fn corrected(&self, z: f64) -> f64 {
        let shifted = z + self.bias;
        let bend = self.acceleration * shifted;
        let [low, high] = BENT;
        let edge = bend.clamp(low, high);
        // A straight line with the slope at the edge; 0 within.
        let beyond = (bend - edge) / (1.0 - edge).powi(2);
        if bend == 0.0 { shifted + self.bias } else { (edge / (1.0 - edge) + beyond) / self.acceleration + self.bias }
    }

    /// The place whose correction is that of a value.
    fn uncorrected(&self, value: f64) -> f64 {
        let corrected = self.z_of(value) - self.bias;
        if self.acceleration == 0.0 || !corrected.is_finite() {
            return corrected - self.bias;
        }
        let bent = self.acceleration * corrected;
        let [low, high] = BENT.map(|edge| edge / (1.0 - edge));
        let edge_bent = bent.clamp(low, high);
        let edge = edge_bent / (1.0 + edge_bent);
        (edge + (bent - edge_bent) * (1.0 - edge).powi(2)) / self.acceleration - self.bias
    }

    fn student(&self) -> StudentsT {
        StudentsT::new(0.0, 1.0, self.degrees_of_freedom).expect("at least one degree of freedom")
    }

    /// How far from the middle, in standard deviations of a normal distribution, replicates can be read off.
    fn resolved_z(&self) -> f64 {
        let share = (RESOLVED / self.replicates.len() as f64).min(0.25);
        -Normal::standard().inverse_cdf(share)
    }

    /// The replicate that lies as far out as `z` does in a normal distribution.
    fn at(&self, z: f64) -> f64 {
        let resolved = self.resolved_z();
        if z.abs() <= resolved {
            return self.quantile(Normal::standard().cdf(z));
        }
        let [middle, edge] = [self.quantile(0.5), self.quantile(Normal::standard().cdf(resolved.copysign(z)))];
        middle + (edge - middle) * z.abs() / resolved
    }

    /// The inverse of [`at`](Self::at): minus infinity below all of replicates that do not vary, infinity above.
    fn z_of(&self, value: f64) -> f64 {
        let below = self.replicates.partition_point(|replicate| *replicate < value);
        let not_above = self.replicates.partition_point(|replicate| *replicate <= value);
        let share = (below + not_above) as f64 / 2.0 / self.replicates.len() as f64;
        let resolved = self.resolved_z();
        let edge_share = Normal::standard().cdf(-resolved);
        if (edge_share..=1.0 - edge_share).contains(&share) {
            return Normal::standard().inverse_cdf(share);
        }
        let sign = if share < 0.5 { -1.0 } else { 1.0 };
        let middle = self.quantile(0.5);
        let edge = self.quantile(Normal::standard().cdf(resolved * sign));
        let steps = (value - middle) / (edge - middle);
        if steps.is_nan() || (edge - middle).abs() < f64::EPSILON {
            sign * f64::INFINITY
        } else {
            sign * resolved * steps.abs()
        }
    }

    /// Linear between replicates.
    fn quantile(&self, share: f64) -> f64 {
        let place = share * (self.replicates.len() - 1) as f64;
        let (low, high) = (self.replicates[place.floor() as usize], self.replicates[place.ceil() as usize]);
        low + (high - low) * place.fract()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(mean: f64, deviation: f64, inflation: f64, degrees_of_freedom: f64) -> Evidence {
        let at = |place: i32| Normal::standard().inverse_cdf((f64::from(place) + 0.5) / 2000.0);
        let replicates = (0..2000).map(|place| mean + deviation * at(place)).collect();
        Evidence::new(mean, replicates, inflation, degrees_of_freedom).expect("finite")
    }

    #[test]
    fn normal_replicates_give_students_interval() {
        for (inflation, freedom, quantile) in [(1.0, 1e6, 1.96), (1.0, 5.0, 2.571), (1.2, 3.0, 1.2 * 3.182)] {
            let [low, high] = normal(10.0, 2.0, inflation, freedom).interval(0.95);
            for (found, expect) in [(low, 10.0 - 2.0 * quantile), (high, 10.0 + 2.0 * quantile)] {
                assert!((found - expect).abs() < 0.12, "{inflation} {freedom}: {found} instead of {expect}");
            }
        }
    }

    #[test]
    fn an_interval_beyond_the_limit_and_a_small_chance_are_the_same() {
        for limit in [0.0, 0.01, 0.03, 0.05, 0.08] {
            for mean in [-0.2, -0.1, -0.07, -0.03, 0.0, 0.02, 0.06, 0.09, 0.15, 0.3] {
                for (freedom, skew) in [(2.5, 0.0), (8.0, 4.0), (40.0, -6.0), (40.0, 0.1)] {
                    let evidence = normal(mean, 0.02, 1.1, freedom).accelerated(&[1.0, 2.0, 3.0, 3.0 + skew]);
                    let [low, high] = evidence.interval(0.95);
                    let is_beyond = low > limit || high < -limit;
                    let p_value = evidence.p_value(limit);
                    // Where an end lies on the limit itself, either answer is right.
                    let near = (low - limit).abs().min((high + limit).abs()) < 2e-4;
                    assert!(near || is_beyond == (p_value < 0.05), "{limit} {mean} {freedom}: {low} {high} {p_value}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_vary_is_certain() {
        let constant = |value| Evidence::new(value, vec![value; 100], 1.0, 5.0).expect("finite");
        assert!(constant(0.0).interval(0.95).iter().all(|end| end.abs() < 1e-12));
        for (value, limit, expect) in [(0.0, 0.0, 1.0), (0.005, 0.01, 1.0), (0.05, 0.01, 0.0), (-0.05, 0.01, 0.0)] {
            assert!((constant(value).p_value(limit) - expect).abs() < 1e-12, "{value} {limit}");
        }
        assert!(
            Evidence::new(f64::NAN, vec![1.0], 1.0, 1.0).is_none() && Evidence::new(1.0, vec![], 1.0, 1.0).is_none()
        );
    }
}
