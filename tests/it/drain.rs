//! The real binary under load, and how it goes down.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::StatusCode;

use crate::support::binary::repserve;
use crate::support::images::png;
use crate::support::{client, until};

/// A running binary; killed when dropped.
struct Binary {
    child: Child,
    address: SocketAddr,
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Binary {
    /// Starts it on a free port, which its log names, and waits until it is ready.
    async fn start(sets: &[&str]) -> Self {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--set", "log.format=json"];
        args.extend(sets.iter().flat_map(|set| ["--set", *set]));
        let mut child = repserve(&args).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line: serde_json::Value = serde_json::from_str(&log.next().unwrap().unwrap()).unwrap();
            if let Some(address) = line["address"].as_str() {
                break address.parse().unwrap();
            }
        };
        std::thread::spawn(move || log.for_each(drop));
        let binary = Self { child, address };
        let client = client();
        let url = format!("http://{}/readyz", binary.address);
        loop {
            if client.get(&url).send().await.is_ok_and(|r| r.status() == 200) {
                return binary;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    fn signal(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_under_load_loses_no_accepted_request() {
    let mut binary = Binary::start(&["server.drain_delay_ms=300"]).await;
    let url = format!("http://{}/classify", binary.address);
    let answered = Arc::new(AtomicUsize::new(0));
    let refused = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|seed| {
            let (url, answered, refused) = (url.clone(), answered.clone(), refused.clone());
            tokio::spawn(async move {
                let client = client();
                loop {
                    let request = client.post(&url).header("content-type", "image/png").body(png(seed));
                    match request.send().await {
                        Ok(response) => {
                            assert_eq!(response.status(), StatusCode::OK);
                            response.bytes().await.expect("an answer that was begun is finished");
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) if error.is_connect() => break refused.store(true, Ordering::SeqCst),
                        Err(error) => panic!("a request was lost: {error:?}"),
                    }
                }
            })
        })
        .collect();
    until("there is load", || answered.load(Ordering::SeqCst) > 100).await;
    let before = answered.load(Ordering::SeqCst);
    binary.signal();
    for client in clients {
        client.await.unwrap();
    }
    assert!(
        answered.load(Ordering::SeqCst) > before,
        "nothing was answered after the signal"
    );
    assert!(binary.child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let mut binary = Binary::start(&["server.drain_delay_ms=3600000"]).await;
    binary.signal();
    let url = format!("http://{}/readyz", binary.address);
    let client = client();
    while client.get(&url).send().await.unwrap().status() != 503 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    binary.signal();
    assert!(binary.child.wait().unwrap().success());
}
