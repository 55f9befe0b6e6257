//! The accept loop: connections within their limit and timeouts, and the two ways of stopping.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::secure::Tls;
use super::settings::ServerSettings;
use crate::telemetry::Metrics;

/// How long the loop rests after an error of `accept` that is not one connection's (no file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections may still send a request after the listener has closed.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// How far stopping has come. It only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Nobody wants it to.
    #[default]
    Run,
    /// Drain, then stop.
    Drain,
    /// Stop at once.
    Now,
}

/// A bound listener and how its connections are treated.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    builder: http1::Builder,
    tls: Option<Arc<Tls>>,
    handshake_timeout: Duration,
    connections: Arc<Semaphore>,
    graceful: GracefulShutdown,
    metrics: Arc<Metrics>,
}

impl Server {
    /// Serves what comes to `listener`, encrypted where there is a certificate. What is no HTTP is counted in `metrics`; every
    /// request that is one, where it is routed.
    pub fn new(listener: TcpListener, settings: &ServerSettings, tls: Option<Arc<Tls>>, metrics: Arc<Metrics>) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_timeout());
        Self {
            listener,
            builder,
            tls,
            handshake_timeout: settings.header_timeout(),
            connections: Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS))),
            graceful: GracefulShutdown::new(),
            metrics,
        }
    }

    /// Accepts until `closing` holds, then takes what had connected already and closes the listener. Returns what waits for
    /// the connections.
    pub async fn accept_until(self, router: Router, mut closing: watch::Receiver<bool>) -> Draining {
        loop {
            let accepted = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => break,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok((stream, permit)) => self.serve(stream, permit, &router),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        while let Some(Ok((stream, permit))) = self.accept().now_or_never() {
            self.serve(stream, permit, &router);
        }
        Draining(self.graceful)
    }

    async fn accept(&self) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.connections)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        Ok((stream, permit))
    }

    fn serve(&self, stream: TcpStream, permit: OwnedSemaphorePermit, router: &Router) {
        let service = TowerToHyperService::new(router.clone());
        let builder = self.builder.clone();
        let watcher = self.graceful.watcher();
        let metrics = Arc::clone(&self.metrics);
        let Some(tls) = &self.tls else {
            let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                ended(connection.await, &metrics);
                drop(permit);
            });
            return;
        };
        let handshake = tokio::time::timeout(self.handshake_timeout, tls.acceptor().accept(stream));
        tokio::spawn(async move {
            match handshake.await {
                Ok(Ok(stream)) => ended(
                    watcher
                        .watch(builder.serve_connection(TokioIo::new(stream), service))
                        .await,
                    &metrics,
                ),
                Ok(Err(error)) => tracing::debug!(%error, "no TLS connection"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
            drop(permit);
        });
    }
}

/// Notes how a connection ended. hyper answers a head that it cannot read before there is a request to route.
fn ended(outcome: hyper::Result<()>, metrics: &Metrics) {
    if let Err(error) = outcome {
        if error.is_parse_too_large() {
            metrics.request_unreadable(431);
        } else if error.is_parse() {
            metrics.request_unreadable(400);
        }
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Connections whose requests are being finished.
#[derive(Debug)]
pub struct Draining(GracefulShutdown);

impl Draining {
    /// Finishes what was begun and closes what is idle. A connection that was accepted at the last moment has some time to
    /// send its request: closed at once, it would look like a lost one.
    pub async fn finish(self) {
        let end = tokio::time::Instant::now() + LAST_REQUESTS;
        while self.0.count() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(LAST_REQUESTS / 100).await;
        }
        self.0.shutdown().await;
    }
}
