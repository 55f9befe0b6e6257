//! The models of the server: put together, loaded for the first time, and followed.

use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::Signal;
use tokio::task::JoinHandle;

use super::load::ModelLoader;
use super::memory;
use super::service_manager::ServiceManager;
use crate::classify::Models;
use crate::config::Settings;
use crate::http::{Health, HealthState};
use crate::repository::{self, Control, Parts, Readiness, Repository, Source};
use crate::telemetry::Metrics;
use repserve_runtime::{Cores, Plan};
use repserve_scheduler::WorkerPool;

/// The models that the settings name; nothing is loaded yet.
pub(super) fn repository(
    settings: &Arc<Settings>,
    models: &Arc<Models>,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
) -> anyhow::Result<Repository> {
    let source = if settings.models.is_repository() {
        Source::Folder {
            root: settings.models.path.clone(),
            versions: settings.models.versions.clone(),
        }
    } else {
        Source::One(settings.model.clone())
    };
    let workers = Plan::new(&settings.runtime, Cores::detect()).cores;
    let reports = Arc::clone(health);
    let loader = ModelLoader {
        settings: Arc::clone(settings),
        metrics: Arc::clone(metrics),
        memory: memory::decode_budget(&settings.limits),
        models: Arc::clone(models),
        pool: WorkerPool::start(workers).context("cannot start the workers")?,
        report: Box::new(move |phase| reports.set(HealthState::Loading(phase))),
    };
    let parts = Parts {
        source,
        settings: settings.models.clone(),
        models: Arc::clone(models),
        metrics: Arc::clone(metrics),
        loader: Box::new(loader),
    };
    Repository::new(parts).context("cannot start the thread that loads models")
}

/// Loads all models for the first time, on a thread of its own.
///
/// # Errors
/// Where there are none, or the only one cannot be served.
pub(super) async fn load_all(repository: &Repository) -> anyhow::Result<()> {
    let loading = repository.clone();
    tokio::task::spawn_blocking(move || loading.load_all())
        .await
        .context("loading the models panicked")??;
    if repository.index().is_empty() && repository.settings().control == Control::None {
        let folder = repository.settings().path.display();
        anyhow::bail!("there is no model in {folder}: a model is a folder in it with a model.toml");
    }
    Ok(())
}

/// Starts what keeps up with the models: whether the server is ready, and SIGHUP.
pub(super) fn follow(
    repository: &Repository,
    health: &Arc<Health>,
    hang_ups: Signal,
    manager: ServiceManager,
) -> Vec<JoinHandle<()>> {
    set_health(repository, health);
    let signals = tokio::spawn(reread_on(hang_ups, repository.clone(), Arc::clone(health), manager));
    let (of_health, health) = (repository.clone(), Arc::clone(health));
    let readiness = tokio::spawn(async move {
        let mut changes = of_health.changes();
        loop {
            set_health(&of_health, &health);
            if changes.changed().await.is_err() {
                return;
            }
        }
    });
    vec![signals, readiness]
}

/// Reads the models again at each SIGHUP. The service manager hears of the end when what is new has been loaded.
async fn reread_on(mut hang_ups: Signal, repository: Repository, health: Arc<Health>, manager: ServiceManager) {
    let mut next = hang_ups.recv().await;
    while next.is_some() {
        tracing::info!(signal = "SIGHUP", "the models are read again");
        manager.reloading().await;
        let again = repository.clone();
        let _ = tokio::task::spawn_blocking(move || again.reread()).await;
        next = tokio::select! {
            () = repository.loads_done() => {
                manager.reloaded(&health.get()).await;
                hang_ups.recv().await
            }
            next = hang_ups.recv() => next,
        };
    }
}

/// Starts to follow changes in the folder of the models, where these are to be followed.
pub(super) fn watch(repository: &Repository) -> Option<JoinHandle<()>> {
    let watched = repository.settings().control == Control::Watch;
    watched.then(|| tokio::spawn(repository::watch(repository.clone())))
}

fn set_health(repository: &Repository, health: &Health) {
    let state = match repository.readiness() {
        Readiness::Loading => return,
        Readiness::Ready => HealthState::Ready,
        Readiness::Missing(reason) => HealthState::Incomplete(reason),
    };
    if health.get() != state {
        match &state {
            HealthState::Incomplete(reason) => tracing::error!(reason, "not ready"),
            _ => tracing::info!("ready"),
        }
        health.set(state);
    }
}
