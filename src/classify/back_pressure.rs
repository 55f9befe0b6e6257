//! What happens to requests for which there is no room, before their bodies are read.
//!
//! The first of a sender is refused at once and told when to come back. One that comes back sooner costs work and gains nothing, so it is
//! held: nothing is done for it until there is room, until it may come back, or for about a second. That slows down who retries at once, and
//! costs a task that sleeps. Who is held and who gets room is decided in [`state`]; here are the clock and the tasks.

mod allowance;
mod marks;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::state::{HeldId, RETRY_AFTER_VAIN_HOLD, State};
use super::{ImageEngine, Reserved};
use repserve_scheduler::{Batcher, Rejected, Request};

pub use self::state::Sender;

/// How long the task that hands out room sleeps at most: places that were reserved for slow bodies lapse without notice.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Between two rounds of handing out: more of them find nothing more, and each predicts for several requests when they would be done.
const PAUSE: Duration = Duration::from_millis(2);

/// Requests that are refused in a round where nothing waits and none that is held can be done in time.
const LET_GO_MAX: usize = 4;

/// What a request's head says of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadWork {
    /// Images, at least.
    pub items: usize,
    /// Their encoded bytes together, at least.
    pub encoded_bytes: u64,
    /// Whether the body is compressed, so that nobody knows what is in it: it finds room or does not, and none is kept for it.
    pub packed: bool,
}

/// A place for a request, and who sent it.
pub struct Admitted {
    /// The place, where one is kept.
    pub reservation: Option<Reserved>,
    /// Who sent it.
    pub sender: Sender,
}

/// The requests of one model for which there is no room.
pub struct BackPressure {
    batcher: Batcher<ImageEngine>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    state: State<Held>,
    /// Whether a task hands out room.
    watched: bool,
}

/// What it takes to give a held request room.
struct Held {
    work: HeadWork,
    request: Request,
    turn: Option<oneshot::Sender<Turn>>,
}

/// Room for a held request, or why there will be none.
type Turn = Result<Reserved, Rejected>;

/// A held request; forgotten when it is dropped.
struct Ticket<'a> {
    held_by: &'a BackPressure,
    id: HeldId,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.held_by.lock().state.leave(self.id);
    }
}

impl BackPressure {
    pub(super) fn new(batcher: Batcher<ImageEngine>) -> Self {
        Self {
            batcher,
            inner: Mutex::default(),
        }
    }

    /// Requests that are held.
    pub fn held(&self) -> usize {
        self.lock().state.len()
    }

    /// Holds whoever comes back too early for such a time from now on, as if many did. Lets tests hold a request without sending many.
    pub fn assume_storm(&self, time: Duration) {
        self.lock().state.storm(Instant::now() + time);
    }

    /// Whether a sender was told to come back later than now.
    pub fn was_told(&self, sender: Sender) -> bool {
        self.lock().state.was_told(sender, Instant::now())
    }

    /// A sender is told to come back after `retry_after`.
    pub(super) fn told(&self, sender: Sender, retry_after: Duration) {
        self.lock().state.told(sender, retry_after, Instant::now());
    }

    /// A place for a request of which only the head has arrived. Waits for room where its sender comes back before the time that it was
    /// told. Dropping the future forgets the request.
    ///
    /// # Errors
    /// As [`Batcher::reserve`].
    pub async fn admit(
        self: &Arc<Self>,
        sender: Sender,
        work: HeadWork,
        request: &Request,
    ) -> Result<Admitted, Rejected> {
        let reservation = match self.reserve(work, request) {
            Err(Rejected::Overloaded { reason, retry_after }) => {
                let refused = Refused { reason, retry_after };
                self.hold(sender, work, request, refused).await?
            }
            reserved => reserved?,
        };
        let reservation = Some(reservation).filter(|_| !work.packed);
        Ok(Admitted { reservation, sender })
    }

    fn reserve(&self, work: HeadWork, request: &Request) -> Result<Reserved, Rejected> {
        self.batcher.reserve(work.items, work.encoded_bytes, request)
    }

    /// Refuses a request for which there was no room, at once or once it was held in vain.
    async fn hold(
        self: &Arc<Self>,
        sender: Sender,
        work: HeadWork,
        request: &Request,
        mut refused: Refused,
    ) -> Result<Reserved, Rejected> {
        if let Some((_ticket, turn, until)) = self.enter(sender, work, request) {
            if let Ok(Ok(turn)) = tokio::time::timeout_at(until.into(), turn).await {
                return turn;
            }
            refused.retry_after = refused.retry_after.max(RETRY_AFTER_VAIN_HOLD);
        }
        self.told(sender, refused.retry_after);
        Err(refused.into())
    }

    /// Holds a request where it is to be held.
    fn enter(
        self: &Arc<Self>,
        sender: Sender,
        work: HeadWork,
        request: &Request,
    ) -> Option<(Ticket<'_>, oneshot::Receiver<Turn>, Instant)> {
        let now = Instant::now();
        let mut inner = self.lock();
        if !inner.state.holds(sender, now) {
            return None;
        }
        let (sends, turn) = oneshot::channel();
        let held = Held {
            work,
            request: *request,
            turn: Some(sends),
        };
        let (id, until) = inner.state.hold(sender, request.deadline, held, now);
        if !std::mem::replace(&mut inner.watched, true) {
            tokio::spawn(Arc::clone(self).hand_out());
        }
        drop(inner);
        Some((Ticket { held_by: self, id }, turn, until))
    }

    /// Hands out room while anybody is held.
    async fn hand_out(self: Arc<Self>) {
        loop {
            let _ = tokio::time::timeout(LOOK_AGAIN, self.batcher.room()).await;
            if self.round() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Offers room to those that are held. Whether nobody is.
    fn round(&self) -> bool {
        let mut inner = self.lock();
        if inner.state.len() == 0 {
            inner.watched = false;
            return true;
        }
        let now = Instant::now();
        inner.state.lapse(now);
        inner.state.offer(now, |held| self.offer(held));
        if self.batcher.snapshot().queue_depth == 0 {
            inner.state.let_go(LET_GO_MAX);
        }
        false
    }

    /// Whether a held request need not be held any longer.
    fn offer(&self, held: &mut Held) -> bool {
        let turn = match self.reserve(held.work, &held.request) {
            Err(Rejected::Overloaded { .. } | Rejected::Expired | Rejected::TooShort { .. }) => return false,
            turn => turn,
        };
        if let Some(sends) = held.turn.take() {
            let _ = sends.send(turn);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no room, and when to come back.
#[derive(Debug, Clone, Copy)]
struct Refused {
    reason: repserve_scheduler::Refusal,
    retry_after: Duration,
}

impl From<Refused> for Rejected {
    fn from(Refused { reason, retry_after }: Refused) -> Self {
        Self::Overloaded { reason, retry_after }
    }
}
