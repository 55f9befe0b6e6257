//! The service manager's watchdog: it ends a server from which it hears nothing for too long, so it must hear from one that answers, and
//! from no other.

use std::sync::Arc;
use std::time::Duration;

use super::probe::{self, Trust};
use super::service_manager::ServiceManager;
use crate::http::Health;

/// How often the manager wants to hear of process `pid`, halved, as sd_watchdog_enabled(3) advises; `None` where it does not.
pub(super) fn interval(variable: impl Fn(&str) -> Option<String>, pid: u32) -> Option<Duration> {
    if variable("WATCHDOG_PID").is_some_and(|named| named.parse() != Ok(pid)) {
        return None;
    }
    let us: u64 = variable("WATCHDOG_USEC")?.parse().ok()?;
    (us > 1).then(|| Duration::from_micros(us / 2))
}

/// What asks the server as its clients would, and tells the manager as long as it answers.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// Of two messages to the manager.
    pub(super) interval: Duration,
    /// Who wants to hear of it.
    pub(super) manager: ServiceManager,
    /// The URL that is asked, and what certificate it must show.
    pub(super) asked: (String, Trust),
    /// A server that drains does not listen any more; it ends by its own limit.
    pub(super) health: Arc<Health>,
}

impl Watchdog {
    /// Watches for ever.
    pub(super) async fn run(self) {
        watch(self.interval, || self.answers(), || self.manager.alive()).await;
    }

    async fn answers(&self) -> bool {
        if self.health.draining() {
            return true;
        }
        let (url, trust) = &self.asked;
        let problem = match tokio::time::timeout(self.interval, probe::get(url, trust)).await {
            Ok(Ok(returned)) if returned.status == 200 => return true,
            Ok(Ok(returned)) => format!("it returned {}", returned.status),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no response within {} ms", self.interval.as_millis()),
        };
        tracing::warn!(
            url,
            problem,
            "the server does not answer itself; the service manager's watchdog may end it"
        );
        false
    }
}

/// Calls `alive` every `interval` as long as `answers`; one that does not is asked again after a quarter of that.
async fn watch<A, B>(interval: Duration, mut answers: impl FnMut() -> A, mut alive: impl FnMut() -> B)
where
    A: Future<Output = bool>,
    B: Future<Output = ()>,
{
    loop {
        let pause = if answers().await {
            alive().await;
            interval
        } else {
            interval / 4
        };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[test]
    fn the_interval_is_half_of_what_the_manager_wants() {
        let check = |us: Option<&str>, pid: Option<&str>, expected: Option<u64>| {
            let variable = |name: &str| if name == "WATCHDOG_PID" { pid } else { us }.map(str::to_owned);
            assert_eq!(
                interval(variable, 7),
                expected.map(Duration::from_millis),
                "{us:?} {pid:?}"
            );
        };
        check(Some("30000000"), None, Some(15_000));
        check(Some("30000000"), Some("7"), Some(15_000));
        check(Some("30000000"), Some("8"), None);
        check(Some("30000000"), Some("x"), None);
        check(Some("0"), None, None);
        check(Some("-1"), None, None);
        check(None, Some("7"), None);
    }

    #[tokio::test]
    async fn only_a_server_that_answers_is_alive() {
        let outcomes = [false, true, false, false, true];
        let asked = AtomicUsize::new(0);
        let told = Mutex::new(Vec::new());
        let all_asked = Notify::new();
        let answers = || async {
            let Some(answer) = outcomes.get(asked.fetch_add(1, Ordering::SeqCst)) else {
                all_asked.notify_one();
                return std::future::pending().await;
            };
            told.lock().unwrap().push(if *answer { "answers" } else { "silent" });
            *answer
        };
        tokio::select! {
            () = watch(Duration::from_micros(1), answers, || async { told.lock().unwrap().push("alive") }) => {}
            () = all_asked.notified() => {}
        }
        let expected = ["silent", "answers", "alive", "silent", "silent", "answers", "alive"];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
