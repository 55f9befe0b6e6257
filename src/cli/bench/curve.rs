//! What is served in time over the load that is offered.

use std::time::Duration;

use super::deadlines::{capacity, service_time, settle, whole_ms};
use super::{Args, output};
use repserve_measure::goodput::Goodput;
use repserve_measure::load::{self, Arrivals, Target};
use repserve_measure::report::Curve;

/// The loads, over the capacity.
const LOADS: [f64; 10] = [0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0, 4.0, 10.0];

/// The deadline where none is given, over the time that an image takes on one core.
const DEADLINE_SERVICES: f64 = 10.0;

/// Measures the capacity, then every load in each round.
pub(super) async fn measure(
    server: &str,
    machine: String,
    target: &Target,
    deadline: Option<Duration>,
    args: &Args,
) -> anyhow::Result<Curve> {
    let duration = Duration::from_secs_f64(args.seconds);
    let capacity = capacity(target, duration).await?;
    let service = service_time(capacity);
    let deadline = deadline.unwrap_or_else(|| whole_ms(service.mul_f64(DEADLINE_SERVICES)));
    let loaded = target.with_deadline(Some(deadline));
    let mut points: Vec<Vec<Goodput>> = LOADS.map(|_| Vec::new()).into();
    for round in 1..=args.rounds {
        output::complain(&format!("{server}: curve, round {round} of {}", args.rounds));
        for (load, points) in LOADS.iter().zip(&mut points) {
            settle(target, service).await;
            let arrivals = Arrivals::Poisson {
                per_second: capacity * load,
                seed: round.into(),
            };
            let run = load::open(&loaded, arrivals, duration.max(deadline * 3)).await;
            points.push(Goodput::of(&run, Some(deadline)));
        }
    }
    Ok(Curve {
        server: server.to_owned(),
        machine,
        deadline_ms: deadline.as_millis() as u64,
        capacity_per_second: capacity,
        points: points.iter().map(|rounds| Goodput::median(rounds)).collect(),
    })
}
