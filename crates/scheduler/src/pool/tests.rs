use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::ThreadId;

use super::*;
use crate::{
    Batcher, Engine, Memory, Outcome, Payload, Prepared, Request, RunTimes, Scheduler, Session, SessionError, Sessions,
    Tuning, pair,
};

/// What all sessions of a test have done.
#[derive(Default)]
struct Seen {
    threads: Mutex<HashSet<ThreadId>>,
    running: AtomicUsize,
    most: AtomicUsize,
    wide: AtomicUsize,
    wide_beside_others: AtomicUsize,
    sessions: AtomicUsize,
    /// Is awaited by a run, where there is one.
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

/// Returns its items, and notes what runs beside.
struct Echo(Arc<Seen>);

struct EchoSession {
    seen: Arc<Seen>,
    wide: bool,
}

impl EchoSession {
    fn new(seen: &Arc<Seen>, wide: bool) -> Self {
        seen.sessions.fetch_add(1, Ordering::SeqCst);
        Self {
            seen: Arc::clone(seen),
            wide,
        }
    }
}

impl Drop for EchoSession {
    fn drop(&mut self) {
        self.seen.sessions.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Engine for Echo {
    type Raw = u32;
    type Input = u32;
    type Output = u32;
    type Invalid = ();
    type Session = EchoSession;

    fn prepare(&self, raw: u32) -> Result<Prepared<u32>, ()> {
        let (decode, preprocess) = (Duration::ZERO, Duration::ZERO);
        Ok(Prepared {
            input: raw,
            decode,
            preprocess,
        })
    }

    fn rebuild(&self, width: Width) -> Result<EchoSession, SessionError> {
        Ok(EchoSession::new(&self.0, width == Width::Wide))
    }
}

impl Session for EchoSession {
    type Input = u32;
    type Output = u32;

    fn run(&mut self, batch: &[u32]) -> Result<Vec<u32>, SessionError> {
        let seen = &self.seen;
        seen.threads.lock().unwrap().insert(std::thread::current().id());
        let beside = seen.running.fetch_add(1, Ordering::SeqCst);
        seen.most.fetch_max(beside + 1, Ordering::SeqCst);
        if self.wide {
            seen.wide.fetch_add(1, Ordering::SeqCst);
        }
        let gate = seen.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            let _ = gate.recv();
        }
        std::thread::yield_now();
        let after = seen.running.fetch_sub(1, Ordering::SeqCst);
        if self.wide && (beside > 0 || after > 1) {
            seen.wide_beside_others.fetch_add(1, Ordering::SeqCst);
        }
        Ok(batch.to_vec())
    }
}

fn scheduler(seen: &Arc<Seen>, workers: usize) -> (Batcher<Echo>, Scheduler<Echo>) {
    let sessions = Sessions {
        narrow: (0..workers).map(|_| EchoSession::new(seen, false)).collect(),
        wide: Some(EchoSession::new(seen, true)),
    };
    let tuning = Tuning {
        queue_capacity: 1000,
        batch_max: 2,
        batch_tried_max: None,
        wide_max: 2,
        delay: Duration::ZERO,
        fill: Duration::from_millis(1),
        wait_max: Duration::ZERO,
        run_times: RunTimes::default(),
    };
    let memory = Arc::new(Memory::unlimited());
    pair(Arc::new(Echo(Arc::clone(seen))), sessions, tuning, memory, Arc::new(()))
}

async fn echo(batcher: &Batcher<Echo>, item: u32) {
    let pending = batcher.submit(vec![Payload::Raw(item)], &Request::patient(), None);
    let outcomes = pending.unwrap().await;
    assert!(matches!(outcomes[0], Outcome::Completed { output, .. } if output == item));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_runs_any_of_ten() {
    let seen = Arc::new(Seen::default());
    let pool = WorkerPool::start(1).unwrap();
    let all: Vec<_> = (0..10).map(|_| scheduler(&seen, 1)).collect();
    let joined: Vec<_> = all
        .into_iter()
        .map(|(batcher, scheduler)| (batcher, scheduler.join(&pool, 1)))
        .collect();
    for (item, (batcher, _)) in (0..).zip(&joined) {
        echo(batcher, item).await;
    }
    assert_eq!(seen.threads.lock().unwrap().len(), 1);
    for (_, workers) in joined {
        assert!(workers.drain(Duration::from_secs(60)));
    }
    assert_eq!(seen.sessions.load(Ordering::SeqCst), 0);
    pool.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_take_no_more_workers_than_there_are_and_a_wide_run_is_alone() {
    let seen = Arc::new(Seen::default());
    let pool = WorkerPool::start(2).unwrap();
    let all: Vec<_> = (0..3).map(|_| scheduler(&seen, 2)).collect();
    let (batchers, joined): (Vec<_>, Vec<_>) = all
        .into_iter()
        .map(|(batcher, scheduler)| (batcher, scheduler.join(&pool, 1)))
        .unzip();
    let clients = batchers.iter().cloned().flat_map(|batcher| {
        (0..3).map(move |_| {
            let batcher = batcher.clone();
            tokio::spawn(async move {
                for item in 0..300 {
                    echo(&batcher, item).await;
                }
            })
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    // One alone has all workers, once the others have come to rest.
    while seen.wide.load(Ordering::SeqCst) == 0 {
        echo(&batchers[0], 7).await;
    }
    assert!(seen.most.load(Ordering::SeqCst) <= 2);
    assert_eq!(seen.wide_beside_others.load(Ordering::SeqCst), 0);
    drop(joined);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_leaves_ends_when_its_last_run_has_and_the_others_go_on() {
    let seen = Arc::new(Seen::default());
    let pool = WorkerPool::start(2).unwrap();
    let (opens, gate) = mpsc::channel();
    let (leaves, scheduler_that_leaves) = scheduler(&seen, 2);
    let (stays, scheduler_that_stays) = scheduler(&seen, 2);
    let workers = scheduler_that_leaves.join(&pool, 1);
    let _stays = scheduler_that_stays.join(&pool, 1);
    *seen.gate.lock().unwrap() = Some(gate);
    // More than the wide session takes, so that a worker is left to the other one.
    let items = (0..3).map(Payload::Ready).collect();
    let pending = leaves.submit(items, &Request::patient(), None);
    let pending = pending.unwrap();
    while seen.running.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let ending = tokio::task::spawn_blocking(move || workers.end());
    let outcomes = pending.await;
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Aborted)));
    echo(&stays, 3).await;
    assert!(!ending.is_finished());
    opens.send(()).unwrap();
    ending.await.unwrap();
    assert_eq!(seen.sessions.load(Ordering::SeqCst), 3, "those of the one that stays");
}
