//! The exporter: OpenTelemetry's batching processor over OTLP by HTTP and protobuf, on a thread of its own.

use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanExporter, SpanLinks, SpanProcessor};
use tokio_rustls::rustls::ClientConfig;

use super::collector::CollectorClient;
use super::spans::{RequestSpan, TraceError, TraceSettings};
use super::throttle::Throttle;

const FLUSH_MAX: Duration = Duration::from_secs(3);
/// Between two lines of the log about a collector that is not there.
const WARNING_PERIOD: Duration = Duration::from_secs(60);

/// Reports in the log, once a minute, that an exporter fails.
#[derive(Debug)]
struct LoggedExporter<E> {
    exporter: E,
    failures: Throttle,
}

impl<E: SpanExporter> SpanExporter for LoggedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let outcome = self.exporter.export(batch).await;
        if let Err(error) = &outcome
            && let Some(batches) = self.failures.count(Instant::now())
        {
            tracing::warn!(%error, batches, "spans were lost: the collector does not take them");
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Turns requests into spans and hands them to the processor.
#[derive(Debug)]
pub(super) struct Exporter {
    settings: TraceSettings,
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl Exporter {
    pub(super) fn open(settings: &TraceSettings, tls: Option<ClientConfig>) -> Result<Self, TraceError> {
        let failed = |reason: String| TraceError::Endpoint {
            endpoint: settings.otlp_endpoint.clone(),
            reason,
        };
        let endpoint = format!("{}/v1/traces", settings.otlp_endpoint.trim_end_matches('/'));
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint)
            .with_http_client(CollectorClient::new(tls, FLUSH_MAX).map_err(failed)?)
            .with_headers(std::collections::HashMap::new())
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let failures = Throttle::new(WARNING_PERIOD);
        let mut processor = BatchSpanProcessor::builder(LoggedExporter { exporter, failures }).build();
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.name", settings.service_name.clone()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        processor.set_resource(&resource);
        Ok(Self {
            settings: settings.clone(),
            processor,
            scope: InstrumentationScope::builder("repserve")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        })
    }

    pub(super) fn record(&self, request: RequestSpan) {
        let trace_state: TraceState = request.trace_state.parse().unwrap_or_default();
        let context = |span_id: u64| {
            let trace_id = TraceId::from(request.trace_id);
            SpanContext::new(
                trace_id,
                span_id.into(),
                TraceFlags::SAMPLED,
                false,
                trace_state.clone(),
            )
        };
        let mut at = request.began;
        for (stage, took) in &request.stages {
            let end = at + *took;
            self.processor.on_end(SpanData {
                span_kind: SpanKind::Internal,
                ..self.span(
                    context(fastrand::u64(1..)),
                    Some(request.span_id),
                    stage.label().into(),
                    at,
                    end,
                )
            });
            at = end;
        }
        let status = if request.code >= 500 {
            Status::error("")
        } else {
            Status::Unset
        };
        let name = format!("{} {}", request.method, request.route).into();
        let end = request.began + request.took;
        self.processor.on_end(SpanData {
            attributes: self.attributes(&request),
            status,
            span_kind: SpanKind::Server,
            parent_span_is_remote: request.parent_id.is_some(),
            ..self.span(context(request.span_id), request.parent_id, name, request.began, end)
        });
    }

    /// The server's own, and the caller's baggage.
    fn attributes(&self, request: &RequestSpan) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new("http.request.method", request.method.clone()),
            KeyValue::new("http.route", request.route.clone()),
            KeyValue::new("http.response.status_code", i64::from(request.code)),
            KeyValue::new("repserve.request_id", request.request_id.clone()),
        ];
        if request.batch_size > 0 {
            attributes.push(KeyValue::new("repserve.batch_size", request.batch_size as i64));
        }
        for (key, value) in &request.baggage {
            let is_own = attributes.iter().any(|own| own.key.as_str() == key);
            if !is_own && self.settings.keeps(key) {
                attributes.push(KeyValue::new(key.clone(), value.clone()));
            }
        }
        attributes
    }

    fn span(
        &self,
        span_context: SpanContext,
        parent_id: Option<u64>,
        name: std::borrow::Cow<'static, str>,
        start_time: SystemTime,
        end_time: SystemTime,
    ) -> SpanData {
        SpanData {
            span_context,
            parent_span_id: parent_id.map_or(SpanId::INVALID, SpanId::from),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name,
            start_time,
            end_time,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }

    pub(super) fn flush(&self) {
        if let Err(error) = self.processor.shutdown_with_timeout(FLUSH_MAX) {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}
