//! A pause between two runs, as long as a server needs.

use std::time::{Duration, Instant};

use super::connection::send;
use super::{Outcome, Target};

/// How long a server may take to work off what an earlier run has left it.
const WAIT_MAX: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Sends one request at a time until one is served within `latency_max`: an earlier run has left nothing in the server's queues. Gives up
/// after 20 s.
pub async fn settle(target: &Target, latency_max: Duration) {
    let request = target.request();
    let end = tokio::time::Instant::now() + WAIT_MAX;
    let mut connection = None;
    while tokio::time::Instant::now() < end {
        let sent = Instant::now();
        let exchange = send(target.address, &request, connection.take());
        let Ok((outcome, kept)) = tokio::time::timeout_at(end, exchange).await else {
            return;
        };
        if outcome == Outcome::Status(200) && sent.elapsed() <= latency_max {
            return;
        }
        connection = kept;
        tokio::time::sleep(PAUSE).await;
    }
}
