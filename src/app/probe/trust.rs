//! Which certificates a server over HTTPS may show.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Which certificates are trusted.
#[derive(Debug)]
pub(crate) enum Trust {
    /// Those that the system's authorities signed for the host.
    System,
    /// Those that one of the PEM file's authorities signed for the host; a self-signed one is its own.
    Authorities(PathBuf),
    /// The first of the PEM file and no other, whatever it is called: the server's own, which is reached at an address that its
    /// certificate need not have.
    Exactly(PathBuf),
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system's certificates"),
            Self::Authorities(file) => write!(f, "the certificates in {}", file.display()),
            Self::Exactly(file) => write!(f, "the certificate in {} and no other", file.display()),
        }
    }
}

impl Trust {
    /// How to connect. `named_by` is the option or setting that names a file of certificates, for the message.
    ///
    /// # Errors
    /// Where there is no certificate to trust.
    pub(crate) fn config(&self, named_by: &str) -> anyhow::Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = match self {
            Self::System => config.with_root_certificates(system(named_by)?),
            Self::Authorities(file) => config.with_root_certificates(authorities(file)?),
            Self::Exactly(file) => {
                let certificate = certificates(file)?.swap_remove(0);
                let own = Own {
                    certificate,
                    algorithms,
                };
                config.dangerous().with_custom_certificate_verifier(Arc::new(own))
            }
        };
        Ok(Arc::new(config.with_no_client_auth()))
    }
}

fn system(named_by: &str) -> anyhow::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found
            .errors
            .first()
            .map_or_else(String::new, |error| format!(" ({error})"));
        bail!("the system has no certificates of authorities{reason}; name a file of them with {named_by}");
    }
    Ok(roots)
}

fn authorities(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .with_context(|| format!("{}: not a certificate of an authority", file.display()))?;
    }
    Ok(roots)
}

/// The certificates of a PEM file, at least one.
fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = std::fs::read(file).with_context(|| file.display().to_string())?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{}: not a PEM certificate", file.display()))?;
    if certificates.is_empty() {
        bail!("{}: it holds no PEM certificate", file.display());
    }
    Ok(certificates)
}

/// Trusts one certificate: it must be shown, and the server must have its key.
#[derive(Debug)]
struct Own {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
