//! Requests of every wrong kind, which are told what is wrong and never end in a failure of the service.

use serde_json::{Value, json};

use crate::support::Lab;

#[test]
fn what_is_malformed_is_told_with_its_field() {
    let lab = Lab::open();
    let post = |body: &str| {
        lab.ask("POST", "/api/v1/tokens").header("Content-Type", "application/json").body(body.as_bytes()).send()
    };
    for (body, status, field) in [
        ("", 400, "body"),
        ("{", 400, "body"),
        ("null", 422, "body"),
        ("[]", 422, "body"),
        ("7", 422, "body"),
        (r#"["x", "admin", 1]"#, 422, "body"),
        ("{}", 422, "name"),
        (r#"{"name": null, "role": "admin"}"#, 422, "name"),
        (r#"{"name": "", "role": "admin"}"#, 422, "name"),
        (r#"{"name": "x\u0000", "role": "admin"}"#, 422, "name"),
        (r#"{"name": "x", "role": "amdin"}"#, 422, "role"),
        (r#"{"name": "x", "role": {"admin": null}}"#, 422, "role.admin"),
        (r#"{"name": "x", "role": "admin", "expires_in_seconds": -9223372036854775808}"#, 422, "expires_in_seconds"),
        (r#"{"name": "x", "role": "admin", "expires_in_seconds": 18446744073709551615}"#, 422, "expires_in_seconds"),
        (r#"{"name": "x", "role": "admin", "expires_in_seconds": 0}"#, 422, "expires_in_seconds"),
        (r#"{"name": "x", "role": "admin", "lost": 1}"#, 422, "lost"),
    ] {
        let answer = post(body);
        assert_eq!(answer.status, status, "{body}: {}", String::from_utf8_lossy(&answer.body));
        let problem = answer.problem(status);
        assert_eq!(problem["field"], field, "{body}: {problem}");
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    post(&deep).problem(400);
    post("\u{feff}{}").problem(400);
}

#[test]
fn wrong_types_methods_and_paths_have_their_own_statuses() {
    let lab = Lab::open();
    let body = json!({"name": "x", "role": "viewer"});
    lab.post("/api/v1/tokens", &body).header("Content-Type", "text/plain").send().problem(415);
    lab.post("/api/v1/tokens", &body).without("Content-Type").send().problem(415);
    for method in ["PUT", "PATCH", "TRACE", "DELETE", "OPTIONS", "CONNECT", "BREW"] {
        let path = if method == "CONNECT" { "127.0.0.1:1" } else { "/api/v1/tokens" };
        let answer = lab.ask(method, path).send();
        assert!((400..500).contains(&answer.status), "{method}: {}", answer.status);
        if method != "CONNECT" {
            let allow = answer.header("allow").expect("what it knows").to_owned();
            assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
            answer.problem(405);
        }
    }
    lab.get("/nowhere").send().problem(404);
    lab.get("/api/v1/stores/postgers").send().problem(404);
    lab.ask("DELETE", "/api/v1/tokens/abc-123").send().problem(404);
    lab.ask("DELETE", "/api/v1/tokens/%ff").send().problem(404);
    lab.ask("DELETE", "/api/v1/tokens/00000000-0000-0000-0000-000000000000").send().problem(404);
}

#[test]
fn queries_are_read_strictly() {
    let lab = Lab::open();
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=1", "limit"),
        ("cursor=%21", "cursor"),
        ("cursor=eA", "cursor"),
        ("since=yesterday", "since"),
        ("actor=%00", "actor"),
        ("lost=1", "lost"),
    ] {
        let problem = lab.get(&format!("/api/v1/audit?{query}")).send().problem(422);
        assert_eq!(problem["field"], field, "{query}: {problem}");
    }
    lab.get("/api/v1/audit?limit=200&since=2026-01-01T00:00:00Z").send().expect(200);
}

#[test]
fn a_body_of_more_than_a_mebibyte_is_refused() {
    let lab = Lab::open();
    let name = "x".repeat(1024 * 1024);
    let body = json!({"name": name, "role": "viewer"});
    let problem = lab.post("/api/v1/tokens", &body).send().problem(413);
    assert_eq!(problem["field"], "body");
    // Without a length it is found out on the way.
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.to_string().len());
    let request = lab.ask("POST", "/api/v1/tokens").header("Content-Type", "application/json");
    let request = request.header("Transfer-Encoding", "chunked").header("Content-Length", "");
    let request = request.without("Content-Length");
    let mut bytes = request.bytes();
    bytes.extend_from_slice(chunk.as_bytes());
    let answer = crate::hostile::exchange(lab.address(), &bytes);
    assert_eq!(answer.map(|answer| answer.status), Some(413));
}

#[test]
fn lists_come_in_pages() {
    let lab = Lab::open();
    for number in 0..7 {
        lab.ask("DELETE", &format!("/api/v1/tokens/00000000-0000-0000-0000-00000000000{number}")).send().expect(404);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = lab.get(&format!("/api/v1/audit?limit=3{cursor}")).send().expect(200).json();
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 3);
        seen.extend(items.iter().map(|item| item["sequence"].as_i64().expect("a number")));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
}

#[test]
fn a_request_with_a_key_is_carried_out_once() {
    let lab = Lab::open();
    let target = |note: &str| json!({"host": "127.0.0.2", "port": 5432, "note": note});
    let ask = |key: &str, body: &Value| lab.post("/api/v1/targets", body).header("Idempotency-Key", key).send();
    let first = ask("one", &target("a")).expect(201);
    let again = ask("one", &target("a")).expect(201);
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (None, Some("true")));
    let problem = ask("one", &target("b")).problem(422);
    assert_eq!(problem["field"], "Idempotency-Key");
    let other = ask("two", &target("b")).expect(201).json();
    assert_eq!(other["note"], "b");
    // What was refused is refused again, and was not done meanwhile.
    ask("three", &json!({"host": "", "port": 1})).problem(422);
    ask("three", &json!({"host": "", "port": 1})).problem(422);
    ask("", &target("a")).problem(422);
    ask("a b", &target("a")).problem(422);
    ask(&"x".repeat(256), &target("a")).problem(422);
    let token = json!({"name": "x", "role": "viewer"});
    lab.post("/api/v1/tokens", &token).header("Idempotency-Key", "k").send().problem(422);
}

#[test]
fn requests_with_one_key_at_the_same_time_are_one() {
    let lab = Lab::open();
    let body = json!({"host": "127.0.0.2", "port": 5432});
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let ask = || lab.post("/api/v1/targets", &body).header("Idempotency-Key", "same").send().status;
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|asked| asked.join().expect("it was answered")).collect()
    });
    assert!(answers.iter().all(|status| [201, 409].contains(status)) && answers.contains(&201), "{answers:?}");
    let done = lab.get("/api/v1/audit?outcome=ok").send().expect(200).json();
    let created = lab.get("/api/v1/targets").send().expect(200).json();
    assert_eq!(created["items"].as_array().map(Vec::len), Some(1), "{done}");
}
