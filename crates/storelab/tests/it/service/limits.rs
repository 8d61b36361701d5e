//! What a host may take away: the process itself, room, descriptors.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::client::Service;
use crate::support::{Lab, connections_to, eventually, signal, skipped};

/// How long the service may take to end: the promise.
const END_MAX: Duration = Duration::from_secs(10);

fn null_run(seconds: u32) -> Value {
    json!({
        "name": "null", "database_type": "null",
        "config": {
            "workload": "ycsb:c", "settings": { "records": 10 }, "target": "null:?latency=1ms", "collect": [],
            "load": { "rate": "100/s", "for": format!("{seconds}s"), "sessions": 2, "workers": 1, "warm_up": "0s" },
        },
    })
}

#[test]
fn a_signal_ends_load_first_and_keeps_what_was_measured() {
    let lab = Lab::new();
    let server = lab.server("redis");
    for kind in [Signal::TERM, Signal::INT] {
        let mut service = Service::start(&lab);
        let mut plan = null_run(60);
        if let Some(server) = &server {
            plan["database_type"] = json!("redis");
            plan["config"]["target"] = json!(server.url());
        }
        let id = service.create(&plan);
        let waiting = service.create(&null_run(1));
        let run = service.run(&id);
        service.await_seconds(&run, 2);
        signal(&service.child, kind);
        let asked = Instant::now();
        if let Some(server) = &server {
            eventually("the load stops", END_MAX, || connections_to(server.port()) == 0);
        }
        let mut ended = None;
        eventually("the service ends", END_MAX, || {
            ended = service.child.try_wait().expect("our child");
            ended.is_some()
        });
        assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", service.said());
        assert!(asked.elapsed() < END_MAX);
        let service = Service::start(&lab);
        let kept = service.experiment(&id);
        assert_eq!(kept["status"], "interrupted", "{kept}");
        assert!(
            kept["results"]["performance_metrics"]["total_queries"].as_u64().is_some_and(|count| count > 0),
            "{kept}"
        );
        let record = service.get(&format!("/api/v1/runs/{run}")).json();
        assert_eq!(record["status"], "interrupted");
        crate::support::assert_exact(&record);
        assert_eq!(service.experiment(&waiting)["status"], "pending");
    }
}

/// Takes all that is left of a file system, to the last byte.
fn fill(path: &Path) {
    let mut file = fs::File::options().create(true).append(true).open(path).expect("opens");
    let mut bytes = 64 * 1024;
    while bytes > 0 {
        if file.write_all(&vec![1; bytes]).is_err() {
            bytes /= 2;
        }
    }
}

#[test]
fn a_full_disk_is_told_reads_go_on_and_all_heals() {
    if !rustix::process::geteuid().is_root() {
        return skipped("mounting a small file system needs root");
    }
    let lab = Lab::new();
    let small = lab.path("small");
    fs::create_dir(&small).expect("a folder");
    let command = lab.command(&[]);
    let program = command.get_program().to_owned();
    // The service in a mount namespace of its own, with a home of four megabytes.
    let mut unshared = std::process::Command::new("unshare");
    unshared
        .args(["-m", "sh", "-c", "mount -t tmpfs -o size=4m tmpfs \"$0\" && exec \"$@\""])
        .arg(&small)
        .arg(program)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("STORELAB_HOME", &small)
        .stdin(std::process::Stdio::null())
        .current_dir(lab.path(""));
    let service = Service::of(unshared);
    let inside =
        PathBuf::from(format!("/proc/{}/root", service.child.id())).join(small.strip_prefix("/").expect("absolute"));
    let id = service.create(&null_run(600));
    let run = service.run(&id);
    service.await_seconds(&run, 2);
    let filler = inside.join("filler");
    fill(&filler);
    let refused = {
        let mut answer = service.post("/api/v1/experiments/", Some(&null_run(1)));
        // Pages that are free within the file take a few more.
        eventually("it is full", Duration::from_mins(1), || {
            fill(&filler);
            answer = service.post("/api/v1/experiments/", Some(&null_run(1)));
            answer.status != 201
        });
        answer
    };
    assert_eq!((refused.status, &refused.json()["code"]), (507, &json!("storage_full")), "{}", refused.text());
    for path in
        ["/api/v1/experiments/", &format!("/api/v1/experiments/{id}"), &format!("/api/v1/runs/{run}"), "/health/live"]
    {
        let answer = service.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    eventually("the run cannot be kept any more", Duration::from_mins(1), || {
        fill(&filler);
        service.said().contains("the end of a run cannot be written down yet")
    });
    fs::remove_file(&filler).expect("removed");
    let failed = service.await_status(&id, &["failed"]);
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.starts_with("storage_full")), "{failed}");
    assert_eq!(service.get(&format!("/api/v1/runs/{run}")).json()["status"], "failed");
    let mut healed = String::new();
    eventually("there is room again", Duration::from_mins(1), || {
        let answer = service.post("/api/v1/experiments/", Some(&null_run(1)));
        healed = answer.json()["id"].as_str().unwrap_or_default().to_owned();
        answer.status == 201
    });
    service.run(&healed);
    service.await_status(&healed, &["completed"]);
}

#[test]
fn few_descriptors_are_told_and_nothing_ends() {
    let lab = Lab::new();
    let Some(server) = lab.server("redis") else { return };
    let command = lab.command(&[]);
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "ulimit -n 64 && exec \"$0\" serve --listen 127.0.0.1:0"])
        .arg(command.get_program())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env_remove("STORELAB_STORE")
        .stdin(std::process::Stdio::null())
        .current_dir(lab.path(""));
    let service = Service::of(limited);
    let id = service.create(&json!({
        "name": "many", "database_type": "redis",
        "config": { "workload": "ycsb:c", "settings": { "records": 10 }, "target": server.url(),
            "load": { "sessions": 200, "for": "2s", "workers": 1 } },
    }));
    service.run(&id);
    let failed = service.await_status(&id, &["failed", "completed"]);
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{failed}");
    // Many who do not say anything take the places of those who would.
    let silent: Vec<_> = (0..60).filter_map(|_| std::net::TcpStream::connect(&service.address).ok()).collect();
    drop(silent);
    let fine = service.create(&null_run(1));
    service.run(&fine);
    service.await_status(&fine, &["completed", "failed"]);
    assert_eq!(service.get("/health/live").status, 200, "{}", service.said());
}
