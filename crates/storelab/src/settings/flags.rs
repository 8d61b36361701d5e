//! Flags, made from the table.

use std::fmt;

use clap::{Arg, ArgAction, ArgMatches, Args, Command};

use super::kind::Kind;
use super::table::{Flag, SETTINGS, Setting};

/// The options that a command line gives, by name.
type Given = Vec<(&'static str, String)>;

/// Flags that every command has.
#[derive(Clone, Default)]
pub(crate) struct GlobalFlags(pub(crate) Given);

/// Flags of the commands about the service.
#[derive(Clone, Default)]
pub(crate) struct ServiceFlags(pub(crate) Given);

impl fmt::Debug for GlobalFlags {
    /// Names alone: a value may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl fmt::Debug for ServiceFlags {
    /// As of the others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        GlobalFlags(self.0.clone()).fmt(f)
    }
}

fn is_global(setting: &Setting) -> bool {
    matches!(setting.flag, Some(Flag::Everywhere(_)))
}

fn is_of_service(setting: &Setting) -> bool {
    matches!(setting.flag, Some(Flag::Service(_)))
}

fn argument(setting: &'static Setting) -> Arg {
    let flag = setting.flag.expect("only settings with flags come here").name();
    let default = setting.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
    let kind = setting.kind;
    let words = if let Kind::Choice(_) = kind { format!(" [{}]", kind.word()) } else { String::new() };
    let help = format!("{}{words}{default} [env: {}]", capitalised(setting.summary), setting.variable);
    let read = move |text: &str| match kind.read(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(refusal) => Err(format!("it {}: {}", refusal.reason, refusal.remedy)),
    };
    let argument = Arg::new(setting.name).long(flag).help(help).value_name(kind.placeholder()).value_parser(read);
    match kind {
        // `--insecure-listen` alone means yes.
        Kind::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => argument.action(ArgAction::Set),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}

fn given(matches: &ArgMatches, settings: impl Iterator<Item = &'static Setting>) -> Given {
    settings
        .filter_map(|setting| {
            let text = matches.try_get_one::<String>(setting.name).ok().flatten()?;
            Some((setting.name, text.clone()))
        })
        .collect()
}

impl clap::FromArgMatches for GlobalFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given(matches, SETTINGS.iter().filter(|setting| is_global(setting)))))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for GlobalFlags {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.iter().filter(|setting| is_global(setting)).map(|setting| argument(setting).global(true)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for ServiceFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given(matches, SETTINGS.iter().filter(|setting| is_of_service(setting)))))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ServiceFlags {
    fn augment_args(command: Command) -> Command {
        let arguments = SETTINGS.iter().filter(|setting| is_of_service(setting)).map(argument);
        command.next_help_heading("Service").args(arguments)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
