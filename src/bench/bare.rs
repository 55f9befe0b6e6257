//! The bare loop that a server is measured against: decode, preprocess and run a session, with nothing in between.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;

use super::stats::median;
use crate::image::{JpegDecode, Limits, Preprocess};
use crate::runtime::{ModelSession, Runtime, SessionOptions};

/// A loop and everything that it needs.
pub struct Bare {
    /// ONNX Runtime.
    pub runtime: Runtime,
    /// The deploy graph.
    pub deploy: Bytes,
    /// The output to read; the first if not given.
    pub output: Option<String>,
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

impl Bare {
    /// Images a second of one loop a core, each with a one-thread session of its own.
    ///
    /// # Errors
    /// Where the model or the image cannot be used.
    pub fn images_per_second(&self, duration: Duration) -> anyhow::Result<f64> {
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
    ///
    /// # Errors
    /// Where the model or the image cannot be used.
    pub fn latency_ms(&self, duration: Duration) -> anyhow::Result<f64> {
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
        let options = SessionOptions {
            threads,
            output: self.output.clone(),
            ..SessionOptions::default()
        };
        let mut session = ModelSession::from_memory(&self.runtime, &self.deploy, &options).context("the bare loop")?;
        self.once(&mut session)?;
        Ok(session)
    }
}
