//! What holds of what several sources say, and that the table is what drivers, examples and the documentation say.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use drivers::DRIVERS;

use super::kind::Kind;
use super::*;

/// A source and what it says of `server.listen`, by the last byte of the address.
const LISTENERS: [(&str, u8); 4] = [("flag", 4), ("environment", 3), (".env", 2), ("file", 1)];

fn resolved(
    flags: &[(&'static str, String)],
    environment: &[(&str, &str)],
    dotenv: &str,
    file: &str,
) -> Result<Settings> {
    Settings::resolve(&Sources {
        flags,
        environment: &|name| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()),
        dotenv: Some(dotenv.to_owned()),
        file: Some(("conf/config.yaml".to_owned(), file.to_owned())),
    })
}

fn text_of(settings: &Settings, name: &str) -> Option<String> {
    settings.get(name).map(|given| given.text.clone())
}

#[test]
fn of_every_set_of_sources_the_nearest_is_believed() {
    for present in 0_u8..16 {
        let is_there = |source: usize| present & (1 << source) != 0;
        let address = |source: usize| format!("127.0.0.{}:80", LISTENERS[source].1);
        let flags = if is_there(0) { vec![("server.listen", address(0))] } else { Vec::new() };
        let variable = address(1);
        let environment = if is_there(1) { vec![("STORELAB_SERVER_LISTEN", variable.as_str())] } else { Vec::new() };
        let dotenv = if is_there(2) { format!("STORELAB_SERVER_LISTEN={}\n", address(2)) } else { String::new() };
        let file = if is_there(3) { format!("server:\n  listen: {}\n", address(3)) } else { String::new() };
        let settings = resolved(&flags, &environment, &dotenv, &file).expect("all are addresses");
        let nearest = (0..4).find(|source| is_there(*source));
        let expected = nearest.map_or_else(|| "127.0.0.1:8000".to_owned(), address);
        let found = settings.get("server.listen").expect("it has a default");
        assert_eq!(found.text, expected, "{present:04b}");
        assert_eq!(found.origin.word(), nearest.map_or("default", |source| LISTENERS[source].0), "{present:04b}");
        assert_eq!(settings.address("server.listen").expect("an address"), Some(expected.parse().expect("an address")));
    }
}

#[test]
fn a_place_is_said_where_a_value_comes_from() {
    let flags = [("server.queue_max", "7".to_owned())];
    let environment = [("LOG_LEVEL", "debug")];
    let settings =
        resolved(&flags, &environment, "\nREDIS_URL=redis://h\n", "log:\n  format: json\n").expect("all well");
    for (name, place) in [
        ("server.queue_max", "flag --queue-max"),
        ("log.level", "environment LOG_LEVEL"),
        ("databases.redis.url", ".env line 2"),
        ("log.format", "conf/config.yaml line 2"),
        ("server.listen", "default"),
    ] {
        assert_eq!(settings.get(name).expect(name).origin.to_string(), place);
    }
}

#[test]
fn every_option_is_taken_from_a_variable_and_from_the_file() {
    for (name, setting) in names() {
        let written = a_value(setting.kind);
        let variable = variable_of(&name, setting);
        let dotenv = format!("{variable}={written}\n");
        let mut file = String::new();
        for (depth, part) in name.split('.').enumerate() {
            file = format!("{file}\n{}{part}:", "  ".repeat(depth));
        }
        let file = format!("{file} '{written}'\n");
        for (environment, dotenv, file, word) in [
            (vec![(variable.as_str(), written)], "", "", "environment"),
            (Vec::new(), dotenv.as_str(), "", ".env"),
            (Vec::new(), "", file.as_str(), "file"),
        ] {
            let settings = resolved(&[], &environment, dotenv, file).unwrap_or_else(|error| panic!("{name}: {error}"));
            let given = settings.get(&name).expect("it is given");
            assert_eq!((given.text.as_str(), given.origin.word()), (written, word), "{name}");
            given.value(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(settings.variable(&variable).as_deref(), Some(written), "{name}");
        }
    }
}

/// Some value of the kind that is no default.
fn a_value(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Path | Kind::Names => "something",
        Kind::Switch => "yes",
        Kind::Count(..) => "42",
        Kind::Fraction => "0.5",
        Kind::Address => "127.0.0.9:9",
        Kind::Choice(words) => words.last().expect("there are words"),
        Kind::Url(schemes) => ["http://h:9", "mongodb://h:9", "redis://h:9"]
            .into_iter()
            .find(|url| schemes.iter().any(|scheme| url.starts_with(scheme)))
            .expect("a scheme that is known here"),
    }
}

#[test]
fn values_that_are_none_name_field_reason_and_remedy() {
    let wrong = |settings: Result<Settings>, name: &str| match settings {
        Ok(settings) => settings.get(name).expect(name).value(name).expect_err(name),
        Err(error) => error,
    };
    for (environment, dotenv, file, name, parts) in [
        (
            &[("LOG_LEVEL", "debgu")][..],
            "",
            "",
            "log.level",
            &["LOG_LEVEL is `debgu`", "does not exist", "did you mean `DEBUG`?"][..],
        ),
        (
            &[("STORELAB_SERVER_LISTEN", "80")],
            "",
            "",
            "server.listen",
            &["STORELAB_SERVER_LISTEN", "no address", "127.0.0.1:8000"],
        ),
        (
            &[],
            "\nPOSTGRES_PORT=tcp://10.0.0.1\n",
            "",
            "databases.postgres.port",
            &[".env line 2: POSTGRES_PORT", "whole number"],
        ),
        (
            &[],
            "",
            "server:\n  runs_max: 0\n",
            "server.runs_max",
            &["conf/config.yaml line 2: server.runs_max", "range", "1 to 64"],
        ),
        (
            &[],
            "",
            "experiments: { default_rows: ten }\n",
            "experiments.default_rows",
            &["line 1: experiments.default_rows is `ten`"],
        ),
        (&[], "", "databases: { postgres: { pool_size: -1 } }\n", "", &["databases.postgres.pool_size is `-1`"]),
        (
            &[],
            "",
            "prometheus_url: ftp://u:canary@h\n",
            "",
            &["prometheus_url is `ftp://***@h`", "http:// or https://"],
        ),
        (&[], "STORELAB_SERVER_LISTNE=x", "", "", &[".env line 1", "did you mean `STORELAB_SERVER_LISTEN`?"]),
        (&[], "STORELAB_HOME=/x", "", "", &[".env line 1", "environment alone"]),
        (&[], "nonsense", "", "", &[".env line 1"]),
        (&[], "", "sevrer: {}", "", &["conf/config.yaml line 1", "did you mean `server`?"]),
    ] {
        let error = wrong(resolved(&[], environment, dotenv, file), name);
        let said = format!("{error}; {}", error.hint().expect("a remedy"));
        for part in parts {
            assert!(said.contains(part), "`{part}` is missing: {said}");
        }
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn an_empty_variable_says_nothing_but_an_empty_password() {
    let environment = [("POSTGRES_HOST", ""), ("MYSQL_PASSWORD", ""), ("INFLUXDB_TOKEN", "")];
    let settings = resolved(&[], &environment, "POSTGRES_HOST=db\n", "").expect("nothing is wrong");
    assert_eq!(text_of(&settings, "databases.postgres.host").as_deref(), Some("db"));
    assert_eq!(text_of(&settings, "databases.mysql.password").as_deref(), Some(""));
    assert_eq!(text_of(&settings, "databases.influxdb.token"), None);
}

#[test]
fn variables_of_others_in_dotenv_are_their_business() {
    let dotenv = "COMPOSE_PROJECT_NAME=x\nMYSQL_ROOT_PASSWORD=y\nPATH=/bin\n";
    resolved(&[], &[], dotenv, "").expect("others read this file too");
}

#[test]
fn secrets_are_not_shown() {
    let dotenv = "POSTGRES_PASSWORD=canary\nREDIS_URL=redis://:canary@h\nSTORELAB_STORE=postgres://u:canary@h/db\n";
    let settings = resolved(&[], &[], dotenv, "").expect("nothing is wrong");
    for (name, given) in settings.given() {
        assert!(!given.shown().contains("canary"), "{name}: {}", given.shown());
    }
    assert_eq!(settings.variable("POSTGRES_PASSWORD").as_deref(), Some("canary"));
}

#[test]
fn the_table_is_in_order_and_its_defaults_are_values() {
    assert!(SETTINGS.is_sorted_by_key(|setting| setting.name), "SETTINGS is sorted by name");
    assert!(STORES.is_sorted(), "STORES is sorted");
    let variables: BTreeSet<_> = names().map(|(name, setting)| variable_of(&name, setting)).collect();
    assert_eq!(variables.len(), names().count(), "no two options have the same variable");
    for setting in SETTINGS {
        if let Some(default) = setting.default {
            setting.kind.read(default).unwrap_or_else(|refusal| panic!("{}: {refusal:?}", setting.name));
        }
        assert_eq!(setting.name.contains('*'), setting.variable.contains('*'), "{}", setting.name);
    }
}

#[test]
fn the_table_knows_every_store_that_is_reached_over_a_network() {
    for driver in DRIVERS.iter().filter(|driver| driver.default_port().is_some()) {
        assert!(STORES.contains(&driver.name()), "{} is in STORES", driver.name());
    }
}

#[test]
fn the_table_has_the_variables_and_defaults_of_drivers() {
    let defaults = Settings::defaults();
    for driver in DRIVERS {
        let asked = RefCell::new(BTreeSet::new());
        let by_itself = driver.url_from_environment(&|name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        });
        let by_table = driver.url_from_environment(&|name| {
            let (name, _) = names().find(|(known, setting)| variable_of(known, setting) == name)?;
            text_of(&defaults, &name)
        });
        assert_eq!(by_itself, by_table, "{}", driver.name());
        for variable in asked.into_inner() {
            let known = names().any(|(name, setting)| variable_of(&name, setting) == variable);
            assert!(known, "{} asks for {variable}, which is not in the table", driver.name());
        }
    }
}

/// A file of the repository.
fn file(path: &str) -> String {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a file says once the options that it only mentions, as `# NAME…`, are said.
/// What a panic or a log of ours would show of it.
#[test]
fn no_value_that_may_be_a_password_is_shown() {
    const CANARY: &str = "c4nary";
    let url = format!("postgres://u:{CANARY}@127.0.0.1/db");
    let dotenv = format!("POSTGRES_PASSWORD={CANARY}");
    let file = format!("telemetry:\n  otlp_headers: authorization={CANARY}\n");
    let flags = vec![("store", url.clone())];
    let settings = resolved(&flags, &[("MYSQL_PASSWORD", CANARY)], &dotenv, &file).expect("all of them are options");
    for name in ["store", "databases.postgres.password", "databases.mysql.password", "telemetry.otlp_headers"] {
        let given = settings.get(name).unwrap_or_else(|| panic!("{name} is given"));
        assert!(given.text.contains(CANARY), "{name}");
        let value = given.value(name).expect("it is one");
        assert!(!format!("{given:?} {value:?}").contains(CANARY), "{name}");
    }
    let variables = dotenv::parse(&dotenv).expect("a variable");
    let entries = file::parse("conf/config.yaml", &file).expect("an option");
    let flags = (GlobalFlags(flags.clone()), ServiceFlags(flags));
    assert!(!format!("{settings:?} {variables:?} {entries:?} {flags:?}").contains(CANARY));
    let line = ["storelab", "run", &url, "--baseline", &url, "--store", &url];
    let arguments = <crate::cli::Cli as clap::Parser>::try_parse_from(line).expect("arguments");
    assert!(!format!("{arguments:?}").contains(CANARY), "{arguments:?}");
}

fn with_mentioned(text: &str, is_option: impl Fn(&str) -> bool) -> String {
    let said = |line: &str| match line.strip_prefix("# ") {
        Some(option) if is_option(option) => format!("{option}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(said).collect()
}

#[test]
fn the_example_of_variables_has_each_with_its_default() {
    let text = file("env.example");
    resolved(&[], &[], &text, "").expect("it can be used as it is");
    let is_option =
        |line: &str| line.split_once('=').is_some_and(|(name, _)| SETTINGS.iter().any(|one| one.variable == name));
    let variables = dotenv::parse(&with_mentioned(&text, is_option)).expect("each line is a variable");
    for setting in SETTINGS.iter().filter(|setting| !setting.name.contains('*')) {
        let found = variables.iter().find(|one| one.name == setting.variable);
        let found = found.unwrap_or_else(|| panic!("env.example has no {}", setting.variable));
        if let Some(default) = setting.default {
            assert_eq!(found.value, default, "env.example: {}", setting.variable);
        }
    }
}

#[test]
fn the_example_of_the_file_has_each_option_with_its_default() {
    let text = file("conf/config.example.yaml");
    let settings = resolved(&[], &[], "", &text).expect("it can be used as it is");
    assert_eq!(settings.count("databases.postgres.max_overflow").expect("a number"), Some(20));
    let is_option = |line: &str| line.split(':').next().is_some_and(|key| !key.trim().contains(' '));
    let entries =
        file::parse("conf/config.example.yaml", &with_mentioned(&text, is_option)).expect("each is an option");
    for setting in SETTINGS.iter().filter(|setting| !setting.name.starts_with("databases.")) {
        let found = entries.iter().find(|entry| entry.name == setting.name);
        let found = found.unwrap_or_else(|| panic!("conf/config.example.yaml has no {}", setting.name));
        if let Some(default) = setting.default {
            assert_eq!(found.text, default, "conf/config.example.yaml: {}", setting.name);
        }
    }
}
