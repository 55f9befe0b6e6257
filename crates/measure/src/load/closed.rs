//! Clients that send again at once, whatever the response was.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::connection::send;
use super::{Outcome, Run, Sample, Target, WAIT_AT_END};

/// A client that gets no connection waits this long: it measures a server, not how fast the system refuses.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);

/// Runs `connections` closed loops for `duration`. With a deadline in the target's query and more connections than fit it this is a retry
/// storm: a connection that is refused asks again at once.
pub async fn closed(target: &Target, connections: usize, duration: Duration) -> Run {
    let (address, request) = (target.address, target.request());
    let start = Instant::now();
    let end = start + duration;
    let give_up = tokio::time::Instant::from_std(end + WAIT_AT_END);
    let mut loops = JoinSet::new();
    for _ in 0..connections {
        let request = request.clone();
        loops.spawn(async move {
            let mut samples = Vec::new();
            let mut connection = None;
            loop {
                let now = Instant::now();
                if now >= end {
                    break;
                }
                let exchange = send(address, &request, connection.take());
                let outcome;
                (outcome, connection) = tokio::time::timeout_at(give_up, exchange)
                    .await
                    .unwrap_or((Outcome::NoResponse, None));
                samples.push(Sample {
                    due: now - start,
                    latency: now.elapsed(),
                    outcome,
                });
                if outcome == Outcome::Failed {
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
            samples
        });
    }
    Run {
        samples: loops.join_all().await.into_iter().flatten().collect(),
        sending: duration,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::testing::Responder;

    #[tokio::test]
    async fn every_request_has_a_sample() {
        let server = Responder::start("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n").await;
        let run = closed(&server.target(), 3, Duration::from_millis(50)).await;
        assert!(run.samples.len() >= 3);
        assert!(run.samples.iter().all(|s| s.outcome == Outcome::Status(429)));
        assert_eq!(run.samples.len(), server.requests());
        assert_eq!(server.connections(), 3);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_fails() {
        let server = Responder::start("").await;
        let run = closed(&server.target(), 2, Duration::from_millis(1)).await;
        assert!(run.samples.len() >= 2);
        assert!(run.samples.iter().all(|s| s.outcome == Outcome::Failed));
    }
}
