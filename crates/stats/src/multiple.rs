//! Many tests at once: of twenty metrics that did not change, one looks as if it had.

/// Adjusts p-values by Holm's step-down method (Holm 1979): the chance that any of the family is called different where
/// none is stays below the level that the adjusted values are compared with, however the metrics hang together. In the
/// order of `p_values`.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut greatest = 0.0_f64;
    for (rank, place) in order.into_iter().enumerate() {
        let left = (p_values.len() - rank) as f64;
        greatest = greatest.max((p_values[place] * left).min(1.0));
        adjusted[place] = greatest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_answers() {
        for (given, expect) in [
            (&[0.01, 0.04, 0.03][..], &[0.03, 0.06, 0.06][..]),
            (&[0.5, 0.6], &[1.0, 1.0]),
            (&[0.02], &[0.02]),
            (&[], &[]),
        ] {
            let found = holm(given);
            assert_eq!(found.len(), expect.len());
            assert!(found.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-12), "{given:?}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn it_keeps_the_order_and_lies_between_no_and_bonferronis_adjustment(
            p_values in prop::collection::vec(0.0..=1.0_f64, 1..30)
        ) {
            let adjusted = holm(&p_values);
            for (p, a) in p_values.iter().zip(&adjusted) {
                prop_assert!(*a >= *p && *a <= (p * p_values.len() as f64).min(1.0) + 1e-12);
                for (q, b) in p_values.iter().zip(&adjusted) {
                    prop_assert!(p > q || a <= b);
                }
            }
            let least = p_values.iter().copied().fold(1.0, f64::min);
            let least_adjusted = adjusted.iter().copied().fold(1.0, f64::min);
            prop_assert!((least_adjusted - (least * p_values.len() as f64).min(1.0)).abs() < 1e-12);
        }
    }
}
