//! How large a difference is, whatever its unit: Cliff's delta.

/// Cliff's delta (Cliff 1993): the chance that a value of `values` exceeds one of `baseline`, less the chance of the
/// opposite; from -1, all less, to 1, all more. 0 where either is empty. Takes O(n log n).
pub fn cliffs_delta(baseline: &[f64], values: &[f64]) -> f64 {
    if baseline.is_empty() || values.is_empty() {
        return 0.0;
    }
    let mut sorted = baseline.to_vec();
    sorted.sort_by(f64::total_cmp);
    let balance: f64 = values
        .iter()
        .map(|value| {
            let less = sorted.partition_point(|other| other < value);
            let not_more = sorted.partition_point(|other| other <= value);
            less as f64 - (sorted.len() - not_more) as f64
        })
        .sum();
    balance / (baseline.len() as f64 * values.len() as f64)
}

/// What a delta is usually called, by the thresholds of Romano et al. (2006): `negligible`, `small`, `medium`, `large`.
pub fn cliffs_word(delta: f64) -> &'static str {
    match delta.abs() {
        size if size < 0.147 => "negligible",
        size if size < 0.33 => "small",
        size if size < 0.474 => "medium",
        _ => "large",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_answers() {
        for (baseline, values, expect) in [
            (&[1.0, 2.0, 3.0][..], &[4.0, 5.0][..], 1.0),
            (&[4.0, 5.0], &[1.0, 2.0, 3.0], -1.0),
            (&[1.0, 2.0], &[1.0, 2.0], 0.0),
            (&[1.0, 2.0, 2.0, 3.0], &[2.0, 2.0, 3.0, 4.0], 7.0 / 16.0),
            (&[], &[1.0], 0.0),
        ] {
            let found = cliffs_delta(baseline, values);
            assert!((found - expect).abs() < 1e-12, "{baseline:?} {values:?}: {found}");
        }
        for (delta, word) in [(0.1, "negligible"), (-0.2, "small"), (0.4, "medium"), (-1.0, "large")] {
            assert_eq!(cliffs_word(delta), word);
        }
    }

    fn some_values() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec((-50_i32..50).prop_map(f64::from), 1..40)
    }

    proptest! {
        #[test]
        fn it_is_antisymmetric_bounded_and_counts_pairs(a in some_values(), b in some_values()) {
            let delta = cliffs_delta(&a, &b);
            prop_assert!((-1.0..=1.0).contains(&delta));
            prop_assert!((delta + cliffs_delta(&b, &a)).abs() < 1e-12);
            prop_assert!(cliffs_delta(&a, &a).abs() < 1e-12);
            let pairs: f64 = b.iter().flat_map(|y| a.iter().map(move |x| f64::from(i8::from(y > x) - i8::from(y < x)))).sum();
            prop_assert!((delta - pairs / (a.len() * b.len()) as f64).abs() < 1e-12);
        }

        #[test]
        fn it_grows_with_the_values_and_ignores_the_scale(a in some_values(), b in some_values(), more in 0.0..20.0_f64) {
            let raised: Vec<f64> = b.iter().map(|value| value + more).collect();
            prop_assert!(cliffs_delta(&a, &raised) >= cliffs_delta(&a, &b));
            let stretched = |values: &[f64]| values.iter().map(|value| (value / 10.0).exp()).collect::<Vec<_>>();
            prop_assert!((cliffs_delta(&stretched(&a), &stretched(&b)) - cliffs_delta(&a, &b)).abs() < 1e-12);
        }
    }
}
