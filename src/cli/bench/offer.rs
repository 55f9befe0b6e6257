//! A load, offered to a server.

use std::time::Duration;

use repserve_measure::load::{self, Arrivals, Run, Target};
use repserve_measure::report::Load;

/// Offers `load` for `duration`. `capacity` is in requests a second, `seed` that of the arrivals.
pub(super) async fn offer(target: &Target, load: Load, capacity: f64, duration: Duration, seed: u64) -> Run {
    let rate = |percent: u32| capacity * f64::from(percent) / 100.0;
    let arrivals = match load {
        Load::Closed(connections) => return load::closed(target, connections, duration).await,
        Load::Open(percent) => Arrivals::Even {
            per_second: rate(percent),
        },
        Load::Poisson(percent) => Arrivals::Poisson {
            per_second: rate(percent),
            seed,
        },
    };
    load::open(target, arrivals, duration).await
}
