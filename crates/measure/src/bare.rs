//! The bare loop that a server is measured against: decode, preprocess and run a session, with nothing in between.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::stats::median;
use repserve_preprocess::{JpegDecode, Limits, Preprocess};
use repserve_runtime::ModelSession;

/// A loop and everything that it needs.
#[derive(Clone)]
pub struct Bare {
    /// Makes a session of so many threads.
    pub session: Arc<dyn Fn(usize) -> anyhow::Result<ModelSession> + Send + Sync>,
    /// What is done to an image.
    pub preprocess: Preprocess,
    /// What an image may be.
    pub limits: Limits,
    /// How JPEG is decoded.
    pub jpeg: JpegDecode,
    /// The image, encoded.
    pub image: Bytes,
    /// Loops, or threads of the wide session.
    pub cores: usize,
}

/// What a loop did.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct BareFigures {
    /// Decode + preprocess + one-thread sessions in a loop on every core: images a second.
    pub images_per_second: f64,
    /// Decode + preprocess + the widest session, one image at a time: milliseconds.
    pub latency_ms: f64,
}

impl BareFigures {
    /// The median of each figure.
    pub fn median(rounds: &[Self]) -> Self {
        let of = |pick: fn(&Self) -> f64| median(&rounds.iter().map(pick).collect::<Vec<_>>());
        Self {
            images_per_second: of(|f| f.images_per_second),
            latency_ms: of(|f| f.latency_ms),
        }
    }
}

impl Bare {
    /// Both figures, each measured for `duration`.
    ///
    /// # Errors
    /// Where the model or the image cannot be used.
    pub fn figures(&self, duration: Duration) -> anyhow::Result<BareFigures> {
        Ok(BareFigures {
            images_per_second: self.images_per_second(duration)?,
            latency_ms: self.latency_ms(duration)?,
        })
    }

    /// Images a second of one loop a core, each with a one-thread session of its own.
    fn images_per_second(&self, duration: Duration) -> anyhow::Result<f64> {
        let start = Barrier::new(self.cores);
        let rates = std::thread::scope(|scope| {
            let loops: Vec<_> = (0..self.cores)
                .map(|_| {
                    scope.spawn(|| {
                        let mut session = self.session(1);
                        // Everybody waits for everybody, also for one whose session could not be made.
                        start.wait();
                        self.rate(session.as_mut().map_err(|e| anyhow::anyhow!("{e:#}"))?, duration)
                    })
                })
                .collect();
            let joined = loops
                .into_iter()
                .map(|l| l.join().map_err(|_| anyhow::anyhow!("a loop panicked"))?);
            joined.collect::<anyhow::Result<Vec<f64>>>()
        })?;
        Ok(rates.iter().sum())
    }

    /// Milliseconds of one image at a time on a session that uses all cores: the median.
    fn latency_ms(&self, duration: Duration) -> anyhow::Result<f64> {
        let mut session = self.session(self.cores)?;
        let end = Instant::now() + duration;
        let mut latencies = Vec::new();
        while Instant::now() < end {
            let start = Instant::now();
            self.once(&mut session)?;
            latencies.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(median(&latencies))
    }

    fn rate(&self, session: &mut ModelSession, duration: Duration) -> anyhow::Result<f64> {
        let start = Instant::now();
        let mut images = 0;
        while start.elapsed() < duration {
            self.once(session)?;
            images += 1;
        }
        Ok(f64::from(images) / start.elapsed().as_secs_f64())
    }

    fn once(&self, session: &mut ModelSession) -> anyhow::Result<()> {
        let decoded = self.preprocess.apply(&self.image, &self.limits, self.jpeg)?;
        let [height, width] = self.preprocess.size().map(|side| side as usize);
        session.run(&[decoded.tensor], [3, height, width])?;
        Ok(())
    }

    /// A session that has run once.
    fn session(&self, threads: usize) -> anyhow::Result<ModelSession> {
        let mut session = (self.session)(threads).context("the bare loop")?;
        self.once(&mut session)?;
        Ok(session)
    }
}
