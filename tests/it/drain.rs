//! The real binary under load, and how it goes down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};

use crate::support::images::png;
use crate::support::process::Process;
use crate::support::{client, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_under_load_loses_no_accepted_request() {
    let mut server = Process::start(&["server.drain_delay_ms=300"]).await;
    let url = format!("http://{}/classify", server.address);
    let succeeded = Arc::new(AtomicUsize::new(0));
    let refused = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|seed| {
            let (url, succeeded, refused) = (url.clone(), succeeded.clone(), refused.clone());
            tokio::spawn(async move {
                let client = client();
                loop {
                    let request = client.post(&url).header("content-type", "image/png").body(png(seed));
                    match request.send().await {
                        Ok(response) => {
                            assert_eq!(response.status(), StatusCode::OK);
                            response.bytes().await.expect("a response that was begun is finished");
                            succeeded.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) if error.is_connect() => break refused.store(true, Ordering::SeqCst),
                        Err(error) => panic!("a request was lost: {error:?}"),
                    }
                }
            })
        })
        .collect();
    until("there is load", || succeeded.load(Ordering::SeqCst) > 100).await;
    let before = succeeded.load(Ordering::SeqCst);
    server.terminate();
    for client in clients {
        client.await.unwrap();
    }
    assert!(
        succeeded.load(Ordering::SeqCst) > before,
        "no request succeeded after the signal"
    );
    assert!(server.ended_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let mut server = Process::start(&["server.drain_delay_ms=3600000"]).await;
    server.terminate();
    let url = format!("http://{}/readyz", server.address);
    let client = client();
    while client.get(&url).send().await.unwrap().status() != 503 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    server.terminate();
    assert!(server.ended_well());
}

/// Sends images, many at once, until the server has gone.
async fn send_forms(url: String) {
    let images: Vec<_> = (0..64).map(png).collect();
    loop {
        let parts = images
            .iter()
            .map(|image| Part::bytes(image.clone()).file_name("image.png"));
        let form = parts.fold(Form::new(), |form, part| form.part("image", part));
        if client().post(&url).multipart(form).send().await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_while_images_are_computed_is_no_crash() {
    // Large batches: the workers are inside ONNX Runtime nearly all the time.
    let sets = [
        "server.drain_delay_ms=3600000",
        "batch.batch_max=512",
        "batch.queue_capacity=4096",
        "batch.wait_ms_max=0",
        "runtime.kernels=off",
        "runtime.measure_ms_max=50",
    ];
    let mut server = Process::start(&sets).await;
    let url = format!("http://{}/classify", server.address);
    let clients: Vec<_> = (0..8).map(|_| tokio::spawn(send_forms(url.clone()))).collect();
    while server.metric("repserve_images_total").await == 0.0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    server.terminate();
    let ready = format!("http://{}/readyz", server.address);
    while client().get(&ready).send().await.unwrap().status() != 503 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    server.terminate();
    assert!(server.ended_well());
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_log_nobody_reads_still_hears_signals() {
    let mut server = Process::start_unheard(&["server.drain_delay_ms=0"]).await;
    let url = format!("http://{}/nowhere", server.address);
    assert_eq!(client().get(url).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    server.terminate();
    assert!(server.ended_well());
}
