//! What can be asked for, and what is refused.

use std::collections::BTreeMap;
use std::net::TcpListener;

use provision::{ENGINES, Error, ErrorKind, Options, Process, Server, engine, install, list};

use crate::{home, installed, is_installed, options, password, query, start};

#[test]
fn given_data_stays_with_its_password() {
    for engine in installed() {
        let (_folder, home) = home();
        // Not in the home, which servers that root starts could not reach.
        // OceanBase would refuse a folder with `.tmp` in its name.
        let data = tempfile::Builder::new()
            .prefix("storelab-given-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .expect("a folder");
        let mut settings = BTreeMap::new();
        let (write, read, expect) = match engine.name() {
            "redis" | "valkey" => {
                settings.insert("appendonly".to_owned(), "yes".to_owned());
                ("SET lab 7", "INCR lab", ":8")
            }
            _ => ("CREATE TABLE lab (place INT); INSERT INTO lab VALUES (7)", "SELECT place + 1 FROM lab", "8"),
        };
        let options = Options { data: Some(data.path().to_owned()), settings, ..options(&home) };
        let first = start(engine, &options);
        let secret = password(first.url());
        let written = query(first.instance(), &secret, write).unwrap_or_default();
        assert!(!written.to_ascii_uppercase().contains("ERR"), "{}: {written}", engine.name());
        let second = Server::start(engine, &options).expect_err("the folder is in use");
        assert_eq!(second.kind(), ErrorKind::InUse, "{second}");
        first.stop().expect("it goes");

        let again = start(engine, &options);
        assert_eq!(password(again.url()), secret);
        if let Some(answer) = query(again.instance(), &secret, read) {
            assert_eq!(answer, expect, "{}", engine.name());
        }
        again.stop().expect("it goes");
        let other = ENGINES.iter().find(|other| other.name() != engine.name()).expect("several");
        if is_installed(*other, &home) {
            let refused = Server::start(*other, &options).expect_err("somebody else's data");
            assert_eq!(refused.kind(), ErrorKind::Config, "{refused}");
        }
    }
}

#[test]
fn data_where_an_engine_would_not_find_it_again_is_refused() {
    let Ok(engine) = engine("oceanbase") else { return };
    let (_folder, home) = home();
    if !is_installed(engine, &home) {
        return;
    }
    let parent = tempfile::tempdir().expect("a folder");
    let data = parent.path().join("a.tmp-b");
    let refused = Server::start(engine, &Options { data: Some(data.clone()), ..options(&home) }).expect_err("`.tmp`");
    assert_eq!((refused.kind(), refused.hint().is_some()), (ErrorKind::Config, true), "{refused}");
    assert!(!data.exists(), "nothing was made");
}

#[test]
fn data_that_was_not_made_here_is_left_alone() {
    let Some(engine) = installed().pop() else { return };
    let (_folder, home) = home();
    let data = tempfile::tempdir().expect("a folder");
    let foreign = data.path().join("data");
    std::fs::create_dir(&foreign).expect("made");
    std::fs::write(foreign.join("precious"), "x").expect("written");
    let permissions: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(data.path(), permissions).expect("set");
    let options = Options { data: Some(data.path().to_owned()), ..options(&home) };
    let error = Server::start(engine, &options).expect_err("not ours");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(std::fs::read_to_string(foreign.join("precious")).expect("there"), "x");
}

#[test]
fn a_server_that_does_not_come_up_says_why_and_leaves_nothing() {
    // These take what they do not know, and go on.
    const LENIENT: [&str; 2] = ["oceanbase", "tidb"];
    for engine in installed().into_iter().filter(|engine| !LENIENT.contains(&engine.name())) {
        let (_folder, home) = home();
        let settings = BTreeMap::from([("no-such-setting".to_owned(), "1".to_owned())]);
        let error = Server::start(engine, &Options { settings, ..options(&home) }).expect_err("no such setting");
        assert_eq!(error.kind(), ErrorKind::StartFailed, "{error}");
        assert!(error.to_string().replace('_', "-").contains("no-such-setting"), "the log's end is in it: {error}");
        assert_nothing_left(&home);
    }
}

#[test]
fn names_and_ports_are_taken_once() {
    let Ok(engine) = engine("redis") else { return };
    let (_folder, home) = home();
    if !is_installed(engine, &home) {
        return;
    }
    let named = Options { name: Some("only".to_owned()), ..options(&home) };
    let server = start(engine, &named);
    assert_eq!(server.instance().name(), "only");
    let in_use = |error: Error| (error.kind(), error.hint().is_some());
    let same_name = Server::start(engine, &named).expect_err("the name is taken");
    assert_eq!(in_use(same_name), (ErrorKind::InUse, true));
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = Some(listener.local_addr().expect("bound").port());
    let fixed = Options { port, ..options(&home) };
    let same_port = Server::start(engine, &fixed).expect_err("the port is taken");
    assert_eq!(in_use(same_port), (ErrorKind::InUse, true));
    drop(listener);
    assert_eq!(Some(start(engine, &fixed).port()), port);
    server.stop().expect("it goes");
    assert_nothing_left(&home);
}

#[test]
fn settings_reach_the_server_but_cannot_open_it() {
    let addresses = BTreeMap::from([
        ("influxdb", ("http-bind-address", "0.0.0.0:8086")),
        ("postgres", ("listen_addresses", "0.0.0.0")),
        ("mariadb", ("bind-address", "0.0.0.0")),
        ("mysql", ("bind-address", "0.0.0.0")),
        // It has no setting for that, and listens everywhere unless it is kept from it.
        ("oceanbase", ("cpu_count", "2")),
        ("tidb", ("host", "0.0.0.0")),
        ("redis", ("bind", "0.0.0.0")),
        ("valkey", ("bind", "0.0.0.0")),
    ]);
    for engine in installed() {
        let (_folder, home) = home();
        let wanted = addresses.get(engine.name());
        let settings = wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let server = start(engine, &Options { settings, ..options(&home) });
        // What listens on all addresses would keep another loopback address's port from being taken.
        let other = TcpListener::bind(("127.0.0.2", server.port()));
        assert!(other.is_ok(), "{} listens beyond 127.0.0.1", engine.name());
    }
    let Ok(postgres) = engine("postgres") else { return };
    let (_folder, home) = home();
    if is_installed(postgres, &home) {
        let settings = BTreeMap::from([("work_mem".to_owned(), "7MB".to_owned())]);
        let server = start(postgres, &Options { settings, ..options(&home) });
        if let Some(answer) = query(server.instance(), &password(server.url()), "SHOW work_mem") {
            assert_eq!(answer, "7MB");
        }
    }
}

#[test]
fn what_is_installed_is_listed_and_not_installed_again() {
    let (_folder, home) = home();
    let names: Vec<_> = list(&home).iter().map(|status| status.engine.name()).collect();
    assert!(names.is_sorted() && names.contains(&"postgres") && names.len() == ENGINES.len(), "{names:?}");
    for engine in installed() {
        let mut lines = Vec::new();
        let installation = install(engine, &home, |line| lines.push(line.to_owned())).expect("there already");
        assert!(installation.version().contains('.'), "{installation:?}");
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
}

/// No record, and no supervisor of ours that still runs in it.
fn assert_nothing_left(home: &provision::Home) {
    assert!(home.instances().expect("readable").is_empty());
    let own = Process::current().expect("/proc is there");
    let folder = home.folder().to_string_lossy().into_owned();
    assert!(own.tree().iter().all(|process| !process.command_line().join(" ").contains(&folder)));
}
