use std::sync::Mutex;

use super::*;
use crate::{BatchSettings, Prepared, Refusal, Session, SessionError, Timings, Width};

const INVALID: u32 = 66;
const PANICS_WHEN_PREPARED: u32 = 77;
const FAILS: u32 = 98;
const PANICS: u32 = 99;

/// Adds 1000 to each item; the constants above misbehave.
#[derive(Default)]
struct Fake {
    runs: Arc<Mutex<Vec<Vec<u32>>>>,
    rebuilt: Mutex<usize>,
}

struct FakeSession(Arc<Mutex<Vec<Vec<u32>>>>);

impl Engine for Fake {
    type Raw = u32;
    type Input = u32;
    type Output = u32;
    type Invalid = u32;
    type Session = FakeSession;

    fn prepare(&self, raw: u32) -> Result<Prepared<u32>, u32> {
        assert_ne!(raw, PANICS_WHEN_PREPARED);
        let prepared = Prepared {
            input: raw,
            decode: Duration::ZERO,
            preprocess: Duration::ZERO,
        };
        if raw == INVALID { Err(raw) } else { Ok(prepared) }
    }

    fn rebuild(&self, _: Width) -> Result<FakeSession, SessionError> {
        *self.rebuilt.lock().unwrap() += 1;
        Ok(FakeSession(self.runs.clone()))
    }
}

impl Session for FakeSession {
    type Input = u32;
    type Output = u32;

    fn run(&mut self, batch: &[u32]) -> Result<Vec<u32>, SessionError> {
        self.0.lock().unwrap().push(batch.to_vec());
        assert!(!batch.contains(&PANICS));
        if batch.contains(&FAILS) {
            return Err(SessionError("failed".into()));
        }
        Ok(batch.iter().map(|i| i + 1000).collect())
    }
}

#[derive(Default)]
struct Ends(Mutex<Vec<End>>);

impl Observer for Ends {
    fn ended(&self, end: End, _: &Timings, _: Option<bool>) {
        self.0.lock().unwrap().push(end);
    }
}

struct Bench {
    engine: Arc<Fake>,
    ends: Arc<Ends>,
    batcher: Batcher<Fake>,
    workers: Workers<Fake>,
}

fn start(workers: usize, settings: BatchSettings) -> Bench {
    let engine = Arc::new(Fake::default());
    let ends = Arc::new(Ends::default());
    let narrow = (0..workers).map(|_| FakeSession(engine.runs.clone())).collect();
    let (batcher, scheduler) = pair(
        engine.clone(),
        Sessions { narrow, wide: None },
        &settings,
        Arc::new(Memory::unlimited()),
        ends.clone(),
    );
    Bench {
        engine,
        ends,
        batcher,
        workers: scheduler.spawn().unwrap(),
    }
}

fn raw(items: &[u32]) -> Vec<Payload<u32, u32>> {
    items.iter().copied().map(Payload::Raw).collect()
}

fn text(outcomes: &[Outcome<u32, u32>]) -> String {
    let text = outcomes.iter().map(|outcome| match outcome {
        Outcome::Completed { output, .. } => output.to_string(),
        Outcome::Invalid(item) => format!("invalid {item}"),
        Outcome::Expired => "expired".into(),
        Outcome::Failed(error) => error.to_string(),
        Outcome::Aborted => "aborted".into(),
    });
    text.collect::<Vec<_>>().join(", ")
}

/// Submits `items` as one request to a fresh scheduler and compares its outcomes.
async fn check(items: &[u32], expected: &str) -> Bench {
    let bench = start(
        1,
        BatchSettings {
            batch_max: 4,
            ..BatchSettings::default()
        },
    );
    let outcomes = bench
        .batcher
        .submit(raw(items), &Request::default(), None)
        .unwrap()
        .await;
    assert!(text(&outcomes).starts_with(expected), "{}", text(&outcomes));
    bench
}

#[tokio::test]
async fn every_item_gets_its_answer_in_order() {
    check(&[1, 2, 3, 4, 5, 6, 7], "1001, 1002, 1003, 1004, 1005, 1006, 1007").await;
    check(&[], "").await;
}

#[tokio::test]
async fn an_invalid_item_leaves_the_others_alone() {
    check(&[1, INVALID, 3], "1001, invalid 66, 1003").await;
}

#[tokio::test]
async fn a_panic_while_preparing_fails_that_item_only() {
    check(&[PANICS_WHEN_PREPARED], "panicked: ").await;
    let bench = start(1, BatchSettings::default());
    let outcomes = bench
        .batcher
        .submit(raw(&[1, PANICS_WHEN_PREPARED, 3]), &Request::default(), None)
        .unwrap()
        .await;
    assert!(matches!(
        outcomes[..],
        [Outcome::Completed { .. }, Outcome::Failed(_), Outcome::Completed { .. }]
    ));
}

#[tokio::test]
async fn a_session_that_fails_is_rebuilt() {
    for (item, expected) in [(FAILS, "failed"), (PANICS, "panicked: ")] {
        let bench = check(&[item], expected).await;
        let outcomes = bench
            .batcher
            .submit(raw(&[1]), &Request::default(), None)
            .unwrap()
            .await;
        assert_eq!(text(&outcomes), "1001");
        assert_eq!(*bench.engine.rebuilt.lock().unwrap(), 1);
    }
}

#[tokio::test]
async fn requests_share_a_batch() {
    let bench = start(
        1,
        BatchSettings {
            batch_max: 3,
            ..BatchSettings::default()
        },
    );
    bench.batcher.hold();
    let requests = [[1, 2], [3, 4]].map(|items| bench.batcher.submit(raw(&items), &Request::default(), None).unwrap());
    bench.batcher.release();
    for request in requests {
        request.await;
    }
    assert_eq!(*bench.engine.runs.lock().unwrap(), [vec![1, 2, 3], vec![4]]);
}

#[tokio::test]
async fn a_full_queue_rejects_the_whole_request() {
    let bench = start(
        1,
        BatchSettings {
            queue_capacity: 3,
            ..BatchSettings::default()
        },
    );
    bench.batcher.hold();
    let admitted = bench.batcher.submit(raw(&[1, 2]), &Request::default(), None).unwrap();
    assert!(matches!(
        bench.batcher.submit(raw(&[3, 4]), &Request::default(), None),
        Err(Rejected::Overloaded {
            reason: Refusal::QueueFull,
            ..
        })
    ));
    let check = |items, request| bench.batcher.check(items, 0, &request);
    assert_eq!(check(4, Request::default()), Err(Rejected::TooMany { capacity: 3 }));
    assert_eq!(check(1, Request::default()), Ok(()));
    assert_eq!(check(1, Request::by(Instant::now())), Err(Rejected::Expired));
    assert_eq!(bench.batcher.snapshot().queue_depth, 2);
    bench.batcher.release();
    assert_eq!(text(&admitted.await), "1001, 1002");
    assert_eq!(bench.batcher.snapshot().in_flight, 0);
}

#[tokio::test]
async fn a_request_that_is_given_up_never_reaches_a_session() {
    let bench = start(1, BatchSettings::default());
    bench.batcher.hold();
    drop(bench.batcher.submit(raw(&[1]), &Request::default(), None).unwrap());
    bench
        .batcher
        .submit(raw(&[2]), &Request::default(), None)
        .unwrap()
        .expire();
    let kept = bench.batcher.submit(raw(&[3]), &Request::default(), None).unwrap();
    bench.batcher.release();
    assert_eq!(text(&kept.await), "1003");
    assert_eq!(*bench.engine.runs.lock().unwrap(), [vec![3]]);
    assert_eq!(
        *bench.ends.0.lock().unwrap(),
        [End::Abandoned, End::Expired, End::Completed]
    );
}

#[tokio::test]
async fn draining_finishes_what_was_admitted_and_takes_nothing_new() {
    let bench = start(2, BatchSettings::default());
    bench.batcher.hold();
    let admitted = bench
        .batcher
        .submit(raw(&[1, 2, 3]), &Request::default(), None)
        .unwrap();
    bench.batcher.close();
    assert!(matches!(
        bench.batcher.submit(raw(&[4]), &Request::default(), None),
        Err(Rejected::Draining)
    ));
    bench.batcher.release();
    let Bench { workers, .. } = bench;
    assert!(
        tokio::task::spawn_blocking(|| workers.drain(Duration::from_secs(60)))
            .await
            .unwrap()
    );
    assert_eq!(text(&admitted.await), "1001, 1002, 1003");
}

#[tokio::test]
async fn the_hard_limit_of_a_drain_answers_the_rest() {
    let bench = start(1, BatchSettings::default());
    bench.batcher.hold();
    let admitted = bench.batcher.submit(raw(&[1, 2]), &Request::default(), None).unwrap();
    assert!(!bench.workers.drain(Duration::ZERO));
    assert_eq!(text(&admitted.await), "aborted, aborted");
}

#[tokio::test]
async fn a_reservation_keeps_a_place_until_it_is_used_or_dropped() {
    let bench = start(
        1,
        BatchSettings {
            queue_capacity: 2,
            ..BatchSettings::default()
        },
    );
    bench.batcher.hold();
    let (kept, dropped) = (
        bench.batcher.reserve(1, 0, &Request::default()),
        bench.batcher.reserve(1, 0, &Request::default()),
    );
    assert!(bench.batcher.reserve(1, 0, &Request::default()).is_err());
    drop(dropped);
    let other = bench.batcher.submit(raw(&[1]), &Request::default(), None).unwrap();
    let used = bench.batcher.submit(raw(&[2]), &Request::default(), kept.ok()).unwrap();
    assert!(bench.batcher.check(1, 0, &Request::default()).is_err());
    bench.batcher.release();
    assert_eq!(
        (text(&other.await), text(&used.await)),
        ("1001".to_owned(), "1002".to_owned())
    );
}
