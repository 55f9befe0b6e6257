//! Clients: a closed loop (each connection sends when it has its response) and an open loop (requests are due at a fixed
//! rate, whether or not earlier responses have come; latency counts from when a request was due).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::stats::Sample;

/// The request that is sent again and again.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The body of each `POST /classify`.
    pub image: Bytes,
}

/// An open loop holds at most this many requests in flight; more than that are counted as failed.
const IN_FLIGHT_MAX: usize = 2048;

type Connection = SendRequest<Full<Bytes>>;

/// Runs `connections` closed loops for `duration`.
pub async fn closed(target: &Target, connections: usize, duration: Duration) -> Vec<Sample> {
    let end = Instant::now() + duration;
    let mut loops = JoinSet::new();
    for _ in 0..connections {
        let target = target.clone();
        loops.spawn(async move {
            let mut samples = Vec::new();
            let mut connection = None;
            while Instant::now() < end {
                let (sample, kept) = request(&target, connection.take(), Instant::now()).await;
                samples.push(sample);
                connection = kept;
            }
            samples
        });
    }
    loops.join_all().await.into_iter().flatten().collect()
}

/// Sends `rate` requests a second for `duration`, evenly spaced.
pub async fn open(target: &Target, rate: f64, duration: Duration) -> Vec<Sample> {
    let (give_back, mut idle) = mpsc::unbounded_channel::<Connection>();
    let start = Instant::now();
    let mut requests = JoinSet::new();
    let mut samples = Vec::new();
    for index in 0..(rate * duration.as_secs_f64()) as usize {
        let due = start + Duration::from_secs_f64(index as f64 / rate);
        tokio::time::sleep_until(due.into()).await;
        while let Some(done) = requests.try_join_next() {
            samples.extend(done.ok());
        }
        if requests.len() >= IN_FLIGHT_MAX {
            samples.push(Sample {
                latency: Duration::ZERO,
                status: 0,
            });
            continue;
        }
        let (target, give_back, connection) = (target.clone(), give_back.clone(), idle.try_recv().ok());
        requests.spawn(async move {
            let (sample, kept) = request(&target, connection, due).await;
            // Nobody takes connections back once the loop has ended.
            kept.map(|connection| give_back.send(connection).ok());
            sample
        });
    }
    samples.extend(requests.join_all().await);
    samples
}

/// One request over `connection`, or over a new one.
async fn request(target: &Target, connection: Option<Connection>, due: Instant) -> (Sample, Option<Connection>) {
    let outcome = exchange(target, connection).await;
    let latency = due.elapsed();
    match outcome {
        Ok((status, connection)) => (Sample { latency, status }, connection),
        Err(_) => (Sample { latency, status: 0 }, None),
    }
}

async fn exchange(target: &Target, connection: Option<Connection>) -> anyhow::Result<(u16, Option<Connection>)> {
    let mut connection = match connection {
        Some(connection) if !connection.is_closed() => connection,
        _ => connect(target.address).await?,
    };
    connection.ready().await?;
    let request = hyper::Request::post("/classify")
        .header("host", "bench")
        .header("content-type", "application/octet-stream")
        .body(Full::new(target.image.clone()))?;
    let response = connection.send_request(request).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok((status, (!connection.is_closed()).then_some(connection)))
}

/// The status that a `GET` of `path` is answered with.
///
/// # Errors
/// Where there is no response.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<u16> {
    let mut connection = connect(address).await?;
    let request = hyper::Request::get(path)
        .header("host", "bench")
        .body(Full::default())?;
    Ok(connection.send_request(request).await?.status().as_u16())
}

async fn connect(address: SocketAddr) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, driver) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    Ok(sender)
}
