//! Flags about what must hold of a run.

use std::path::PathBuf;

use clap::Args;
use experiment::{Plan, Span, ThresholdPlan};

#[derive(Debug, Args)]
#[command(next_help_heading = "Thresholds")]
pub(crate) struct ThresholdFlags {
    /// What must hold, beside what the plan says: `p99(read) < 20ms`, `errors < 0.1%`, `rate >= 4900/s`,
    /// `max(server.cpu) < 80%`.
    #[arg(long, value_name = "EXPR")]
    pub(crate) threshold: Vec<String>,

    /// End the run once a threshold fails that can be judged by then, after its phases were measured for so long; 5s.
    #[arg(long, value_name = "DELAY", num_args = 0..=1, require_equals = true, default_missing_value = "5s")]
    pub(crate) abort_on_fail: Option<Span>,

    /// Write thresholds and checks as JUnit XML, which continuous integration shows as tests.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

impl ThresholdFlags {
    /// Adds them to a plan.
    pub(crate) fn add_to(&self, plan: &mut Plan) {
        plan.thresholds.extend(self.threshold.iter().map(ThresholdPlan::of));
        plan.abort_on_fail = self.abort_on_fail.or(plan.abort_on_fail);
    }
}
