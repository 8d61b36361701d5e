//! What goes wrong is said clearly: what, why, what to do, and the documented exit code.

use std::process::Command;

use crate::support::{Ended, Lab, skipped, text};

/// Runs and checks the exit code, and that all of `parts` are said.
fn check(lab: &Lab, arguments: &[&str], code: i32, parts: &[&str]) {
    let ended = lab.run(arguments);
    assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "{arguments:?} does not say `{part}`: {}", ended.stderr);
    }
    assert!(ended.stdout.is_empty(), "{arguments:?}: {ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{arguments:?}: {}", ended.stderr);
}

#[test]
fn usage_errors_name_the_field_and_the_remedy() {
    let lab = Lab::new();
    let misspelt = lab.write("misspelt.yaml", "target: 'memory:'\nload: { sesions: 3 }\n");
    let contradictory = lab.write("both.yaml", "target: 'memory:'\nload: { for: 1s, operations: 5 }\n");
    let not_yaml = lab.write("broken.yaml", "target: [\n");
    for (arguments, parts) in [
        (
            &["run", "memory:", "--workload", "yscb:b"][..],
            &["there is no workload `yscb`", "hint: did you mean `ycsb`?"][..],
        ),
        (&["run", "memory:", "--workload", "ycsb:z"], &["z", "hint:"]),
        (&["run", "memory:", "--set", "recrods=5"], &["`recrods`", "hint: did you mean `records`?"]),
        (&["run", "memory:", "--set", "records=many"], &["records=many", "hint: use a whole number"]),
        (&["run", "postgers://h/d"], &["postgers", "hint: did you mean `postgres:`?"]),
        (&["run", "nowhere"], &["`nowhere`", "hint:"]),
        (&["run", "local:postgers"], &["postgers", "hint:"]),
        (&["run", "null:?latensy=1ms"], &["`latensy`", "hint: did you mean `latency`?"]),
        (&["run", "memory:", "--rate", "fast"], &["fast"]),
        (&["run", "memory:", "--sessions", "0"], &["--sessions"]),
        (&["run", "memory:", "--sesions", "1"], &["--sessions"]),
        (&["run", "memory:", "--for", "1s", "--operations", "5"], &["`for`", "hint:"]),
        (&["run", "gone.yaml"], &["gone.yaml", "hint:"]),
        (&["run", text(&misspelt)], &["`sesions`", "line 2", "hint: did you mean `sessions`?"]),
        (&["run", text(&contradictory)], &["`operations`", "hint: limit it by one of them"]),
        (&["run", text(&not_yaml)], &["the plan cannot be read"]),
        (&["run", "null:", "--workload", "operations", "--set", "operations=nooop"], &["nooop", "noop"]),
        // Before anybody is connected to: nobody listens there.
        (
            &["run", "redis://127.0.0.1:1", "--workload", "operations", "--set", "operations=get,window"],
            &["Redis has no operation `window`", "hint: stores that have it:", "postgres", "sqlite"],
        ),
        (&["load", "local:redis"], &["throw-away", "hint:"]),
        (&["engines", "up", "redsi"], &["redsi", "redis"]),
        (&["show", "nothing-like-this"], &["nothing-like-this"]),
        (&["export", "last", "--format", "markdwn"], &["`markdwn`", "hint: did you mean `markdown`?"]),
        (&["export", "last", "--output", "run.doc"], &["run.doc", "hint: formats are known by .csv"]),
        (&["export", "last"], &["which format", "hint: give --format NAME"]),
        (&["export"], &["<RUN>"]),
        // Before anything is run.
        (&["run", "redis://127.0.0.1:1", "--summary-file", "a.json", "--summary-file", "b.doc"], &["b.doc", ".json"]),
    ] {
        check(&lab, arguments, 2, parts);
    }
}

#[test]
fn a_store_by_name_is_reached_as_its_variables_say() {
    let lab = Lab::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound").port();
    lab.write(".env", &format!("POSTGRES_PORT={port}\nPOSTGRES_PASSWORD=canary\nLOG_LEVEL=info\n"));
    check(&lab, &["run", "postgres"], 3, &[&format!("127.0.0.1:{port}"), "hint:"]);
    lab.write(".env", "LOG_LEVEL=debgu\n");
    check(&lab, &["run", "postgres"], 2, &["LOG_LEVEL", "hint: did you mean `DEBUG`?"]);
}

#[test]
fn a_closed_port_is_unreachable() {
    let lab = Lab::new();
    // Nobody listens on a port that was free a moment ago; should somebody take it, it is not one of these stores.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound").port();
    for front in ["redis://", "postgres://lab@", "mysql://lab@"] {
        let database = if front.starts_with("redis") { "0" } else { "lab" };
        check(&lab, &["run", &format!("{front}127.0.0.1:{port}/{database}")], 3, &[&format!("{port}"), "hint:"]);
    }
}

#[test]
fn a_wrong_password_is_refused_and_never_shown() {
    let lab = Lab::new();
    for engine in ["redis", "postgres", "mariadb"] {
        let Some(server) = lab.server(engine) else { continue };
        let right = server.url().split('@').next().and_then(|front| front.rsplit(':').next()).expect("a password");
        let url = server.url().replace(right, "wr0ng-canary");
        let ended = lab.run(&["run", &url]);
        assert_eq!(ended.code, Some(3), "{engine}: {ended:?}");
        assert!(ended.stderr.contains("hint:"), "{engine}: {}", ended.stderr);
        assert!(!format!("{ended:?}").contains("wr0ng-canary"), "{engine} shows a password: {ended:?}");
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    let lab = Lab::new();
    if !rustix::process::geteuid().is_root() {
        skipped("a small disk can be made by root only");
        return;
    }
    let disk = lab.path("disk");
    std::fs::create_dir(&disk).expect("a folder");
    // A mount of its own in a namespace of its own: it is gone with the shell.
    let script = format!(
        "mount -t tmpfs -o size=400k none '{disk}' && '{storelab}' run memory: --accept-invalid --for 1s --warm-up 1ms --name first --report '{lab}/r.html' --store '{disk}/results.db' >'{lab}/1' 2>&1; \
         echo first $?; head -c 1m /dev/zero > '{disk}/ballast' 2>/dev/null; \
         '{storelab}' run memory: --accept-invalid --for 1s --warm-up 1ms --report '{lab}/r.html' --store '{disk}/results.db'; echo second $?; \
         '{storelab}' runs --store '{disk}/results.db'; echo third $?",
        disk = text(&disk),
        lab = text(&lab.path("")),
        storelab = env!("CARGO_BIN_EXE_storelab"),
    );
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().expect("unshare is in util-linux");
    let ended = Ended::of(output);
    assert!(ended.stdout.contains("first 0"), "{ended:?}");
    assert!(ended.stdout.contains("second 1"), "{ended:?}");
    assert!(ended.stderr.contains("full") && ended.stderr.contains("hint:"), "{ended:?}");
    assert!(ended.stdout.contains("third 0") && ended.stdout.contains("first"), "reading goes on: {ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}
