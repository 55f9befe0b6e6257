//! Where models come from: a repository, or the one model that the settings name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::layout;
use super::scan::{self, Fingerprint, ModelFolder, ScanError, VersionFiles, VersionFolder};
use crate::model::ModelSettings;
use repserve_compile::{Package, PackageError, VersionPolicy};

/// Where models come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder of models.
    Folder {
        /// The folder.
        root: PathBuf,
        /// Which versions are served, unless a model says.
        versions: VersionPolicy,
    },
    /// One model.
    One(ModelSettings),
}

/// What there is to be loaded of a version.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) version: String,
    /// Its files, and what they were like when they were looked at; none for the model that is built in.
    pub(super) files: Option<(VersionFiles, Fingerprint)>,
    what: What,
}

#[derive(Debug)]
enum What {
    Folder(Box<VersionFolder>),
    One(Box<Package>),
}

/// What there is of a model.
#[derive(Debug)]
pub(super) struct FoundModel {
    pub(super) required: bool,
    pub(super) weight: u32,
    pub(super) versions: Vec<Found>,
}

impl Source {
    /// The names of all models.
    ///
    /// # Errors
    /// Where the repository, or the one model's `model.toml`, cannot be read.
    pub fn names(&self) -> Result<BTreeSet<String>, ScanError> {
        match self {
            Self::Folder { root, .. } => scan::names(root),
            Self::One(model) if model.path.is_dir() => Ok([Package::manifest(&model.path)?.name].into()),
            Self::One(model) => Ok([model.open()?.manifest.name].into()),
        }
    }

    /// The folder whose changes matter.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder { root, .. } => Some(root),
            Self::One(model) => Some(model.path.as_path()).filter(|path| !path.as_os_str().is_empty()),
        }
    }

    /// Whether a name can be one of a model at all.
    pub fn may_have(&self, name: &str) -> bool {
        layout::is_model_name(name) || matches!(self, Self::One(_))
    }

    /// What there is of a model.
    pub(super) fn find(&self, name: &str) -> Result<FoundModel, ScanError> {
        match self {
            Self::Folder { root, versions } => {
                let ModelFolder { spec, versions } = scan::model(root, name, versions)?;
                Ok(FoundModel {
                    required: spec.required,
                    weight: spec.weight(),
                    versions: versions.into_iter().map(Found::from).collect(),
                })
            }
            Self::One(settings) => {
                let path = Some(&settings.path).filter(|path| !path.as_os_str().is_empty());
                let files = path.map(|path| {
                    let files = VersionFiles {
                        folder: path.clone(),
                        shared_manifest: None,
                    };
                    let fingerprint = files.fingerprint()?;
                    Ok::<_, ScanError>((files, fingerprint))
                });
                let files = files.transpose();
                let package = settings.open()?;
                if package.manifest.name != name {
                    return Err(ScanError::NoModel { name: name.to_owned() });
                }
                Ok(FoundModel {
                    required: true,
                    weight: package.manifest.repository.weight(),
                    versions: vec![Found {
                        version: package.manifest.version.clone(),
                        files: files?,
                        what: What::One(Box::new(package)),
                    }],
                })
            }
        }
    }
}

impl From<VersionFolder> for Found {
    fn from(found: VersionFolder) -> Self {
        Self {
            version: found.manifest.version.clone(),
            files: Some((found.files.clone(), found.fingerprint)),
            what: What::Folder(Box::new(found)),
        }
    }
}

impl Found {
    /// What its files were like when they were looked at.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        self.files.as_ref().map(|(_, fingerprint)| *fingerprint)
    }

    /// Reads the model's parts.
    pub(super) fn package(self) -> Result<Package, PackageError> {
        match self.what {
            What::Folder(found) => scan::package(&found),
            What::One(package) => Ok(*package),
        }
    }
}
