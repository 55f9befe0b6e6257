//! Section `[security]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// Section `[security]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecuritySettings {
    /// File of API keys, one a line; empty: no key is needed.
    pub api_keys_file: PathBuf,
    /// PEM certificate chain; empty: no TLS.
    pub tls_certificate_file: PathBuf,
    /// PEM key of the certificate.
    pub tls_key_file: PathBuf,
    /// How often these files are looked at.
    pub reload_interval_ms: u64,
}

impl Default for SecuritySettings {
    fn default() -> Self {
        Self {
            api_keys_file: PathBuf::new(),
            tls_certificate_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            reload_interval_ms: 10_000,
        }
    }
}

impl SecuritySettings {
    /// Whether connections are encrypted.
    pub fn has_tls(&self) -> bool {
        self.tls_files().is_some()
    }

    /// How often the files are looked at.
    pub fn reload_interval(&self) -> Duration {
        Duration::from_millis(self.reload_interval_ms)
    }

    /// Whether certificate and key are named both or not at all.
    pub fn tls_is_whole(&self) -> bool {
        self.tls_certificate_file.as_os_str().is_empty() == self.tls_key_file.as_os_str().is_empty()
    }

    pub(super) fn keys_file(&self) -> Option<PathBuf> {
        named(&self.api_keys_file)
    }

    pub(super) fn tls_files(&self) -> Option<(PathBuf, PathBuf)> {
        named(&self.tls_certificate_file).zip(named(&self.tls_key_file))
    }
}

fn named(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}
