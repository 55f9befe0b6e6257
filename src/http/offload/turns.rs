//! Whose job is done next. Pure: who waits, who is at it, and who of them goes first.
//!
//! So many jobs are done at a time, of one client fewer. The client that got its last turn the longest ago goes first, and of its jobs the one
//! that has waited longest.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The jobs of all clients. `W` is what is needed to tell one that it is its turn.
#[derive(Debug)]
pub(super) struct Turns<C, W> {
    free: usize,
    of_client_max: usize,
    clients: HashMap<C, Jobs<W>>,
    /// Those of whom jobs wait; the next one first.
    order: VecDeque<C>,
}

#[derive(Debug)]
struct Jobs<W> {
    done_now: usize,
    waiting: VecDeque<W>,
}

impl<C: Copy + Eq + Hash, W> Turns<C, W> {
    /// So many jobs at a time, of one client `of_client_max`.
    pub(super) fn new(at_a_time: usize, of_client_max: usize) -> Self {
        Self {
            free: at_a_time,
            of_client_max,
            clients: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// One more job of a client waits. Returns a job whose turn it is now, if there is one.
    pub(super) fn wait(&mut self, client: C, job: W) -> Option<(C, W)> {
        let jobs = self.clients.entry(client).or_insert_with(|| Jobs {
            done_now: 0,
            waiting: VecDeque::new(),
        });
        if jobs.waiting.is_empty() {
            self.order.push_back(client);
        }
        jobs.waiting.push_back(job);
        self.next()
    }

    /// A job of a client has ended. Returns a job whose turn it is now, if there is one.
    pub(super) fn ended(&mut self, client: C) -> Option<(C, W)> {
        if let Some(jobs) = self.clients.get_mut(&client) {
            jobs.done_now -= 1;
            self.free += 1;
            if jobs.done_now == 0 && jobs.waiting.is_empty() {
                self.clients.remove(&client);
            }
        }
        self.next()
    }

    fn next(&mut self) -> Option<(C, W)> {
        if self.free == 0 {
            return None;
        }
        let may = |client: &C| {
            self.clients
                .get(client)
                .is_some_and(|jobs| jobs.done_now < self.of_client_max)
        };
        let place = self.order.iter().position(may)?;
        let client = self.order.remove(place)?;
        let jobs = self.clients.get_mut(&client)?;
        let job = jobs.waiting.pop_front()?;
        jobs.done_now += 1;
        self.free -= 1;
        if !jobs.waiting.is_empty() {
            self.order.push_back(client);
        }
        Some((client, job))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_client_leaves_a_turn_to_others_and_they_take_turns() {
        let mut turns = Turns::new(3, 2);
        let begun: Vec<_> = (0..5).map(|job| turns.wait('a', job)).collect();
        assert_eq!(begun, [Some(('a', 0)), Some(('a', 1)), None, None, None]);
        assert_eq!(turns.wait('b', 5), Some(('b', 5)));
        assert_eq!((turns.wait('b', 6), turns.wait('c', 7)), (None, None));
        assert_eq!(turns.ended('a'), Some(('a', 2)), "it has waited longest");
        assert_eq!(turns.ended('a'), Some(('b', 6)));
        assert_eq!(turns.ended('b'), Some(('c', 7)));
        assert_eq!(turns.ended('c'), Some(('a', 3)));
    }

    proptest! {
        #[test]
        fn no_turn_is_lost(at_a_time in 1usize..4, steps in prop::collection::vec((any::<bool>(), 0u8..4), 0..200)) {
            let of_client_max = (at_a_time - 1).max(1);
            let mut turns = Turns::new(at_a_time, of_client_max);
            let (mut done_now, mut waiting) = (Vec::new(), Vec::new());
            for (job, (comes, client)) in steps.into_iter().enumerate() {
                let begins = match done_now.is_empty() || comes {
                    true => {
                        waiting.push((client, job));
                        turns.wait(client, job)
                    }
                    false => {
                        let (client, _) = done_now.remove(0);
                        turns.ended(client)
                    }
                };
                done_now.extend(begins);
                waiting.retain(|one| Some(*one) != begins);
                let of = |client| done_now.iter().filter(|(whose, _)| *whose == client).count();
                prop_assert!(done_now.len() <= at_a_time && (0..4).all(|client| of(client) <= of_client_max));
                let could = |(client, _): &(u8, usize)| of(*client) < of_client_max;
                prop_assert!(done_now.len() == at_a_time || !waiting.iter().any(could), "one waits that need not");
            }
            while let Some((client, _)) = done_now.pop() {
                done_now.extend(turns.ended(client));
            }
            prop_assert!(turns.clients.is_empty() && turns.order.is_empty() && turns.free == at_a_time);
        }
    }
}
