use std::collections::HashMap;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::policy::ItemId;
use crate::request::Priority;

const MS: Duration = Duration::from_millis(1);

struct Bench {
    queue: FairQueue,
    start: Instant,
    next: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            queue: FairQueue::default(),
            start: Instant::now(),
            next: 0,
        }
    }

    fn place(&mut self, client: u64, lane: Lane, due_ms: u32) -> Place {
        self.next += 1;
        Place {
            client: ClientId(client),
            lane,
            key: Key {
                priority: Priority::default(),
                due: self.start + due_ms * MS,
                item: ItemId(self.next),
            },
        }
    }

    /// Adds an item of `work_ms` in the lane of single items.
    fn push(&mut self, client: u64, weight: u32, work_ms: u32) -> Place {
        let place = self.place(client, single(), 0);
        self.queue.push(place, weight, work_ms * MS, None);
        place
    }

    fn take(&mut self) -> Option<Place> {
        let place = self.queue.peek(true)?;
        self.queue.start(place);
        Some(place)
    }

    fn take_clients(&mut self, count: usize) -> Vec<u64> {
        (0..count)
            .map_while(|_| self.take())
            .map(|place| place.client.0)
            .collect()
    }
}

fn single() -> Lane {
    Lane::of(MS, MS)
}

#[test]
fn a_client_that_comes_goes_before_the_rest_of_one_that_has_much() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.push(1, 1, 10);
    }
    bench.take_clients(50);
    bench.push(2, 1, 10);
    assert_eq!(bench.take_clients(3), [2, 1, 1]);
}

#[test]
fn shares_follow_weights_and_work() {
    let mut bench = Bench::new();
    for _ in 0..60 {
        bench.push(1, 2, 10);
        bench.push(2, 1, 10);
        bench.push(3, 1, 5);
    }
    let taken = bench.take_clients(80);
    let count = |client| taken.iter().filter(|other| **other == client).count();
    assert!((31..=33).contains(&count(1)), "{}", count(1));
    assert!((15..=17).contains(&count(2)), "{}", count(2));
    assert!((31..=33).contains(&count(3)), "{}", count(3));
}

#[test]
fn a_pause_earns_nothing_and_many_at_once_go_in_order() {
    let mut bench = Bench::new();
    for _ in 0..10 {
        bench.push(1, 1, 10);
    }
    bench.take_clients(5);
    for client in 2..5 {
        bench.push(client, 1, 10);
    }
    for _ in 0..2 {
        bench.push(2, 1, 10);
    }
    assert_eq!(bench.take_clients(7), [2, 3, 4, 1, 2, 1, 2]);
}

#[test]
fn within_a_lane_the_most_urgent_and_then_the_earliest_due_goes_first() {
    let mut bench = Bench::new();
    let late = bench.place(1, single(), 50);
    let early = bench.place(1, single(), 10);
    let mut urgent = bench.place(1, Lane::of(99 * MS, MS), 90);
    urgent.key.priority = Priority(1);
    for place in [late, early, urgent] {
        bench.queue.push(place, 1, MS, None);
    }
    let taken: Vec<Place> = std::iter::from_fn(|| bench.take()).collect();
    assert_eq!(taken, [urgent, early, late]);
}

#[test]
fn long_items_are_left_where_none_are_wanted() {
    let mut bench = Bench::new();
    let long = bench.place(1, Lane::LONG, 0);
    bench.queue.push(long, 1, 500 * MS, None);
    let short = bench.push(2, 1, 10);
    assert_eq!(bench.queue.peek(false), Some(short));
    bench.queue.remove(short);
    assert_eq!((bench.queue.peek(false), bench.queue.peek(true)), (None, Some(long)));
}

#[test]
fn what_goes_ahead_is_own_work_and_the_shares_of_others() {
    let mut bench = Bench::new();
    for _ in 0..10 {
        bench.push(1, 1, 10);
    }
    for _ in 0..2 {
        bench.push(2, 1, 10);
    }
    let of = |bench: &mut Bench, client| {
        let place = bench.place(client, single(), 0);
        bench.queue.ahead(place, 1, 10 * MS)
    };
    assert_eq!(of(&mut bench, 1), 120 * MS, "all there is");
    assert_eq!(
        of(&mut bench, 2),
        (20 + 30) * MS,
        "its own, and as much of the other by its end"
    );
    assert_eq!(of(&mut bench, 3), 20 * MS, "one of each");
    bench.queue.reserve(ClientId(3), 1, 40 * MS, true);
    assert_eq!(of(&mut bench, 3), (40 + 50 + 20) * MS);
    bench.queue.reserve(ClientId(3), 1, 40 * MS, false);
    assert_eq!((of(&mut bench, 3), bench.queue.clients()), (20 * MS, 2));
}

proptest! {
    /// Between two that have work, the one with more has had no more than one item of each ahead in its share.
    #[test]
    fn nobody_gets_more_than_a_share(items in prop::collection::vec((0_u64..4, 1_u32..20), 1..80), taken in 0_usize..80) {
        let mut bench = Bench::new();
        let (mut left, mut works) = (HashMap::new(), HashMap::new());
        for (client, work) in &items {
            let place = bench.push(*client, 1, *work);
            works.insert(place.key.item, *work);
            *left.entry(*client).or_insert(0_usize) += 1;
        }
        let mut had: HashMap<u64, u32> = HashMap::new();
        for _ in 0..taken.min(items.len()) {
            let place = bench.take().unwrap();
            *had.entry(place.client.0).or_default() += works[&place.key.item];
            *left.get_mut(&place.client.0).unwrap() -= 1;
            let waiting = left.iter().filter(|(_, left)| **left > 0).map(|(client, _)| *client);
            let shares: Vec<u32> = waiting.map(|client| had.get(&client).copied().unwrap_or(0)).collect();
            if let (Some(least), Some(most)) = (shares.iter().min(), shares.iter().max()) {
                prop_assert!(most - least <= 20, "{:?}", shares);
            }
        }
        let work: u32 = std::iter::from_fn(|| bench.take()).map(|place| works[&place.key.item]).sum();
        prop_assert_eq!(work + had.values().sum::<u32>(), items.iter().map(|(_, work)| work).sum::<u32>());
        prop_assert_eq!((bench.queue.len(), bench.queue.work(), bench.queue.clients()), (0, Duration::ZERO, 0));
    }
}
