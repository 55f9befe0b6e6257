//! One GET over HTTP or HTTPS.

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::header::{CONNECTION, HOST};
use hyper::http::Uri;
use hyper::http::uri::Authority;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::trust::Trust;

/// More than the body of any probe has.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The path that is requested where the URL has none.
const PATH: &str = "/readyz";

/// What a server returned.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) status: u16,
    /// Empty where it is too long.
    pub(crate) body: Bytes,
}

/// Requests a URL.
///
/// # Errors
/// Where it is no URL of HTTP, its host cannot be reached or is not to be trusted, or what it returns is no HTTP.
pub(crate) async fn get(url: &str, trust: &Trust) -> anyhow::Result<Returned> {
    let target = Target::of(url)?;
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
    if !target.encrypted {
        return request(stream, &target).await;
    }
    let name = ServerName::try_from(target.host.clone()).context("the host is no name that a certificate can have")?;
    let connector = TlsConnector::from(trust.config("--certificate-file")?);
    let stream = connector
        .connect(name, stream)
        .await
        .with_context(|| format!("no connection over TLS with {trust}"))?;
    request(stream, &target).await
}

async fn request(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    target: &Target,
) -> anyhow::Result<Returned> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // An error of the connection is one of the request too.
    let connection = tokio::spawn(connection);
    let request = Request::get(&target.path)
        .header(HOST, target.authority.as_str())
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await.context("no response of HTTP")?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    connection.abort();
    Ok(Returned {
        status,
        body: body.map_or_else(|_| Bytes::new(), |body| body.to_bytes()),
    })
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    encrypted: bool,
    /// Name or address, an IPv6 one without brackets.
    host: String,
    port: u16,
    authority: Authority,
    path: String,
}

impl Target {
    fn of(url: &str) -> anyhow::Result<Self> {
        let url: Uri = url.parse().context("not a URL")?;
        let (encrypted, port) = match url.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => bail!("only http:// and https:// can be requested"),
        };
        let authority = url.authority().context("the URL has no host")?;
        if authority.as_str().contains('@') {
            bail!("a user in the URL is not sent; leave it out");
        }
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            encrypted,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(port),
            authority: authority.clone(),
            path: if path == "/" { PATH } else { path }.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, encrypted: bool, host: &str, port: u16, path: &str) {
        let target = Target::of(url).unwrap();
        let found = (
            target.encrypted,
            target.host.as_str(),
            target.port,
            target.path.as_str(),
        );
        assert_eq!(found, (encrypted, host, port, path), "{url}");
    }

    #[test]
    fn a_url_has_a_host_a_port_and_a_path() {
        check("http://localhost", false, "localhost", 80, "/readyz");
        check("http://localhost:8080/", false, "localhost", 8080, "/readyz");
        check("https://a.test/livez", true, "a.test", 443, "/livez");
        check("HTTPS://a.test/livez", true, "a.test", 443, "/livez");
        check(
            "https://a.test:8443/v2/health/ready?x=1",
            true,
            "a.test",
            8443,
            "/v2/health/ready?x=1",
        );
        check("http://[::1]:8080/readyz", false, "::1", 8080, "/readyz");
        check("https://127.0.0.1:9/", true, "127.0.0.1", 9, "/readyz");
    }

    #[test]
    fn what_cannot_be_requested_is_refused() {
        let check = |url: &str, message: &str| assert_eq!(Target::of(url).unwrap_err().to_string(), message, "{url}");
        check("ftp://a.test/", "only http:// and https:// can be requested");
        check("a.test/readyz", "not a URL");
        check("/readyz", "only http:// and https:// can be requested");
        check("", "not a URL");
        check(
            "http://me:secret@a.test/",
            "a user in the URL is not sent; leave it out",
        );
    }
}
