//! What every answer has in common: headers, tags, compression, counts.

use serde_json::json;

use crate::support::Lab;

#[test]
fn answers_carry_an_id_and_keep_browsers_in_check() {
    let lab = Lab::open();
    for path in ["/health", "/nowhere", "/docs", "/openapi.json", "/metrics"] {
        let answer = lab.get(path).send();
        for (name, part) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-"),
        ] {
            assert!(
                answer.header(name).is_some_and(|value| value.contains(part)),
                "{path}: {name}: {:?}",
                answer.headers
            );
        }
        assert_eq!(answer.header("x-request-id").map(str::len), Some(36), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("server"), None);
    }
    let answer = lab.get("/health").header("X-Request-Id", "my-own_1").send();
    assert_eq!(answer.header("x-request-id"), Some("my-own_1"));
    let answer = lab.get("/health").header("X-Request-Id", "not a word").send();
    assert_ne!(answer.header("x-request-id"), Some("not a word"));
}

#[test]
fn who_has_an_answer_is_told_so() {
    let lab = Lab::open();
    let first = lab.get("/api/v1/targets").send().expect(200);
    let tag = first.header("etag").expect("a tag").to_owned();
    let same = lab.get("/api/v1/targets").header("If-None-Match", &tag).send().expect(304);
    assert!(same.body.is_empty());
    assert_eq!(same.header("etag"), Some(tag.as_str()));
    let head = lab.ask("HEAD", "/api/v1/targets").send().expect(200);
    assert!(head.body.is_empty());
    lab.post("/api/v1/targets", &json!({"host": "127.0.0.2", "port": 1})).send().expect(201);
    let changed = lab.get("/api/v1/targets").header("If-None-Match", &tag).send().expect(200);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
}

#[test]
fn answers_are_compressed_where_that_is_asked_for() {
    let lab = Lab::open();
    let plain = lab.get("/openapi.json").send().expect(200);
    assert_eq!(plain.header("content-encoding"), None);
    for (encoding, magic) in [("gzip", [0x1f, 0x8b].as_slice()), ("zstd", &[0x28, 0xb5, 0x2f, 0xfd])] {
        let answer = lab.get("/openapi.json").header("Accept-Encoding", encoding).send().expect(200);
        assert_eq!(answer.header("content-encoding"), Some(encoding));
        assert!(answer.body.starts_with(magic) && answer.body.len() < plain.body.len() / 2, "{encoding}");
    }
    let small = lab.get("/health/live").header("Accept-Encoding", "gzip").send().expect(200);
    assert_eq!(small.header("content-encoding"), None);
}

#[test]
fn metrics_are_text_for_prometheus_and_few() {
    let lab = Lab::open();
    for _ in 0..3 {
        lab.get("/health").send().expect(200);
    }
    for number in 0..50 {
        lab.get(&format!("/made-up/{number}")).send().expect(404);
    }
    let answer = lab.get("/metrics").send().expect(200);
    assert!(answer.header("content-type").is_some_and(|value| value.starts_with("text/plain; version=0.0.4")));
    let page = String::from_utf8(answer.body).expect("text");
    assert!(
        page.contains("storelab_http_requests_total{method=\"GET\",route=\"/health\",status=\"200\"} 3\n"),
        "{page}"
    );
    assert!(page.contains("storelab_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 50\n"), "{page}");
    let series = page.lines().filter(|line| !line.starts_with('#'));
    assert!(series.clone().count() <= 500);
    let mut announced = Vec::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().expect("a name").to_owned();
            assert!(!announced.contains(&name), "{name} twice");
            announced.push(name);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().expect("a name");
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(announced.iter().any(|known| known == name || known == base), "{line}");
            assert!(name.starts_with("storelab_"), "{line}");
        }
    }
}

#[test]
fn health_says_whether_it_can_work() {
    let lab = Lab::open();
    let health = lab.get("/health").send().expect(200).json();
    assert_eq!((&health["status"], &health["is_writable"]), (&json!("ok"), &json!(true)));
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(lab.get("/health/live").send().expect(200).json(), json!({"status": "alive"}));
    assert_eq!(lab.get("/health/ready").send().expect(200).json(), json!({"status": "ready"}));
}

#[test]
fn stores_and_workloads_are_those_of_the_slices() {
    let lab = Lab::open();
    let names = |path: &str| -> Vec<String> {
        let page = lab.get(path).send().expect(200).json();
        let items = page["items"].as_array().expect("items").clone();
        items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
    };
    let stores = names("/api/v1/stores");
    assert_eq!(stores, drivers::DRIVERS.iter().map(|driver| driver.name()).collect::<Vec<_>>());
    let workloads = names("/api/v1/workloads");
    assert_eq!(workloads, workload::WORKLOADS.iter().map(|workload| workload.name()).collect::<Vec<_>>());
    for (kind, names) in [("stores", stores), ("workloads", workloads)] {
        for name in names {
            assert_eq!(lab.get(&format!("/api/v1/{kind}/{name}")).send().expect(200).json()["name"], name.as_str());
        }
    }
}
