//! The composition root: the only place where the parts meet.
//!
//! [`App::build`] binds the listener, [`App::run_until_stopped`] serves, loads the model meanwhile ([`load`]) and drains on
//! SIGTERM or SIGINT ([`signals`]).

pub mod cache;
mod golden;
mod load;
mod log;
pub mod memory;
mod models;
mod open_files;
pub(crate) mod probe;
mod service_manager;
mod signals;
mod watchdog;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::classify::Models;
use crate::config::Settings;
use crate::http::{Draining, Health, HealthState, Security, Server, Shared, SharedParts, Stop, admin_router, routers};
use crate::repository::Repository;
use crate::telemetry::{Metrics, TraceSettings, Tracer};
use probe::Trust;
use repserve_files::in_words;
use service_manager::ServiceManager;
use watchdog::Watchdog;

pub use load::{compile_settings, explicit, load};

/// Time for the responses to requests that the hard limit ended.
const LAST_RESPONSES_MAX: Duration = Duration::from_millis(500);

/// A server with its listener bound.
#[derive(Debug)]
pub struct App {
    settings: Arc<Settings>,
    server: Server,
    admin: Option<Server>,
    admin_address: Option<SocketAddr>,
    grpc: Option<Server>,
    grpc_address: Option<SocketAddr>,
    shared: Shared,
    repository: Repository,
    address: SocketAddr,
}

impl App {
    /// Binds the listener and puts the parts together. Nothing is loaded yet.
    ///
    /// # Errors
    /// Where the address cannot be bound.
    pub async fn build(mut settings: Settings) -> anyhow::Result<Self> {
        limit_connections(&mut settings);
        settings.limits = memory::in_force(&settings.limits);
        let security = Security::open(&settings.security).context("cannot secure the server")?;
        let (listener, address) = bind(settings.server.listen).await?;
        let admin = bind_where_set(settings.server.admin_listen).await?;
        let grpc = bind_where_set(settings.server.grpc_listen).await?;
        let settings = Arc::new(settings);
        let models = Arc::new(Models::default());
        let health = Arc::new(Health::default());
        let metrics = Arc::new(Metrics::new().context("the metrics contradict each other")?);
        let repository = models::repository(&settings, &models, &metrics, &health)?;
        let shared = Shared::from(SharedParts {
            models,
            health,
            metrics,
            repository: Some(repository.clone()),
            server: Arc::new(settings.server.clone()),
            spans: tracer(&settings.trace)?.map(Arc::new),
            security: security.clone(),
            limits: Arc::new(settings.limits.clone()),
        });
        let server = Server::new(listener, &settings.server, security.tls, shared.metrics.clone());
        Ok(Self {
            grpc_address: grpc.as_ref().map(|(_, address)| *address),
            grpc: grpc.map(|(listener, _)| server.grpc(listener)),
            server,
            admin_address: admin.as_ref().map(|(_, address)| *address),
            admin: admin.map(|(listener, _)| Server::new(listener, &settings.server, None, shared.metrics.clone())),
            settings,
            shared,
            repository,
            address,
        })
    }

    /// Where it listens; the port is the real one also where 0 was set.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where the second listener, if there is one, listens.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Where gRPC is served, if it is.
    pub fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc_address
    }

    /// What the handlers see: models, health, metrics.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Serves until SIGTERM or SIGINT and drains; a second signal stops at once. Tells the service manager that has started the
    /// process, if one has.
    ///
    /// # Errors
    /// Where the model cannot be served, or the signals cannot be heard.
    pub async fn run_until_stopped(self) -> anyhow::Result<()> {
        let manager = ServiceManager::of_environment();
        let watchdog =
            watchdog::interval(|name| std::env::var(name).ok(), std::process::id()).map(|interval| Watchdog {
                interval,
                manager: manager.clone(),
                asked: probe::of_server(self.address, self.admin_address, &self.settings.security, "/livez"),
                health: Arc::clone(&self.shared.health),
            });
        let _watching = BackgroundTasks(
            watchdog
                .map(|watchdog| tokio::spawn(watchdog.run()))
                .into_iter()
                .collect(),
        );
        self.serve(signals::listen()?, manager).await
    }

    /// Serves until `stop` changes.
    ///
    /// # Errors
    /// Where the model cannot be served.
    pub async fn run(self, stop: watch::Receiver<Stop>) -> anyhow::Result<()> {
        self.serve(stop, ServiceManager::none()).await
    }

    async fn serve(self, mut stop: watch::Receiver<Stop>, manager: ServiceManager) -> anyhow::Result<()> {
        let Self {
            settings,
            server,
            admin,
            admin_address,
            grpc,
            grpc_address,
            shared,
            repository,
            address,
        } = self;
        let https = shared.security.tls.is_some();
        // From now on: one that comes while the first models load would end the process.
        let hang_ups = signals::hang_ups()?;
        tracing::info!(%address, https, admin = admin_address.map(tracing::field::display), grpc = grpc_address.map(tracing::field::display), version = env!("CARGO_PKG_VERSION"), "listening");
        memory::log_limits(&settings.limits);
        log::decoder();
        let (close, closing) = watch::channel(false);
        let routers = routers(shared.clone());
        let mut accepting = vec![tokio::spawn(server.accept_until(routers.http, closing.clone()))];
        accepting.extend(grpc.map(|grpc| tokio::spawn(grpc.accept_until(routers.grpc, closing))));
        let _background = BackgroundTasks(vec![
            tokio::spawn(shared.security.clone().follow(settings.security.reload_interval())),
            tokio::spawn(serve_admin(admin, shared.clone())),
        ]);
        let told = tokio::spawn(manager.clone().follow(shared.health.watch()));

        let _watching = BackgroundTasks(models::watch(&repository).into_iter().collect());
        let loaded = tokio::select! {
            loaded = models::load_all(&repository) => loaded,
            () = reached(&mut stop, Stop::Drain) => Ok(()),
        };
        if let Err(error) = loaded {
            shared.health.set(HealthState::Failed(in_words(format!("{error:#}"))));
            linger(&settings, &error, &mut stop).await;
            let _ = told.await;
            return Err(error);
        }
        let _following = BackgroundTasks(models::follow(&repository, &shared.health, hang_ups, manager));
        reached(&mut stop, Stop::Drain).await;

        shared.health.set(HealthState::Draining);
        let delay = settings.server.drain_delay();
        tracing::info!(
            delay_ms = delay.as_millis() as u64,
            "draining: new requests are still taken for a moment; a second signal stops at once"
        );
        tokio::select! {
            () = drain(&settings, &shared, delay, &close, accepting) => tracing::info!("stopped"),
            () = reached(&mut stop, Stop::Now) => tracing::warn!("stopped at once"),
        }
        if let Some(spans) = shared.spans.clone() {
            let _ = tokio::task::spawn_blocking(move || spans.flush()).await;
        }
        let _ = told.await;
        Ok(())
    }
}

/// Serves probes and metrics for a while, so that what monitors the server sees why it ends.
async fn linger(settings: &Settings, error: &anyhow::Error, stop: &mut watch::Receiver<Stop>) {
    let linger = settings.server.failure_linger();
    if !linger.is_zero() {
        tracing::error!(
            error = in_words(format!("{error:#}")),
            "the model cannot be served; probes and metrics are served for a while"
        );
        let _ = tokio::time::timeout(linger, reached(stop, Stop::Drain)).await;
    }
}

/// Tasks that end with the server.
struct BackgroundTasks(Vec<tokio::task::JoinHandle<()>>);

impl Drop for BackgroundTasks {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Metrics and probes on the second listener, to the very end.
async fn serve_admin(server: Option<Server>, shared: Shared) {
    if let Some(server) = server {
        let (_open, never) = watch::channel(false);
        server.accept_until(admin_router(shared), never).await;
    }
}

/// Where spans go, if they go anywhere.
fn tracer(settings: &TraceSettings) -> anyhow::Result<Option<Tracer>> {
    let file = &settings.otlp_certificate_file;
    let trust = if file.as_os_str().is_empty() {
        Trust::System
    } else {
        Trust::Authorities(file.clone())
    };
    let tls = settings
        .is_encrypted()
        .then(|| trust.config("trace.otlp_certificate_file"))
        .transpose();
    let tls = tls.context("the collector of trace.otlp_endpoint cannot be verified (trace.otlp_certificate_file)")?;
    Ok(Tracer::open(settings, tls.map(Arc::unwrap_or_clone))?)
}

/// Limits the connections to the files that the process may have open.
fn limit_connections(settings: &mut Settings) {
    let files = open_files::raise_limit();
    let (wanted, allowed) = (
        settings.server.connections_max,
        open_files::connections_max(settings.server.connections_max, files),
    );
    if allowed < wanted {
        tracing::warn!(
            wanted,
            allowed,
            files,
            "server.connections_max is more than the limit of open files allows; raise that limit (ulimit -n)"
        );
        settings.server.connections_max = allowed;
    }
}

async fn bind_where_set(listen: Option<SocketAddr>) -> anyhow::Result<Option<(TcpListener, SocketAddr)>> {
    match listen {
        Some(listen) => bind(listen).await.map(Some),
        None => Ok(None),
    }
}

async fn bind(listen: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {listen}: {error}{}", bind_remedy(error.kind())))?;
    let address = listener.local_addr().context("the listener has no address")?;
    Ok((listener, address))
}

/// What to do where an address cannot be listened on; empty where that is not known.
fn bind_remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => {
            "; another program listens there (`ss -ltnp` says which): end it, or choose another port with --listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: 0.0.0.0 listens on all that it has, 127.0.0.1 on this machine alone"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE: choose a higher one"
        }
        _ => "",
    }
}

/// The order of shutting down: wait, close the listener, finish what was admitted, end the rest.
async fn drain(
    settings: &Settings,
    shared: &Shared,
    delay: Duration,
    close: &watch::Sender<bool>,
    accepting: Vec<tokio::task::JoinHandle<Draining>>,
) {
    tokio::time::sleep(delay).await;
    let _ = close.send(true);
    let mut connections = Vec::new();
    for listener in accepting {
        connections.extend(listener.await.ok());
    }
    let finished = futures_util::future::join_all(connections.into_iter().map(Draining::finish));
    tokio::pin!(finished);
    if tokio::time::timeout(settings.server.drain_limit(), &mut finished)
        .await
        .is_err()
    {
        tracing::warn!("the drain limit passed; the remaining requests get 503");
        shared.models.all().iter().for_each(|served| served.abort());
        let _ = tokio::time::timeout(LAST_RESPONSES_MAX, finished).await;
    }
}

/// Waits until stopping has come as far as `stage`; for ever where the sender is gone.
async fn reached(stop: &mut watch::Receiver<Stop>, stage: Stop) {
    if stop.wait_for(|now| *now >= stage).await.is_err() {
        std::future::pending::<()>().await;
    }
}
