//! What keeps strangers out: API keys ([`auth`]), TLS ([`tls`]), response headers ([`headers`]). Keys and certificates come
//! from files that may change while the server runs ([`files`]).

pub(super) mod auth;
mod files;
pub(super) mod headers;
mod settings;
mod tls;

pub use auth::Keys;
pub(super) use auth::Known;
pub use settings::SecuritySettings;
pub(super) use tls::Speaks;
pub use tls::Tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A key or certificate file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct SecurityError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Keys and certificates, as far as the settings name them.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// The keys, one of which a request for a prediction must bring.
    pub keys: Option<Arc<Keys>>,
    /// The server's certificate.
    pub tls: Option<Arc<Tls>>,
}

impl Security {
    /// Reads the files.
    ///
    /// # Errors
    /// Where a file cannot be read or used.
    pub fn open(settings: &SecuritySettings) -> Result<Self, SecurityError> {
        let keys = settings
            .keys_file()
            .map(|file| Keys::open(file).map(Arc::new))
            .transpose()?;
        let tls = settings
            .tls_files()
            .map(|(certificate, key)| Tls::open(certificate, key).map(Arc::new))
            .transpose()?;
        Ok(Self { keys, tls })
    }

    /// Reads the files again, over and over. What cannot be used is reported and leaves in force what was.
    pub async fn follow(self, every: Duration) {
        if self.keys.is_none() && self.tls.is_none() {
            return;
        }
        loop {
            tokio::time::sleep(every).await;
            report("API keys", self.keys.as_ref().map(|keys| keys.refresh()));
            report("certificate", self.tls.as_ref().map(|tls| tls.refresh()));
        }
    }
}

fn report(what: &str, outcome: Option<Result<bool, SecurityError>>) {
    match outcome {
        Some(Ok(true)) => tracing::info!(what, "read again"),
        Some(Err(error)) => tracing::warn!(what, %error, "cannot be read again; what was read before stays"),
        Some(Ok(false)) | None => {}
    }
}
