//! Settings of a scheduler, and the numbers that it works with.

use std::time::Duration;

use repserve_settings::{settings, time_ms};

settings! {
    /// The queue and the batches.
    #[derive(Eq)]
    pub struct BatchSettings {
        /// Images that may wait for a session, at most. A request whose images do not all fit gets 429. A quarter is kept for clients that
        /// have less than an even share.
        #[allowed(1..)]
        queue_capacity: usize = 256,
        /// Milliseconds that requests without a deadline of their own (`?timeout_ms=`, `parameters.timeout`) may wait for a session. A burst
        /// may wait twice as long; once all have waited longer for as long again, a request that would gets 429. 0: as long as they like.
        #[allowed(time_ms(0))]
        wait_ms_max: u64 = 1000,
        /// Images in one run of a session at most; 0: measured when the model is loaded, and compared with others while it serves.
        batch_max: usize = 0,
        /// Microseconds that an incomplete batch may wait for more images while a session is free.
        delay_us_max: u64 = 0,
    }
}

/// How long runs take by their number of items, ascending; empty where nothing was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunTimes {
    /// On one core, while every other core does the same.
    pub narrow: Vec<(usize, Duration)>,
    /// On all cores.
    pub wide: Vec<(usize, Duration)>,
}

/// The numbers that a scheduler works with: the settings, and what was measured for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// Items that may wait for a session.
    pub queue_capacity: usize,
    /// Items in one run of a narrow session at most, to begin with.
    pub batch_max: usize,
    /// Other sizes are tried up to this one while it serves, and the best is used; `None`: `batch_max` holds.
    pub batch_tried_max: Option<usize>,
    /// Items in one run of the wide session at most: no more than it finishes before a narrow one finishes a single item.
    pub wide_max: usize,
    /// How long an incomplete batch may wait for more while a session is free.
    pub delay: Duration,
    /// How long prepared items may wait while workers prepare more for their batch: about as long as a batch runs.
    pub fill: Duration,
    /// How long requests without a deadline of their own may wait while the queue stands; zero: as long as they like.
    pub wait_max: Duration,
    /// How long runs take.
    pub run_times: RunTimes,
}

impl From<&BatchSettings> for Tuning {
    /// What holds where nothing was measured.
    fn from(settings: &BatchSettings) -> Self {
        let batch_max = settings.batch_max.max(1);
        Self {
            queue_capacity: settings.queue_capacity,
            batch_max,
            batch_tried_max: None,
            wide_max: batch_max,
            delay: Duration::from_micros(settings.delay_us_max),
            fill: Duration::from_millis(20),
            wait_max: Duration::from_millis(settings.wait_ms_max),
            run_times: RunTimes::default(),
        }
    }
}
