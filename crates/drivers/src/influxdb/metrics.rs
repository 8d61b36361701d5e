//! The server's own counters, in Prometheus' text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use store::Counters;

/// Those that say what a server is busy with, each summed over its labels; in order. A server shows most of them once it
/// has counted something.
const WANTED: [&str; 24] = [
    "go_gc_duration_seconds_sum",
    "go_goroutines",
    "go_memstats_alloc_bytes_total",
    "go_memstats_heap_inuse_bytes",
    "go_memstats_mallocs_total",
    "http_api_request_duration_seconds_sum",
    "http_api_requests_total",
    "http_query_request_bytes",
    "http_query_request_count",
    "http_query_response_bytes",
    "http_write_request_bytes",
    "http_write_request_count",
    "influxdb_uptime_seconds",
    "qc_compiling_duration_seconds_sum",
    "qc_executing_duration_seconds_sum",
    "qc_queueing_duration_seconds_sum",
    "qc_requests_total",
    "storage_cache_inuse_bytes",
    "storage_compactions_duration_seconds_sum",
    "storage_compactions_queued",
    "storage_shard_series",
    "storage_tsm_files_disk_bytes",
    "storage_wal_size",
    "storage_writer_ok_points_sum",
];

/// What the wanted counters say; 0 for those that are not there yet. Lines that are none are passed over. Empty where there
/// are no counters at all.
pub(crate) fn parse(body: &[u8]) -> Counters {
    let mut counters = Counters::new();
    if body.is_empty() {
        return counters;
    }
    let mut sums = [0.0; WANTED.len()];
    for line in body.split(|byte| *byte == b'\n') {
        let sample = std::str::from_utf8(line).ok().and_then(sample);
        let Some((name, value)) = sample else { continue };
        if let Ok(place) = WANTED.binary_search(&name)
            && value.is_finite()
        {
            sums[place] += value;
        }
    }
    counters.extend(WANTED.iter().zip(sums).map(|(name, sum)| ((*name).to_owned(), sum)));
    counters
}

/// The name and value of a line; its labels, which may hold anything in quotes, and its time are passed over.
fn sample(line: &str) -> Option<(&str, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let rest = if rest.starts_with('{') { &rest[labels_length(rest)?..] } else { rest };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((name, value))
}

/// How long labels in braces are.
fn labels_length(text: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'}' if !is_quoted => return Some(place + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels() {
        assert!(WANTED.is_sorted());
        let text = b"# HELP qc_requests_total Count\n# TYPE qc_requests_total counter\n\
            qc_requests_total{org=\"a\",result=\"success\"} 7\nqc_requests_total{org=\"} 9 \\\" {\"} 2.5e+01 1700000000\n\
            storage_wal_size{path=\"x y\"} 1\nother_total 9\ngo_goroutines 12\nqc_requests_total{broken 5\n\xff\xfe 3\n\
            go_goroutines NaN\ngo_goroutines\n";
        let counters = parse(text);
        for (name, expect) in [
            ("qc_requests_total", "32"),
            ("storage_wal_size", "1"),
            ("go_goroutines", "12"),
            ("storage_writer_ok_points_sum", "0"),
        ] {
            assert_eq!(counters[name].to_string(), expect, "{name}");
        }
        assert_eq!(counters.len(), WANTED.len());
        assert!(parse(b"").is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_give_counters(body in vec(prop_oneof![any::<u8>(), Just(b'{'), Just(b'"'), Just(b'\n')], 1..100)) {
            prop_assert_eq!(parse(&body).len(), WANTED.len());
        }
    }
}
