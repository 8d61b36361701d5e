//! `docs/schema/run-1.schema.json` and the record are the same thing.

use std::path::Path;

use serde_json::{Value, json};

use crate::short_run;

/// What is published of `--json`: fields by their path, `[]` for each of a list.
const PUBLISHED: &[&str] = &[
    "schema",
    "id",
    "name",
    "started_at",
    "ended_at",
    "seed",
    "target.driver",
    "target.url",
    "target.server",
    "workload.name",
    "workload.variant",
    "workload.parameters",
    "load",
    "accounting.scheduled",
    "accounting.succeeded",
    "accounting.failed",
    "accounting.shed",
    "accounting.unfinished",
    "duration_seconds",
    "throughput_per_second",
    "operations[].name",
    "operations[].succeeded",
    "operations[].failed",
    "operations[].errors",
    "operations[].latency_us.mean",
    "operations[].latency_us.p50",
    "operations[].latency_us.p90",
    "operations[].latency_us.p95",
    "operations[].latency_us.p99",
    "operations[].latency_us.p99_9",
    "operations[].latency_us.max",
    "operations[].service_time_us.p99",
    "operations[].queueing_time_us.p99",
    "total.succeeded",
    "total.latency_us.p99",
    "phases[].name",
    "phases[].recorded",
    "phases[].accounting.scheduled",
    "phases[].duration_seconds",
    "phases[].throughput_per_second",
    "phases[].operations[].latency_us.max",
    "phases[].total.latency_us.max",
    "generator.cpu_seconds",
    "generator.cpu_us_per_operation",
    "generator.max_rss_bytes",
    "generator.context_switches",
    "generator.lateness_us.p50",
    "generator.lateness_us.p99",
    "generator.lateness_us.max",
    "generator.harness_floor_us",
    "host",
    "server.cpu_seconds",
    "server.max_rss_bytes",
    "server.counters",
    "verification.passed",
    "verification.checks[].passed",
    "verdict.valid",
    "verdict.reasons",
    "verdict.warnings",
    "verdict.thresholds[].expression",
    "verdict.thresholds[].passed",
    "verdict.thresholds[].value",
    "report",
];

fn published() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema/run-1.schema.json");
    serde_json::from_slice(&std::fs::read(path).expect("the schema is there")).expect("it is JSON")
}

pub(crate) fn a_record_fits() {
    let schema = published();
    let validator = jsonschema::draft202012::new(&schema).expect("a schema of the 2020-12 draft");
    jsonschema::draft202012::meta::validate(&schema).expect("a valid schema");
    let (record, _, _) = short_run("checkout");
    let whole = serde_json::to_value(&record).expect("JSON");
    let faults = |value: &Value| -> Vec<String> {
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    };
    assert_eq!(faults(&whole), [""; 0], "a whole record");
    let started = crate::fixture::started("started", record.id);
    assert_eq!(faults(&serde_json::to_value(&started).expect("JSON")), [""; 0], "a record without figures");
    check_all_described(&schema, &schema, &whole, "");
    for (pointer, wrong) in [
        ("/status", json!("finished")),
        ("/schema", json!("storelab.run/2")),
        ("/accounting/failed", json!(-1)),
        ("/verdict/valid", json!("yes")),
        ("/phases/0/total/latency_us/p99_9", json!(null)),
        ("/id", json!("last")),
    ] {
        let mut broken = whole.clone();
        *broken.pointer_mut(pointer).expect(pointer) = wrong;
        assert_ne!(faults(&broken), [""; 0], "{pointer}");
    }
}

pub(crate) fn the_shape_is_required() {
    let schema = published();
    for path in PUBLISHED {
        let mut at = resolved(&schema, &schema);
        for step in path.split('.') {
            let (field, is_list) = step.strip_suffix("[]").map_or((step, false), |field| (field, true));
            let required = at["required"].as_array().expect("a list");
            assert!(required.iter().any(|name| name == field), "{path}: {field} is not required");
            at = resolved(&schema, &at["properties"][field]);
            if is_list {
                at = resolved(&schema, &at["items"]);
            }
        }
    }
}

/// Every field that the record has is in the schema and required there, unless the schema leaves the object open.
pub(crate) fn check_all_described(whole: &Value, schema: &Value, value: &Value, path: &str) {
    let schema = resolved(whole, schema);
    match value {
        Value::Object(fields) => {
            let Some(properties) = schema.get("properties") else { return };
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                assert!(!properties[name].is_null(), "{path} is not in the schema");
                if schema.get("required").is_some() {
                    let required = schema["required"].as_array().expect("a list");
                    assert!(required.iter().any(|required| required == name), "{path} is not required");
                }
                check_all_described(whole, &properties[name], value, &path);
            }
        }
        Value::Array(values) => {
            for value in values {
                check_all_described(whole, &schema["items"], value, &format!("{path}[]"));
            }
        }
        _ => {}
    }
}

/// What a reference within the schema refers to.
fn resolved<'a>(whole: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => whole.pointer(reference.trim_start_matches('#')).expect("it refers to a definition"),
        None => schema,
    }
}
