use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;

use super::*;

const SHAPE: Shape = Shape {
    workers: 2,
    wide_max: 4,
    batch_max: 4,
    delay: Duration::ZERO,
    fill: Duration::from_millis(20),
};

fn policy(shape: Shape) -> BatchPolicy {
    BatchPolicy::new(shape, Arc::new(Memory::unlimited()))
}

/// Feeds `events`, then collects decisions until the policy waits.
fn check(shape: Shape, events: &[Event], expected: &[Decision]) {
    let now = Instant::now();
    let mut policy = policy(shape);
    for event in events {
        policy.on(*event, now);
    }
    let decisions: Vec<_> = (0..expected.len()).map(|_| policy.decide(now).0).collect();
    assert_eq!(decisions, expected);
}

fn raw(item: u64) -> Event {
    costly(item, 0, 1, 0)
}

fn costly(item: u64, bytes: u64, work: u64, work_before: u64) -> Event {
    Event::Raw {
        item: ItemId(item),
        deadline: None,
        cost: Cost { bytes, work },
        work_before,
    }
}

fn ready(item: u64) -> Event {
    Event::Ready {
        item: ItemId(item),
        deadline: None,
    }
}

fn prepared(item: u64) -> Event {
    Event::Prepared {
        item: ItemId(item),
        ok: true,
    }
}

fn run(width: Width, items: &[u64]) -> Decision {
    Decision::Run(width, items.iter().copied().map(ItemId).collect())
}

#[test]
fn one_request_alone_gets_all_cores() {
    check(SHAPE, &[ready(1)], &[run(Width::Wide, &[1]), Decision::Wait(None)]);
}

#[test]
fn many_share_the_cores() {
    let events = [ready(1), ready(2), ready(3), ready(4), ready(5)];
    check(
        SHAPE,
        &events,
        &[
            run(Width::Narrow, &[1, 2, 3]),
            run(Width::Narrow, &[4, 5]),
            Decision::Wait(None),
        ],
    );
}

#[test]
fn raw_items_are_prepared_until_a_batch_is_full() {
    let events = [ready(1), ready(2), ready(3), raw(4), raw(5)];
    let expected = [
        Decision::Prepare(ItemId(4)),
        Decision::Prepare(ItemId(5)),
        run(Width::Narrow, &[1, 2, 3]),
    ];
    check(SHAPE, &events, &expected);
}

#[test]
fn an_incomplete_batch_waits_only_for_the_delay() {
    let delay = Duration::from_millis(2);
    let mut policy = policy(Shape { delay, ..SHAPE });
    let now = Instant::now();
    policy.on(ready(1), now);
    assert_eq!(policy.decide(now).0, Decision::Wait(Some(now + delay)));
    assert_eq!(policy.decide(now + delay).0, run(Width::Wide, &[1]));
}

#[test]
fn held_starts_nothing() {
    check(SHAPE, &[Event::Held(true), ready(1), raw(2)], &[Decision::Wait(None)]);
    check(
        SHAPE,
        &[Event::Held(true), ready(1), Event::Held(false)],
        &[run(Width::Wide, &[1])],
    );
}

#[test]
fn expired_and_abandoned_items_are_never_started() {
    let now = Instant::now();
    let mut policy = policy(SHAPE);
    policy.on(
        Event::Ready {
            item: ItemId(1),
            deadline: Some(now),
        },
        now,
    );
    policy.on(
        Event::Raw {
            item: ItemId(2),
            deadline: Some(now),
            cost: Cost::default(),
            work_before: 0,
        },
        now,
    );
    policy.on(ready(3), now);
    assert!(policy.on(Event::Abandoned(ItemId(3)), now));
    assert_eq!(policy.decide(now), (Decision::Wait(None), vec![ItemId(1), ItemId(2)]));
    assert_eq!(policy.waiting(), 0);
}

#[test]
fn more_than_the_wide_session_finishes_in_time_runs_narrow() {
    let shape = Shape { wide_max: 1, ..SHAPE };
    check(shape, &[ready(1)], &[run(Width::Wide, &[1])]);
    check(
        shape,
        &[ready(1), ready(2)],
        &[run(Width::Narrow, &[1]), run(Width::Narrow, &[2])],
    );
}

#[test]
fn a_batch_is_filled_no_longer_than_it_runs() {
    let now = Instant::now();
    let mut policy = policy(SHAPE);
    policy.on(ready(1), now);
    for item in 2..6 {
        policy.on(raw(item), now);
    }
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(2)));
    let late = now + SHAPE.fill;
    policy.on(
        Event::Prepared {
            item: ItemId(2),
            ok: true,
        },
        late,
    );
    assert_eq!(policy.decide(late).0, run(Width::Narrow, &[1]));
}

#[test]
fn a_stream_of_ready_items_does_not_starve_a_raw_one() {
    let now = Instant::now();
    let mut policy = policy(SHAPE);
    policy.on(raw(1), now);
    for item in 2..12 {
        policy.on(ready(item), now);
    }
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(1)));
    assert_eq!(policy.decide(now).0, run(Width::Narrow, &[2, 3, 4, 5]));
}

#[test]
fn an_item_abandoned_while_it_is_prepared_holds_its_core_until_then() {
    let now = Instant::now();
    let mut policy = policy(SHAPE);
    policy.on(raw(1), now);
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(1)));
    assert!(!policy.on(Event::Abandoned(ItemId(1)), now));
    policy.on(ready(2), now);
    assert_eq!(policy.decide(now).0, run(Width::Narrow, &[2]));
    assert!(policy.on(
        Event::Prepared {
            item: ItemId(1),
            ok: true
        },
        now
    ));
    assert_eq!(policy.decide(now).0, Decision::Wait(None));
}

#[test]
fn an_item_waits_for_memory_and_sessions_run_meanwhile() {
    let now = Instant::now();
    let mut policy = BatchPolicy::new(SHAPE, Arc::new(Memory::new(100)));
    policy.on(costly(1, 70, 1, 0), now);
    policy.on(costly(2, 70, 1, 0), now);
    policy.on(costly(3, 10, 1, 0), now);
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(1)));
    // Item 3 would fit, but overtaking would starve item 2.
    assert_eq!(policy.decide(now).0, Decision::Wait(None));
    policy.on(ready(4), now);
    assert_eq!(policy.decide(now).0, run(Width::Narrow, &[4]));
    policy.on(prepared(1), now);
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(2)));
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(3)));
}

#[test]
fn memory_that_another_scheduler_holds_is_asked_for_again() {
    let now = Instant::now();
    let memory = Arc::new(Memory::new(100));
    let mut policy = BatchPolicy::new(SHAPE, memory.clone());
    assert!(memory.take(60));
    policy.on(costly(1, 50, 1, 0), now);
    assert_eq!(policy.decide(now).0, Decision::Wait(Some(now + MEMORY_POLL)));
    memory.give(60);
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(1)));
    assert!(!policy.on(Event::Abandoned(ItemId(1)), now));
    assert_eq!(memory.bytes_used(), 50, "the worker that is at it still holds it");
    policy.on(prepared(1), now);
    assert_eq!(memory.bytes_used(), 0);
}

#[test]
fn an_abandoned_item_does_not_hold_up_those_behind_it() {
    let now = Instant::now();
    let mut policy = BatchPolicy::new(SHAPE, Arc::new(Memory::new(100)));
    policy.on(costly(1, 60, 1, 0), now);
    policy.on(costly(2, 90, 1, 0), now);
    policy.on(costly(3, 40, 1, 0), now);
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(1)));
    assert!(policy.on(Event::Abandoned(ItemId(2)), now));
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(3)));
}

#[test]
fn a_small_request_overtakes_the_rest_of_a_large_one() {
    let now = Instant::now();
    let mut policy = policy(Shape { batch_max: 9, ..SHAPE });
    for item in 0..4 {
        policy.on(costly(item, 0, 50, item * 50), now);
    }
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(0)));
    policy.on(costly(4, 0, 3, 0), now);
    policy.on(costly(5, 0, 120, 0), now);
    let order: Vec<_> = (0..5).map(|_| policy.decide(now).0).collect();
    assert_eq!(order, [4, 1, 2, 5, 3].map(|item| Decision::Prepare(ItemId(item))));
}

#[test]
fn what_has_had_its_turn_does_not_wait_for_raw_items_that_came_before() {
    let now = Instant::now();
    let mut policy = policy(SHAPE);
    for item in 0..4 {
        policy.on(costly(item, 0, 50, item * 50), now);
    }
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(0)));
    policy.on(costly(4, 0, 3, 0), now);
    assert_eq!(policy.decide(now).0, Decision::Prepare(ItemId(4)));
    policy.on(prepared(4), now);
    assert_eq!(policy.decide(now + SHAPE.fill).0, run(Width::Narrow, &[4]));
}

/// What a simulated worker is at.
#[derive(Debug, Clone)]
enum Job {
    Preparing(ItemId),
    Running(Width),
}

#[derive(Debug, Clone)]
enum Step {
    Arrive {
        ready: bool,
        lifetime_ms: Option<u64>,
        cost: Cost,
    },
    /// The given worker job (of those under way) ends; `ok` matters to a preparing one.
    Finish {
        job: usize,
        ok: bool,
    },
    Abandon {
        item: u64,
    },
    Pass {
        ms: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<bool>(), proptest::option::of(0u64..20), 0u64..150, 0u64..9).prop_map(|(ready, lifetime_ms, bytes, work)| {
            Step::Arrive { ready, lifetime_ms, cost: Cost { bytes, work } }
        }),
        4 => (0usize..8, prop::bool::weighted(0.9)).prop_map(|(job, ok)| Step::Finish { job, ok }),
        1 => (0u64..60).prop_map(|item| Step::Abandon { item }),
        1 => (0u64..10).prop_map(|ms| Step::Pass { ms }),
    ];
    prop::collection::vec(step, 1..120)
}

/// A simulation of workers around the policy that checks the invariants at every step.
struct World {
    policy: BatchPolicy,
    shape: Shape,
    now: Instant,
    next: u64,
    jobs: Vec<Job>,
    live: BTreeSet<ItemId>,
    ended: HashSet<ItemId>,
    last_started: Option<ItemId>,
    in_order: bool,
    memory: Arc<Memory>,
    /// What the items that are being prepared take.
    bytes: HashMap<ItemId, u64>,
}

impl World {
    fn new(shape: Shape) -> Self {
        let memory = Arc::new(Memory::new(100));
        let policy = BatchPolicy::new(shape, memory.clone());
        let (live, ended) = (BTreeSet::new(), HashSet::new());
        Self {
            policy,
            shape,
            now: Instant::now(),
            next: 0,
            jobs: vec![],
            live,
            ended,
            last_started: None,
            in_order: true,
            memory,
            bytes: HashMap::new(),
        }
    }

    fn end(&mut self, item: ItemId) {
        assert!(self.live.remove(&item), "{item:?} ended but was not waiting");
        assert!(self.ended.insert(item), "{item:?} ended twice");
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Arrive {
                ready,
                lifetime_ms,
                cost,
            } => {
                let (item, deadline) = (
                    ItemId(self.next),
                    lifetime_ms.map(|ms| self.now + Duration::from_millis(ms)),
                );
                self.next += 1;
                self.live.insert(item);
                // Items that are ready may overtake those that are still to be prepared; nothing else may overtake.
                self.in_order &= ready;
                let arrived = if ready {
                    Event::Ready { item, deadline }
                } else {
                    self.bytes.insert(item, cost.bytes.min(100));
                    Event::Raw {
                        item,
                        deadline,
                        cost,
                        work_before: 0,
                    }
                };
                self.policy.on(arrived, self.now);
            }
            Step::Finish { job, ok } if !self.jobs.is_empty() => {
                let index = job % self.jobs.len();
                match self.jobs.remove(index) {
                    Job::Preparing(item) => {
                        if self.policy.on(Event::Prepared { item, ok }, self.now) {
                            self.end(item);
                        }
                    }
                    Job::Running(width) => {
                        self.policy.on(Event::Ran(width), self.now);
                    }
                }
            }
            Step::Abandon { item } => {
                let item = ItemId(item);
                if self.live.contains(&item) && self.policy.on(Event::Abandoned(item), self.now) {
                    self.end(item);
                }
            }
            Step::Pass { ms } => self.now += Duration::from_millis(ms),
            _ => {}
        }
        self.work();
    }

    /// Lets every free worker ask.
    fn work(&mut self) {
        while self.jobs.len() < self.shape.workers {
            let (decision, expired) = self.policy.decide(self.now);
            expired.into_iter().for_each(|item| self.end(item));
            match decision {
                Decision::Prepare(item) => self.jobs.push(Job::Preparing(item)),
                Decision::Run(width, items) => self.start(width, items),
                Decision::Wait(until) => {
                    assert!(
                        self.nothing_can_run() || (until.is_some() && self.first_raw_waits()),
                        "idle with work: {:?}",
                        self.policy
                    );
                    break;
                }
            }
        }
    }

    fn start(&mut self, width: Width, items: Vec<ItemId>) {
        let most = match width {
            Width::Narrow => self.shape.batch_max,
            Width::Wide => self.shape.wide_max,
        };
        assert!((1..=most).contains(&items.len()), "{} items, {width:?}", items.len());
        assert!(items.is_sorted(), "first in, first out within a batch");
        if width == Width::Wide {
            assert!(self.jobs.is_empty(), "the wide session runs alone");
        }
        assert!(
            !self.jobs.iter().any(|j| matches!(j, Job::Running(Width::Wide))),
            "nothing beside the wide session"
        );
        if self.in_order {
            assert!(
                self.last_started <= items.first().copied(),
                "first in, first out between batches"
            );
        }
        self.last_started = items.last().copied();
        items.into_iter().for_each(|item| self.end(item));
        self.jobs.push(Job::Running(width));
    }

    fn nothing_can_run(&self) -> bool {
        let wide = self.jobs.iter().any(|j| matches!(j, Job::Running(Width::Wide)));
        wide || self.first_raw_waits() && self.policy.ready.is_empty()
    }

    /// Whether there is no raw item, or no memory for the first.
    fn first_raw_waits(&self) -> bool {
        let preparing = self.jobs.iter().filter_map(|job| match job {
            Job::Preparing(item) => Some(self.bytes[item]),
            Job::Running(_) => None,
        });
        let used: u64 = preparing.sum();
        assert_eq!(
            self.memory.bytes_used(),
            used,
            "memory is taken while an item is prepared"
        );
        let first = self.policy.raw.first_key_value();
        first.is_none_or(|((_, item), _)| used + self.bytes[item] > 100)
    }

    fn finish(&mut self) {
        // What was prepared last may wait for `delay` once more.
        for _ in 0..2 {
            while !self.jobs.is_empty() {
                self.step(&Step::Finish { job: 0, ok: true });
            }
            self.step(&Step::Pass { ms: 100 });
        }
        while !self.jobs.is_empty() {
            self.step(&Step::Finish { job: 0, ok: true });
        }
        assert_eq!(self.memory.bytes_used(), 0);
        assert!(self.live.is_empty(), "items without an outcome: {:?}", self.live);
        assert_eq!(self.ended.len() as u64, self.next);
    }
}

proptest! {
    #[test]
    fn every_item_ends_once_and_no_core_does_two_things(
        steps in steps(), workers in 1usize..5, wide_max in 0usize..6, batch_max in 1usize..6, delay_ms in 0u64..3,
        fill_ms in 0u64..20,
    ) {
        let (delay, fill) = (Duration::from_millis(delay_ms), Duration::from_millis(fill_ms));
        let shape = Shape { workers, wide_max, batch_max, delay, fill };
        let mut world = World::new(shape);
        steps.iter().for_each(|step| world.step(step));
        world.finish();
    }
}
