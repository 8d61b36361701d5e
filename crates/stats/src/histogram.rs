//! Latency histograms: High Dynamic Range (Tene), 3 significant digits, up to an hour.

use std::fmt;

use hdrhistogram::Histogram as Hdr;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use crate::{CurvePoint, Summary};

/// The greatest latency that is told apart, one hour in nanoseconds; greater ones count as this.
pub const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Significant decimal digits: a value is off by at most 0.1 %.
const DIGITS: u8 = 3;

/// What can be wrong with an encoded histogram.
#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    /// It cannot be written.
    #[error("the histogram cannot be encoded: {0}")]
    Encode(String),
    /// It was not written by an HDR histogram, or is damaged.
    #[error("the histogram cannot be decoded: {0}")]
    Decode(String),
}

/// Counts of latencies in nanoseconds. Values are off by at most 0.1 % from 1 µs to 1 h (below 2 µs by 1 ns), and merging
/// two histograms gives, bit for bit, the histogram of all their values.
#[derive(Clone, PartialEq)]
pub struct Histogram(Hdr<u64>);

/// Count and extremes: thirty thousand buckets help nobody.
impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Histogram({} values, median {} ns, max {} ns)", self.count(), self.quantile(0.5), self.max())
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty histogram. Takes about 270 kB.
    pub fn new() -> Self {
        Self(Hdr::new_with_bounds(1, LATENCY_NS_MAX, DIGITS).expect("the bounds are constants that HDR accepts"))
    }

    /// Counts one latency in nanoseconds.
    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns);
    }

    /// Adds all counts of another one.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Forgets all counts, keeping the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value in nanoseconds that the share `quantile` (0..=1) of the values does not exceed; 0 where there are none.
    pub fn quantile(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    /// The greatest value in nanoseconds; 0 where there are none.
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// The mean in nanoseconds; 0 where there are none.
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// The figures that are usually asked for.
    pub fn summary(&self) -> Summary {
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        Summary {
            mean: self.mean() / 1e3,
            p50: microseconds(self.quantile(0.50)),
            p90: microseconds(self.quantile(0.90)),
            p95: microseconds(self.quantile(0.95)),
            p99: microseconds(self.quantile(0.99)),
            p99_9: microseconds(self.quantile(0.999)),
            max: microseconds(self.max()),
        }
    }

    /// The percentile curve: latency by quantile, `steps_per_half` points for each halving of the distance to 1
    /// (Tene's percentile iteration), up to the quantile at which a single value remains.
    pub fn curve(&self, steps_per_half: u32) -> Vec<CurvePoint> {
        self.0
            .iter_quantiles(steps_per_half)
            .map(|step| CurvePoint {
                quantile: step.quantile_iterated_to(),
                latency_us: step.value_iterated_to() as f64 / 1e3,
            })
            .collect()
    }

    /// Latencies in nanoseconds with their counts, in order: the histogram itself, bucket by bucket.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    /// The histogram as the library has it, for whoever writes it in one of that library's formats.
    pub fn as_hdr(&self) -> &Hdr<u64> {
        &self.0
    }

    /// The histogram in `HdrHistogram`'s compressed V2 encoding, readable by its tools in other languages.
    ///
    /// # Errors
    /// [`HistogramError::Encode`].
    pub fn encode(&self) -> Result<Vec<u8>, HistogramError> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .map_err(|error| HistogramError::Encode(error.to_string()))?;
        Ok(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`HistogramError::Decode`].
    pub fn decode(mut bytes: &[u8]) -> Result<Self, HistogramError> {
        let decoded: Hdr<u64> =
            Deserializer::new().deserialize(&mut bytes).map_err(|error| HistogramError::Decode(error.to_string()))?;
        // One of ours is there already, without another 270 kB to add it to.
        if (decoded.low(), decoded.high(), decoded.sigfig()) == (1, LATENCY_NS_MAX, DIGITS) {
            return Ok(Self(decoded));
        }
        let mut histogram = Self::new();
        histogram.0.add(decoded).map_err(|error| HistogramError::Decode(error.to_string()))?;
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_off_by_at_most_a_thousandth_from_1_us_to_1_h() {
        let mut value = 1_000_u64;
        while value < LATENCY_NS_MAX {
            let mut histogram = Histogram::new();
            histogram.record(value);
            for told in [histogram.quantile(0.5), histogram.max()] {
                let error = told.abs_diff(value) as f64 / value as f64;
                assert!(error <= 0.001, "{value} ns was told as {told} ns");
            }
            value += value / 97 + 1;
        }
    }

    #[test]
    fn greater_values_count_as_the_greatest() {
        let mut histogram = Histogram::new();
        histogram.record(u64::MAX);
        assert_eq!(histogram.count(), 1);
        assert!(histogram.max() >= LATENCY_NS_MAX);
    }

    #[test]
    fn an_empty_histogram_gives_zeros() {
        let histogram = Histogram::new();
        assert_eq!((histogram.quantile(0.99), histogram.max(), histogram.count()), (0, 0, 0));
        assert!(histogram.mean().abs() < f64::EPSILON);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn merged_equals_single_bit_for_bit(
            values in prop::collection::vec((1_u64..LATENCY_NS_MAX, 0_usize..4), 1..300)
        ) {
            let mut single = Histogram::new();
            let mut parts = vec![Histogram::new(); 4];
            for (value, part) in values {
                single.record(value);
                parts[part].record(value);
            }
            let mut merged = Histogram::new();
            for part in &parts {
                merged.merge(part);
            }
            prop_assert_eq!(merged.encode().expect("encodes"), single.encode().expect("encodes"));
            prop_assert_eq!(merged, single);
        }

        #[test]
        fn an_encoded_histogram_comes_back(values in prop::collection::vec(0_u64..LATENCY_NS_MAX, 0..200)) {
            let mut histogram = Histogram::new();
            for value in values {
                histogram.record(value);
            }
            let back = Histogram::decode(&histogram.encode().expect("encodes")).expect("decodes");
            prop_assert_eq!(back.buckets().collect::<Vec<_>>(), histogram.buckets().collect::<Vec<_>>());
        }

        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Histogram::decode(&bytes);
        }
    }
}
