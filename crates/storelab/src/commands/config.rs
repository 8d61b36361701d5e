//! `storelab config`: what is set, to what and where.

use serde_json::{Value as Json, json};

use crate::cli::{ConfigArguments, ConfigCommand, ExplainArguments};
use crate::exit::Exit;
use crate::settings::{Given, Origin, SETTINGS, STORES, Setting, Settings, Value, variable_of};
use crate::terminal::{self, data, table};

pub(crate) fn run(arguments: &ConfigArguments, settings: &Settings) -> anyhow::Result<Exit> {
    let ConfigCommand::Explain(arguments) = &arguments.command;
    explain(arguments, settings)
}

/// Lists everything, and then fails where anything of it is no value.
fn explain(arguments: &ExplainArguments, settings: &Settings) -> anyhow::Result<Exit> {
    if arguments.markdown {
        data(&markdown());
        return Ok(Exit::Ok);
    }
    let rows = rows(settings);
    if arguments.json {
        terminal::json(&rows.iter().map(Row::json).collect::<Vec<_>>())?;
    } else {
        let mut lines = table(["option", "value", "from"]);
        for row in &rows {
            lines.add_row(row.cells());
        }
        data(&terminal::table_text(&lines));
    }
    for row in rows {
        row.value()?;
    }
    Ok(Exit::Ok)
}

/// An option, with what is said of it.
struct Row<'a> {
    name: String,
    setting: &'static Setting,
    given: Option<&'a Given>,
}

/// Every option once. One that there is for each store stands for all of them where nothing is said of any.
fn rows(settings: &Settings) -> Vec<Row<'_>> {
    SETTINGS
        .iter()
        .flat_map(|setting| {
            let of_store = |store: &&str| {
                let name = setting.name.replace('*', store);
                settings.get(&name).map(|given| Row { name, setting, given: Some(given) })
            };
            let is_pattern = setting.name.contains('*');
            let given: Vec<_> = if is_pattern { STORES.iter().filter_map(of_store).collect() } else { Vec::new() };
            if !given.is_empty() {
                return given;
            }
            let only = if is_pattern { None } else { settings.get(setting.name) };
            vec![Row { name: setting.name.to_owned(), setting, given: only }]
        })
        .collect()
}

impl Row<'_> {
    fn value(&self) -> store::Result<Option<Value>> {
        self.given.map(|given| given.value(&self.name)).transpose()
    }

    fn cells(&self) -> [String; 3] {
        let (value, origin) = match self.given {
            Some(given) => (given.shown(), given.origin.to_string()),
            None => ("-".to_owned(), "not set".to_owned()),
        };
        [self.name.clone(), terminal::plain(&value).into_owned(), terminal::plain(&origin).into_owned()]
    }

    fn json(&self) -> Json {
        let setting = self.setting;
        let value = match (self.given, self.value()) {
            (None, _) => Json::Null,
            (Some(given), Ok(Some(value))) if !setting.is_secret => typed(&value, given),
            (Some(given), _) => Json::String(given.shown()),
        };
        let place = self.given.filter(|given| given.origin != Origin::Default).map(|given| given.origin.to_string());
        json!({
            "name": self.name,
            "value": value,
            "origin": self.given.map_or("not set", |given| given.origin.word()),
            "place": place,
            "problem": self.value().err().map(|error| error.to_string()),
            "type": setting.kind.word(),
            "flag": setting.flag.map(|flag| format!("--{}", flag.name())),
            "variable": variable_of(&self.name, setting),
            "default": setting.default.filter(|_| !setting.is_secret),
            "secret": setting.is_secret,
            "summary": setting.summary,
        })
    }
}

/// A value as JSON has it; texts as others may see them.
fn typed(value: &Value, given: &Given) -> Json {
    match value {
        Value::Text(_) | Value::Address(_) => Json::String(given.shown()),
        Value::Switch(is_on) => json!(is_on),
        Value::Names(names) => json!(names),
        Value::Count(count) => json!(count),
        Value::Fraction(fraction) => json!(fraction),
    }
}

/// The table of the documentation.
fn markdown() -> String {
    let mut lines =
        vec!["| option | type | flag | variable | default | |".to_owned(), "|---|---|---|---|---|---|".to_owned()];
    lines.extend(SETTINGS.iter().map(|setting| {
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) };
        format!(
            "| `{}` | {} | {} | {} | {} | {}{} |",
            setting.name,
            code(&setting.kind.word()),
            code(&setting.flag.map(|flag| format!("--{}", flag.name())).unwrap_or_default()),
            code(setting.variable),
            code(setting.default.unwrap_or_default()),
            setting.summary,
            if setting.is_secret { " (secret)" } else { "" },
        )
    }));
    lines.join("\n")
}
