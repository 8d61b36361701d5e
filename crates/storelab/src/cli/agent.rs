//! Flags of what drives parts of a load.

use std::num::NonZeroU32;

use clap::Args;
use experiment::{Span, TargetText};

/// What `storelab agent` takes.
#[derive(Debug, Args)]
pub(crate) struct AgentArguments {
    /// End after one part.
    #[arg(long)]
    pub(crate) once: bool,

    /// The target's URL with its password, where it has one: the store keeps none.
    #[arg(long, value_name = "URL", env = "STORELAB_TARGET", hide_env_values = true)]
    pub(crate) target: Option<TargetText>,

    /// What to call the agent; the host's name and the process' number where this is not given.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// Among how many agents a run is divided.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Load from many hosts")]
pub(crate) struct PartsFlags {
    /// Divide the load among so many agents, which `storelab agent` starts over the same results store.
    #[arg(long, value_name = "N")]
    pub(crate) parts: Option<NonZeroU32>,

    /// How long to wait until all of them are ready; 1m.
    #[arg(long, value_name = "D", requires = "parts")]
    pub(crate) parts_within: Option<Span>,
}
