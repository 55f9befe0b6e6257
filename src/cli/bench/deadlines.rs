//! What is served in time, for several deadlines, closed and open loops.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::offer::offer;
use super::{Args, cores, output};
use repserve_measure::goodput::Goodput;
use repserve_measure::load::{self, Target};
use repserve_measure::report::{DeadlineRow, Deadlines, Load};
use repserve_measure::server::Server;
use repserve_measure::stats::median;

/// A load, and its deadline in multiples of the time that an image takes on one core.
struct Row(Load, Option<f64>);

/// Connections of the closed loops, and the deadlines of each.
const CONNECTIONS: [usize; 3] = [16, 64, 128];
const DEADLINES: [Option<f64>; 5] = [None, Some(50.0), Some(15.0), Some(10.0), Some(5.0)];

/// More connections than any queue has room for: a storm of clients that send again at once.
const STORM_CONNECTIONS: [usize; 2] = [512, 1000];
const STORM_DEADLINES: [Option<f64>; 2] = [None, Some(10.0)];

/// The open loops.
const POISSON_PERCENT: [u32; 3] = [150, 300, 1000];
const POISSON_DEADLINE: f64 = 10.0;

/// The connections of the loop that finds the capacity.
const CAPACITY_CONNECTIONS: usize = 16;

/// A scenario takes at least so many times its deadline.
const DEADLINES_A_RUN: u32 = 3;

/// A server has settled when it serves a lone request in so many times the time that an image takes on one core, or in 50 ms.
const SETTLED_SERVICES: u32 = 3;
const SETTLED_MIN: Duration = Duration::from_millis(50);

fn rows() -> Vec<Row> {
    let closed = |connections: &[usize], deadlines: &[Option<f64>]| -> Vec<Row> {
        let of = |&deadline| connections.iter().map(move |&n| Row(Load::Closed(n), deadline));
        deadlines.iter().flat_map(of).collect()
    };
    let mut rows = closed(&CONNECTIONS, &DEADLINES);
    rows.extend(closed(&STORM_CONNECTIONS, &STORM_DEADLINES));
    rows.extend(POISSON_PERCENT.map(|percent| Row(Load::Poisson(percent), Some(POISSON_DEADLINE))));
    rows
}

/// What one round found about one row.
struct Found {
    goodput: Goodput,
    of_capacity: f64,
    cores: f64,
    io_cores: f64,
}

/// Runs every row. The capacity is measured at the start of each round; the first round's sets the deadlines.
pub(super) async fn measure(server: &Server, target: &Target, name: &str, args: &Args) -> anyhow::Result<Deadlines> {
    let duration = Duration::from_secs_f64(args.seconds);
    let rows = rows();
    let mut found: Vec<Vec<Found>> = rows.iter().map(|_| Vec::new()).collect();
    let (mut capacities, mut service) = (Vec::new(), None);
    for round in 1..=args.rounds {
        output::complain(&format!("{name}: deadlines, round {round} of {}", args.rounds));
        let capacity = capacity(target, duration).await?;
        capacities.push(capacity);
        let service = *service.get_or_insert_with(|| service_time(capacity));
        for (Row(load, multiple), found) in rows.iter().zip(&mut found) {
            let deadline = multiple.map(|times| whole_ms(service.mul_f64(times)));
            settle(target, service).await;
            found.push(row(server, target, *load, deadline, capacity, duration, round.into()).await?);
        }
    }
    let service = service.unwrap_or_default();
    let rows = rows.iter().zip(found).map(|(Row(load, multiple), rounds)| DeadlineRow {
        load: *load,
        deadline_ms: multiple.map(|times| whole_ms(service.mul_f64(times)).as_millis() as u64),
        of_capacity: median(&rounds.iter().map(|f| f.of_capacity).collect::<Vec<_>>()),
        cores: median(&rounds.iter().map(|f| f.cores).collect::<Vec<_>>()),
        io_cores: median(&rounds.iter().map(|f| f.io_cores).collect::<Vec<_>>()),
        goodput: Goodput::median(&rounds.into_iter().map(|f| f.goodput).collect::<Vec<_>>()),
    });
    Ok(Deadlines {
        rows: rows.collect(),
        capacity_per_second: median(&capacities),
        service_ms: service.as_secs_f64() * 1e3,
    })
}

async fn row(
    server: &Server,
    target: &Target,
    load: Load,
    deadline: Option<Duration>,
    capacity: f64,
    duration: Duration,
    seed: u64,
) -> anyhow::Result<Found> {
    let target = target.with_deadline(deadline);
    let duration = deadline.map_or(duration, |d| duration.max(d * DEADLINES_A_RUN));
    let (before, io_before, start) = (server.usage()?, server.io_cpu()?, Instant::now());
    let run = offer(&target, load, capacity, duration, seed).await;
    let elapsed = start.elapsed().as_secs_f64();
    let (after, io_after) = (server.usage()?, server.io_cpu()?);
    let goodput = Goodput::of(&run, deadline);
    Ok(Found {
        of_capacity: goodput.in_time_per_second / capacity,
        goodput,
        cores: (after.cpu - before.cpu).as_secs_f64() / elapsed,
        io_cores: io_after.saturating_sub(io_before).as_secs_f64() / elapsed,
    })
}

/// Requests a second that the server serves without a deadline, once it has run for as long as that is measured.
///
/// # Errors
/// Where it serves none.
pub(super) async fn capacity(target: &Target, duration: Duration) -> anyhow::Result<f64> {
    load::closed(target, CAPACITY_CONNECTIONS, duration).await;
    let run = load::closed(target, CAPACITY_CONNECTIONS, duration).await;
    let goodput = Goodput::of(&run, None);
    if goodput.in_time == 0 {
        bail!(
            "http://{}{} served none of {} requests within {:.1} s",
            target.address,
            target.path,
            run.samples.len(),
            duration.as_secs_f64()
        );
    }
    Ok(goodput.in_time_per_second)
}

/// The time that an image takes on one core.
pub(super) fn service_time(capacity: f64) -> Duration {
    Duration::try_from_secs_f64(cores() as f64 / capacity).unwrap_or_default()
}

/// Rounded, at least 1 ms.
pub(super) fn whole_ms(time: Duration) -> Duration {
    Duration::from_millis(((time.as_secs_f64() * 1e3).round() as u64).max(1))
}

/// Waits until the server has nothing left of an earlier run.
pub(super) async fn settle(target: &Target, service: Duration) {
    load::settle(target, (service * SETTLED_SERVICES).max(SETTLED_MIN)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_is_measured_with_its_deadlines() {
        let rows = rows();
        assert_eq!(rows.len(), 3 * 5 + 2 * 2 + 3);
        let storms = rows.iter().filter(|r| r.0 == Load::Closed(1000));
        assert_eq!(storms.map(|r| r.1).collect::<Vec<_>>(), STORM_DEADLINES);
    }

    #[test]
    fn a_deadline_is_whole_milliseconds_and_never_none() {
        assert_eq!(whole_ms(Duration::from_micros(20_600)), Duration::from_millis(21));
        assert_eq!(whole_ms(Duration::from_micros(90)), Duration::from_millis(1));
        assert_eq!(service_time(0.0), Duration::ZERO);
    }
}
