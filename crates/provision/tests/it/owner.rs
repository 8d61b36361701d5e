//! What becomes of a server when whoever started it dies.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use provision::{Engine, Home, Instance, Options, Process, engine};

use crate::lifecycle::{assert_gone, serves};
use crate::{eventually, home, kinds, start, within};

/// Tells this program to be an owner, started by a test: `ENGINE hold|detach HOME`.
const ROLE: &str = "STORELAB_TEST_OWNER";

/// What the owner says when its server is ready.
const READY: &str = "the server is ready";

/// No server may be left this long after its owner was killed (the promise "no orphan").
const ORPHAN_TIME_MAX: Duration = Duration::from_secs(2);

/// Not a test of its own: what the tests below start and kill.
#[test]
#[expect(clippy::print_stdout, reason = "the test that started it reads this")]
fn owner_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut words = role.splitn(3, ' ');
    let mut word = || words.next().expect("three words");
    let (name, manner, home) = (word(), word(), word());
    let options = Options { home: Some(Home::at(home)), ..Options::default() };
    let server = start(engine(name).expect("known"), &options);
    if manner == "detach" {
        server.detach().expect("it lives on");
        return println!("{READY}");
    }
    println!("{READY}");
    // Until it is killed: the test keeps the other end open.
    let mut nothing = Vec::new();
    std::io::stdin().read_to_end(&mut nothing).expect("read");
}

#[test]
fn a_killed_owners_server_is_gone_within_two_seconds_also_a_paused_one() {
    for engine in kinds() {
        for is_paused in [false, true] {
            let (_folder, home) = home();
            let mut owner = start_owner(engine, "hold", &home);
            let instance = only(&home);
            let processes = instance.processes();
            assert!(serves(&instance));
            if is_paused {
                instance.pause().expect("it runs");
            }
            owner.kill().expect("it waits");
            owner.wait().expect("collected");
            let what = format!("{} is gone (paused: {is_paused})", engine.name());
            within(ORPHAN_TIME_MAX, &what, || processes.iter().all(|process| !process.is_alive()));
            eventually("its folder is gone", || !instance.folder().exists());
            home.sweep().expect("only the record is left");
            assert!(home.instances().expect("readable").is_empty());
        }
    }
}

#[test]
fn what_a_killed_owner_and_its_killed_supervisor_left_is_swept_up() {
    for engine in kinds() {
        let (_folder, home) = home();
        let mut owner = start_owner(engine, "hold", &home);
        let instance = only(&home);
        let processes = instance.processes();
        assert!(home.sweep().expect("its owner lives").is_empty());
        let tree = Process::find(owner.id()).expect("it waits").tree();
        for process in tree.iter().filter(|process| process.id() != owner.id() && !processes.contains(process)) {
            kill(*process);
        }
        owner.kill().expect("it waits");
        owner.wait().expect("collected");
        assert!(serves(&instance), "nobody was left to stop {}", engine.name());
        assert_eq!(home.sweep().expect("it goes"), [instance.name()]);
        assert_gone(&instance, &processes);
        assert!(home.instances().expect("readable").is_empty());
    }
}

#[test]
fn a_detached_server_outlives_its_owner_until_it_is_stopped() {
    for engine in kinds() {
        let (_folder, home) = home();
        let mut owner = start_owner(engine, "detach", &home);
        assert!(owner.wait().expect("it ends by itself").success());
        let instance = only(&home);
        assert!(instance.is_detached() && serves(&instance), "{}", engine.name());
        assert!(home.sweep().expect("it is wanted").is_empty());
        let processes = instance.processes();
        instance.stop().expect("it goes");
        assert_gone(&instance, &processes);
        assert!(home.instances().expect("readable").is_empty());
    }
}

/// This test binary again, as another process that owns a server.
fn start_owner(engine: &dyn Engine, manner: &str, home: &Home) -> Child {
    let program = std::env::current_exe().expect("known");
    let mut owner = Command::new(program)
        .args(["--exact", "owner::owner_process", "--nocapture", "--test-threads=1"])
        .env(ROLE, format!("{} {manner} {}", engine.name(), home.folder().display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let mut output = BufReader::new(owner.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(output.any(|line| line.contains(READY)), "{} did not start", engine.name());
    // A detaching owner has a few more lines to say: the pipe must not be closed before it ends.
    std::thread::spawn(move || output.for_each(drop));
    owner
}

fn only(home: &Home) -> Instance {
    let mut instances = home.instances().expect("readable");
    assert_eq!(instances.len(), 1);
    instances.pop().expect("one")
}

fn kill(process: Process) {
    let status = Command::new("kill").args(["-KILL", &process.id().to_string()]).status();
    assert!(status.expect("kill is there").success());
    eventually("a killed process is gone", || !process.is_alive());
}
