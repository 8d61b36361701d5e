//! The command line: one command a file in `commands`.
//!
//! Data go to stdout, talk goes to stderr. Exit codes are in [`exit`].

mod cli;
mod commands;
mod environment;
mod exit;
mod knee;
mod live;
mod log;
mod progress;
mod settings;
mod sparkline;
mod terminal;
mod traces;
mod validity;

use std::process::ExitCode;

use clap::Parser;

use crate::settings::Settings;

fn main() -> ExitCode {
    let arguments = cli::Cli::parse();
    match carry_out(arguments) {
        Ok(code) => code.into(),
        Err(error) => {
            terminal::error(&error);
            exit::code_of(&error).into()
        }
    }
}

fn carry_out(arguments: cli::Cli) -> anyhow::Result<exit::Exit> {
    let settings = match arguments.command {
        // What a shell asks at its start must not depend on the folder that it starts in.
        cli::Command::Completions { .. } | cli::Command::Man { .. } => &Settings::defaults(),
        _ => environment::read(&arguments.given(), arguments.config.as_deref())?,
    };
    log::begin(settings)?;
    commands::run(arguments.command, settings)
}
