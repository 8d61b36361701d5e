//! What test binaries said, counted.

use std::collections::BTreeMap;
use std::fmt;

/// What all the test binaries said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    passed: u64,
    failed: u64,
    /// Tests that a harness reported as ignored, and everything that a test said it skipped.
    skipped: u64,
    failures: Vec<String>,
    /// The first lines that each failed test printed, its name above them.
    said: Vec<Vec<String>>,
    /// What was skipped, and how often.
    reasons: BTreeMap<String, u64>,
    /// Inside the output of tests that passed.
    is_hiding: bool,
    /// Inside the output of one that failed.
    is_quoting: bool,
}

/// Lines of a failed test's output that are repeated at the end.
const QUOTED_LINES_MAX: usize = 12;

impl Totals {
    /// Notes that a binary ended badly, where none of its tests says why.
    pub(super) fn broken(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(what);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// Takes those of another binary, which must have ended.
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self.said.extend(other.said);
        for (what, times) in other.reasons {
            *self.reasons.entry(what).or_default() += times;
        }
    }

    /// Counts a line of a test binary's output, and says whether it is worth showing.
    pub(super) fn take(&mut self, line: &str) -> bool {
        if let Some(what) = line.trim().strip_prefix("skipped: ") {
            self.skipped += 1;
            *self.reasons.entry(what.to_owned()).or_default() += 1;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.is_hiding = false;
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            self.skipped += count(result, "ignored");
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(name.trim_end().to_owned());
        }
        match line {
            "successes:" => self.is_hiding = true,
            // The list of names at the end has the same head as what they said.
            "failures:" => (self.is_hiding, self.is_quoting) = (false, false),
            _ => {}
        }
        self.quote(line);
        !self.is_hiding
    }

    /// Keeps what failed tests said.
    fn quote(&mut self, line: &str) {
        if self.is_hiding || line.starts_with("test result: ") {
            self.is_quoting = false;
        } else if line.starts_with("---- ") {
            self.is_quoting = true;
            self.said.push(vec![line.to_owned()]);
        } else if let Some(lines) = self.said.last_mut()
            && self.is_quoting
            && lines.len() <= QUOTED_LINES_MAX
            && !line.trim().is_empty()
        {
            lines.push(line.to_owned());
        }
    }
}

/// The number before a word: 9 for `passed` in `ok. 9 passed; 0 failed`.
fn count(result: &str, word: &str) -> u64 {
    let mut words = result.split([' ', ';', '.']).filter(|part| !part.is_empty());
    let mut before = "";
    words
        .find_map(|part| {
            let number = (part == word).then(|| before.parse().ok()).flatten();
            before = part;
            number
        })
        .unwrap_or_default()
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter)?;
        for (what, times) in &self.reasons {
            writeln!(formatter, "skipped {times} times: {what}")?;
        }
        for line in self.said.iter().flatten() {
            writeln!(formatter, "{line}")?;
        }
        for name in &self.failures {
            writeln!(formatter, "failed: {name}")?;
        }
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 3 tests
test a ... ok
test b - should panic ... ok
test c ... FAILED

successes:

---- a stdout ----
skipped: redis is not installed


successes:
    a
    b

failures:

---- c stdout ----
assertion failed

failures:
    c

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

running 5 tests
test d ... ignored

test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.72s";

    #[test]
    fn totals_are_summed_over_binaries_and_skips_are_named() {
        let mut totals = Totals::default();
        let shown: Vec<_> = OUTPUT.lines().filter(|line| totals.take(line)).collect();
        assert_eq!(
            totals.to_string(),
            "\nskipped 1 times: redis is not installed\n---- c stdout ----\nassertion failed\nfailed: c\n6 passed, 1 failed, 2 skipped"
        );
        assert!(shown.contains(&"assertion failed"), "{shown:?}");
        assert!(!shown.contains(&"---- a stdout ----"), "{shown:?}");
    }
}
