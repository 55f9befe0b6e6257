//! SIGTERM and SIGINT: the first drains, the second stops at once. SIGHUP: the models are read again.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::http::Stop;

/// Starts to listen; signals count from now on.
pub(super) fn listen() -> anyhow::Result<watch::Receiver<Stop>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let (sender, receiver) = watch::channel(Stop::Run);
    tokio::spawn(async move {
        for stage in [Stop::Drain, Stop::Now] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "signal");
            sender.send_replace(stage);
        }
        sender.closed().await;
    });
    Ok(receiver)
}

/// Starts to listen for SIGHUP.
pub(super) fn hang_ups() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("cannot listen for SIGHUP")
}
