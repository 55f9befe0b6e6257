//! When the requests of an open loop are due.

use std::time::Duration;

/// A process of arrivals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// Evenly spaced.
    Even {
        /// Requests a second.
        per_second: f64,
    },
    /// A Poisson process: exponentially distributed gaps, independent of each other.
    Poisson {
        /// Requests a second, in the mean.
        per_second: f64,
        /// The same seed gives the same times.
        seed: u64,
    },
}

impl Arrivals {
    /// The times before `duration`, ascending. None where the rate is not a positive number.
    pub fn times(self, duration: Duration) -> impl Iterator<Item = Duration> + Send + 'static {
        let (mut now, mut sequence) = (0.0, fastrand::Rng::with_seed(self.seed()));
        let gaps = std::iter::repeat_with(move || match self {
            Self::Even { per_second } => 1.0 / per_second,
            Self::Poisson { per_second, .. } => -(1.0 - sequence.f64()).ln() / per_second,
        });
        let times = gaps.map(move |gap| {
            now += gap;
            now
        });
        times
            .take_while(move |time| (0.0..duration.as_secs_f64()).contains(time))
            .map(Duration::from_secs_f64)
    }

    fn seed(self) -> u64 {
        match self {
            Self::Even { .. } => 0,
            Self::Poisson { seed, .. } => seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_arrivals_are_evenly_spaced() {
        let times: Vec<_> = Arrivals::Even { per_second: 4.0 }
            .times(Duration::from_secs(1))
            .collect();
        assert_eq!(times, [250, 500, 750].map(Duration::from_millis));
    }

    #[test]
    fn a_poisson_process_has_its_rate_and_its_variance() {
        let arrivals = Arrivals::Poisson {
            per_second: 1000.0,
            seed: 7,
        };
        let times: Vec<_> = arrivals.times(Duration::from_secs(100)).collect();
        assert!(times.is_sorted());
        // 100,000 are expected, with a standard deviation of 316.
        assert!((98_500..101_500).contains(&times.len()), "{}", times.len());
        // Counts of disjoint intervals have a variance equal to their mean.
        let mut counts = vec![0.0_f64; 10_000];
        for time in &times {
            counts[(time.as_secs_f64() * 100.0) as usize] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / counts.len() as f64;
        assert!((0.9..1.1).contains(&(variance / mean)), "{variance} {mean}");
        assert_eq!(times, arrivals.times(Duration::from_secs(100)).collect::<Vec<_>>());
    }

    #[test]
    fn a_rate_that_is_no_positive_number_has_no_arrivals() {
        for per_second in [0.0, -1.0, f64::NAN] {
            assert_eq!(Arrivals::Even { per_second }.times(Duration::from_secs(9)).count(), 0);
            assert_eq!(
                Arrivals::Poisson { per_second, seed: 1 }
                    .times(Duration::from_secs(9))
                    .count(),
                0
            );
        }
    }
}
