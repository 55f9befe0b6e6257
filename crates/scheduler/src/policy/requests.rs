//! The admitted requests and their items, each at its stage.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::{ItemId, Predicted, RequestId};
use crate::cost::Estimate;
use crate::engine::Cost;
use crate::fair_queue::Place;
use crate::request::Deadline;

/// Where an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// In the queue.
    Queued(Place),
    /// A worker prepares it.
    Preparing { turn: u64 },
    /// It waits for its run.
    Ready,
    /// A session runs it.
    Running,
}

/// An admitted item that has not ended.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) request: RequestId,
    pub(super) deadline: Deadline,
    pub(super) stage: Stage,
    /// Where it was put in the queue.
    pub(super) position: Duration,
    /// What preparing it takes; `None` where it came ready.
    pub(super) cost: Option<Cost>,
    pub(super) prepare: Estimate,
}

/// An admitted request that has items that have not ended.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) items: Range<u64>,
    pub(super) left: usize,
    pub(super) admitted: Instant,
    /// How long it was predicted to take.
    pub(super) predicted: Duration,
    /// The run that this counts on.
    pub(super) run: Duration,
    /// How much longer it waited for what was put before it since.
    pub(super) overtaken: Duration,
    pub(super) own_deadline: bool,
    /// Whether nobody waits for it any more.
    pub(super) gone: bool,
    /// Whether every item that has ended ended well.
    pub(super) ok: bool,
}

/// A request whose last item has ended well.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) predicted: Predicted,
    /// How much of its time was left, as a share; less than nothing where it is late, `None` where it has no deadline of its own.
    pub(super) left: Option<f64>,
}

/// All that was admitted and has not ended.
#[derive(Debug, Default)]
pub(super) struct Requests {
    requests: HashMap<RequestId, Admitted>,
    items: HashMap<ItemId, Item>,
    next: u64,
}

impl Requests {
    /// Whether all that was admitted has ended.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.items.is_empty()
    }

    /// The number of the item that is admitted next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn insert_request(&mut self, request: Admitted) {
        self.next = request.items.end;
        self.requests.insert(RequestId(request.items.start), request);
    }

    pub(super) fn insert_item(&mut self, id: ItemId, item: Item) {
        self.items.insert(id, item);
    }

    pub(super) fn item(&self, id: ItemId) -> Option<&Item> {
        self.items.get(&id)
    }

    pub(super) fn item_mut(&mut self, id: ItemId) -> Option<&mut Item> {
        self.items.get_mut(&id)
    }

    pub(super) fn request_of(&self, id: ItemId) -> Option<&Admitted> {
        self.requests.get(&self.items.get(&id)?.request)
    }

    /// Whether nobody waits for an item's request any more.
    pub(super) fn is_gone(&self, id: ItemId) -> bool {
        self.request_of(id).is_none_or(|request| request.gone)
    }

    /// The numbers of a request's items.
    pub(super) fn items_of(&self, id: RequestId) -> impl Iterator<Item = ItemId> + use<> {
        let request = self.requests.get(&id);
        request.map_or(0..0, |request| request.items.clone()).map(ItemId)
    }

    /// So much more has gone before an item than was foreseen.
    pub(super) fn note_overtaken(&mut self, id: ItemId, by: Duration) {
        let request = self.items.get(&id).map(|item| item.request);
        if let Some(request) = request.and_then(|id| self.requests.get_mut(&id)) {
            request.overtaken = request.overtaken.max(by);
        }
    }

    /// Marks a request as one that nobody waits for; its items' numbers.
    pub(super) fn abandon(&mut self, id: RequestId) -> impl Iterator<Item = ItemId> + use<> {
        if let Some(request) = self.requests.get_mut(&id) {
            request.gone = true;
        }
        self.items_of(id)
    }

    /// Forgets an item that was not carried out.
    pub(super) fn remove(&mut self, id: ItemId) {
        if let Some(item) = self.items.remove(&id) {
            self.count(item.request, false);
        }
    }

    /// Notes that an item has ended, well or not, in a run that was expected to take so long. Where it was its request's last and all went well,
    /// how that was predicted, and how much time was left.
    pub(super) fn end(&mut self, id: ItemId, ok: bool, run: Duration, now: Instant) -> Option<Ended> {
        let item = self.items.remove(&id)?;
        let request = self.count(item.request, ok)?;
        request.ok.then(|| Ended {
            predicted: request.predicted(run, now),
            left: item
                .deadline
                .filter(|_| request.own_deadline)
                .map(|deadline| request.left(deadline, now)),
        })
    }

    /// The request, if this was its last item.
    fn count(&mut self, id: RequestId, ok: bool) -> Option<Admitted> {
        let request = self.requests.get_mut(&id)?;
        request.left -= 1;
        request.ok &= ok;
        if request.left > 0 {
            return None;
        }
        self.requests.remove(&id)
    }
}

impl Admitted {
    /// The share of its time that is left.
    fn left(&self, deadline: Instant, now: Instant) -> f64 {
        let whole = deadline.saturating_duration_since(self.admitted).as_secs_f64();
        let over = now.saturating_duration_since(deadline).as_secs_f64();
        let left = deadline.saturating_duration_since(now).as_secs_f64() - over;
        left / whole.max(1e-6)
    }

    /// How a request's end was predicted that comes now, or would after a run that is expected to take so long. Other sizes of runs, and others
    /// that go first, are the policy's own choices later, no errors: both figures are for those that came.
    pub(super) fn predicted(&self, run: Duration, now: Instant) -> Predicted {
        Predicted {
            predicted: (self.predicted + self.overtaken + run).saturating_sub(self.run),
            actual: now.saturating_duration_since(self.admitted),
        }
    }
}
