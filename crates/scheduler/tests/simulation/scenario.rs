//! What is simulated: a machine, and who sends what to it.

/// The machine and its load.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// Cores.
    pub(crate) workers: usize,
    /// A single run, in seconds of one core.
    pub(crate) service_s: f64,
    /// Items in a run at most; each further one takes this share of a single run.
    pub(crate) batch_max: usize,
    pub(crate) batch_share: f64,
    /// Sizes that are tried instead.
    pub(crate) batch_tried_max: Option<usize>,
    /// Standard deviation of what things take, relative to the mean.
    pub(crate) noise: f64,
    /// What was measured at the start, relative to what runs really take.
    pub(crate) misjudged: f64,
    /// What runs take from this time on, relative to before: a neighbour comes.
    pub(crate) slower: Option<(f64, f64)>,
    /// Simulated time, of which the first `settle_s` are not counted.
    pub(crate) seconds: f64,
    pub(crate) settle_s: f64,
    /// `batch.wait_ms_max`, in seconds.
    pub(crate) wait_max_s: f64,
    pub(crate) queue_capacity: usize,
    pub(crate) sources: Vec<Source>,
    pub(crate) seed: u64,
}

impl Scenario {
    /// Runs of 20 ms on `workers` cores, measured right.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            service_s: 0.02,
            batch_max: 1,
            batch_share: 1.0,
            batch_tried_max: None,
            noise: 0.2,
            misjudged: 1.0,
            slower: None,
            seconds: 8.0,
            settle_s: 2.0,
            wait_max_s: 1.0,
            queue_capacity: 10_000,
            sources: Vec::new(),
            seed: 1,
        }
    }

    /// Single images a second that the cores are good for.
    pub(crate) fn capacity(&self) -> f64 {
        let batch = self.batch_max as f64;
        let run = self.service_s * (1.0 + self.batch_share * (batch - 1.0));
        self.workers as f64 * batch / run
    }

    /// How long something takes, relative to the mean: nearly normal, the sum of twelve uniform numbers.
    pub(crate) fn noise(&self, random: &mut fastrand::Rng) -> f64 {
        let sum: f64 = (0..12).map(|_| random.f64()).sum();
        (1.0 + self.noise * (sum - 6.0)).max(0.2)
    }

    /// Adds who sends.
    pub(crate) fn with(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    /// Adds one who sends single images at `load` times the capacity, wanted within `deadline` services.
    pub(crate) fn loaded(self, load: f64, deadline: f64) -> Self {
        let rate = load * self.capacity();
        let deadline_s = deadline * self.service_s;
        self.with(Source::new(Arrivals::Poisson { rate }).within(deadline_s))
    }
}

/// Who sends.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) client: u64,
    pub(crate) arrivals: Arrivals,
    /// Images in a request.
    pub(crate) items: usize,
    pub(crate) deadline_s: Option<f64>,
    /// Requests have waited for up to so long, evenly distributed, before they come to the scheduler; their deadlines count it.
    pub(crate) age_s: f64,
    pub(crate) priority: u8,
    pub(crate) decode: Decode,
}

impl Source {
    /// Single images that need no decoding, of client 1, without a deadline.
    pub(crate) fn new(arrivals: Arrivals) -> Self {
        Self {
            client: 1,
            arrivals,
            items: 1,
            deadline_s: None,
            age_s: 0.0,
            priority: 128,
            decode: Decode::None,
        }
    }

    pub(crate) fn client(self, client: u64) -> Self {
        Self { client, ..self }
    }

    pub(crate) fn items(self, items: usize) -> Self {
        Self { items, ..self }
    }

    pub(crate) fn within(self, deadline_s: f64) -> Self {
        Self {
            deadline_s: Some(deadline_s),
            ..self
        }
    }

    pub(crate) fn aged(self, age_s: f64) -> Self {
        Self { age_s, ..self }
    }

    pub(crate) fn priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    pub(crate) fn decode(self, decode: Decode) -> Self {
        Self { decode, ..self }
    }
}

/// When requests come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arrivals {
    /// At random, so many a second.
    Poisson { rate: f64 },
    /// So many at once, every so many seconds.
    Bursts { size: usize, every_s: f64 },
    /// From connections that each wait for the response, pause, and ask again; again at once (after `retry_s`) when refused.
    Closed {
        connections: usize,
        pause_s: f64,
        retry_s: f64,
    },
}

/// What decoding takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decode {
    /// Nothing: tensors.
    None,
    /// As expected, but for the noise.
    Expected { s: f64 },
    /// A Pareto distribution with this mean and exponent, of which only the mean is expected.
    HeavyTail { s: f64, exponent: f64 },
}
