//! Stacks as lines of text, folded from what `perf` prints, and the picture that is drawn of them.

use std::collections::HashMap;
use std::io::{self, BufRead};

use inferno::collapse::Collapse;
use inferno::collapse::perf::{Folder, Options as FoldOptions};
use inferno::flamegraph::{self, Options as DrawOptions};

/// Stacks past this are left out, the rarest first: a server with deep stacks has some hundred kilobytes of them.
const FOLDED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A picture that is larger is drawn again, coarser.
const SVG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Frames narrower than so many of the picture's 1,200 pixels are left out; the last always fits, whatever it leaves out.
const MIN_WIDTHS: [f64; 4] = [0.1, 0.5, 2.0, 12.0];

/// A function that was seen at the end of stacks.
#[derive(Debug, Clone, PartialEq)]
pub struct HotFunction {
    /// Its name, as its library has it.
    pub name: String,
    /// The share of all samples in which it was what ran, 0 to 1.
    pub self_share: f64,
}

/// Folds what `perf script` prints.
pub(super) fn fold(stacks: impl BufRead) -> io::Result<String> {
    let mut options = FoldOptions::default();
    options.nthreads = 1;
    let mut folded = Vec::new();
    Folder::from(options).collapse(stacks, &mut folded)?;
    Ok(bounded(&String::from_utf8_lossy(&folded), FOLDED_BYTES_MAX))
}

/// A line's stack and how often it was seen.
fn parse(line: &str) -> Option<(&str, u64)> {
    let (stack, count) = line.rsplit_once(' ')?;
    Some((stack, count.parse().ok()?))
}

/// All samples together.
pub(super) fn samples(folded: &str) -> u64 {
    folded.lines().filter_map(parse).map(|(_, count)| count).sum()
}

/// The functions that most samples found running, the most frequent first.
pub fn hottest(folded: &str, count: usize) -> Vec<HotFunction> {
    let all = samples(folded).max(1) as f64;
    let mut by_function: HashMap<&str, u64> = HashMap::new();
    for (stack, count) in folded.lines().filter_map(parse) {
        let innermost = stack.rsplit(';').next().unwrap_or(stack);
        *by_function.entry(innermost).or_default() += count;
    }
    let mut functions: Vec<_> = by_function.into_iter().collect();
    functions.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then(a.cmp(b)));
    functions
        .into_iter()
        .take(count)
        .map(|(name, count)| HotFunction { name: name.to_owned(), self_share: count as f64 / all })
        .collect()
}

/// The most frequent of the lines that fit, in the order in which they were.
fn bounded(folded: &str, bytes_max: usize) -> String {
    if folded.len() <= bytes_max {
        return folded.to_owned();
    }
    let mut lines: Vec<_> =
        folded.lines().enumerate().filter_map(|(place, line)| Some((place, line, parse(line)?.1))).collect();
    lines.sort_unstable_by_key(|(place, _, count)| (std::cmp::Reverse(*count), *place));
    let mut left = bytes_max;
    lines.retain(|(_, line, _)| {
        let fits = line.len() < left;
        left -= if fits { line.len() + 1 } else { 0 };
        fits
    });
    lines.sort_unstable_by_key(|(place, ..)| *place);
    lines.iter().flat_map(|(_, line, _)| [line, "\n"]).collect()
}

/// The flame graph, no larger than [`SVG_BYTES_MAX`].
pub(super) fn svg(folded: &str, title: &str, subtitle: &str) -> io::Result<String> {
    let mut drawn = String::new();
    for min_width in MIN_WIDTHS {
        drawn = draw(folded, title, subtitle, min_width)?;
        if drawn.len() <= SVG_BYTES_MAX {
            break;
        }
    }
    Ok(drawn)
}

fn draw(folded: &str, title: &str, subtitle: &str, min_width: f64) -> io::Result<String> {
    let mut options = DrawOptions::default();
    title.clone_into(&mut options.title);
    options.subtitle = Some(subtitle.to_owned());
    // The same function has the same colour in every run.
    options.deterministic = true;
    options.min_width = min_width;
    // How wide a letter is, is known of these alone.
    "monospace".clone_into(&mut options.font_type);
    let mut drawn = Vec::new();
    flamegraph::from_lines(&mut options, folded.lines(), &mut drawn)?;
    String::from_utf8(drawn).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
server 100/100 12.000001: cpu-clock: \n\
\x20           401000 hot_loop+0x10 (/usr/bin/server)\n\
\x20           401100 main+0x20 (/usr/bin/server)\n\
\n\
server 100/101 12.010001: cpu-clock: \n\
\x20           401000 hot_loop+0x18 (/usr/bin/server)\n\
\x20           401100 main+0x20 (/usr/bin/server)\n\
\n\
my worker 100/102 12.020001: cpu-clock: \n\
\x20    ffffffff81000 tcp_sendmsg+0x1 ([kernel.kallsyms])\n\
\x20                0 [unknown] ([unknown])\n\
\n";

    #[test]
    fn stacks_are_folded_outermost_first() {
        let folded = fold(SCRIPT.as_bytes()).expect("perf prints so");
        let mut lines: Vec<_> = folded.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["my_worker;[unknown];tcp_sendmsg 1", "server;main;hot_loop 2"]);
        assert_eq!(samples(&folded), 3);
        assert_eq!(samples(""), 0);
    }

    #[test]
    fn the_hottest_function_is_the_one_that_ran_most() {
        let hot = hottest("a;b;c 6\na;c 1\na;b 2\na 1\nno count\n", 2);
        let found: Vec<_> = hot.iter().map(|one| (one.name.as_str(), (one.self_share * 100.0).round())).collect();
        assert_eq!(found, [("c", 70.0), ("b", 20.0)]);
        assert_eq!(hottest("", 3), []);
    }

    #[test]
    fn what_is_too_much_loses_its_rarest_stacks() {
        let folded = "aaaa 1\nbbbb 9\ncccc 5\n";
        assert_eq!(bounded(folded, folded.len()), folded);
        assert_eq!(bounded(folded, 14), "bbbb 9\ncccc 5\n");
        assert_eq!(bounded(folded, 13), "bbbb 9\n");
        assert_eq!(bounded(folded, 0), "");
    }

    #[test]
    fn a_picture_names_its_functions_and_stays_small() {
        let drawn = svg("server;main;<evil> 3\n", "a & b", "99 a second").expect("there are samples");
        assert!(drawn.contains("&lt;evil&gt;") && !drawn.contains("<evil>"), "names are escaped");
        assert!(drawn.contains("a &amp; b") && drawn.contains("99 a second"));
        assert_eq!(
            drawn,
            svg("server;main;<evil> 3\n", "a & b", "99 a second").expect("again"),
            "it is the same each time"
        );
        let many = (0..40_000).map(|number| format!("server;main;function_{number} 1")).collect::<Vec<_>>().join("\n");
        let drawn = svg(&many, "many", "").expect("there are samples");
        assert!(drawn.len() <= SVG_BYTES_MAX, "{}", drawn.len());
    }
}
