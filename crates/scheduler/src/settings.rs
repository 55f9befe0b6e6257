//! Settings of a scheduler, and the numbers that it works with.

use std::time::Duration;

use repserve_settings::settings;

settings! {
    /// The queue and the batches.
    #[derive(Eq)]
    pub struct BatchSettings {
        /// Images that may wait for a session. A request whose images do not all fit gets 429.
        #[allowed(1..)]
        queue_capacity: usize = 256,
        /// Images in one run of a session at most; 0: measured when the model is loaded.
        batch_max: usize = 0,
        /// Microseconds that an incomplete batch may wait for more images while a session is free.
        delay_us_max: u64 = 0,
    }
}

/// The numbers that a scheduler works with: the settings, and what was measured for the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Items that may wait for a session.
    pub queue_capacity: usize,
    /// Items in one run of a narrow session at most.
    pub batch_max: usize,
    /// Items in one run of the wide session at most: no more than it finishes before a narrow one finishes a single item.
    pub wide_max: usize,
    /// How long an incomplete batch may wait for more while a session is free.
    pub delay: Duration,
    /// How long prepared items may wait while workers prepare more for their batch: about as long as a batch runs.
    pub fill: Duration,
}

impl From<&BatchSettings> for Tuning {
    /// What holds where nothing was measured.
    fn from(settings: &BatchSettings) -> Self {
        let batch_max = settings.batch_max.max(1);
        Self {
            queue_capacity: settings.queue_capacity,
            batch_max,
            wide_max: batch_max,
            delay: Duration::from_micros(settings.delay_us_max),
            fill: Duration::from_millis(20),
        }
    }
}
