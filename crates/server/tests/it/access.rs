//! Who is let in: every route with every kind of token, and from where.

use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use results::Location;
use results::service::Role;
use serde_json::{Value, json};
use server::{Service, Settings};

use crate::support::{Lab, Request};

/// An operation of the document, with what its path's parameters are filled with.
struct Operation {
    method: String,
    path: String,
    least: Option<Role>,
    statuses: Vec<String>,
}

/// All operations, from the document that the service shows.
fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let role = operation["x-storelab-role"].as_str().expect("every route says who may use it");
            assert_ne!(role, "nobody", "{method} {path} has no rule");
            let least = (role != "anybody").then(|| role.parse().expect("a role"));
            let statuses = operation["responses"].as_object().expect("responses").keys().cloned().collect();
            operations.push(Operation {
                method: method.to_uppercase(),
                path: filled(path, operation),
                least,
                statuses,
            });
        }
    }
    operations
}

fn filled(path: &str, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    parameters.filter(|parameter| parameter["in"] == "path").fold(path.to_owned(), |path, parameter| {
        let name = parameter["name"].as_str().expect("a name");
        let example = parameter["example"].as_str().unwrap_or("x");
        path.replace(&format!("{{{name}}}"), example)
    })
}

#[test]
fn every_route_lets_in_whom_its_rule_says() {
    let lab = Lab::open();
    let tokens = Role::ALL.map(|role| (role, lab.token(role.name(), role).0));
    let (revoked, id) = lab.token("gone", Role::Admin);
    let (_, admin) = &tokens[2];
    lab.ask("DELETE", &format!("/api/v1/tokens/{id}")).token(admin).send().expect(200);
    let document = lab.get("/openapi.json").token(admin).send().expect(200).json();
    let operations = operations(&document);
    assert!(operations.len() > 15, "{}", operations.len());
    for operation in &operations {
        let Operation { method, path, least, statuses } = operation;
        for token in [None, Some(revoked.as_str()), Some("storelab_wrong"), Some("")] {
            let request = lab.ask(method, path);
            let request = token.map_or_else(|| request.clone(), |token| request.clone().token(token));
            let answer = request.send();
            if least.is_none() {
                assert_eq!(answer.status, 200, "{method} {path}");
            } else {
                assert_eq!(answer.status, 401, "{method} {path} with {token:?}");
                assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
                answer.problem(401);
            }
        }
        for (role, token) in &tokens {
            let answer = lab.ask(method, path).token(token).send();
            let status = answer.status;
            assert!(
                statuses.contains(&status.to_string()),
                "{method} {path} answers {status}, which is not documented"
            );
            if least.is_some_and(|least| *role < least) {
                let problem = answer.problem(403);
                assert!(problem["remedy"].as_str().is_some_and(|text| text.contains("role")), "{problem}");
            } else {
                assert!(![401, 403].contains(&status) && status < 500, "{method} {path} as {role}: {status}");
            }
        }
    }
}

#[test]
fn without_a_token_it_is_open_and_from_the_first_on_it_is_not() {
    let lab = Lab::open();
    lab.get("/api/v1/tokens").send().expect(200);
    let made = lab.post("/api/v1/tokens", &json!({"name": "first", "role": "admin"})).send().expect(201).json();
    let token = made["token"].as_str().expect("it is shown once");
    assert!(token.len() >= 43 + "storelab_".len(), "{token}");
    lab.get("/api/v1/tokens").send().problem(401);
    for (probe, status) in [("live", "alive"), ("ready", "ready")] {
        let answer = lab.get(&format!("/health/{probe}")).send().expect(200).json();
        assert_eq!(answer, json!({ "status": status }), "a probe has no token, and hears nothing else");
    }
    lab.get("/health").send().problem(401);
    let listed = lab.get("/api/v1/tokens").token(token).send().expect(200);
    assert!(!String::from_utf8_lossy(&listed.body).contains(token), "it is not shown again");
    let id = made["id"].as_str().expect("an id");
    let revoked = lab.ask("DELETE", &format!("/api/v1/tokens/{id}")).token(token).send().expect(200).json();
    assert_eq!(revoked["is_valid"], false);
    lab.get("/api/v1/tokens").token(token).send().problem(401);
    lab.get("/api/v1/tokens").send().problem(401);
    for file in std::fs::read_dir(lab.folder()).expect("its folder") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("readable");
        let secret = token.as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the token lies in the store");
    }
}

#[test]
fn a_token_ends_when_it_was_said_to() {
    let lab = Lab::open();
    let body = json!({"name": "short", "role": "viewer", "expires_in_seconds": 1});
    let made = lab.post("/api/v1/tokens", &body).send().expect(201).json();
    let token = made["token"].as_str().expect("it is shown").to_owned();
    let ends: jiff::Timestamp = made["expires_at"].as_str().expect("an end").parse().expect("a time");
    loop {
        let asked_at = jiff::Timestamp::now();
        let status = lab.get("/api/v1/stores").token(&token).send().status;
        if asked_at >= ends {
            assert_eq!(status, 401);
            break;
        }
        std::thread::yield_now();
    }
}

#[test]
fn reading_takes_a_token_as_password_and_changing_does_not() {
    let lab = Lab::open();
    let (token, _) = lab.token("browser", Role::Admin);
    let basic = format!("Basic {}", STANDARD.encode(format!("any:{token}")));
    lab.get("/docs").header("Authorization", &basic).send().expect(200);
    lab.ask("POST", "/api/v1/stop").header("Authorization", &basic).send().problem(401);
    let asked = lab.get("/docs").header("Accept", "text/html").send().expect(401);
    assert!(asked.header("www-authenticate").is_some_and(|value| value.starts_with("Basic")));
}

#[test]
fn only_its_own_names_and_pages_may_ask() {
    let lab = Lab::with(Settings { names: vec!["lab.example".to_owned()], ..Settings::default() });
    let port = lab.address().port();
    let get = || lab.get("/api/v1/stores");
    let evil = format!("evil.example:{port}");
    for (what, request, status) in [
        ("localhost", get().header("Host", &format!("localhost:{port}")), 200),
        ("a name that was given", get().header("Host", "lab.example"), 200),
        ("another name", get().header("Host", &evil), 403),
        ("another port", get().header("Host", "localhost:1"), 403),
        ("no host", get().without("Host"), 400),
        ("an own page", get().header("Origin", &format!("http://localhost:{port}")), 200),
        ("a foreign page", get().header("Origin", "http://evil.example"), 403),
        ("a page without an origin", get().header("Origin", "null"), 403),
        ("an absolute target", absolute(&lab, &evil), 403),
        ("a form of a foreign page", lab.ask("POST", "/api/v1/stop").header("Sec-Fetch-Site", "cross-site"), 403),
    ] {
        let answer = request.send();
        assert_eq!(answer.status, status, "{what}");
        if status != 200 {
            let problem = answer.problem(status);
            assert!(problem["field"].is_string(), "{what}: {problem}");
        }
    }
}

/// A request whose target names a host by itself.
fn absolute(lab: &Lab, host: &str) -> Request {
    lab.get(&format!("http://{host}/api/v1/stores"))
}

#[test]
fn beyond_loopback_it_needs_encryption_or_a_word_and_a_token() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let location = Location::File(folder.path().join("results.db"));
    let start = |settings: Settings| {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
        Service::start(settings, &location, listener).map(|service| service.stop().expect("it ends"))
    };
    let error = start(Settings::default()).expect_err("not encrypted");
    assert!(error.hint().is_some_and(|hint| hint.contains("--insecure-listen")), "{error}");
    let insecure = || Settings { is_insecure_listen_allowed: true, ..Settings::default() };
    let error = start(insecure()).expect_err("no token");
    assert!(error.hint().is_some_and(|hint| hint.contains("token create")), "{error}");
    let mut results = results::Results::open(&location).expect("it can be opened");
    let secret = results::service::TokenSecret::draw().expect("randomness");
    let new = results::service::NewToken {
        name: "first".to_owned(),
        role: Role::Admin,
        hash: secret.hash(),
        expires_at: None,
    };
    results.create_token(new, jiff::Timestamp::now()).expect("kept");
    start(insecure()).expect("there is a token");
}

#[test]
fn who_changed_what_stands_in_the_audit_log() {
    let lab = Lab::open();
    let (admin, admin_id) = lab.token("ann", Role::Admin);
    let (viewer, _) = lab.token("vic", Role::Viewer);
    let target = json!({"host": "127.0.0.2", "port": 5432, "note": "ours"});
    let made =
        lab.post("/api/v1/targets", &target).token(&admin).header("X-Request-Id", "mine").send().expect(201).json();
    lab.post("/api/v1/targets", &target).token(&viewer).send().problem(403);
    lab.post("/api/v1/targets", &json!({"host": "0x7f.1", "port": 1})).token(&admin).send().problem(422);
    lab.post("/api/v1/targets", &target).send().problem(401);
    let page = lab.get("/api/v1/audit").token(&admin).send().expect(200).json();
    let items = page["items"].as_array().expect("items");
    let seen: Vec<_> = items.iter().map(|item| (item["actor"].as_str(), item["outcome"].as_str())).collect();
    assert_eq!(seen, [(Some("ann"), Some("invalid")), (Some("vic"), Some("forbidden")), (Some("ann"), Some("ok"))]);
    let first = &items[2];
    assert_eq!(first["action"], "POST /api/v1/targets");
    assert_eq!(first["target"], "127.0.0.2:5432");
    assert_eq!(first["object"], made["id"]);
    assert_eq!(first["token"], admin_id.to_string());
    assert_eq!((&first["request_id"], &first["address"]), (&json!("mine"), &json!("127.0.0.1")));
    let found = lab.get("/api/v1/audit?actor=vic").token(&admin).send().expect(200).json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
}
