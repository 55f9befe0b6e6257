//! TLS by rustls, with a certificate that may change while the server runs.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::SecurityError;
use super::files::FromFiles;

/// The certificate with its key, and how connections are accepted with it.
#[derive(Debug)]
pub struct Tls {
    current: Arc<Current>,
    http: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
}

/// What a listener's clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Speaks {
    /// HTTP/1.1; without TLS also HTTP/2, where a client begins so.
    Http,
    /// gRPC, over HTTP/2.
    Grpc,
}

#[derive(Debug)]
struct Current(FromFiles<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.get())
    }
}

impl Tls {
    /// Reads the certificate chain and its key, both PEM.
    ///
    /// # Errors
    /// Where a file cannot be read, is not PEM, or the key is not the certificate's.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, SecurityError> {
        let failed = |path: &PathBuf, reason: String| SecurityError {
            path: path.clone(),
            reason,
        };
        let current = Arc::new(Current(FromFiles::open(vec![certificate.clone(), key], read)?));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&certificate, error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        let mut grpc = config.clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        grpc.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            current,
            http: Arc::new(config),
            grpc: Arc::new(grpc),
        })
    }

    /// Reads the files again. Whether they had changed.
    ///
    /// # Errors
    /// As [`Tls::open`]; the certificate in force stays.
    pub fn refresh(&self) -> Result<bool, SecurityError> {
        self.current.0.refresh()
    }

    /// Accepts connections with whatever certificate is in force then.
    pub(in crate::http) fn acceptor(&self, speaks: Speaks) -> TlsAcceptor {
        let config = match speaks {
            Speaks::Http => &self.http,
            Speaks::Grpc => &self.grpc,
        };
        TlsAcceptor::from(Arc::clone(config))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(files: &[Vec<u8>]) -> Result<CertifiedKey, (usize, String)> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&files[0])
        .collect::<Result<_, _>>()
        .map_err(|error| (0, format!("not a PEM certificate: {error}")))?;
    if chain.is_empty() {
        return Err((0, "it holds no PEM certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&files[1]).map_err(|error| (1, format!("not a PEM key: {error}")))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| (1, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &std::path::Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let paths = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&paths.0, made.cert.pem()).unwrap();
        std::fs::write(&paths.1, made.signing_key.serialize_pem()).unwrap();
        paths
    }

    #[test]
    fn a_certificate_follows_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = made(folder.path(), "one.test");
        let tls = Tls::open(certificate.clone(), key.clone()).unwrap();
        let first = tls.current.0.get();
        assert!(!tls.refresh().unwrap());

        made(folder.path(), "two.test");
        assert!(tls.refresh().unwrap());
        assert_ne!(tls.current.0.get().cert, first.cert);

        std::fs::write(&certificate, "no certificate").unwrap();
        let second = tls.current.0.get();
        assert_eq!(
            tls.refresh().unwrap_err().to_string(),
            format!("{}: it holds no PEM certificate", certificate.display())
        );
        assert_eq!(tls.current.0.get().cert, second.cert);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let (certificate, _) = made(folder.path(), "one.test");
        let (_, key) = made(other.path(), "two.test");
        let error = Tls::open(certificate, key.clone()).unwrap_err();
        assert_eq!(error.path, key);
    }
}
