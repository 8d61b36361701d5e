//! Reads at a fixed rate, as an open load: each has its planned instant, from which its latency counts, so that a service that
//! stalls cannot hide. Of several connections each has every n-th request, and a thread that sleeps until it is due.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::host::{Processors, Shares};
use crate::http::Connection;
use crate::outcome::{Figure, Outcome, Unit};
use crate::process::{Service, own_processor_time};

/// 99 of 100 reads are answered within so many milliseconds.
const P99_MS_MAX: f64 = 20.0;

/// Connections, all of which are kept. At 20 ms a read, 40 would do; they are few enough that a thread each costs little.
const CONNECTIONS: usize = 64;

/// Of a thread that sends and receives.
const STACK_BYTES: usize = 128 * 1024;

/// Before anything counts.
const WARM_UP: Duration = Duration::from_secs(2);

/// Of ten reads so many are of an experiment; the others are a run, ten of its seconds, and pages of experiments and runs.
const EXPERIMENTS_OF_TEN: usize = 5;

/// What is asked for, over and over.
pub(crate) struct Mix {
    requests: Vec<Vec<u8>>,
}

/// A rate for a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) per_second: u32,
    pub(crate) seconds: u32,
}

/// What a round came to.
struct Round {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    lateness_p99_ms: f64,
    per_second: f64,
    service_percent: f64,
    client_percent: f64,
    shares: Shares,
}

/// One answered read, in nanoseconds since its planned instant.
struct Read {
    sent: u64,
    answered: u64,
}

impl Mix {
    /// Of what a service has: experiments and runs by their ids.
    pub(crate) fn of(address: SocketAddr, experiments: &[String], runs: &[String]) -> anyhow::Result<Self> {
        ensure!(!experiments.is_empty() && !runs.is_empty(), "there is nothing to read");
        let mut experiments_in_turn = experiments.iter().cycle();
        let mut runs_in_turn = runs.iter().cycle();
        let mut experiment = || format!("/api/v1/experiments/{}", experiments_in_turn.next().expect("it is endless"));
        let mut run = || format!("/api/v1/runs/{}", runs_in_turn.next().expect("it is endless"));
        let mut paths = Vec::new();
        // Each experiment is asked for once before the mix begins again.
        for _ in 0..experiments.len().div_ceil(EXPERIMENTS_OF_TEN) {
            paths.extend([
                experiment(),
                "/api/v1/experiments".to_owned(),
                experiment(),
                run(),
                experiment(),
                "/api/v1/runs".to_owned(),
                experiment(),
                run() + "/samples?limit=10",
                experiment(),
                "/api/v1/experiments?status=pending&limit=20".to_owned(),
            ]);
        }
        Ok(Self { requests: paths.iter().map(|path| Connection::reading(address, path)).collect() })
    }
}

/// Asks in several rounds.
pub(crate) fn measure(service: &Service, mix: Mix, load: Load, rounds: usize) -> anyhow::Result<Outcome> {
    let mix = Arc::new(mix);
    let mut done = Vec::new();
    for _ in 0..rounds {
        done.push(round(service, &mix, load)?);
    }
    let name = format!("{} reads a second", load.per_second);
    let figure = |what: &str, unit, part: fn(&Round) -> f64| {
        Figure::new(format!("{name}: {what}"), unit, done.iter().map(part).collect())
    };
    let figures = vec![
        figure("latency p99", Unit::Milliseconds, |round| round.p99_ms).at_most(P99_MS_MAX),
        figure("latency p50", Unit::Milliseconds, |round| round.p50_ms),
        figure("longest", Unit::Milliseconds, |round| round.max_ms),
        figure("sent after it was due, p99", Unit::Milliseconds, |round| round.lateness_p99_ms),
        figure("answered", Unit::PerSecond, |round| round.per_second),
        figure("the service", Unit::PercentOfCore, |round| round.service_percent),
        figure("the client", Unit::PercentOfCore, |round| round.client_percent),
    ];
    Ok(Outcome { figures, host: done.iter().map(|round| round.shares).collect() })
}

fn round(service: &Service, mix: &Arc<Mix>, load: Load) -> anyhow::Result<Round> {
    let interval = Duration::from_secs(1) / load.per_second;
    let total = u64::from(load.per_second) * u64::from(load.seconds);
    let warm_up = u64::from(load.per_second) * WARM_UP.as_secs();
    // All connections are there before the first request is due.
    let start = Instant::now() + Duration::from_millis(500);
    let threads = (0..CONNECTIONS).map(|place| {
        let (mix, address) = (Arc::clone(mix), service.address);
        let client = move || {
            let mut connection = Connection::open(address)?;
            let mut reads = Vec::with_capacity(usize::try_from(total)? / CONNECTIONS + 1);
            for number in (place as u64..warm_up + total).step_by(CONNECTIONS) {
                let due = start + Duration::from_nanos(interval.as_nanos() as u64 * number);
                let request = &mix.requests[number as usize % mix.requests.len()];
                let read = ask(&mut connection, request, due)?;
                if number >= warm_up {
                    reads.push(read);
                }
            }
            anyhow::Ok(reads)
        };
        thread::Builder::new().stack_size(STACK_BYTES).spawn(client)
    });
    let threads = threads.collect::<Result<Vec<_>, _>>().context("no thread for a connection")?;
    let begin = start + WARM_UP;
    thread::sleep(begin.saturating_duration_since(Instant::now()));
    let (processors, of_service, of_client) = (Processors::now()?, service.processor_time()?, own_processor_time()?);
    thread::sleep((begin + Duration::from_secs(u64::from(load.seconds))).saturating_duration_since(Instant::now()));
    let elapsed = begin.elapsed();
    let of_service = service.processor_time()?.saturating_sub(of_service);
    let of_client = own_processor_time()?.saturating_sub(of_client);
    let shares = processors.since(of_service + of_client)?;
    let mut reads = Vec::new();
    for thread in threads {
        reads.extend(thread.join().map_err(|_| anyhow::anyhow!("a client's thread has panicked"))??);
    }
    // The last of them has just ended.
    let until_last = begin.elapsed();
    ensure!(reads.len() as u64 == total, "{} of {total} reads were answered", reads.len());
    let mut latencies: Vec<u64> = reads.iter().map(|read| read.answered).collect();
    let mut lateness: Vec<u64> = reads.iter().map(|read| read.sent).collect();
    latencies.sort_unstable();
    lateness.sort_unstable();
    let percent = |used: Duration| 100.0 * used.as_secs_f64() / elapsed.as_secs_f64();
    Ok(Round {
        p50_ms: quantile_ms(&latencies, 0.5),
        p99_ms: quantile_ms(&latencies, 0.99),
        max_ms: quantile_ms(&latencies, 1.0),
        lateness_p99_ms: quantile_ms(&lateness, 0.99),
        per_second: total as f64 / until_last.as_secs_f64(),
        service_percent: percent(of_service),
        client_percent: percent(of_client),
        shares,
    })
}

fn ask(connection: &mut Connection, request: &[u8], due: Instant) -> anyhow::Result<Read> {
    thread::sleep(due.saturating_duration_since(Instant::now()));
    let since_due = || due.elapsed().as_nanos() as u64;
    let sent = since_due();
    let answer = connection.ask(request)?;
    let answered = since_due();
    ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(request));
    Ok(Read { sent, answered })
}

/// Of sorted nanoseconds the least that is not below that share of them.
fn quantile_ms(sorted: &[u64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).map_or(f64::NAN, |nanoseconds| *nanoseconds as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_all_that_was_read() {
        let sorted: Vec<u64> = (1..=200).map(|value| value * 1_000_000).collect();
        for (share, expect) in [(0.5, 100.0), (0.99, 198.0), (1.0, 200.0)] {
            assert!((quantile_ms(&sorted, share) - expect).abs() < 1e-9, "{share}");
        }
        assert!(quantile_ms(&[], 0.5).is_nan());
    }

    #[test]
    fn every_experiment_is_read_in_a_cycle_of_the_mix() {
        let address = "127.0.0.1:1".parse().expect("an address");
        let experiments: Vec<String> = (0..12).map(|number| format!("e{number}")).collect();
        let mix = Mix::of(address, &experiments, &["r".to_owned()]).expect("something to read");
        let texts: Vec<String> =
            mix.requests.iter().map(|request| String::from_utf8_lossy(request).into_owned()).collect();
        for experiment in &experiments {
            assert!(texts.iter().any(|text| text.contains(&format!("/{experiment} "))), "{experiment}");
        }
        assert!(texts[3].starts_with("GET /api/v1/runs/r HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"), "{}", texts[3]);
        assert!(Mix::of(address, &experiments, &[]).is_err());
    }
}
