//! What the scheduler itself costs an item, with an engine that computes nothing: `cargo bench --bench batch`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use repserve_scheduler::{
    BatchSettings, Engine, Memory, Payload, Prepared, Request, Session, SessionError, Sessions, Tuning, Width, pair,
};

struct Nothing;
struct NoSession;

impl Engine for Nothing {
    type Raw = u64;
    type Input = u64;
    type Output = u64;
    type Invalid = ();
    type Session = NoSession;

    fn prepare(&self, raw: u64) -> Result<Prepared<u64>, ()> {
        Ok(Prepared {
            input: raw,
            decode: Duration::ZERO,
            preprocess: Duration::ZERO,
        })
    }

    fn rebuild(&self, _: Width) -> Result<NoSession, SessionError> {
        Ok(NoSession)
    }
}

impl Session for NoSession {
    type Input = u64;
    type Output = u64;

    fn run(&mut self, batch: &[u64]) -> Result<Vec<u64>, SessionError> {
        Ok(batch.to_vec())
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Requests under way at one time, one item each, batches of eight, two workers.
#[divan::bench(args = [1, 16, 64])]
fn requests_under_way(bencher: Bencher<'_, '_>, under_way: usize) {
    let sessions = Sessions {
        narrow: vec![NoSession, NoSession],
        wide: None,
    };
    let settings = BatchSettings {
        batch_max: 8,
        ..BatchSettings::default()
    };
    let (batcher, scheduler) = pair(
        Arc::new(Nothing),
        sessions,
        Tuning::from(&settings),
        Arc::new(Memory::unlimited()),
        Arc::new(()),
    );
    let workers = scheduler.spawn().unwrap();
    bencher.counter(ItemsCount::new(under_way)).bench_local(|| {
        let submit = |item| {
            batcher
                .submit(vec![Payload::Raw(item)], &Request::default(), None)
                .unwrap()
        };
        let pending: Vec<_> = (0..under_way as u64).map(submit).collect();
        pending.into_iter().for_each(|one| drop(wait(one)));
    });
    workers.drain(Duration::from_secs(1));
}

fn main() {
    divan::main();
}
