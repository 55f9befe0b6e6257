//! The only module that knows HTTP: every route on one page ([`router`]), one table of errors ([`error`]), the accept loop
//! ([`server`]) and each connection ([`connection`]). The responses' JSON is in [`wire`]; their contents come from `crate::classify`.
//! The Open Inference Protocol is served as JSON ([`v2`]) and over gRPC ([`grpc`]); both share [`inference`].

mod admission;
mod around;
mod body;
mod body_budget;
mod classify;
mod client;
mod compression;
mod connection;
mod cors;
mod echo;
mod error;
mod form;
mod framing;
mod grpc;
mod health;
mod inference;
mod json_image;
mod keep_alive;
mod listen;
mod lookup;
mod metrics;
mod observe;
mod offload;
mod openapi;
mod pace;
mod packed_response;
mod page;
mod params;
#[doc(hidden)]
pub mod parsers;
mod refusal_log;
mod reserve;
mod response_budget;
mod router;
mod secure;
mod server;
mod settings;
mod timeouts;
mod timing;
mod trace;
mod v2;
mod wire;

pub use client::TrustedNetwork;
pub use health::{Health, HealthState};
pub use router::{Routers, admin_router, router, routers};
pub use secure::{Keys, Security, SecurityError, SecuritySettings, Tls};
pub use server::{Draining, Server, Stop};
pub use settings::{LimitSettings, ServerSettings};

use std::ops::Deref;
use std::sync::Arc;

use crate::classify::Models;
use crate::repository::Repository;
use crate::telemetry::{Metrics, Tracer};

/// What every handler can see. A copy of it is one reference: axum makes several for each request.
#[derive(Debug, Clone)]
pub struct Shared(Arc<SharedParts>);

impl From<SharedParts> for Shared {
    fn from(parts: SharedParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for Shared {
    type Target = SharedParts;

    fn deref(&self) -> &SharedParts {
        &self.0
    }
}

/// What [`Shared`] consists of.
#[derive(Debug)]
pub struct SharedParts {
    /// The served models, by name.
    pub models: Arc<Models>,
    /// Where they come from, and what becomes of them.
    pub repository: Option<Repository>,
    /// Whether the server is ready.
    pub health: Arc<Health>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Timeouts and defaults.
    pub server: Arc<ServerSettings>,
    /// Where spans go, if they go anywhere.
    pub spans: Option<Arc<Tracer>>,
    /// API keys and certificate.
    pub security: Security,
    /// What a request may cost.
    pub limits: Arc<LimitSettings>,
}
