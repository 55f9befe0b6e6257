use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn sender(client: u64, connection: u64) -> Sender {
    Sender {
        client: ClientId(client),
        connection,
    }
}

#[test]
fn those_that_are_late_are_let_go_where_nobody_else_is_held() {
    let (mut state, start) = (State::<u8>::default(), Instant::now());
    (0..LAPSED_PER_SECOND).for_each(|_| assert!(state.lapsed.take(start)));
    let mut hold = |connection: u64, deadline_ms: u32| {
        let sender = sender(1, connection);
        state.told(sender, 20 * MS, start);
        state.hold(sender, Some(start + deadline_ms * MS), 0, start).0
    };
    let (late, other) = (hold(1, 1), hold(2, 900));
    state.lapse(start);
    state.let_go(4);
    assert_eq!(state.len(), 2, "the other can be done in time");
    state.leave(other);
    state.let_go(0);
    assert_eq!(state.len(), 1);
    state.let_go(4);
    assert_eq!(state.len(), 0);
    state.leave(late);
}

#[test]
fn the_first_of_a_client_is_refused_at_once_and_in_a_storm_the_second_of_a_connection_held() {
    let (mut state, start) = (State::<()>::default(), Instant::now());
    (0..AT_ONCE_PER_SECOND).for_each(|_| assert!(state.at_once.take(start)));
    assert!(!state.holds(sender(1, 1), start));
    state.told(sender(1, 1), 20 * MS, start);
    assert!(state.holds(sender(1, 1), start));
    assert!(!state.holds(sender(1, 1), start + 1000 * MS));
    assert!(
        !state.holds(sender(2, 1), start),
        "another client behind the same proxy"
    );
}

#[test]
fn a_client_that_comes_over_ever_new_connections_is_held_in_the_end() {
    let (mut state, start) = (State::<()>::default(), Instant::now());
    state.told(sender(1, 0), 20 * MS, start);
    let at_once = (1..5000).filter(|n| !state.holds(sender(1, *n), start)).count();
    assert_eq!(at_once, AT_ONCE_PER_SECOND as usize);
    assert!(!state.holds(sender(2, 1), start), "the first of a client always is");
}

#[test]
fn an_open_loop_over_connections_that_were_refused_is_refused_at_once() {
    let (mut state, start) = (State::<()>::default(), Instant::now());
    for request in 0..1600 {
        let (sender, now) = (
            sender(1, request % 16),
            start + request as u32 * Duration::from_micros(2500),
        );
        assert!(!state.holds(sender, now), "request {request}");
        state.told(sender, 20 * MS, now);
    }
}

#[test]
fn in_a_storm_no_connection_that_was_told_is_refused_at_once() {
    let (mut state, start) = (State::<()>::default(), Instant::now());
    state.told(sender(1, 1), 20 * MS, start);
    assert!(!state.holds(sender(1, 1), start));
    let held: Vec<_> = (0..STORM_HELD_MIN as u64)
        .map(|connection| state.hold(sender(1, connection), None, (), start).0)
        .collect();
    held.into_iter().for_each(|id| state.leave(id));
    assert!(state.holds(sender(1, 1), start));
    assert!(!state.holds(sender(1, 99), start), "one that was not told");
    let later = start + STORM;
    state.told(sender(1, 1), 20 * MS, later);
    assert!(!state.holds(sender(1, 1), later));
}

#[test]
fn who_is_held_is_refused_when_it_may_come_back() {
    let (mut state, start) = (State::default(), Instant::now());
    state.told(sender(1, 1), 20 * MS, start);
    let (_, until) = state.hold(sender(1, 1), None, (), start + 500 * MS);
    assert_eq!(until, start + 1000 * MS);
}

#[test]
fn who_was_told_a_long_time_is_held_about_a_second() {
    let (mut state, start) = (State::default(), Instant::now());
    state.told(sender(1, 1), 60_000 * MS, start);
    let mut ends: Vec<_> = (0..64).map(|_| state.hold(sender(1, 1), None, (), start).1).collect();
    assert!(
        ends.iter()
            .all(|until| (HOLD * 3 / 4..=HOLD * 5 / 4).contains(&(*until - start)))
    );
    ends.sort_unstable();
    let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.max() < Some(30 * MS), "they do not leave together");
}

#[test]
fn a_deadline_that_passes_while_held_is_told_in_time_unless_those_are_many() {
    let (mut state, start) = (State::default(), Instant::now());
    state.told(sender(1, 1), MS, start);
    let deadline = Some(start + 100 * MS);
    for _ in 0..1000 {
        state.hold(sender(1, 1), deadline, (), start);
    }
    state.lapse(start + 93 * MS);
    assert_eq!((state.len(), state.late.len()), (1000, 0));
    state.lapse(start + 95 * MS);
    let told = LAPSED_PER_SECOND as usize;
    assert_eq!((state.len(), state.late.len()), (1000 - told, 1000 - told));
    state.offer(start + 95 * MS, |()| panic!("none of them can be done in time"));
}

#[test]
fn the_newest_of_each_client_in_turn_gets_room() {
    let (mut state, now) = (State::default(), Instant::now());
    for (client, name) in [(1, "a"), (1, "b"), (2, "c"), (1, "d"), (2, "e")] {
        state.hold(sender(client, 1), None, name, now);
    }
    let mut order = Vec::new();
    state.offer(now, |name| {
        order.push(*name);
        true
    });
    assert_eq!(order, ["d", "e", "b", "c", "a"]);
    assert_eq!(state.len(), 0);
}

#[test]
fn one_that_finds_no_room_does_not_stand_in_the_way_of_others() {
    let (mut state, now) = (State::default(), Instant::now());
    state.hold(sender(1, 1), None, "small", now);
    state.hold(sender(1, 2), None, "large", now);
    state.hold(sender(2, 3), None, "large", now);
    let mut offered = 0;
    state.offer(now, |name| {
        offered += 1;
        *name == "small"
    });
    assert_eq!((state.len(), offered), (2, 4));
}

/// Refusals a second, after the first seconds, of so many connections of one client that come back at once, while there is no room.
fn refused_per_second(connections: u64, deadline: Option<Duration>) -> usize {
    const SECONDS: u32 = 4;
    let (mut state, start) = (State::default(), Instant::now());
    let counted_from = start + 2 * HOLD;
    let mut acts: BTreeSet<_> = (0..connections).map(|connection| (start, connection)).collect();
    let (mut held, mut refused) = (BTreeMap::<u64, HeldId>::new(), 0);
    while let Some((now, connection)) = acts.pop_first()
        && now < counted_from + SECONDS * Duration::from_secs(1)
    {
        state.lapse(now);
        let ended = held
            .iter()
            .filter(|(at, id)| **at == connection || !state.held.contains_key(id));
        let ended: Vec<u64> = ended.map(|(at, _)| *at).collect();
        for at in &ended {
            held.remove(at).into_iter().for_each(|id| state.leave(id));
            state.told(sender(1, *at), RETRY_AFTER_VAIN_HOLD, now);
        }
        acts.retain(|(_, at)| !ended.contains(at));
        acts.extend(ended.iter().map(|at| (now + MS, *at)));
        refused += if now > counted_from { ended.len() } else { 0 };
        if ended.contains(&connection) {
            continue;
        }
        let sender = sender(1, connection);
        if state.holds(sender, now) {
            let (id, until) = state.hold(sender, deadline.map(|deadline| now + deadline), (), now);
            held.insert(connection, id);
            acts.insert((until, connection));
        } else {
            state.told(sender, 20 * MS, now);
            refused += usize::from(now > counted_from);
            acts.insert((now + MS, connection));
        }
    }
    refused / SECONDS as usize
}

#[test]
fn a_storm_is_refused_less_than_once_a_second_a_connection() {
    for connections in [128, 512, 1000] {
        let bound = |more: u32| connections as usize * 8 / 10 + more as usize;
        let none = refused_per_second(connections, None);
        assert!(none <= bound(0), "{connections}: {none}");
        let own = refused_per_second(connections, Some(100 * MS));
        assert!(own <= bound(LAPSED_PER_SECOND), "{connections}, 100 ms: {own}");
    }
}

#[derive(Debug, Clone)]
enum Event {
    Request {
        client: u64,
        connection: u64,
        deadline_ms: Option<u64>,
    },
    HangUp(usize),
    Room(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..3_u64, 0..8_u64, proptest::option::of(1..3000_u64)).prop_map(|(client, connection, deadline_ms)| {
            Event::Request { client, connection, deadline_ms }
        }),
        1 => any::<usize>().prop_map(Event::HangUp),
        2 => (0..4_usize).prop_map(Event::Room),
    ]
}

/// A server without room but for what events give, in virtual time.
#[derive(Default)]
struct World {
    state: State<u64>,
    /// When each held request came, until when it is held, and its number.
    held: BTreeMap<HeldId, (Instant, Instant, u64)>,
    number: u64,
}

impl World {
    /// Lets the time pass until `now`; each is refused when its time has come.
    fn pass(&mut self, now: Instant) {
        self.state.lapse(now);
        self.held.retain(|id, (came, until, _)| {
            assert!(*until - *came <= HOLD * 5 / 4, "held for {:?}", *until - *came);
            let kept = self.state.held.contains_key(id) && *until > now;
            if !kept {
                self.state.leave(*id);
            }
            kept
        });
    }

    fn take(&mut self, event: &Event, now: Instant) {
        match *event {
            Event::Request {
                client,
                connection,
                deadline_ms,
            } => {
                let sender = sender(client, connection);
                if self.state.holds(sender, now) {
                    let deadline = deadline_ms.map(|ms| now + ms as u32 * MS);
                    let (id, due) = self.state.hold(sender, deadline, self.number, now);
                    self.held.insert(id, (now, due, self.number));
                    self.number += 1;
                } else {
                    self.state.told(sender, 100 * MS, now);
                }
            }
            Event::HangUp(which) => {
                let count = self.held.len().max(1);
                if let Some(id) = self.held.keys().nth(which % count).copied() {
                    self.held.remove(&id);
                    self.state.leave(id);
                }
            }
            Event::Room(room) => {
                let (mut left, mut got) = (room, Vec::new());
                self.state.offer(now, |number| {
                    let fits = left > 0;
                    left -= usize::from(fits);
                    got.extend(fits.then_some(*number));
                    fits
                });
                assert!(
                    left == 0 || self.state.candidates.is_empty(),
                    "room is left and somebody wants it"
                );
                self.held.retain(|_, (_, _, number)| !got.contains(number));
            }
        }
    }
}

proptest! {
    /// Every held request leaves, within its bound; none is offered room after it has left; nobody is kept who has gone.
    #[test]
    fn nothing_is_held_for_ever(events in proptest::collection::vec((0..400_u64, event()), 1..80)) {
        let (mut world, mut now) = (World::default(), Instant::now());
        for (pause_ms, event) in &events {
            now += *pause_ms as u32 * MS;
            world.pass(now);
            world.take(event, now);
            world.pass(now);
            prop_assert_eq!(world.state.len(), world.held.len());
        }
        world.pass(now + 2 * HOLD);
        prop_assert_eq!(world.state.len(), 0);
        prop_assert!(world.state.candidates.is_empty() && world.state.giving_up.is_empty() && world.state.late.is_empty());
    }
}
