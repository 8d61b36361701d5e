//! What is set is found, explained and believed, and the log is as it is asked for.

use std::process::Command;

use serde_json::Value;

use crate::support::{Ended, Lab, text};

/// What `config explain --json` says of an option.
fn explained(command: &mut Command, name: &str) -> Value {
    let ended = Ended::of(command.output().expect("the program starts"));
    let rows: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let row = rows.as_array().expect("rows").iter().find(|row| row["name"] == name);
    row.unwrap_or_else(|| panic!("{name} is listed: {ended:?}")).clone()
}

#[test]
fn the_nearest_of_flag_environment_and_files_is_believed_and_explained() {
    let lab = Lab::new();
    let arguments = ["config", "explain", "--json"];
    let name = "server.queue_max";
    let check = |command: &mut Command, value: u64, origin: &str, place: Option<&str>| {
        let row = explained(command, name);
        assert_eq!((&row["value"], &row["origin"]), (&value.into(), &origin.into()), "{row}");
        assert_eq!(row["place"].as_str(), place, "{row}");
    };
    check(&mut lab.command(&arguments), 1000, "default", None);
    std::fs::create_dir(lab.path("conf")).expect("a folder");
    lab.write("conf/config.yaml", "server:\n  queue_max: 1\n");
    check(&mut lab.command(&arguments), 1, "file", Some("conf/config.yaml line 2"));
    lab.write(".env", "# ours\nSTORELAB_SERVER_QUEUE_MAX=2\n");
    check(&mut lab.command(&arguments), 2, ".env", Some(".env line 2"));
    let variable = "STORELAB_SERVER_QUEUE_MAX";
    let place = "environment STORELAB_SERVER_QUEUE_MAX";
    check(lab.command(&arguments).env(variable, "3"), 3, "environment", Some(place));
    let with_flag = ["config", "explain", "--json", "--queue-max", "4"];
    check(lab.command(&with_flag).env(variable, "3"), 4, "flag", Some("flag --queue-max"));
    let other = lab.write("other.yaml", "databases: { redis: { max_connections: 9 } }\n");
    let row = explained(
        &mut lab.command(&["config", "explain", "--json", "--config", text(&other)]),
        "databases.redis.max_connections",
    );
    assert_eq!(row["value"], 9, "{row}");
}

#[test]
fn the_store_is_where_the_files_say() {
    let lab = Lab::new();
    lab.write(".env", "STORELAB_STORE=elsewhere.db\n");
    let ended = lab.run(&["runs"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(lab.path("elsewhere.db").exists(), "the results store is made where .env says");
}

#[test]
fn what_is_wrong_is_said_by_every_command_but_those_of_a_shell() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("conf")).expect("a folder");
    lab.write("conf/config.yaml", "experiments:\n  default_rwos: 5\n");
    for arguments in [&["runs"][..], &["config", "explain"], &["run", "null:", "--for", "1ms"]] {
        let ended = lab.run(arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let parts =
            ["conf/config.yaml line 2", "`experiments.default_rwos`", "hint: did you mean `experiments.default_rows`?"];
        assert!(parts.iter().all(|part| ended.stderr.contains(part)), "{ended:?}");
    }
    assert_eq!(lab.run(&["completions", "bash"]).code, Some(0));
    assert_eq!(lab.run(&["runs", "--config", "/dev/null"]).code, Some(0));
    let ended = lab.run(&["runs", "--config", "gone.yaml"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("gone.yaml"), "{ended:?}");
}

#[test]
fn a_value_that_is_none_is_listed_and_fails() {
    let lab = Lab::new();
    let mut command = lab.command(&["config", "explain"]);
    let ended = Ended::of(command.env("POSTGRES_PORT", "tcp://10.0.0.1:5432").output().expect("the program starts"));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stdout.contains("tcp://10.0.0.1:5432"), "{ended:?}");
    assert!(ended.stderr.contains("POSTGRES_PORT") && ended.stderr.contains("hint: write a whole number"), "{ended:?}");
    // A cluster's own variable of that name is no reason not to do something else.
    let ended =
        Ended::of(lab.command(&["runs"]).env("POSTGRES_PORT", "tcp://10.0.0.1:5432").output().expect("it starts"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn nothing_that_is_explained_holds_a_password() {
    let lab = Lab::new();
    lab.write(
        ".env",
        "POSTGRES_PASSWORD=canary\nREDIS_URL=redis://:canary@127.0.0.1\nOTEL_EXPORTER_OTLP_HEADERS=a=canary\n",
    );
    for arguments in [&["config", "explain"][..], &["config", "explain", "--json"]] {
        let mut command = lab.command(arguments);
        let ended = Ended::of(command.env("LOG_LEVEL", "trace").output().expect("the program starts"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
    }
}
