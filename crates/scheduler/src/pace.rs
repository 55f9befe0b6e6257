//! How fast items are served: a moving average that turns a queue's length into a time.

use std::time::Duration;

/// Seconds of one core that an item takes, averaged over recent work.
#[derive(Debug, Default)]
pub(super) struct Pace {
    prepare_s: f64,
    run_s: f64,
}

/// Weight of the newest measurement.
const WEIGHT: f64 = 0.1;

impl Pace {
    /// An item's preparing took `time` of one core.
    pub(super) fn prepared(&mut self, time: Duration) {
        average(&mut self.prepare_s, time.as_secs_f64());
    }

    /// A run of `items` took `time` on each of `cores` cores.
    pub(super) fn ran(&mut self, items: usize, cores: usize, time: Duration) {
        average(&mut self.run_s, time.as_secs_f64() * cores as f64 / items as f64);
    }

    /// How long `items` take on `cores` cores.
    pub(super) fn wait(&self, items: usize, cores: usize) -> Duration {
        Duration::from_secs_f64((self.prepare_s + self.run_s) * items as f64 / cores.max(1) as f64)
    }
}

fn average(average: &mut f64, value: f64) {
    *average = if *average == 0.0 {
        value
    } else {
        *average + WEIGHT * (value - *average)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_takes_its_length_times_the_pace() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait(10, 2), Duration::ZERO);
        pace.prepared(Duration::from_millis(2));
        pace.ran(4, 1, Duration::from_millis(32));
        assert_eq!(pace.wait(10, 2).as_millis(), 50);
    }
}
