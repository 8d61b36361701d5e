//! A series as a line of block letters, which needs no colour.

/// From low to high.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Stands below a marked place.
const MARK: char = '▲';

/// The values as a line of at most so many letters, each the mean of its share of them, and below it a line with a mark
/// at each marked place. Empty where there are no values.
pub(crate) fn sparkline(values: &[f64], marks: &[usize], letters_max: usize) -> (String, String) {
    let letters = values.len().min(letters_max);
    let start = |letter: usize| letter * values.len() / letters;
    let means: Vec<f64> = (0..letters)
        .map(|letter| {
            let share = &values[start(letter)..start(letter + 1)];
            share.iter().sum::<f64>() / share.len() as f64
        })
        .collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let span = means.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low;
    let block = |mean: &f64| {
        let height = if span > 0.0 { (mean - low) / span } else { 0.0 };
        BLOCKS[((height * BLOCKS.len() as f64) as usize).min(BLOCKS.len() - 1)]
    };
    let is_marked = |letter: usize| marks.iter().any(|mark| (start(letter)..start(letter + 1)).contains(mark));
    let below: String = (0..letters).map(|letter| if is_marked(letter) { MARK } else { ' ' }).collect();
    (means.iter().map(block).collect(), below.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_heights_and_marks() {
        let ramp: Vec<f64> = (0..16).map(f64::from).collect();
        for (name, values, marks, letters_max, expect) in [
            ("a step", vec![1.0, 1.0, 2.0, 2.0], vec![2], 80, ("▁▁██", "  ▲")),
            ("all heights", ramp.clone(), vec![], 8, ("▁▂▃▄▅▆▇█", "")),
            ("marks of a share", ramp, vec![5, 15], 8, ("▁▂▃▄▅▆▇█", "  ▲    ▲")),
            ("one level", vec![5.0; 3], vec![], 80, ("▁▁▁", "")),
            ("nothing", vec![], vec![], 80, ("", "")),
        ] {
            let (line, below) = sparkline(&values, &marks, letters_max);
            assert_eq!((line.as_str(), below.as_str()), expect, "{name}");
        }
    }
}
