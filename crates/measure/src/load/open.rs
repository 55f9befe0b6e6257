//! Requests that are due at given times.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::{Connection, send};
use super::{Arrivals, Outcome, Run, Sample, Target, WAIT_AT_END};

/// Requests in flight at most, each on its own connection; a request that is due beyond is not sent. Below what servers commonly accept
/// (`server.connections_max`).
const IN_FLIGHT_MAX: usize = 1000;

/// Sends requests as `arrivals` says, for `duration`.
pub async fn open(target: &Target, arrivals: Arrivals, duration: Duration) -> Run {
    let (address, request) = (target.address, target.request());
    let (give_back, mut idle) = mpsc::unbounded_channel::<Connection>();
    let start = Instant::now();
    let give_up = tokio::time::Instant::from_std(start + duration + WAIT_AT_END);
    let mut due_times = paced(arrivals, start, duration);
    let mut requests = JoinSet::new();
    let mut samples = Vec::new();
    while let Some(due) = due_times.recv().await {
        while let Some(done) = requests.try_join_next() {
            samples.extend(done.ok());
        }
        if requests.len() >= IN_FLIGHT_MAX {
            samples.push(Sample {
                due: due - start,
                latency: Duration::ZERO,
                outcome: Outcome::NotSent,
            });
            continue;
        }
        let (request, give_back, connection) = (request.clone(), give_back.clone(), idle.try_recv().ok());
        requests.spawn(async move {
            let exchange = send(address, &request, connection);
            let (outcome, connection) = tokio::time::timeout_at(give_up, exchange)
                .await
                .unwrap_or((Outcome::NoResponse, None));
            let latency = due.elapsed();
            // The loop may have ended: it takes no connection back then.
            connection.map(|connection| give_back.send(connection).ok());
            Sample {
                due: due - start,
                latency,
                outcome,
            }
        });
    }
    samples.extend(requests.join_all().await);
    Run {
        samples,
        sending: duration,
    }
}

/// The times at which requests are due, each given out when it has come. A thread that sleeps until then wakes within some tens of
/// microseconds, where tokio's timer counts in milliseconds.
fn paced(arrivals: Arrivals, start: Instant, duration: Duration) -> mpsc::UnboundedReceiver<Instant> {
    let (sender, due_times) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for time in arrivals.times(duration) {
            let due = start + time;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.send(due).is_err() {
                break;
            }
        }
    });
    due_times
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::testing::Responder;

    #[tokio::test]
    async fn every_arrival_has_a_sample_and_connections_are_kept() {
        let server = Responder::start("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let arrivals = Arrivals::Poisson {
            per_second: 2000.0,
            seed: 3,
        };
        let duration = Duration::from_millis(100);
        let run = open(&server.target(), arrivals, duration).await;
        let mut due: Vec<_> = run.samples.iter().map(|s| s.due).collect();
        due.sort();
        assert_eq!(due, arrivals.times(duration).collect::<Vec<_>>());
        assert!(run.samples.iter().all(|s| s.outcome == Outcome::Status(200)));
        assert_eq!(server.requests(), due.len());
        assert!(server.connections() <= due.len());
    }
}
