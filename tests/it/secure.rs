//! Keys, the second listener, TLS, headers: who gets in, and how browsers are restricted.

use std::sync::Arc;
use std::time::Duration;

use repserve::app::App;
use repserve::http::Stop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::binary::{repserve, stderr};
use crate::support::images::png;
use crate::support::{Server, client, settings};

const KEY: &str = "a-key-of-this-test";

#[tokio::test(flavor = "multi_thread")]
async fn only_who_brings_a_key_gets_predictions() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), KEY).unwrap();
    let mut settings = settings();
    settings.security.api_keys_file = file.path().to_owned();
    let server = Server::ready(settings).await;

    for path in ["/classify", "/v2/models/repvgg-cifar10/infer", "/v2/repository/index"] {
        let response = server.post(path, png(1)).send().await.unwrap();
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"repserve\"");
        let body: serde_json::Value = response.json().await.unwrap();
        assert_eq!(body["code"], "unauthorized");
    }
    assert_eq!(server.get("/metrics").await.status(), 401);
    let wrong = server
        .post("/classify", png(1))
        .header("x-api-key", "another-key-of-this");
    assert_eq!(wrong.send().await.unwrap().status(), 401);
    for (name, value) in [
        ("x-api-key", KEY.to_owned()),
        ("authorization", format!("Bearer {KEY}")),
    ] {
        let right = server.post("/classify", png(1)).header(name, value);
        assert_eq!(right.send().await.unwrap().status(), 200);
    }
    for path in [
        "/livez",
        "/readyz",
        "/healthz",
        "/v2/health/live",
        "/v2/health/ready",
        "/",
        "/docs",
        "/openapi.json",
    ] {
        assert_eq!(server.get(path).await.status(), 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_probes_on_a_listener_of_their_own() {
    let mut settings = settings();
    settings.server.admin_listen = Some(([127, 0, 0, 1], 0).into());
    let app = App::build(settings).await.unwrap();
    let (public, admin) = (app.local_addr(), app.admin_addr().unwrap());
    let mut health = app.shared().health.watch();
    let (stop, stopped) = watch::channel(Stop::Run);
    let task = tokio::spawn(app.run(stopped));
    health
        .wait_for(|s| *s == repserve::http::HealthState::Ready)
        .await
        .unwrap();

    let client = client();
    let status = async |address: std::net::SocketAddr, path: &str| {
        let response = client.get(format!("http://{address}{path}")).send().await.unwrap();
        response.status().as_u16()
    };
    assert_eq!(status(admin, "/metrics").await, 200);
    assert_eq!(status(public, "/metrics").await, 404);
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(
            (status(public, path).await, status(admin, path).await),
            (200, 200),
            "{path}"
        );
    }
    assert_eq!(status(admin, "/v2").await, 404);
    assert_eq!(status(admin, "/").await, 404);
    stop.send_replace(Stop::Drain);
    task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_to_load_nothing() {
    let server = Server::ready(settings()).await;
    for path in ["/livez", "/metrics", "/nothing", "/openapi.json"] {
        let headers = server.get(path).await.headers().clone();
        assert_eq!(
            headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'",
            "{path}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cache-control"], "no-store");
        assert!(!headers.contains_key("strict-transport-security"));
    }
    for path in ["/", "/docs"] {
        let response = server.get(path).await;
        let headers = response.headers().clone();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-"),
            "{path}: {policy}"
        );
        let again = server
            .client
            .get(server.url(path))
            .header("if-none-match", &headers["etag"]);
        assert_eq!(again.send().await.unwrap().status(), 304, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_continued() {
    let server = Server::ready(settings()).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = server
        .post("/classify", png(1))
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let response = request.send().await.unwrap().headers()["traceparent"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        response.starts_with(&format!("00-{trace}-")) && !response.contains("00f067aa0ba902b7"),
        "{response}"
    );
}

/// The response to a request for `/readyz` over TLS by a client that trusts `certificate`, and the certificate that was shown.
async fn over_tls(address: std::net::SocketAddr, certificate: &str) -> Result<(String, Vec<u8>), std::io::Error> {
    let mut roots = RootCertStore::empty();
    let trusted = tokio_rustls::rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    roots.add(trusted).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("repserve.test").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: repserve.test\r\nconnection: close\r\n\r\n")
        .await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    Ok((response, shown))
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_follows_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let made = || {
        let made = rcgen::generate_simple_self_signed(vec!["repserve.test".to_owned()]).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        made.cert.pem()
    };
    let first = made();
    let mut settings = settings();
    settings.security.tls_certificate_file = folder.path().join("cert.pem");
    settings.security.tls_key_file = folder.path().join("key.pem");
    let server = Server::ready(settings).await;
    let (response, _) = over_tls(server.address, &first).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(
        response.contains("strict-transport-security: max-age=31536000"),
        "{response}"
    );

    let plain = client()
        .get(server.url("/readyz"))
        .timeout(Duration::from_secs(30))
        .send()
        .await;
    assert!(plain.is_err());

    let second = made();
    let tls = server.shared.security.tls.clone().unwrap();
    assert!(tls.refresh().unwrap());
    assert!(over_tls(server.address, &first).await.is_err());
    let (response, _) = over_tls(server.address, &second).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

/// Runs `repserve health`; its exit code and what it says on stderr.
async fn health(args: &[&str]) -> (Option<i32>, String) {
    health_on("", args).await
}

/// The same on a system whose authorities stand in the file `system`.
async fn health_on(system: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut command = repserve(&[&["health"], args].concat());
    command.env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", system);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    (output.status.code(), stderr(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn health_over_https_trusts_whom_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(path(&format!("{name}.pem")), made.cert.pem()).unwrap();
    };
    made("127.0.0.1");
    made("repserve.test");
    for (name, ok_by_url) in [("127.0.0.1", true), ("repserve.test", false)] {
        let mut settings = settings();
        settings.security.tls_certificate_file = path(&format!("{name}.pem")).into();
        settings.security.tls_key_file = path(&format!("{name}.key")).into();
        let server = Server::ready(settings).await;
        let url = format!("https://{}/readyz", server.address);
        let own = path(&format!("{name}.pem"));

        // The certificate's names count where a URL is given, and not where it is the server's own.
        let (code, said) = health(&["--url", &url, "--certificate-file", &own]).await;
        assert_eq!(code == Some(0), ok_by_url, "{name}: {said}");
        let listen = format!("server.listen={}", server.address);
        let configured = async |certificate: &str, key: &str| {
            let certificate = format!("security.tls_certificate_file={certificate}");
            let key = format!("security.tls_key_file={key}");
            health(&["--set", &listen, "--set", &certificate, "--set", &key]).await
        };
        let (code, said) = configured(&own, &path(&format!("{name}.key"))).await;
        assert_eq!(code, Some(0), "{name}: {said}");

        let other = if name == "127.0.0.1" {
            "repserve.test"
        } else {
            "127.0.0.1"
        };
        let (code, said) = configured(&path(&format!("{other}.pem")), &path(&format!("{other}.key"))).await;
        assert_eq!(code, Some(1));
        assert!(said.contains("invalid peer certificate"), "{said}");
        let (code, said) = health(&["--url", &url, "--certificate-file", &path(&format!("{other}.pem"))]).await;
        assert_eq!(code, Some(1));
        assert!(said.contains("invalid peer certificate"), "{said}");
        let (code, said) = health_on(&own, &["--url", &url]).await;
        assert_eq!(code == Some(0), ok_by_url, "{name}: {said}");
        let (code, said) = health(&["--url", &url]).await;
        assert_eq!(code, Some(1));
        assert!(said.contains("name a file of them with --certificate-file"), "{said}");
        let (code, said) = health(&["--url", &url, "--certificate-file", &path("nowhere.pem")]).await;
        assert_eq!(code, Some(1));
        assert!(said.contains("nowhere.pem: No such file or directory"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_gives_up_on_a_server_that_says_nothing() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{address}/readyz");
        let certificate = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.cert.pem()).unwrap();
        let file = file.path().to_str().unwrap();
        let (code, said) = health(&["--url", &url, "--timeout-ms", "50", "--certificate-file", file]).await;
        assert_eq!(code, Some(1));
        assert_eq!(
            said,
            format!("repserve: cannot request {url}: no response within 50 ms\n")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn security_that_cannot_be_had_is_an_error_at_start() {
    let mut settings = settings();
    settings.security.api_keys_file = "/nowhere/keys".into();
    let error = App::build(settings).await.unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "cannot secure the server: /nowhere/keys: No such file or directory (os error 2)"
    );
}
