//! Flags of `storelab config`.

use clap::{Args, Subcommand};

use crate::settings::ServiceFlags;

#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List every option with its value and where that comes from; passwords are not shown.
    Explain(ExplainArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the documentation's table.
    #[arg(long, conflicts_with = "json", hide = true)]
    pub(crate) markdown: bool,

    #[command(flatten)]
    pub(crate) settings: ServiceFlags,
}
