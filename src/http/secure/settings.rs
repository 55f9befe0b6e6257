//! Section `[security]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use repserve_settings::{rule, settings, time_ms};

settings! {
    /// API keys and TLS.
    #[derive(Eq)]
    pub struct SecuritySettings {
        /// File of API keys, one a line (# begins a comment); behind a key `weight=N` (1 to 1000) gives it N shares of the workers. Requests for
        /// predictions, model metadata and /metrics must then bring one, as `authorization: Bearer KEY` or `x-api-key: KEY`. Empty: none is
        /// needed.
        api_keys_file: PathBuf = PathBuf::new(),
        /// PEM certificate chain; the first address then serves HTTPS only. Empty: HTTP.
        tls_certificate_file: PathBuf = PathBuf::new(),
        /// The key of that certificate, PEM.
        #[allowed(rule("given where security.tls_certificate_file is, and only there", SecuritySettings::tls_is_whole))]
        tls_key_file: PathBuf = PathBuf::new(),
        /// How often these three files are looked at; a change takes effect without a restart.
        #[allowed(time_ms(1))]
        reload_interval_ms: u64 = 10_000,
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
