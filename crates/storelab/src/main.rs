//! The command line: one command a file in `commands`.
//!
//! Data go to stdout, talk goes to stderr. Exit codes are in [`exit`].

mod cli;
mod commands;
mod environment;
mod exit;
mod knee;
mod live;
mod progress;
mod sparkline;
mod terminal;
mod validity;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = cli::Cli::parse();
    if let Err(error) = environment::log() {
        terminal::error(&error.into());
        return exit::Exit::Usage.into();
    }
    match commands::run(arguments) {
        Ok(code) => code.into(),
        Err(error) => {
            terminal::error(&error);
            exit::code_of(&error).into()
        }
    }
}
