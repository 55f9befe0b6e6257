//! The section `cache` of the configuration.

use std::path::PathBuf;

use repserve_settings::settings;
use serde::{Deserialize, Serialize};

/// Where entries lie.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub enum CachePath {
    /// In a folder of the program's own below the user's folder for caches.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// In this folder.
    Folder(PathBuf),
}

const AUTO: &str = "auto";

impl From<PathBuf> for CachePath {
    fn from(path: PathBuf) -> Self {
        match path.to_str() {
            Some("") => Self::Off,
            Some(AUTO) => Self::Auto,
            _ => Self::Folder(path),
        }
    }
}

impl From<CachePath> for PathBuf {
    fn from(path: CachePath) -> Self {
        match path {
            CachePath::Off => Self::new(),
            CachePath::Auto => AUTO.into(),
            CachePath::Folder(folder) => folder,
        }
    }
}

impl CachePath {
    /// The folder; `None` where there is to be none, or the user has no folder for caches. `variable` is the environment's.
    pub fn folder(&self, program: &str, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
        // The XDG Base Directory Specification: a relative path there is to be ignored.
        let absolute = |name| variable(name).filter(|path| path.is_absolute());
        match self {
            Self::Off => None,
            Self::Folder(folder) => Some(folder.clone()),
            Self::Auto => absolute("XDG_CACHE_HOME")
                .or_else(|| Some(absolute("HOME")?.join(".cache")))
                .map(|caches| caches.join(program)),
        }
    }
}

settings! {
    /// What a start needs and the next start of the same model would find out again: the fused graph, its verification, kernels that were
    /// chosen and their weights. Without it a start takes several times as long.
    #[derive(Eq)]
    pub struct CacheSettings {
        /// Folder; it may be read-only. auto: `repserve` in $XDG_CACHE_HOME, or in ~/.cache. Empty: no cache.
        path: CachePath = CachePath::Auto,
        /// Mebibytes of all entries together; those that have not been used for the longest are removed.
        #[allowed(1..=1 << 20)]
        size_mib_max: u64 = 2048,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, environment: &[(&str, &str)], expected: Option<&str>) {
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| PathBuf::from(value))
        };
        let folder = CachePath::from(PathBuf::from(path)).folder("p", variable);
        assert_eq!(folder, expected.map(PathBuf::from));
    }

    #[test]
    fn auto_is_the_users_folder_for_caches() {
        check("auto", &[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")], Some("/x/p"));
        check("auto", &[("XDG_CACHE_HOME", "x"), ("HOME", "/h")], Some("/h/.cache/p"));
        check("auto", &[("HOME", "")], None);
        check("", &[("HOME", "/h")], None);
        check("/c", &[("HOME", "/h")], Some("/c"));
    }
}
