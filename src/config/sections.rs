//! All sections, by name.

use repserve_cache::CacheSettings;
use repserve_compile::VerifySettings;
use repserve_preprocess::JpegDecode;
use repserve_quantize::GateSettings;
use repserve_runtime::RuntimeSettings;
use repserve_scheduler::BatchSettings;
use repserve_settings::{Key, Refused, Section, settings};
use serde::{Deserialize, Serialize};

use crate::http::{LimitSettings, SecuritySettings, ServerSettings};
use crate::model::ModelSettings;
use crate::repository::ModelsSettings;
use crate::telemetry::{LogSettings, TraceSettings};

settings! {
    /// How images are decoded.
    #[derive(Eq)]
    pub struct DecodeSettings {
        /// scaled: a JPEG is decoded at the smallest scale that still covers what the model sees, where the decoder can.
        /// exact: every pixel is decoded.
        jpeg: JpegDecode = JpegDecode::Scaled,
    }
}

/// A section as it was declared.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) keys: Vec<Key>,
}

macro_rules! sections {
    ($($name:ident: $section:ty,)+) => {
        /// What is in force. One struct a section.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $(
                #[doc = concat!("The section `[", stringify!($name), "]`.")]
                pub $name: $section,
            )+
        }

        impl Settings {
            /// All sections, in the order of `config/default.toml`.
            pub(super) fn sections() -> Vec<Declared> {
                vec![$(Declared {
                    name: stringify!($name),
                    doc: <$section>::DOC,
                    keys: <$section>::keys(),
                }),+]
            }

            /// Checks every value. An error comes with the name of its section.
            pub(super) fn check(&self) -> Result<(), (&'static str, Refused)> {
                $(self.$name.check().map_err(|refused| (stringify!($name), refused))?;)+
                Ok(())
            }
        }
    };
}

sections! {
    server: ServerSettings,
    limits: LimitSettings,
    security: SecuritySettings,
    model: ModelSettings,
    models: ModelsSettings,
    verify: VerifySettings,
    quantize: GateSettings,
    decode: DecodeSettings,
    batch: BatchSettings,
    runtime: RuntimeSettings,
    cache: CacheSettings,
    trace: TraceSettings,
    log: LogSettings,
}

impl Settings {
    /// What a dotted key takes, in words; `None` where there is no such key.
    pub(super) fn wants(dotted: &str) -> Option<String> {
        let (section, name) = dotted.split_once('.')?;
        let section = Self::sections().into_iter().find(|known| known.name == section)?;
        let key = section.keys.into_iter().find(|key| key.name == name)?;
        Some(key.wants)
    }
}
