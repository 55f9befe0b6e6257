//! How spans are sent: over HTTP or HTTPS, on the server's runtime.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Sends from any thread: the exporter's own has no runtime, which the connections need.
#[derive(Debug)]
pub(super) struct CollectorClient {
    client: Arc<HyperClient<HttpsConnector<HttpConnector>>>,
    runtime: Handle,
}

impl CollectorClient {
    /// A client that gives up a request after `timeout`. Without `tls` no collector over TLS is trusted. Must be called within a runtime.
    ///
    /// # Errors
    /// Where there is no cipher for TLS.
    pub(super) fn new(tls: Option<ClientConfig>, timeout: Duration) -> Result<Self, String> {
        let tls = tls.map_or_else(trusting_none, Ok)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            client: Arc::new(HyperClient::new(connector, timeout, None)),
            runtime: Handle::current(),
        })
    }
}

#[async_trait::async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = Arc::clone(&self.client);
        self.runtime
            .spawn(async move { client.send_bytes(request).await })
            .await?
    }
}

fn trusting_none() -> Result<ClientConfig, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}
