//! Lines in the log for requests that were refused: a flood of requests must not become a flood of lines. The first of a kind is
//! logged at once, those that follow together every ten seconds, with one of them as an example. `/metrics` counts each; level
//! debug logs each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines of a kind.
const PERIOD: Duration = Duration::from_secs(10);
/// Kinds that are distinguished in a period; what goes beyond is one kind more.
const KINDS_MAX: usize = 32;
/// Characters of an example's detail.
const DETAIL_CHARS_MAX: usize = 200;

/// A request that was refused. Its kind is its route and code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal<'a> {
    pub(super) route: &'a str,
    pub(super) code: u16,
    /// The request's id; empty where it was not read that far.
    pub(super) id: &'a str,
    /// What was wrong with it.
    pub(super) detail: &'a str,
}

/// Requests of one kind, with one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    requests: u64,
    route: String,
    /// 0: of several codes.
    code: u16,
    id: String,
    detail: String,
}

impl Line {
    fn of(refusal: &Refusal<'_>) -> Self {
        let mut line = Self {
            requests: 1,
            route: refusal.route.to_owned(),
            code: refusal.code,
            id: String::new(),
            detail: String::new(),
        };
        line.take_example(refusal);
        line
    }

    fn is_about(&self, refusal: &Refusal<'_>) -> bool {
        self.code == refusal.code && self.route == refusal.route
    }

    fn take_example(&mut self, refusal: &Refusal<'_>) {
        refusal.id.clone_into(&mut self.id);
        self.detail = refusal.detail.chars().take(DETAIL_CHARS_MAX).collect();
    }

    fn write(&self) {
        let Self {
            requests,
            route,
            code,
            id,
            detail,
        } = self;
        // Overload concerns the operator; the others are errors of clients.
        if matches!(code, 429 | 504) {
            tracing::warn!(requests, code, route, id, detail, "requests refused");
        } else {
            tracing::info!(requests, code, route, id, detail, "requests refused");
        }
    }
}

/// Counts refusals that no line has reported yet.
#[derive(Debug)]
struct RefusalLog(Mutex<Pending>);

#[derive(Debug)]
struct Pending {
    /// Kinds that were reported in this period, with what came since.
    kinds: Vec<Line>,
    /// When this period ends; `None` where nothing was refused in it.
    until: Option<Instant>,
}

impl Pending {
    /// Ends the period where it is over; returns the lines to write. Kinds of which nothing came are forgotten.
    fn due(&mut self, now: Instant) -> Vec<Line> {
        if self.until.is_none_or(|until| now < until) {
            return Vec::new();
        }
        self.kinds.retain(|kind| kind.requests > 0);
        self.until = (!self.kinds.is_empty()).then(|| now + PERIOD);
        let lines = self.kinds.clone();
        self.kinds.iter_mut().for_each(|kind| kind.requests = 0);
        lines
    }
}

impl RefusalLog {
    const fn new() -> Self {
        let pending = Pending {
            kinds: Vec::new(),
            until: None,
        };
        Self(Mutex::new(pending))
    }

    /// Counts a refusal; returns the lines that are due.
    fn count(&self, refusal: &Refusal<'_>, now: Instant) -> Vec<Line> {
        let mut pending = self.lock();
        let mut lines = pending.due(now);
        let full = pending.kinds.len() >= KINDS_MAX && !pending.kinds.iter().any(|kind| kind.is_about(refusal));
        let refusal = if full {
            Refusal {
                route: "several",
                code: 0,
                ..*refusal
            }
        } else {
            *refusal
        };
        match pending.kinds.iter_mut().find(|kind| kind.is_about(&refusal)) {
            Some(kind) => {
                if kind.requests == 0 {
                    kind.take_example(&refusal);
                }
                kind.requests += 1;
            }
            None => {
                let line = Line::of(&refusal);
                pending.kinds.push(Line {
                    requests: 0,
                    ..line.clone()
                });
                lines.push(line);
            }
        }
        pending.until.get_or_insert(now + PERIOD);
        lines
    }

    fn until(&self) -> Option<Instant> {
        self.lock().until
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One for the process, as the log is.
static REFUSED: RefusalLog = RefusalLog::new();

/// Counts a refused request, and writes the lines that are due.
pub(super) fn refused(refusal: &Refusal<'_>) {
    let lines = REFUSED.count(refusal, Instant::now());
    lines.iter().for_each(Line::write);
    if let Some(reporter) = Reporter::begin()
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn(report_rest(reporter));
    }
}

/// Reports what was counted when its period ends, whether or not more comes; until a period passes in which nothing came.
async fn report_rest(_reporter: Reporter) {
    while let Some(until) = REFUSED.until() {
        tokio::time::sleep_until(until.into()).await;
        let lines = REFUSED.lock().due(Instant::now());
        lines.iter().for_each(Line::write);
    }
}

/// Held by the one task that runs [`report_rest`], also where its runtime ends before it.
struct Reporter(());

static REPORTING: AtomicBool = AtomicBool::new(false);

impl Reporter {
    fn begin() -> Option<Self> {
        (!REPORTING.swap(true, Ordering::AcqRel)).then_some(Self(()))
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        REPORTING.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(route: &str, code: u16) -> Refusal<'_> {
        Refusal {
            route,
            code,
            id: "id",
            detail: "detail",
        }
    }

    /// What was reported: (requests, route, code).
    fn reported(lines: &[Line]) -> Vec<(u64, &str, u16)> {
        lines.iter().map(|l| (l.requests, l.route.as_str(), l.code)).collect()
    }

    #[test]
    fn the_first_is_reported_at_once_and_the_others_together() {
        let (log, start) = (RefusalLog::new(), Instant::now());
        let count = |code, at| log.count(&refusal("/classify", code), at);
        assert_eq!(reported(&count(429, start)), [(1, "/classify", 429)]);
        assert_eq!(reported(&count(429, start + PERIOD / 3)), []);
        assert_eq!(reported(&count(400, start + PERIOD / 3)), [(1, "/classify", 400)]);
        assert_eq!(reported(&count(429, start + PERIOD / 2)), []);
        assert_eq!(
            reported(&count(400, start + PERIOD)),
            [(2, "/classify", 429), (1, "/classify", 400)]
        );
    }

    #[test]
    fn what_came_last_is_reported_without_another_request() {
        let (log, start) = (RefusalLog::new(), Instant::now());
        for _ in 0..5 {
            log.count(&refusal("/classify", 415), start);
        }
        assert_eq!(log.until(), Some(start + PERIOD));
        let due = |at| log.lock().due(at);
        assert_eq!(reported(&due(start + PERIOD)), [(4, "/classify", 415)]);
        assert_eq!(reported(&due(start + PERIOD * 2)), []);
        assert_eq!(log.until(), None);
    }

    #[test]
    fn a_flood_of_kinds_is_few_lines() {
        let (log, start) = (RefusalLog::new(), Instant::now());
        let routes: Vec<String> = (0..10_000).map(|i| format!("/{i}")).collect();
        let lines: Vec<Line> = routes
            .iter()
            .flat_map(|route| log.count(&refusal(route, 404), start))
            .collect();
        assert_eq!(lines.len(), KINDS_MAX + 1);
        assert_eq!(reported(&log.lock().due(start + PERIOD)), [(9967, "several", 0)]);
    }

    #[test]
    fn an_example_is_bounded() {
        let long = "x".repeat(10_000);
        let line = Line::of(&Refusal {
            detail: &long,
            ..refusal("/", 400)
        });
        assert_eq!(line.detail.len(), DETAIL_CHARS_MAX);
    }
}
