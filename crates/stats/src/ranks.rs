//! Quantiles of few values, whatever their distribution.

use statrs::distribution::{Binomial, DiscreteCDF};

/// The ranks (from 1, in ascending order) of the two values between which the true quantile lies with that confidence at
/// least, whatever the distribution (Conover 1999, section 3.2). A first rank of 0, or a second one above `count`, says
/// that so few values do not bound it on that side.
pub fn quantile_ranks(count: usize, quantile: f64, confidence: f64) -> [usize; 2] {
    let Ok(below) = Binomial::new(quantile, count as u64) else { return [0, count + 1] };
    let half = (1.0 - confidence) / 2.0;
    let low = (1..=count).take_while(|rank| below.cdf(*rank as u64 - 1) <= half).last().unwrap_or(0);
    let high = (1..=count).find(|rank| 1.0 - below.cdf(*rank as u64 - 1) <= half).unwrap_or(count + 1);
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        for (count, quantile, expect) in [
            // Of medians, from tables: 6 and 15 of 20, 2 and 9 of 10.
            (20, 0.5, [6, 15]),
            (10, 0.5, [2, 9]),
            (20, 0.95, [17, 21]),
            (71, 0.95, [63, 72]),
            (72, 0.95, [64, 72]),
            (3, 0.5, [0, 4]),
            (0, 0.5, [0, 1]),
        ] {
            assert_eq!(quantile_ranks(count, quantile, 0.95), expect, "{count} {quantile}");
        }
    }
}
