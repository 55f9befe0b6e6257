use std::collections::{BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::choose::MEMORY_POLL;
use super::*;
use crate::engine::Cost;
use crate::item::{Refusal, Rejected};
use crate::request::{ClientId, Deadline, Request};

const MS: Duration = Duration::from_millis(1);

fn shape() -> Shape {
    Shape {
        workers: 2,
        wide_max: 4,
        batch_max: 4,
        batch_tried_max: None,
        delay: Duration::ZERO,
        fill: 20 * MS,
        queue_capacity: 1000,
        wait_max: Duration::ZERO,
        run_times: RunTimes::default(),
    }
}

/// A policy whose single runs take 20 ms, without batches and without a wide session.
fn measured() -> BatchPolicy {
    let narrow = vec![(1, 20 * MS)];
    let run_times = RunTimes { narrow, wide: vec![] };
    policy(Shape {
        batch_max: 1,
        wide_max: 0,
        run_times,
        ..shape()
    })
}

fn policy(shape: Shape) -> BatchPolicy {
    BatchPolicy::new(shape, Arc::new(Memory::unlimited()))
}

fn cost(bytes: u64, expected_ms: u32) -> Option<Cost> {
    Some(Cost {
        bytes,
        expected: expected_ms * MS,
        ..Cost::default()
    })
}

fn of(client: u64) -> Request {
    Request {
        client: ClientId(client),
        ..Request::default()
    }
}

/// Admits one request of these items; the number of its first.
#[track_caller]
fn admit(policy: &mut BatchPolicy, costs: &[Option<Cost>], request: &Request, now: Instant) -> u64 {
    policy.admit(costs, request, Duration::ZERO, now).unwrap().start
}

fn prepare(item: u64) -> Decision {
    Decision::Prepare(ItemId(item))
}

fn run(width: Width, items: &[u64]) -> Decision {
    Decision::Run(width, items.iter().copied().map(ItemId).collect())
}

fn narrow(items: &[u64]) -> Decision {
    run(Width::Narrow, items)
}

/// Admits requests of one item each, ready (`None`) or raw, and compares the decisions.
#[track_caller]
fn check(shape: Shape, items: &[Option<Cost>], expected: &[Decision]) {
    let (mut policy, now) = (policy(shape), Instant::now());
    for item in items {
        admit(&mut policy, &[*item], &Request::default(), now);
    }
    assert_eq!(decisions(&mut policy, expected.len(), now), expected);
}

fn decisions(policy: &mut BatchPolicy, count: usize, now: Instant) -> Vec<Decision> {
    (0..count).map(|_| policy.decide(now).0).collect()
}

#[test]
fn one_request_alone_gets_all_cores() {
    check(shape(), &[None], &[run(Width::Wide, &[0]), Decision::Wait(None)]);
}

#[test]
fn a_request_does_not_wait_too_long_for_its_own_items() {
    let mut policy = policy(Shape {
        wait_max: 100 * MS,
        ..shape()
    });
    let now = Instant::now();
    admit(&mut policy, &[cost(0, 200); 64], &of(1), now);
    let other = policy.admit(&[cost(0, 200); 64], &of(1), Duration::ZERO, now);
    let Err(Rejected::Overloaded { reason, .. }) = other else {
        panic!("{other:?}");
    };
    assert_eq!(reason, Refusal::StandingQueue);
}

#[test]
fn many_share_the_cores() {
    let expected = [narrow(&[0, 1, 2]), narrow(&[3, 4]), Decision::Wait(None)];
    check(shape(), &[None; 5], &expected);
}

#[test]
fn raw_items_are_prepared_until_a_batch_is_full() {
    let items = [None, None, None, cost(0, 0), cost(0, 0)];
    check(shape(), &items, &[prepare(3), prepare(4), narrow(&[0, 1, 2])]);
}

#[test]
fn an_incomplete_batch_waits_only_for_the_delay() {
    let delay = 2 * MS;
    let mut policy = policy(Shape { delay, ..shape() });
    let now = Instant::now();
    admit(&mut policy, &[None], &Request::default(), now);
    assert_eq!(policy.decide(now).0, Decision::Wait(Some(now + delay)));
    assert_eq!(policy.decide(now + delay).0, run(Width::Wide, &[0]));
}

#[test]
fn held_starts_nothing() {
    let (mut policy, now) = (policy(shape()), Instant::now());
    policy.hold(true);
    admit(&mut policy, &[None], &Request::default(), now);
    assert_eq!(policy.decide(now).0, Decision::Wait(None));
    policy.hold(false);
    assert_eq!(policy.decide(now).0, run(Width::Wide, &[0]));
}

#[test]
fn late_and_abandoned_items_are_never_started() {
    let (mut policy, now) = (policy(shape()), Instant::now());
    let soon = Request::by(now + MS);
    admit(&mut policy, &[None], &soon, now);
    admit(&mut policy, &[cost(0, 0), None], &soon, now);
    admit(&mut policy, &[None], &Request::default(), now);
    assert_eq!(policy.abandon(RequestId(3)), [ItemId(3)]);
    let dropped = vec![
        (RequestId(0), vec![ItemId(0)]),
        (RequestId(1), vec![ItemId(1), ItemId(2)]),
    ];
    assert_eq!(policy.decide(now + MS), (Decision::Wait(None), dropped));
    assert_eq!(policy.waiting(), 0);
}

#[test]
fn what_cannot_be_done_by_its_deadline_any_more_is_dropped() {
    let (mut policy, now) = (measured(), Instant::now());
    let first = admit(&mut policy, &[None, None], &Request::patient(), now);
    let late = admit(&mut policy, &[None], &Request::by(now + 50 * MS), now);
    let later = now + 31 * MS;
    let (decision, dropped) = policy.decide(later);
    assert_eq!(decision, narrow(&[first]));
    assert_eq!(dropped, [(RequestId(late), vec![ItemId(late)])]);
}

#[test]
fn siblings_that_a_worker_is_at_leave_when_it_comes_back() {
    let (mut policy, now) = (measured(), Instant::now());
    admit(&mut policy, &[cost(0, 1), cost(0, 1)], &Request::by(now + 60 * MS), now);
    assert_eq!(policy.decide(now).0, prepare(0));
    let (decision, dropped) = policy.decide(now + 50 * MS);
    assert_eq!(decision, Decision::Wait(None));
    assert_eq!(dropped, [(RequestId(0), vec![ItemId(1)])]);
    assert!(policy.prepared(ItemId(0), true, now + 50 * MS));
    assert_eq!(policy.waiting(), 0);
}

#[test]
fn more_than_the_wide_session_finishes_in_time_runs_narrow() {
    let shape = Shape { wide_max: 1, ..shape() };
    check(shape.clone(), &[None], &[run(Width::Wide, &[0])]);
    check(shape, &[None; 2], &[narrow(&[0]), narrow(&[1])]);
}

#[test]
fn a_batch_is_filled_no_longer_than_it_runs() {
    let (mut policy, now) = (policy(shape()), Instant::now());
    admit(&mut policy, &[None], &Request::default(), now);
    for _ in 0..4 {
        admit(&mut policy, &[cost(0, 0)], &Request::default(), now);
    }
    assert_eq!(policy.decide(now).0, prepare(1));
    let late = now + shape().fill;
    policy.prepared(ItemId(1), true, late);
    assert_eq!(policy.decide(late).0, narrow(&[0]));
}

#[test]
fn a_batch_is_no_larger_than_its_earliest_deadline_allows() {
    let run_times = RunTimes {
        narrow: vec![(1, 10 * MS), (4, 40 * MS)],
        wide: vec![],
    };
    let (mut policy, now) = (
        policy(Shape {
            workers: 1,
            wide_max: 0,
            run_times,
            ..shape()
        }),
        Instant::now(),
    );
    policy.hold(true);
    for ms in [25, 1000, 1000, 1000] {
        admit(&mut policy, &[None], &Request::by(now + ms * MS), now);
    }
    policy.hold(false);
    assert_eq!(policy.decide(now).0, narrow(&[0, 1]));
}

#[test]
fn batches_are_short_where_several_clients_send() {
    let run_times = RunTimes {
        narrow: vec![(1, 10 * MS), (8, 40 * MS)],
        wide: vec![],
    };
    let wide = Shape {
        workers: 1,
        wide_max: 0,
        batch_max: 8,
        run_times,
        ..shape()
    };
    let now = Instant::now();
    for (clients, expected) in [([1, 1], &[0, 1, 2, 3, 4, 5, 6, 7][..]), ([2, 1], &[8, 0, 1, 2, 3][..])] {
        let mut policy = policy(wide.clone());
        admit(&mut policy, &[None; 8], &of(1), now);
        for client in clients {
            admit(&mut policy, &[None], &of(client), now);
        }
        let Decision::Run(_, items) = policy.decide(now).0 else {
            panic!("nothing runs");
        };
        let mut items: Vec<u64> = items.into_iter().map(|item| item.0).collect();
        let mut expected = expected.to_vec();
        items.sort_unstable();
        expected.sort_unstable();
        assert_eq!(items.len(), expected.len(), "{items:?}");
    }
}

#[test]
fn a_stream_of_ready_items_does_not_starve_a_raw_one() {
    let mut items = vec![None; 11];
    items[0] = cost(0, 0);
    check(shape(), &items, &[prepare(0), narrow(&[1, 2, 3, 4])]);
}

#[test]
fn an_item_abandoned_while_it_is_prepared_holds_its_core_until_then() {
    let (mut policy, now) = (policy(shape()), Instant::now());
    admit(&mut policy, &[cost(0, 0)], &Request::default(), now);
    assert_eq!(policy.decide(now).0, prepare(0));
    assert!(policy.abandon(RequestId(0)).is_empty());
    admit(&mut policy, &[None], &Request::default(), now);
    assert_eq!(policy.decide(now).0, narrow(&[1]));
    assert!(policy.prepared(ItemId(0), true, now));
    assert_eq!(policy.decide(now).0, Decision::Wait(None));
}

#[test]
fn an_item_waits_for_memory_and_sessions_run_meanwhile() {
    let now = Instant::now();
    let mut policy = BatchPolicy::new(shape(), Arc::new(Memory::new(100)));
    for bytes in [70, 70, 10] {
        admit(&mut policy, &[cost(bytes, 0)], &Request::default(), now);
    }
    assert_eq!(policy.decide(now).0, prepare(0));
    // Item 2 would fit, but overtaking would starve item 1.
    assert_eq!(policy.decide(now).0, Decision::Wait(None));
    let urgent = Request {
        priority: crate::Priority(1),
        ..Request::default()
    };
    admit(&mut policy, &[None], &urgent, now);
    assert_eq!(policy.decide(now).0, narrow(&[3]));
    policy.prepared(ItemId(0), true, now);
    assert_eq!(decisions(&mut policy, 2, now), [prepare(1), prepare(2)]);
}

#[test]
fn memory_that_another_scheduler_holds_is_asked_for_again() {
    let now = Instant::now();
    let memory = Arc::new(Memory::new(100));
    let mut policy = BatchPolicy::new(shape(), memory.clone());
    assert!(memory.take(60));
    admit(&mut policy, &[cost(50, 0)], &Request::default(), now);
    assert_eq!(policy.decide(now).0, Decision::Wait(Some(now + MEMORY_POLL)));
    memory.give(60);
    assert_eq!(policy.decide(now).0, prepare(0));
    assert!(policy.abandon(RequestId(0)).is_empty());
    assert_eq!(memory.bytes_used(), 50, "the worker that is at it still holds it");
    policy.prepared(ItemId(0), true, now);
    assert_eq!(memory.bytes_used(), 0);
}

#[test]
fn an_abandoned_item_does_not_hold_up_those_behind_it() {
    let now = Instant::now();
    let mut policy = BatchPolicy::new(shape(), Arc::new(Memory::new(100)));
    for bytes in [60, 90, 40] {
        admit(&mut policy, &[cost(bytes, 0)], &Request::default(), now);
    }
    assert_eq!(policy.decide(now).0, prepare(0));
    assert_eq!(policy.abandon(RequestId(1)), [ItemId(1)]);
    assert_eq!(policy.decide(now).0, prepare(2));
}

#[test]
fn a_small_request_overtakes_the_rest_of_a_large_one() {
    let now = Instant::now();
    let mut policy = policy(Shape {
        workers: 9,
        batch_max: 9,
        run_times: RunTimes {
            narrow: vec![(1, 2 * MS)],
            wide: vec![],
        },
        ..shape()
    });
    admit(&mut policy, &[cost(0, 10); 8], &Request::default(), now);
    assert_eq!(policy.decide(now).0, prepare(0));
    let small = admit(&mut policy, &[cost(0, 3)], &Request::default(), now);
    assert_eq!(policy.decide(now).0, prepare(small));
    assert_eq!(policy.decide(now).0, prepare(1));
}

#[test]
fn what_has_had_its_turn_does_not_wait_for_raw_items_that_came_before() {
    let now = Instant::now();
    let mut policy = policy(shape());
    admit(&mut policy, &[cost(0, 50); 4], &Request::default(), now);
    assert_eq!(policy.decide(now).0, prepare(0));
    let small = admit(&mut policy, &[cost(0, 3)], &of(1), now);
    assert_eq!(policy.decide(now).0, prepare(small));
    policy.prepared(ItemId(small), true, now);
    assert_eq!(policy.decide(now + shape().fill).0, narrow(&[small]));
}

#[test]
fn long_preparing_leaves_a_worker_to_the_others() {
    let (mut policy, now) = (measured(), Instant::now());
    for _ in 0..2 {
        admit(&mut policy, &[cost(0, 400)], &of(1), now);
    }
    assert_eq!(decisions(&mut policy, 2, now), [prepare(0), Decision::Wait(None)]);
    let small = admit(&mut policy, &[None], &of(2), now);
    assert_eq!(policy.decide(now).0, narrow(&[small]));
    policy.prepared(ItemId(0), true, now);
    assert_eq!(policy.decide(now).0, narrow(&[0]));
}

#[test]
fn one_worker_prepares_whatever_there_is() {
    let shape = Shape { workers: 1, ..shape() };
    check(shape, &[cost(0, 400)], &[prepare(0)]);
}

#[test]
fn what_would_be_late_is_refused() {
    let (mut policy, now) = (measured(), Instant::now());
    let wanted = Request::by(now + 100 * MS);
    let admitted = (0..100)
        .take_while(|_| policy.admit(&[None], &wanted, Duration::ZERO, now).is_ok())
        .count();
    assert!(
        (6..=9).contains(&admitted),
        "{admitted} of 10 that fit without a margin"
    );
    let refused = policy.admit(&[None], &wanted, Duration::ZERO, now);
    let Err(Rejected::Overloaded {
        reason: Refusal::Deadline,
        retry_after,
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert!(retry_after <= 20 * MS, "{retry_after:?}");
    assert_eq!(policy.backlog(now), admitted as u32 * 10 * MS);
    let impossible = policy.admit(&[None], &Request::by(now + 10 * MS), Duration::ZERO, now);
    assert!(matches!(impossible, Err(Rejected::TooShort { .. })), "{impossible:?}");
}

#[test]
fn an_urgent_request_does_not_wait_behind_patient_ones() {
    let (mut policy, now) = (measured(), Instant::now());
    for _ in 0..50 {
        admit(&mut policy, &[None], &Request::patient(), now);
    }
    let urgent = admit(&mut policy, &[None], &Request::by(now + 100 * MS), now);
    assert_eq!(policy.decide(now).0, narrow(&[urgent]));
}

#[test]
fn a_client_finds_places_that_another_may_not_take() {
    let (mut policy, now) = (
        policy(Shape {
            queue_capacity: 16,
            ..shape()
        }),
        Instant::now(),
    );
    let admitted = (0..100)
        .take_while(|_| policy.admit(&[None], &of(1), Duration::ZERO, now).is_ok())
        .count();
    assert_eq!(admitted, 12);
    let reason = Refusal::ClientShare;
    let refused = policy.admit(&[None], &of(1), Duration::ZERO, now);
    assert!(matches!(refused, Err(Rejected::Overloaded { reason: found, .. }) if found == reason));
    admit(&mut policy, &[None; 4], &of(2), now);
    let refused = policy.admit(&[None], &of(2), Duration::ZERO, now);
    let reason = Refusal::QueueFull;
    assert!(matches!(refused, Err(Rejected::Overloaded { reason: found, .. }) if found == reason));
}

#[test]
fn a_reservation_counts_for_a_bounded_time() {
    let (mut policy, now) = (measured(), Instant::now());
    for _ in 0..5 {
        policy
            .reserve((1, 0), &Request::default(), Duration::ZERO, now)
            .unwrap();
    }
    assert_eq!(policy.backlog(now), 50 * MS);
    let wanted = Request::by(now + 50 * MS);
    assert!(policy.check((1, 0), &wanted, Duration::ZERO, now).is_err());
    let later = now + 300 * MS;
    assert!(
        policy
            .check((1, 0), &Request::by(later + 50 * MS), Duration::ZERO, later)
            .is_ok()
    );
    assert_eq!(policy.backlog(later), Duration::ZERO);
}

/// What a simulated worker is at.
#[derive(Debug, Clone)]
enum Job {
    Preparing(ItemId),
    Running(Width, ItemId),
}

#[derive(Debug, Clone)]
enum Step {
    Arrive {
        ready: bool,
        items: usize,
        lifetime_ms: Option<u64>,
        cost: Cost,
        client: u64,
        priority: u8,
    },
    /// The given worker job (of those under way) ends, well or not.
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
    let arrive = (
        any::<bool>(),
        1usize..4,
        proptest::option::of(0u64..200),
        (0u64..150, 0u64..90),
        0u64..3,
        1u8..3,
    );
    let step = prop_oneof![
        4 => arrive.prop_map(|(ready, items, lifetime_ms, (bytes, expected_ms), client, priority)| Step::Arrive {
            ready, items, lifetime_ms, client, priority,
            cost: Cost { bytes, expected: Duration::from_millis(expected_ms), ..Cost::default() },
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
    deadlines: HashMap<ItemId, Deadline>,
    memory: Arc<Memory>,
    /// What the raw items take.
    bytes: HashMap<ItemId, u64>,
}

impl World {
    fn new(shape: Shape) -> Self {
        let memory = Arc::new(Memory::new(100));
        let policy = BatchPolicy::new(shape.clone(), memory.clone());
        Self {
            policy,
            shape,
            now: Instant::now(),
            next: 0,
            jobs: vec![],
            live: BTreeSet::new(),
            ended: HashSet::new(),
            deadlines: HashMap::new(),
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
                items,
                lifetime_ms,
                cost,
                client,
                priority,
            } => {
                let deadline = lifetime_ms.map(|ms| self.now + Duration::from_millis(ms));
                let request = Request {
                    deadline,
                    own_deadline: deadline.is_some(),
                    priority: crate::Priority(priority),
                    ..of(client)
                };
                let costs = vec![(!ready).then_some(cost); items];
                let Ok(admitted) = self.policy.admit(&costs, &request, Duration::ZERO, self.now) else {
                    return;
                };
                assert_eq!(admitted.start, self.next, "numbers follow each other");
                self.next = admitted.end;
                for item in admitted.map(ItemId) {
                    self.live.insert(item);
                    self.deadlines.insert(item, deadline);
                    self.bytes.insert(item, cost.bytes.min(100));
                }
            }
            Step::Finish { job, ok } if !self.jobs.is_empty() => {
                let index = job % self.jobs.len();
                match self.jobs.remove(index) {
                    Job::Preparing(item) => {
                        if self.policy.prepared(item, ok, self.now) {
                            self.end(item);
                        }
                    }
                    Job::Running(_, first) => drop(self.policy.ran(first, ok, self.now)),
                }
            }
            Step::Abandon { item } => {
                let left = self.policy.abandon(RequestId(item));
                left.into_iter().for_each(|item| self.end(item));
            }
            Step::Pass { ms } => self.now += Duration::from_millis(ms),
            Step::Finish { .. } => {}
        }
        self.work();
    }

    /// Lets every free worker ask.
    fn work(&mut self) {
        while self.jobs.len() < self.shape.workers {
            let (decision, dropped) = self.policy.decide(self.now);
            for (_, left) in dropped {
                left.into_iter().for_each(|item| self.end(item));
            }
            match decision {
                Decision::Prepare(item) => {
                    self.check_memory(item);
                    self.jobs.push(Job::Preparing(item));
                }
                Decision::Run(width, items) => self.start(width, items),
                Decision::Wait(until) => {
                    assert!(
                        self.nothing_can_run() || until.is_some() && self.nothing_can_begin(),
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
        let wide = |job: &Job| matches!(job, Job::Running(Width::Wide, _));
        assert!(
            width == Width::Narrow || self.jobs.is_empty(),
            "the wide session runs alone"
        );
        assert!(!self.jobs.iter().any(wide), "nothing beside the wide session");
        let first = items[0];
        for item in items {
            let late = self.deadlines[&item].is_some_and(|deadline| deadline <= self.now);
            assert!(!late, "{item:?} was started after its deadline");
            self.end(item);
        }
        self.jobs.push(Job::Running(width, first));
    }

    fn check_memory(&self, new: ItemId) {
        let preparing = self.jobs.iter().filter_map(|job| match job {
            Job::Preparing(item) => Some(self.bytes[item]),
            Job::Running(..) => None,
        });
        let used = preparing.sum::<u64>() + self.bytes[&new];
        assert_eq!(
            self.memory.bytes_used(),
            used,
            "memory is taken while an item is prepared"
        );
    }

    /// Whether a worker may be idle.
    fn nothing_can_run(&self) -> bool {
        let wide = |job: &Job| matches!(job, Job::Running(Width::Wide, _));
        self.jobs.iter().any(wide) || self.nothing_can_begin() && self.policy.ready.is_empty()
    }

    /// Whether nothing waits that is short enough, or there is no memory for what has its turn.
    fn nothing_can_begin(&self) -> bool {
        let long = self.shape.workers < 2 || self.policy.jobs.long() + 1 < self.shape.workers;
        match self.policy.queue.peek(long) {
            None => true,
            Some(place) => self.memory.bytes_used() + self.bytes[&place.key.item] > 100,
        }
    }

    fn finish(&mut self) {
        // What was prepared last may wait for `delay` once more.
        for _ in 0..3 {
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
        assert_eq!(self.policy.backlog(self.now), Duration::ZERO);
        assert!(self.policy.requests.is_empty());
    }
}

proptest! {
    #[test]
    fn every_item_ends_once_and_no_core_does_two_things(
        steps in steps(), workers in 1usize..5, wide_max in 0usize..6, batch_max in 1usize..6, delay_ms in 0u64..3,
        fill_ms in 0u64..20,
    ) {
        let (delay, fill) = (Duration::from_millis(delay_ms), Duration::from_millis(fill_ms));
        let shape = Shape { workers, wide_max, batch_max, delay, fill, ..shape() };
        let mut world = World::new(shape);
        steps.iter().for_each(|step| world.step(step));
        world.finish();
    }
}
