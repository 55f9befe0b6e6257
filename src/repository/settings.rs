//! The section `[models]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use repserve_compile::VersionPolicy;
use repserve_settings::{settings, text_form, time_ms};

/// Who says when models are loaded and unloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// Nobody: what is there at the start is served; SIGHUP reads it again.
    #[default]
    None,
    /// The repository's folder: changes are followed.
    Watch,
    /// Requests to `/v2/repository/models/{model}/load` and `/unload`.
    Api,
}

settings! {
    /// Several models in one process, loaded, exchanged and unloaded while it serves.
    pub struct ModelsSettings {
        /// Folder of models: each folder in it with a model.toml is a model, or holds its versions in folders with numbers for names
        /// (NAME/1, NAME/2). A folder that has a model.toml itself is one model. Empty: the one model that [model] names.
        path: PathBuf = PathBuf::new(),
        /// The model that `/classify` uses without `?model=`; empty: the only one, where there is but one.
        default: String = String::new(),
        /// Which versions of a model are served, unless `versions` in the table [repository] of its model.toml says: latest, all, or numbers
        /// ("1,3").
        #[allowed(text_form("latest, all, or version numbers, such as \"1,3\""))]
        versions: VersionPolicy = VersionPolicy::Latest,
        /// Models without which the server is not ready (`/readyz`), besides those with `required = true` in the table [repository] of their
        /// model.toml; "*" stands for all.
        required: Vec<String> = Vec::new(),
        /// none: what is there at the start is served. watch: changes in the folder are followed. api: models are loaded and unloaded by
        /// requests to /v2/repository/models/NAME/load and /unload. SIGHUP reads the folder again in any case.
        control: Control = Control::None,
        /// How long nothing may have changed in the folder before a change is followed.
        #[allowed(time_ms(1))]
        settle_ms: u64 = 500,
        /// Share of a model's live requests that a new version of it computes as well before it takes over, 0 to 1; how often both find the same
        /// best class is logged and in the metrics. 0: none.
        #[allowed(0.0..=1.0)]
        shadow: f64 = 0.0,
        /// How many of them before it takes over.
        #[allowed(1..)]
        shadow_requests: usize = 100,
        /// How long that may take; it then takes over without more of them.
        #[allowed(time_ms(1))]
        shadow_ms_max: u64 = 30_000,
    }
}

impl ModelsSettings {
    /// Whether there is a repository.
    pub fn is_repository(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    /// Whether the settings require a model.
    pub fn requires(&self, name: &str) -> bool {
        self.required.iter().any(|required| required == name || required == "*")
    }

    /// How long nothing may have changed before a change is followed.
    pub fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }

    /// How long live requests are computed twice at most.
    pub fn shadow_time_max(&self) -> Duration {
        Duration::from_millis(self.shadow_ms_max)
    }
}
