//! Making a metric and registering it, in one step.

use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

const NAMESPACE: &str = "repserve";

/// Makes metrics of one registry. Each method errs where the name is taken.
pub(super) struct Maker<'a>(pub(super) &'a Registry);

type Made<T> = Result<T, prometheus::Error>;

impl Maker<'_> {
    pub(super) fn counter(&self, name: &str, help: &str) -> Made<IntCounter> {
        self.add(IntCounter::with_opts(opts(name, help))?)
    }

    pub(super) fn counters(&self, name: &str, labels: &[&str], help: &str) -> Made<IntCounterVec> {
        self.add(IntCounterVec::new(opts(name, help), labels)?)
    }

    pub(super) fn number(&self, name: &str, help: &str) -> Made<IntGauge> {
        self.add(IntGauge::with_opts(opts(name, help))?)
    }

    pub(super) fn numbers(&self, name: &str, labels: &[&str], help: &str) -> Made<IntGaugeVec> {
        self.add(IntGaugeVec::new(opts(name, help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Made<Gauge> {
        self.add(Gauge::with_opts(opts(name, help))?)
    }

    pub(super) fn gauges(&self, name: &str, labels: &[&str], help: &str) -> Made<GaugeVec> {
        self.add(GaugeVec::new(opts(name, help), labels)?)
    }

    pub(super) fn histogram(&self, name: &str, buckets: &[f64], help: &str) -> Made<Histogram> {
        self.add(Histogram::with_opts(histogram(name, buckets, help))?)
    }

    pub(super) fn histograms(&self, name: &str, labels: &[&str], buckets: &[f64], help: &str) -> Made<HistogramVec> {
        self.add(HistogramVec::new(histogram(name, buckets, help), labels)?)
    }

    /// A counter whose value is read where it is counted.
    pub(super) fn mirror(&self, name: &str, help: &str, read: fn() -> u64) -> Made<()> {
        let counter = IntCounter::with_opts(opts(name, help))?;
        self.0.register(Box::new(Mirror {
            described: counter.desc().into_iter().cloned().collect(),
            counter: Mutex::new(counter),
            read,
        }))
    }

    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Made<C> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

/// Shows a count of another place; the lock keeps two that look at the same time from adding twice.
struct Mirror {
    described: Vec<Desc>,
    counter: Mutex<IntCounter>,
    read: fn() -> u64,
}

impl Collector for Mirror {
    fn desc(&self) -> Vec<&Desc> {
        self.described.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counter = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        counter.inc_by((self.read)().saturating_sub(counter.get()));
        counter.collect()
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

fn histogram(name: &str, buckets: &[f64], help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help)
        .namespace(NAMESPACE)
        .buckets(buckets.to_vec())
}
