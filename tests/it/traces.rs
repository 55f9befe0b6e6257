//! Spans go to a collector over TLS. What they hold is tested with OpenTelemetry's own messages, in `tests/interop`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use repserve::config::Settings;
use repserve::http::Stop;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::images::png;
use crate::support::{Server, settings, until};

/// A collector over TLS, for 127.0.0.1.
struct Collector {
    address: SocketAddr,
    /// Paths and bodies of the requests that came.
    taken: Arc<Mutex<Vec<(String, Bytes)>>>,
    /// Connections that ended before a request, for the client did not trust the certificate.
    refused: Arc<Mutex<usize>>,
    folder: TempDir,
}

impl Collector {
    async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("authority.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap(),
            taken: Arc::default(),
            refused: Arc::default(),
            folder,
        };
        let (taken, refused) = (collector.taken.clone(), collector.refused.clone());
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match acceptor.accept(stream).await {
                    Ok(stream) => drop(tokio::spawn(serve(TokioIo::new(stream), taken.clone()))),
                    Err(_) => *refused.lock().unwrap() += 1,
                }
            }
        });
        collector
    }

    fn settings(&self) -> Settings {
        let mut settings = settings();
        settings.trace.otlp_endpoint = format!("https://{}/", self.address);
        settings.trace.otlp_certificate_file = self.folder.path().join("authority.pem");
        settings
    }
}

async fn serve(
    stream: TokioIo<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>,
    taken: Arc<Mutex<Vec<(String, Bytes)>>>,
) {
    let take = service_fn(|request: Request<Incoming>| {
        let taken = taken.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            taken.lock().unwrap().push((path, body));
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(stream, take)
        .await;
}

/// Classifies an image with a mark in its baggage, and stops the server.
async fn classify_once(settings: Settings) {
    let server = Server::ready(settings).await;
    let request = server
        .post("/classify", png(1))
        .header("baggage", "tenant=mark-of-this-test");
    assert_eq!(request.send().await.unwrap().status(), 200);
    server.say(Stop::Drain);
    server.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_sent_to_a_collector_over_tls() {
    let collector = Collector::start().await;
    classify_once(collector.settings()).await;
    let taken = collector.taken.lock().unwrap().clone();
    assert!(taken.iter().all(|(path, _)| path == "/v1/traces"));
    let mark = b"mark-of-this-test";
    assert!(
        taken
            .iter()
            .any(|(_, body)| body.windows(mark.len()).any(|part| part == mark))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_trusted_gets_nothing() {
    let (collector, other) = (Collector::start().await, Collector::start().await);
    let mut settings = collector.settings();
    settings.trace.otlp_certificate_file = other.folder.path().join("authority.pem");
    classify_once(settings).await;
    until("the collector was refused", || *collector.refused.lock().unwrap() > 0).await;
    assert!(collector.taken.lock().unwrap().is_empty());
}
