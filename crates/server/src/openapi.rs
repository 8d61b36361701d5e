//! The OpenAPI document: what the handlers say of themselves, and what all of them have in common, added here once.

use std::sync::LazyLock;

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::access::Role;
use crate::access::rules::{self, Rule};
use crate::problem::{Document, KINDS, MEDIA_TYPE};
use crate::routes;

/// What the service is, at the head of the document.
const DESCRIPTION: &str = "Experiments against data stores: how fast one is for a given work, and whether another is faster. \
Lists come in pages, the newest first: give `next` as `cursor`. Whatever goes wrong is told as a problem document (RFC 9457) that names \
the field, the reason and the remedy. A POST with an `Idempotency-Key` is carried out once. Answers to GET have an `ETag`.";

/// Groups of routes, in the order in which they are shown.
const TAGS: &[(&str, &str)] = &[
    ("experiments", "What is to be measured, and its runs"),
    ("runs", "What was measured, live and afterwards"),
    ("plans", "Experiments as they are written"),
    ("thresholds", "Conditions that a run must keep"),
    ("comparisons", "Whether runs are faster or slower than others"),
    ("reports", "Pages of runs and comparisons"),
    ("exports", "Runs in formats that other programs read"),
    ("stores", "What can be measured"),
    ("workloads", "What can be asked of a data store"),
    ("targets", "Where load may go"),
    ("tokens", "Who may ask"),
    ("audit", "Who did what"),
    ("control", "Stop everything"),
    ("health", "How the service is"),
    ("documentation", "This"),
];

/// Statuses that every route may answer.
const ALWAYS: &[u16] = &[400, 401, 403, 405, 408, 413, 500, 503];

/// Statuses that a route which changes something may answer as well.
const CHANGING: &[u16] = &[409, 507];

/// Statuses that a route with a body may answer as well: what it names may not be there.
const WITH_BODY: &[u16] = &[404, 415, 422];

/// The document as text, indented, with a line's end. It is the same for the same version.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut document = document();
        // Whether objects keep their order is decided by whoever else uses the library in a build.
        document.sort_all_objects();
        let mut text = serde_json::to_string_pretty(&document).expect("it was read from a document");
        text.push('\n');
        text
    });
    &TEXT
}

/// The document.
pub(crate) fn document() -> Value {
    let (_, made) = routes::all().split_for_parts();
    let mut document = serde_json::to_value(made).expect("a document is JSON");
    document["openapi"] = "3.1.0".into();
    document["info"] = json!({
        "title": "Storelab",
        "version": env!("CARGO_PKG_VERSION"),
        "description": DESCRIPTION,
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    });
    document["servers"] = json!([{ "url": "/", "description": "This service" }]);
    document["security"] = json!([{ "token": [] }, {}]);
    complete_paths(&mut document["paths"]);
    document["tags"] = tags(&document["paths"]);
    document["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token that `storelab token create` or POST /api/v1/tokens has made. As long as there is none, a service \
                on a loopback address needs none.",
        },
    });
    document["components"]["schemas"]["Problem"] = problem_schema();
    document["components"]["responses"] = responses();
    document
}

/// Adds to every operation what it has in common with others.
fn complete_paths(paths: &mut Value) {
    for (path, item) in paths.as_object_mut().into_iter().flatten() {
        for (name, operation) in item.as_object_mut().into_iter().flatten() {
            let Ok(method) = Method::from_bytes(name.to_ascii_uppercase().as_bytes()) else { continue };
            if let Some(operation) = operation.as_object_mut() {
                complete(operation, &method, path);
            }
        }
    }
}

fn complete(operation: &mut Map<String, Value>, method: &Method, path: &str) {
    let rule = rules::of(method, path);
    if rule == Some(Rule::Anybody) {
        operation.insert("security".to_owned(), json!([]));
    }
    operation.insert("x-storelab-role".to_owned(), who(rule).into());
    let has_body = operation.contains_key("requestBody");
    let is_reading = *method == Method::GET;
    let parameters = operation.entry("parameters").or_insert_with(|| json!([])).as_array_mut().expect("a list");
    let is_in = |place: &str, parameters: &[Value]| parameters.iter().any(|parameter| parameter["in"] == place);
    let (has_path, has_query) = (is_in("path", parameters), is_in("query", parameters));
    parameters.extend(headers(method, path));
    let mut statuses: Vec<u16> = ALWAYS.to_vec();
    statuses.extend(has_path.then_some(404));
    statuses.extend(has_query.then_some(422));
    statuses.extend(has_body.then_some(WITH_BODY).into_iter().flatten());
    statuses.extend((!is_reading).then_some(CHANGING).into_iter().flatten());
    // The key itself may be wrong, and there may be too many.
    statuses.extend((*method == Method::POST).then_some([422, 429]).into_iter().flatten());
    let answers = operation.entry("responses").or_insert_with(|| json!({})).as_object_mut().expect("an object");
    if is_reading && answers.contains_key("200") {
        answers
            .entry("304")
            .or_insert_with(|| json!({ "description": "It is as it was: the tag in If-None-Match is still right" }));
    }
    for answer in answers.values_mut().filter_map(Value::as_object_mut) {
        let headers = answer.entry("headers").or_insert_with(|| json!({}));
        headers["X-Request-Id"] = request_id();
    }
    for status in statuses {
        let reference = json!({ "$ref": format!("#/components/responses/{}", code(status)) });
        answers.entry(status.to_string()).or_insert(reference);
    }
}

/// Whom the rule of a route lets in.
fn who(rule: Option<Rule>) -> &'static str {
    match rule {
        Some(Rule::Anybody) => "anybody",
        Some(Rule::Role(role)) => Role::name(role),
        None => "nobody",
    }
}

/// Headers that a method takes on every route.
fn headers(method: &Method, path: &str) -> Vec<Value> {
    match *method {
        Method::POST if !crate::idempotency::is_never_kept(path) => vec![json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "A word of the client's, new for each request: the same request with the same key is carried out once within \
                a day and answered the same.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
            "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
        })],
        Method::GET => vec![json!({
            "name": "If-None-Match",
            "in": "header",
            "required": false,
            "description": "Tags (`ETag`) of answers that the client has: 304 where one of them is still right.",
            "schema": { "type": "string" },
            "example": "W/\"pGTAFJPaEtSPLu3E5w5Ugg\"",
        })],
        _ => Vec::new(),
    }
}

fn tags(paths: &Value) -> Value {
    let operations =
        paths.as_object().into_iter().flatten().flat_map(|(_, item)| item.as_object().into_iter().flatten());
    let used: Vec<&str> = operations
        .flat_map(|(_, operation)| operation["tags"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    let tags = TAGS.iter().filter(|(name, _)| used.contains(name));
    tags.map(|(name, description)| json!({ "name": name, "description": description })).collect()
}

/// One answer for each kind of problem.
fn responses() -> Value {
    let answers = KINDS.iter().map(|kind| {
        let mut headers = json!({ "X-Request-Id": request_id() });
        let header = |description: &str, schema: Value| json!({ "description": description, "schema": schema });
        match kind.status.as_u16() {
            401 => headers["WWW-Authenticate"] = header("What to send", json!({ "type": "string" })),
            405 => headers["Allow"] = header("The methods that the path knows", json!({ "type": "string" })),
            429 | 503 => headers["Retry-After"] = header("Seconds to wait", json!({ "type": "integer" })),
            _ => {}
        }
        let example = json!({
            "type": format!("/docs#problem-{}", kind.code),
            "title": kind.title,
            "status": kind.status.as_u16(),
            "detail": kind.title,
            "code": kind.code,
            "reason": kind.title,
            "remedy": kind.remedy,
        });
        let content =
            json!({ MEDIA_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" }, "example": example } });
        let answer = json!({ "description": kind.title, "headers": headers, "content": content });
        (kind.code.to_owned(), answer)
    });
    Value::Object(answers.collect())
}

fn code(status: u16) -> &'static str {
    KINDS.iter().find(|kind| kind.status.as_u16() == status).expect("each status above has a kind").code
}

fn request_id() -> Value {
    json!({ "description": "The request's id, for logs", "schema": { "type": "string" }, "example": "0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3a" })
}

fn problem_schema() -> Value {
    use utoipa::PartialSchema;
    serde_json::to_value(Document::schema()).expect("a schema is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paging::LIMIT_MAX;

    fn operations(document: &Value) -> impl Iterator<Item = (String, Method, &Value)> {
        let items = document["paths"].as_object().expect("an object");
        items.iter().flat_map(|(path, item)| {
            item.as_object().expect("an object").iter().map(move |(method, operation)| {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
                (path.clone(), method, operation)
            })
        })
    }

    #[test]
    fn every_route_has_a_rule_and_every_rule_a_route() {
        let document = document();
        for (path, method, _) in operations(&document) {
            assert!(rules::of(&method, &path).is_some(), "{method} {path} has no line in access/rules.rs");
        }
        for (method, path, _) in rules::RULES {
            let name = method.as_str().to_lowercase();
            let has_slash = document["paths"].get(format!("{path}/")).is_some_and(|item| item.get(&name).is_some());
            assert!(has_slash || document["paths"][*path].get(&name).is_some(), "{method} {path} is no route");
        }
    }

    #[test]
    fn everything_is_described_and_has_an_example() {
        let document = document();
        let mut missing = Vec::new();
        for (path, method, operation) in operations(&document) {
            for (what, found) in [("summary", &operation["summary"]), ("operationId", &operation["operationId"])] {
                if found.as_str().is_none_or(str::is_empty) {
                    missing.push(format!("{method} {path}: {what}"));
                }
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                for key in ["description", "example"] {
                    if parameter.get(key).is_none() {
                        missing.push(format!("{method} {path}: {key} of {}", parameter["name"]));
                    }
                }
            }
        }
        for (name, schema) in document["components"]["schemas"].as_object().expect("an object") {
            check_schema(name, schema, &mut missing);
        }
        assert!(missing.is_empty(), "{}", missing.join("\n"));
    }

    /// Every property is described, and has an example unless it is made of others that have.
    fn check_schema(name: &str, schema: &Value, missing: &mut Vec<String>) {
        let parts =
            ["allOf", "oneOf", "anyOf"].into_iter().flat_map(|key| schema[key].as_array().into_iter().flatten());
        for part in parts {
            check_schema(name, part, missing);
        }
        for (property, schema) in schema["properties"].as_object().into_iter().flatten() {
            let full = format!("{name}.{property}");
            if !is_described(schema) {
                missing.push(format!("{full}: description"));
            }
            if !is_composed(schema) && schema.get("example").is_none() && schema.get("examples").is_none() {
                missing.push(format!("{full}: example"));
            }
            check_schema(&full, schema, missing);
        }
    }

    /// Itself, or as the one thing beside null that it may be.
    fn is_described(schema: &Value) -> bool {
        let parts = schema["oneOf"].as_array().into_iter().flatten();
        [schema].into_iter().chain(parts).any(|part| part["description"].as_str().is_some_and(|text| !text.is_empty()))
    }

    /// Whether it is made of others, which have examples of their own.
    fn is_composed(schema: &Value) -> bool {
        let mut parts =
            ["allOf", "oneOf", "anyOf"].into_iter().flat_map(|key| schema[key].as_array().into_iter().flatten());
        schema.get("$ref").is_some()
            || schema["properties"].is_object()
            || ["items", "additionalProperties"]
                .into_iter()
                .any(|key| schema[key].is_object() && is_composed(&schema[key]))
            || parts.any(is_composed)
    }

    #[test]
    fn ids_in_paths_are_uuids_and_operation_ids_differ() {
        let document = document();
        let mut seen = Vec::new();
        for (path, method, operation) in operations(&document) {
            let id = operation["operationId"].as_str().expect("checked elsewhere").to_owned();
            assert!(!seen.contains(&id), "{id} twice");
            seen.push(id);
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] == "path"
                    && parameter["name"].as_str().is_some_and(|name| name == "id" || name.ends_with("_id"))
                {
                    assert_eq!(parameter["schema"]["format"], "uuid", "{method} {path}");
                }
                if parameter["name"] == "limit" {
                    assert_eq!(parameter["schema"]["maximum"], LIMIT_MAX, "{method} {path}");
                }
            }
        }
    }
}
