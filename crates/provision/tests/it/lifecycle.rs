//! What a server goes through.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use provision::{Engine, Instance, Process};

use crate::{greeting, home, installed, options, password, query, start};

#[test]
fn a_server_is_started_paused_resumed_killed_restarted_and_stopped() {
    for engine in installed() {
        let name = engine.name();
        let (_folder, home) = home();
        let mut server = start(engine, &options(&home));
        let instance = server.instance().clone();
        assert_eq!(home.instance(instance.name()).expect("recorded").process_id(), server.process_id());
        assert_eq!(Process::find(server.process_id()), instance.processes().first().copied(), "{name}");
        assert!(serves(&instance), "{name}");

        server.pause().expect("it runs");
        assert!(states(&instance).iter().all(|state| *state == 'T'), "{name}: {:?}", states(&instance));
        server.resume().expect("it runs");
        assert!(serves(&instance), "{name}");
        assert!(!states(&instance).contains(&'T'), "{name}: {:?}", states(&instance));

        let processes = instance.processes();
        assert!(server.restart().is_err(), "{name} still runs");
        let shared_memory = shared_memory(&instance);
        server.kill().expect("nothing survives");
        assert!(shared_memory.iter().all(|path| !path.exists()), "{name}: {shared_memory:?}");
        assert!(processes.iter().all(|process| !process.is_alive()), "{name}");
        assert!(server.pause().is_err(), "{name} is dead");
        server.restart().expect("the data was left intact");
        let instance = server.instance().clone();
        assert!(serves(&instance), "{name}");

        let processes = instance.processes();
        server.stop().expect("it goes");
        assert_gone(&instance, &processes);
        assert!(home.instances().expect("readable").is_empty());
    }
}

#[test]
fn two_servers_of_a_kind_do_not_meet() {
    for engine in installed() {
        let (_folder, home) = home();
        let servers = [start(engine, &options(&home)), start(engine, &options(&home))];
        assert_ne!(servers[0].port(), servers[1].port());
        assert_ne!(servers[0].url(), servers[1].url());
        assert_eq!(home.instances().expect("readable").len(), 2);
        let instances = servers.each_ref().map(|server| server.instance().clone());
        // One's password does not open the other.
        if engine.has_password() {
            assert_refuses(&instances[0], &password(instances[1].url()));
        }
        let processes = instances.each_ref().map(Instance::processes);
        drop(servers);
        for (instance, processes) in instances.iter().zip(&processes) {
            assert_gone(instance, processes);
        }
    }
}

#[test]
fn a_servers_password_is_wanted_and_shown_nowhere() {
    for engine in installed().into_iter().filter(|engine| engine.has_password()) {
        let (_folder, home) = home();
        let server = start(engine, &options(&home));
        let instance = server.instance();
        let secret = password(server.url());
        assert_refuses(instance, "wrong");
        assert_refuses(instance, "");
        let own = Process::current().expect("/proc is there");
        for process in own.tree().into_iter().chain(instance.processes()) {
            let shown = process.command_line().join(" ");
            let environment = std::fs::read(format!("/proc/{}/environ", process.id())).unwrap_or_default();
            assert!(!shown.contains(&secret), "{}: {shown}", engine.name());
            // Our own clients' environment is theirs alone, and none of them is there now.
            assert!(!String::from_utf8_lossy(&environment).contains(&secret), "{}: {shown}", engine.name());
        }
        let raw_log = std::fs::read_to_string(instance.folder().join("server.log")).expect("a log");
        assert!(!raw_log.contains(&secret) && !format!("{server:?}").contains(&secret), "{}", engine.name());
        let mode = std::fs::metadata(instance.folder()).expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "nobody else enters {}", instance.folder().display());
        let record = home.folder().join("engines").join(format!("{}.json", instance.name()));
        assert_eq!(std::fs::metadata(record).expect("there").permissions().mode() & 0o077, 0);
        assert_unprivileged(engine, instance);
        server.stop().expect("it goes");
    }
}

/// Whether a real client is served; one that is not here is taken for served.
pub(crate) fn serves(instance: &Instance) -> bool {
    let (statement, expect) = greeting(instance.engine());
    query(instance, &password(instance.url()), statement).is_none_or(|answer| answer == expect)
}

/// No process and no folder is left.
pub(crate) fn assert_gone(instance: &Instance, processes: &[Process]) {
    let left: Vec<_> = processes.iter().filter(|process| process.is_alive()).collect();
    assert!(left.is_empty(), "{}: {left:?}", instance.name());
    assert!(!instance.folder().exists(), "{}", instance.folder().display());
}

fn assert_refuses(instance: &Instance, password: &str) {
    let (statement, expect) = greeting(instance.engine());
    if let Some(answer) = query(instance, password, statement) {
        assert_ne!(answer, expect, "{} let somebody in with `{password}`", instance.name());
        let answer = answer.to_lowercase();
        let refusals = ["password", "denied", "noauth"];
        assert!(refusals.iter().any(|refusal| answer.contains(refusal)), "{}: {answer}", instance.name());
    }
}

fn assert_unprivileged(engine: &dyn Engine, instance: &Instance) {
    for process in instance.processes() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
        let users = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default();
        assert!(!users.split_whitespace().any(|id| id == "0"), "{} runs as root: {users}", engine.name());
    }
}

/// The files in /dev/shm that its processes have mapped.
fn shared_memory(instance: &Instance) -> Vec<PathBuf> {
    let processes = instance.processes().into_iter();
    let maps = processes.filter_map(|process| std::fs::read_to_string(format!("/proc/{}/maps", process.id())).ok());
    let lines: Vec<String> = maps.flat_map(|maps| maps.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let paths = lines.iter().filter_map(|line| line.find("/dev/shm/").map(|start| PathBuf::from(&line[start..])));
    paths.collect()
}

/// The states of its processes; one that has ended but that a paused parent cannot collect is none any more.
fn states(instance: &Instance) -> Vec<char> {
    instance.processes().into_iter().filter(|process| process.is_alive()).filter_map(Process::state).collect()
}
