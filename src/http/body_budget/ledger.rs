//! How the memory for bodies is shared out. Pure: who holds how much, and whether more may be held.
//!
//! - All requests together hold at most `bytes_max`.
//! - Some of it is kept for small requests, however much the large ones would like.
//! - A client holds at most [`SHARE`] times what is left for others after that, so that who comes next finds something. One small
//!   and one large request at a time it may always have, where there is memory for them.

use std::collections::HashMap;
use std::hash::Hash;

/// How many times what is left for others one client may hold: alone two thirds, of two each two fifths.
const SHARE: usize = 2;
/// A request is small up to this part of all memory, where an image may be so large.
const SMALL_PART: usize = 16;
/// The part of all memory that is kept for small requests, as far as the largest request leaves it.
const KEPT_PART: usize = 4;

/// Sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// All requests together.
    bytes_max: usize,
    /// Up to this, a request is small.
    small_max: usize,
    /// Kept for small requests.
    kept: usize,
}

impl Sizes {
    pub(super) fn new(bytes_max: usize, request_max: usize, image_max: usize) -> Self {
        Self {
            bytes_max,
            small_max: image_max.min(bytes_max / SMALL_PART),
            kept: (bytes_max / KEPT_PART).min(bytes_max.saturating_sub(request_max)),
        }
    }

    /// The most that a request may hold which is alone.
    pub(super) fn request_holds_max(&self) -> usize {
        self.bytes_max - self.kept
    }
}

/// Why a request may not hold more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum OverBudget {
    /// All requests together hold what may be held.
    #[error("the bodies of the requests at hand fill the memory that is set aside for them")]
    Full,
    /// Its client holds a client's share.
    #[error("this client's requests hold its share of the memory that is set aside for bodies; send fewer at one time")]
    Share,
    /// It would not be enough were it alone.
    #[error(
        "the request needs {wanted} bytes of memory while it is read, and one request may have {most} (limits.bodies_bytes_max)"
    )]
    Never {
        /// Bytes that it needs.
        wanted: usize,
        /// Bytes that it may have.
        most: usize,
    },
}

/// Bytes held, by what kind of request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    small: usize,
    large: usize,
}

impl Held {
    fn all(self) -> usize {
        self.small + self.large
    }

    fn side(&mut self, bytes: usize, small_max: usize) -> &mut usize {
        if bytes <= small_max {
            &mut self.small
        } else {
            &mut self.large
        }
    }

    fn add(&mut self, bytes: usize, small_max: usize) {
        *self.side(bytes, small_max) += bytes;
    }

    fn remove(&mut self, bytes: usize, small_max: usize) {
        *self.side(bytes, small_max) -= bytes;
    }
}

/// What all requests hold, in all and by client.
#[derive(Debug)]
pub(super) struct Ledger<C> {
    sizes: Sizes,
    held: Held,
    clients: HashMap<C, Held>,
}

impl<C: Copy + Eq + Hash> Ledger<C> {
    pub(super) fn new(sizes: Sizes) -> Self {
        Self {
            sizes,
            held: Held::default(),
            clients: HashMap::new(),
        }
    }

    /// Lets a request of `client` that holds `before` bytes hold `after`.
    ///
    /// # Errors
    /// Where it may not; it then holds `before` still. Less may always be held.
    pub(super) fn change(&mut self, client: C, before: usize, after: usize) -> Result<(), OverBudget> {
        let small_max = self.sizes.small_max;
        let (mut held, mut own) = (self.held, self.clients.get(&client).copied().unwrap_or_default());
        held.remove(before, small_max);
        own.remove(before, small_max);
        if after > before {
            self.fits(held, own, after)?;
        }
        held.add(after, small_max);
        own.add(after, small_max);
        self.held = held;
        if own == Held::default() {
            self.clients.remove(&client);
        } else {
            self.clients.insert(client, own);
        }
        Ok(())
    }

    /// Whether a request may hold `bytes` beside what all others (`held`) and its client's others (`own`) do.
    fn fits(&self, held: Held, own: Held, bytes: usize) -> Result<(), OverBudget> {
        let Sizes {
            bytes_max,
            small_max,
            kept,
        } = self.sizes;
        let most = self.sizes.request_holds_max();
        if bytes > most {
            return Err(OverBudget::Never { wanted: bytes, most });
        }
        let (taken, own) = if bytes <= small_max {
            (held.all(), own.small)
        } else {
            (held.large + held.small.max(kept), own.large)
        };
        let left = bytes_max.checked_sub(taken).and_then(|free| free.checked_sub(bytes));
        match left {
            None => Err(OverBudget::Full),
            Some(left) if own > 0 && own + bytes > left.saturating_mul(SHARE) => Err(OverBudget::Share),
            Some(_) => Ok(()),
        }
    }

    /// Bytes that are held in all.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held.all()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 1600 bytes, of which 400 are kept for requests up to 100; the largest request has 400.
    fn ledger() -> Ledger<u8> {
        Ledger::new(Sizes::new(1600, 400, 200))
    }

    /// Requests of one size, by client: how each fares.
    #[track_caller]
    fn check(ledger: &mut Ledger<u8>, bytes: usize, clients: &[u8], expected: &[Result<(), OverBudget>]) {
        let got: Vec<_> = clients.iter().map(|client| ledger.change(*client, 0, bytes)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn greedy_requests_leave_room_for_other_clients_and_for_small_ones() {
        let mut ledger = ledger();
        let full = Err(OverBudget::Full);
        check(&mut ledger, 400, &[1, 1, 1], &[Ok(()), Ok(()), Err(OverBudget::Share)]);
        check(&mut ledger, 400, &[2, 3], &[Ok(()), full]);
        check(&mut ledger, 100, &[1, 2, 3, 4], &[Ok(()); 4]);
        check(&mut ledger, 100, &[4, 5], &[full, full]);
    }

    #[test]
    fn small_requests_are_shared_out_too() {
        let mut ledger = ledger();
        let granted = (0..16).take_while(|_| ledger.change(1, 0, 100).is_ok()).count();
        assert_eq!(granted, 10, "two thirds");
        assert_eq!(ledger.change(1, 0, 100), Err(OverBudget::Share));
        assert_eq!(ledger.change(2, 0, 100), Ok(()));
    }

    #[test]
    fn a_request_becomes_large_as_it_grows() {
        let mut ledger = ledger();
        ledger.change(1, 0, 100).unwrap();
        ledger.change(1, 100, 400).unwrap();
        assert_eq!(ledger.held, Held { small: 0, large: 400 });
        ledger.change(1, 400, 50).unwrap();
        assert_eq!(ledger.held, Held { small: 50, large: 0 });
        ledger.change(1, 50, 0).unwrap();
        assert!(ledger.clients.is_empty());
    }

    #[test]
    fn a_request_that_is_alone_may_have_all_that_is_not_kept() {
        let mut ledger = ledger();
        ledger.change(1, 0, 400).unwrap();
        ledger.change(1, 400, 1200).unwrap();
        check(&mut ledger, 101, &[1, 2], &[Err(OverBudget::Full); 2]);
        check(&mut ledger, 100, &[1, 2], &[Ok(()); 2]);
    }

    #[test]
    fn what_fits_never_is_said_to() {
        let most = 1200;
        let never = Err(OverBudget::Never { wanted: 1201, most });
        check(&mut ledger(), 1201, &[1], &[never]);
    }

    #[test]
    fn a_budget_of_one_request_holds_one() {
        let mut ledger = Ledger::new(Sizes::new(400, 400, 400));
        check(&mut ledger, 400, &[1, 2], &[Ok(()), Err(OverBudget::Full)]);
    }

    proptest! {
        #[test]
        fn all_is_given_back_and_never_too_much_held(
            sizes in (1usize..5000, 1usize..2000, 1usize..2000),
            changes in prop::collection::vec((0u8..4, 0usize..12, 0usize..3000), 0..200),
        ) {
            let (bytes_max, request_max, image_max) = sizes;
            let mut ledger = Ledger::new(Sizes::new(bytes_max, request_max, image_max));
            let mut requests = [(0u8, 0usize); 12];
            for (client, request, bytes) in changes {
                let (owner, before) = &mut requests[request];
                if *before == 0 {
                    *owner = client;
                }
                if ledger.change(*owner, *before, bytes).is_ok() {
                    *before = bytes;
                } else {
                    prop_assert!(bytes > *before);
                }
                prop_assert!(ledger.held_bytes() <= bytes_max);
                prop_assert_eq!(ledger.held_bytes(), requests.iter().map(|(_, bytes)| bytes).sum::<usize>());
            }
            for (client, bytes) in requests {
                ledger.change(client, bytes, 0).unwrap();
            }
            prop_assert_eq!(ledger.held, Held::default());
            prop_assert!(ledger.clients.is_empty());
        }
    }
}
