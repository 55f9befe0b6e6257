//! A server for one test, and what tests send to it.

pub mod binary;
pub mod cgroup;
pub mod classifiers;
pub mod costly;
pub mod http2;
pub mod images;
pub mod models;
pub mod process;
pub mod tar;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use repserve::app::App;
use repserve::classify::Served;
use repserve::config::Settings;
use repserve::http::{HealthState, Shared, Stop};
use repserve_cache::CachePath;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A server in this process.
pub struct Server {
    pub address: SocketAddr,
    /// Where gRPC is served, if it is.
    pub grpc: Option<SocketAddr>,
    /// The second listener, where there is one.
    pub admin: Option<SocketAddr>,
    pub shared: Shared,
    pub client: Client,
    stop: watch::Sender<Stop>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// The defaults, on a free port, without the wait before the listener closes and without a start-up cache, and measuring batches but briefly.
pub fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    settings.server.drain_delay_ms = 0;
    settings.runtime.measure_ms_max = 50;
    settings.cache.path = CachePath::Off;
    settings
}

/// A client that knows no proxy and keeps its connections.
pub fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

impl Server {
    /// A server that is ready.
    pub async fn ready(settings: Settings) -> Self {
        let server = Self::loading(settings).await;
        let mut health = server.shared.health.watch();
        let state = health
            .wait_for(|s| !matches!(s, HealthState::Loading(_)))
            .await
            .unwrap()
            .clone();
        assert_eq!(state, HealthState::Ready);
        server
    }

    /// A server that has begun to load.
    pub async fn loading(settings: Settings) -> Self {
        let app = App::build(settings).await.unwrap();
        let (stop, stopped) = watch::channel(Stop::Run);
        Self {
            address: app.local_addr(),
            grpc: app.grpc_addr(),
            admin: app.admin_addr(),
            shared: app.shared().clone(),
            client: client(),
            stop,
            task: tokio::spawn(app.run(stopped)),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn post(&self, path: &str, image: Vec<u8>) -> RequestBuilder {
        self.client
            .post(self.url(path))
            .header("content-type", "application/octet-stream")
            .body(image)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    /// The response to one image.
    pub async fn classify(&self, image: Vec<u8>) -> Value {
        let response = self.post("/classify?top_k=10", image).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// The model that serves `/classify`.
    pub fn served(&self) -> Arc<Served> {
        self.shared.models.primary().unwrap()
    }

    pub fn say(&self, stop: Stop) {
        self.stop.send_replace(stop);
    }

    /// How the server ended.
    pub async fn ended(self) -> anyhow::Result<()> {
        self.task.await.unwrap()
    }
}

/// The probabilities of all ten classes, by index.
pub fn probabilities(prediction: &Value) -> Vec<f64> {
    let mut by_index = vec![f64::NAN; 10];
    for class in prediction["classes"].as_array().unwrap() {
        by_index[class["index"].as_u64().unwrap() as usize] = class["probability"].as_f64().unwrap();
    }
    by_index
}

/// A folder of this checkout.
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Data beside the checkout for the extended checks; `None` where it is not there.
pub fn beside(path: &str) -> Option<PathBuf> {
    let path = checkout("../shared").join(path);
    path.exists().then_some(path)
}

/// Waits until something holds, without saying how long that takes.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < limit, "waited a minute until {what}");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}
