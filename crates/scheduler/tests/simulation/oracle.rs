//! The most that a rule of admission can do: one that knows when every core will be free, to the nanosecond.
//!
//! It does not know how long the request at hand will take, for nobody does; it admits it where a core is free early enough for a run of
//! so many mean lengths. That number is the one with which most is done in time while 99 of 100 admitted requests are. Where it does less than
//! the capacity, the cores idle because the arrivals are at random and the queue may only be as long as the deadline.

use super::scenario::{Arrivals, Scenario};

/// Requests that are simulated for each rule.
const REQUESTS: usize = 50_000;
/// Of the admitted requests, those that must be done in time.
const KEPT_MIN: f64 = 0.99;

/// What of the capacity can be done in time, of Poisson arrivals of single images from the scenario's only source.
pub(crate) fn best(scenario: &Scenario) -> f64 {
    let rules = (80..200).step_by(10).map(|percent| f64::from(percent) / 100.0);
    let done = rules.map(|reserve| with(scenario, reserve));
    let kept = done.filter(|(_, kept)| *kept >= KEPT_MIN);
    kept.map(|(goodput, _)| goodput).fold(0.0, f64::max)
}

/// What is done in time by one rule: of the capacity, and of what was admitted.
fn with(scenario: &Scenario, reserve: f64) -> (f64, f64) {
    let [source] = &scenario.sources[..] else {
        panic!("one source");
    };
    let (Arrivals::Poisson { rate }, Some(within)) = (source.arrivals, source.deadline_s) else {
        panic!("Poisson arrivals with a deadline");
    };
    let mut random = fastrand::Rng::with_seed(scenario.seed);
    let mut free_at = vec![0.0f64; scenario.workers];
    let (mut now, mut admitted, mut in_time) = (0.0, 0usize, 0usize);
    for _ in 0..REQUESTS {
        now -= (1.0 - random.f64()).ln() / rate;
        let takes = scenario.service_s * scenario.noise(&mut random);
        let Some(first) = free_at.iter_mut().min_by(|a, b| a.total_cmp(b)) else {
            break;
        };
        let begins = first.max(now);
        if begins + scenario.service_s * reserve <= now + within {
            *first = begins + takes;
            admitted += 1;
            in_time += usize::from(*first <= now + within);
        }
    }
    let goodput = in_time as f64 / now / scenario.capacity();
    (goodput, in_time as f64 / admitted.max(1) as f64)
}
