//! The virtual server's queue: how long a request takes, and when it is its turn.
//!
//! With `servers=N` the requests of all sessions share N servers and are served in the order in which they come (first in,
//! first out): each goes to the server that is free first and ends at `max(now, free) + service time`, reckoned in whole
//! nanoseconds and not by anybody's waking up. So arrivals as a Poisson process and one server with a constant service
//! time are the queue M/D/1, whose answer is known (Erlang 1909; Crommelin 1932).
//!
//! Service times are drawn by the request's number, counted over all sessions, and the seed: the n-th request takes the
//! same time in every run, whichever session and thread it comes from.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::f64::consts::TAU;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How service times are spread around their mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Distribution {
    /// Not at all.
    Constant,
    /// Exponentially, as in M/M/N.
    Exponential,
    /// Log-normally, with that standard deviation over the mean.
    LogNormal(f64),
}

/// Draws service times.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServiceTime {
    pub(super) mean: Duration,
    pub(super) distribution: Distribution,
    pub(super) seed: u64,
}

impl ServiceTime {
    /// Of the request of that number.
    pub(super) fn of(&self, request: u64) -> Duration {
        let factor = match self.distribution {
            Distribution::Constant => return self.mean,
            Distribution::Exponential => -self.uniform(request, 0).ln(),
            Distribution::LogNormal(spread) => {
                // Box and Muller (1958); a mean of 1 where the logarithm's is half its variance below 0.
                let variance = spread.mul_add(spread, 1.0).ln();
                let radius = (-2.0 * self.uniform(request, 0).ln()).sqrt();
                let normal = radius * (TAU * self.uniform(request, 1)).cos();
                normal.mul_add(variance.sqrt(), -variance / 2.0).exp()
            }
        };
        self.mean.mul_f64(factor)
    }

    /// A number in (0, 1], so that its logarithm is finite.
    fn uniform(&self, request: u64, draw: u64) -> f64 {
        let bits = mix(mix(self.seed).wrapping_add(request.wrapping_mul(2).wrapping_add(draw)));
        ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): neighbouring numbers give unrelated ones.
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// N servers that all sessions share; times are since the store was opened.
#[derive(Debug)]
pub(super) struct Servers(Mutex<BinaryHeap<Reverse<Duration>>>);

impl Servers {
    pub(super) fn new(count: usize) -> Self {
        Self(Mutex::new(std::iter::repeat_n(Reverse(Duration::ZERO), count).collect()))
    }

    /// When a request that comes `now` is done, where nobody works from `stall.0` to `stall.1`.
    pub(super) fn done(&self, now: Duration, service: Duration, stall: Option<(Duration, Duration)>) -> Duration {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut free) = servers.peek_mut() else { return now + service };
        let mut start = now.max(free.0);
        if let Some((from, to)) = stall {
            if (from..to).contains(&start) {
                start = to;
            } else if start < from && start + service > from {
                start += to.saturating_sub(from);
            }
        }
        let done = start + service;
        *free = Reverse(done);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn requests_wait_for_the_server_that_is_free_first() {
        for (servers, arrivals, expect) in [
            (1, vec![0, 1, 2, 50], vec![10, 20, 30, 60]),
            (2, vec![0, 1, 2, 3], vec![10, 11, 20, 21]),
            (3, vec![0, 0, 0, 0, 100], vec![10, 10, 10, 20, 110]),
        ] {
            let queue = Servers::new(servers);
            let done: Vec<_> = arrivals.iter().map(|at| queue.done(MS(*at), MS(10), None)).collect();
            assert_eq!(done, expect.into_iter().map(MS).collect::<Vec<_>>(), "{servers} servers");
        }
    }

    #[test]
    fn a_stall_stops_the_servers_and_loses_no_work() {
        let queue = Servers::new(1);
        let stall = Some((MS(15), MS(115)));
        let done: Vec<_> = [0, 1, 20, 120].iter().map(|at| queue.done(MS(*at), MS(10), stall)).collect();
        assert_eq!(done, [10, 120, 130, 140].map(MS), "the second had 5 ms of work left when the stall began");
    }

    /// Lindley's recursion, W' = max(0, W + S - A), is what a queue of one server is.
    #[test]
    fn one_server_is_lindleys_recursion() {
        let queue = Servers::new(1);
        let service = ServiceTime { mean: MS(1), distribution: Distribution::Exponential, seed: 3 };
        let gaps = ServiceTime { mean: MS(1), distribution: Distribution::Exponential, seed: 4 };
        let (mut now, mut waiting, mut previous) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        for request in 0..10_000 {
            let gap = gaps.of(request);
            now += gap;
            waiting = (waiting + previous).saturating_sub(gap);
            previous = service.of(request);
            assert_eq!(queue.done(now, previous, None), now + waiting + previous, "request {request}");
        }
    }

    #[test]
    fn service_times_have_the_mean_and_the_spread_that_were_asked_for() {
        const DRAWS: u64 = 200_000;
        for (distribution, spread) in [
            (Distribution::Constant, 0.0),
            (Distribution::Exponential, 1.0),
            (Distribution::LogNormal(0.5), 0.5),
            (Distribution::LogNormal(1.5), 1.5),
        ] {
            let time = ServiceTime { mean: MS(10), distribution, seed: 42 };
            let draws: Vec<f64> = (0..DRAWS).map(|request| time.of(request).as_secs_f64() / 0.01).collect();
            let mean = draws.iter().sum::<f64>() / DRAWS as f64;
            let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / DRAWS as f64;
            assert!((mean - 1.0).abs() < 0.02, "{distribution:?}: mean {mean}");
            assert!((variance.sqrt() - spread).abs() < 0.05 * spread.max(0.1), "{distribution:?}: {variance}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_times_and_another_one_others() {
        let times = |seed| -> Vec<Duration> {
            let time = ServiceTime { mean: MS(10), distribution: Distribution::LogNormal(0.5), seed };
            (0..100).map(|request| time.of(request)).collect()
        };
        assert_eq!(times(7), times(7));
        assert!(times(7).iter().zip(times(8)).all(|(one, other)| *one != other));
    }
}
