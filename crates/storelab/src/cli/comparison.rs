//! The flags of comparisons.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use experiment::TargetText;

use super::{LoadFlags, WorkloadArguments};

/// What `storelab compare` takes.
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// The baseline, then what is compared with it. Each is a run (its id or the end of it, its name, or `last`), a run of
    /// another results store (`FILE.db:RUN`), or repeats of one, with commas between them.
    #[arg(required = true, num_args = 2.., value_name = "RUN[,RUN…]")]
    pub(crate) sides: Vec<String>,

    #[command(flatten)]
    pub(crate) judging: JudgingFlags,

    /// End well though a run is invalid, that is, though its numbers are not worth what they seem.
    #[arg(long)]
    pub(crate) accept_invalid: bool,

    /// Write the comparison's report to this file: one HTML file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Write the comparison as JSON to stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How runs are compared.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Comparison")]
pub(crate) struct JudgingFlags {
    /// Compare runs of different workload, load or size of the data all the same.
    #[arg(long)]
    pub(crate) force: bool,

    /// The change up to which there is none, as `2%`; what `storelab calibrate` measured on this machine, or 1%, where this
    /// is not given.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(crate) noise: Option<f64>,

    /// Write the comparison as Markdown to this file; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,

    /// End with exit code 99 where a headline metric is.
    #[arg(long)]
    pub(crate) fail_on: Option<FailOn>,
}

/// What a comparison fails on.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FailOn {
    /// Slower, or with more errors.
    Slower,
}

/// What a run is compared with, and how often it is repeated.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct BaselineFlags {
    /// Compare with this: a run in the results store, or a plan or target, which is then run in turns with the other.
    #[arg(long, value_name = "RUN | PLAN | TARGET", help_heading = "Comparison")]
    pub(crate) baseline: Option<TargetText>,

    /// Run so many times, in turns with the baseline where that is a plan or target: A B B A A B …
    #[arg(long, value_name = "N", help_heading = "Comparison")]
    pub(crate) repeat: Option<NonZeroU32>,

    #[command(flatten)]
    pub(crate) judging: JudgingFlags,
}

impl BaselineFlags {
    /// Whether there is anything to compare or repeat.
    ///
    /// # Errors
    /// `Config` where it is said how to compare, but not with what.
    pub(crate) fn is_given(&self) -> store::Result<bool> {
        let JudgingFlags { force, noise, markdown, fail_on } = &self.judging;
        if self.baseline.is_none() && (*force || noise.is_some() || markdown.is_some() || fail_on.is_some()) {
            return Err(store::Error::config("there is nothing to compare the run with")
                .with_hint("give --baseline a run, a plan or a target, or leave the flags of comparisons out"));
        }
        Ok(self.baseline.is_some() || self.repeat.is_some_and(|repeats| repeats.get() > 1))
    }
}

/// What `storelab calibrate` takes.
#[derive(Debug, Args)]
pub(crate) struct CalibrateArguments {
    /// A plan's file or a target, as for `run`; the canonical experiment where there is none.
    #[arg(value_name = "PLAN | TARGET")]
    pub(crate) subject: Option<TargetText>,

    /// Pairs of identical runs, 5 to 1000. 72 and more also bound the noise from above.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..=1_000))]
    pub(crate) pairs: u32,

    #[command(flatten)]
    pub(crate) workload: WorkloadArguments,

    #[command(flatten)]
    pub(crate) load: LoadFlags,

    /// What the randomness of the first pair derives from.
    #[arg(long)]
    pub(crate) seed: Option<u64>,

    /// Write what was measured as JSON to stdout.
    #[arg(long)]
    pub(crate) json: bool,

    /// Write nothing but the result.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// A share: `2%`, `0.5 %`, or without the sign.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    match number.parse::<f64>() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("write a percentage from 0 to below 100, such as 2%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read() {
        for (text, expect) in [("2%", Some(0.02)), ("0.5 %", Some(0.005)), ("1", Some(0.01)), ("0%", Some(0.0))] {
            assert_eq!(percent(text).ok(), expect, "{text}");
        }
        for text in ["", "%", "-1%", "100%", "NaN", "two"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }
}
