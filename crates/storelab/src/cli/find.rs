//! Flags of a search for the greatest load that keeps a condition.

use clap::Args;
use experiment::{FindPlan, LoadPlan, LoadRange, Share};
use store::{Error, Result};

/// Which condition is to be kept, and what is done with the load that keeps it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Search")]
pub(crate) struct FindFlags {
    /// Search for the greatest rate of an open load that keeps this condition, such as `p99 < 10ms` or `p99(read) < 10ms`,
    /// and run at it.
    #[arg(long, value_name = "EXPR", conflicts_with_all = ["find_sessions", "rate", "operations", "think"])]
    pub(crate) find_rate: Option<String>,

    /// Search for the greatest number of sessions of a closed load that keeps this condition, say how throughput grows with
    /// them, and run with so many.
    #[arg(long, value_name = "EXPR", conflicts_with_all = ["sessions", "rate", "arrivals", "operations"])]
    pub(crate) find_sessions: Option<String>,

    /// Run at this share of what was found: `70%`.
    #[arg(long, value_name = "SHARE")]
    pub(crate) then: Option<Share>,
}

impl FindFlags {
    /// Lets the flags override the plan's load.
    ///
    /// # Errors
    /// `Config`, where there is nothing to be found for `--then`.
    pub(crate) fn apply(&self, load: &mut LoadPlan) -> Result<()> {
        if let Some(under) = self.find_rate.as_ref().or(self.find_sessions.as_ref()) {
            // The rest of a plan's search, such as how long a step takes, stays.
            let mut find = load.find.take().unwrap_or_default();
            find.under = Some(under.clone());
            if self.find_rate.is_some() {
                find.rate.get_or_insert_with(LoadRange::default);
                find.sessions = None;
            } else {
                find.sessions.get_or_insert_with(LoadRange::default);
                find.rate = None;
                (load.sessions, load.arrivals) = (None, None);
            }
            (load.phases, load.rate, load.operations) = (None, None, None);
            load.find = Some(find);
        }
        if let Some(share) = self.then {
            let find: &mut FindPlan = load.find.as_mut().ok_or_else(|| {
                Error::config("`--then` has no meaning without a search")
                    .with_hint("give `--find-rate` or `--find-sessions`, or run at a `--rate` of your own")
            })?;
            find.then = Some(share);
        }
        Ok(())
    }
}
