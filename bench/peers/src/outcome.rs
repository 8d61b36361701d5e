//! What came of a case: figures, ratios, goals met and missed; as a row of a table and as JSON.

use std::fmt::Write;

use figures::median;
use serde_json::{Value, json};

use crate::case::{Bound, Case, Figure, Goal, Program};

/// One run of one program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) cpu_us_per_operation: f64,
    pub(crate) operations_per_second: f64,
    /// p50 and p99.
    pub(crate) lateness_us: Option<(f64, f64)>,
    pub(crate) memory_mib_max: f64,
}

/// A program's runs of a case.
pub(crate) struct Measured {
    pub(crate) program: &'static Program,
    pub(crate) runs: Vec<Run>,
    /// Why there are no more.
    pub(crate) failure: Option<String>,
}

/// All runs of a case.
pub(crate) struct Outcome {
    pub(crate) case: &'static Case,
    pub(crate) server: Option<String>,
    /// In the order of the case's programs.
    pub(crate) measured: Vec<Measured>,
}

/// A goal and what it is held against: a figure of the first program, or its ratio to another's.
struct Judged {
    goal: Goal,
    value: f64,
    against: Option<&'static str>,
}

/// What the table's columns are.
pub(crate) const TABLE_HEAD: &str = "\
| case | program | CPU µs an operation, median (min–max) | operations a second, median (min–max) | resident MiB at most \
| send lateness p50 / p99, µs | storelab over it | goal |\n|---|---|---|---|---|---|---|---|\n";

impl Run {
    fn figure(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Cpu => Some(self.cpu_us_per_operation),
            Figure::Throughput => Some(self.operations_per_second),
            Figure::Lateness => self.lateness_us.map(|(p50, _)| p50),
            Figure::Memory => Some(self.memory_mib_max),
        }
    }
}

impl Measured {
    fn sorted(&self, figure: impl Fn(&Run) -> Option<f64>) -> Vec<f64> {
        let mut figures: Vec<f64> = self.runs.iter().filter_map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures
    }

    /// Median, minimum and maximum.
    fn spread(&self, figure: Figure) -> Option<[f64; 3]> {
        let figures = self.sorted(|run| run.figure(figure));
        Some([median(&figures)?, *figures.first()?, *figures.last()?])
    }
}

impl Outcome {
    /// The median over rounds of the first program's figure over another's in the same round: what drifts in the
    /// meantime, on the host or in the server, is in both.
    fn ratio(&self, other: &Measured, figure: Figure) -> Option<f64> {
        if other.failure.is_some() {
            return None;
        }
        let pairs = self.measured[0].runs.iter().zip(&other.runs);
        let mut ratios: Vec<f64> =
            pairs.filter_map(|(ours, theirs)| Some(ours.figure(figure)? / theirs.figure(figure)?)).collect();
        ratios.sort_by(f64::total_cmp);
        median(&ratios)
    }

    /// The goals that stand beside a program, where they can be judged.
    fn judged(&self, position: usize) -> Vec<Judged> {
        let measured = &self.measured[position];
        let goals = measured.program.goals.iter();
        goals
            .filter_map(|&goal| {
                let (value, against) = if position == 0 {
                    (measured.spread(goal.figure)?[0], None)
                } else {
                    (self.ratio(measured, goal.figure)?, Some(measured.program.name))
                };
                Some(Judged { goal, value, against })
            })
            .collect()
    }

    /// How many goals are met, and how many are not.
    pub(crate) fn met_and_missed(&self) -> (usize, usize) {
        let judged = (0..self.measured.len()).flat_map(|position| self.judged(position));
        let (met, missed): (Vec<_>, Vec<_>) = judged.partition(|judged| judged.goal.is_met(judged.value));
        (met.len(), missed.len())
    }

    /// Its rows of the table.
    pub(crate) fn rows(&self) -> String {
        let mut text = String::new();
        for (position, measured) in self.measured.iter().enumerate() {
            let case = if position == 0 { self.case.name } else { "" };
            let name = measured.program.name;
            if let Some(failure) = &measured.failure {
                let _ = writeln!(text, "| {case} | {name} | not measured: {} | | | | | |", cell(failure));
                continue;
            }
            let cpu = measured.spread(Figure::Cpu).map(|cpu| shown(cpu, cpu_text)).unwrap_or_default();
            let rate = measured.spread(Figure::Throughput).map(|rate| shown(rate, thousands)).unwrap_or_default();
            let memory = measured.spread(Figure::Memory).map_or(0.0, |[_, _, max]| max);
            let p99 = median(&measured.sorted(|run| run.lateness_us.map(|(_, p99)| p99)));
            let lateness = match (measured.spread(Figure::Lateness), p99) {
                (Some([p50, _, max]), Some(p99)) if max > 0.0 => format!("{p50:.0} / {p99:.0}"),
                _ => "—".to_owned(),
            };
            let ratios = self.ratios_text(position).unwrap_or_else(|| "—".to_owned());
            let goals: Vec<String> = self.judged(position).iter().map(Judged::text).collect();
            let _ = writeln!(
                text,
                "| {case} | {name} | {cpu} | {rate} | {memory:.0} | {lateness} | {ratios} | {} |",
                goals.join("; ")
            );
        }
        text
    }

    fn ratios_text(&self, position: usize) -> Option<String> {
        if position == 0 {
            return None;
        }
        let measured = &self.measured[position];
        let [cpu, rate] = [Figure::Cpu, Figure::Throughput].map(|figure| self.ratio(measured, figure));
        Some(format!("CPU {:.2}, throughput {:.2}", cpu?, rate?))
    }

    /// All figures of all runs.
    pub(crate) fn json(&self) -> Value {
        let programs = self.measured.iter().enumerate().map(|(position, measured)| {
            let column = |figure: Figure| measured.runs.iter().map(|run| run.figure(figure)).collect::<Vec<_>>();
            let ratios: serde_json::Map<String, Value> = Figure::ALL
                .into_iter()
                .filter(|_| position > 0)
                .filter_map(|figure| Some((figure.name().to_owned(), self.ratio(measured, figure)?.into())))
                .collect();
            json!({
                "name": measured.program.name,
                "not_measured": measured.failure,
                "cpu_us_per_operation": column(Figure::Cpu),
                "operations_per_second": column(Figure::Throughput),
                "memory_mib_max": column(Figure::Memory),
                "lateness_us": measured.runs.iter().map(|run| run.lateness_us).collect::<Vec<_>>(),
                "storelab_over_it": ratios,
                "goals": self.judged(position).iter().map(Judged::json).collect::<Vec<_>>(),
            })
        });
        json!({ "name": self.case.name, "server": self.server, "programs": programs.collect::<Vec<_>>() })
    }
}

impl Judged {
    fn is_met(&self) -> bool {
        self.goal.is_met(self.value)
    }

    /// `CPU 0.57 ≤ 1: met`.
    fn text(&self) -> String {
        let Self { goal, value, against } = self;
        let unit = if against.is_some() { String::new() } else { format!(" {}", goal.figure.unit()) };
        let value = if against.is_some() { format!("{value:.3}") } else { format!("{value:.1}") };
        let verdict = if self.is_met() { "met" } else { "**missed**" };
        format!("{} {value} {}{unit}: {verdict}", goal.figure.name(), goal.bound)
    }

    fn json(&self) -> Value {
        let (relation, bound) = match self.goal.bound {
            Bound::AtMost(bound) => ("at most", bound),
            Bound::AtLeast(bound) => ("at least", bound),
        };
        json!({
            "figure": self.goal.figure.name(),
            "ratio_to": self.against,
            "relation": relation,
            "bound": bound,
            "value": self.value,
            "met": self.is_met(),
        })
    }
}

fn shown([median, min, max]: [f64; 3], text: impl Fn(f64) -> String) -> String {
    format!("{} ({}–{})", text(median), text(min), text(max))
}

/// Three digits that mean something.
fn cpu_text(us: f64) -> String {
    let decimals = if us < 1.0 { 3 } else { 2 };
    format!("{us:.decimals$}")
}

/// 1,234,567.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A text that cannot end its cell of a table.
pub(crate) fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::CASES;

    fn measured(program: &'static Program, cpu: &[f64], failure: Option<&str>) -> Measured {
        let runs = cpu.iter().map(|&cpu| Run {
            cpu_us_per_operation: cpu,
            operations_per_second: 1e6 / cpu,
            lateness_us: None,
            memory_mib_max: 20.0,
        });
        Measured { program, runs: runs.collect(), failure: failure.map(str::to_owned) }
    }

    #[test]
    fn ratios_are_of_the_same_round_and_goals_are_judged_by_them() {
        let case = &CASES[0];
        let ours = measured(&case.programs[0], &[1.0, 4.0, 9.0], None);
        // Twice ours in each round, which medians of their own would show only by chance.
        let theirs = measured(&case.programs[1], &[2.0, 2.0, 2.0], None);
        let outcome = Outcome { case, server: None, measured: vec![ours, theirs] };
        assert_eq!(outcome.ratio(&outcome.measured[1], Figure::Cpu), Some(2.0));
        assert_eq!(outcome.met_and_missed(), (0, 1));
        assert!(outcome.rows().contains("CPU 2.000 ≤ 1: **missed**"), "{}", outcome.rows());
        assert!(outcome.rows().contains("| 4.00 (1.00–9.00) |"), "{}", outcome.rows());
    }

    #[test]
    fn what_is_not_measured_is_named_and_judges_nothing() {
        let case = &CASES[0];
        let ours = measured(&case.programs[0], &[1.0], None);
        let theirs = measured(&case.programs[1], &[], Some("not installed: a|b"));
        let outcome = Outcome { case, server: None, measured: vec![ours, theirs] };
        assert_eq!(outcome.met_and_missed(), (0, 0));
        assert!(outcome.rows().contains("not measured: not installed: a\\|b"), "{}", outcome.rows());
        assert_eq!(thousands(1_234_567.4), "1,234,567");
    }
}
