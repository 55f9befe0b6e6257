//! Where the spans of requests go.

use tokio_rustls::rustls::ClientConfig;

#[cfg(feature = "otlp")]
use super::otlp::Exporter;
use super::spans::{RequestSpan, TraceError, TraceSettings};

/// Where spans go.
#[derive(Debug)]
pub struct Tracer {
    sample_ratio: f64,
    #[cfg(feature = "otlp")]
    exporter: Exporter,
}

impl Tracer {
    /// The exporter that the settings name; `None` where they name none. `tls` is how to connect to a collector over TLS. Must be
    /// called within a runtime.
    ///
    /// # Errors
    /// Where the endpoint cannot be used or the feature is not built in.
    pub fn open(settings: &TraceSettings, tls: Option<ClientConfig>) -> Result<Option<Self>, TraceError> {
        if settings.otlp_endpoint.is_empty() {
            return Ok(None);
        }
        #[cfg(not(feature = "otlp"))]
        {
            let _ = tls;
            return Err(TraceError::NotBuilt);
        }
        #[cfg(feature = "otlp")]
        Ok(Some(Self {
            sample_ratio: settings.sample_ratio,
            exporter: Exporter::open(settings, tls)?,
        }))
    }

    /// Whether to export a request whose client does not decide it.
    pub fn sample(&self) -> bool {
        fastrand::f64() < self.sample_ratio
    }

    /// Takes a request's spans; they are sent in the background.
    pub fn record(&self, span: RequestSpan) {
        #[cfg(feature = "otlp")]
        self.exporter.record(span);
        #[cfg(not(feature = "otlp"))]
        drop(span);
    }

    /// Sends what waits. Blocks for a few seconds at most.
    pub fn flush(&self) {
        #[cfg(feature = "otlp")]
        self.exporter.flush();
    }
}
