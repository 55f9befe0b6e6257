//! Reads a repository: which models and versions there are, and whether their files have changed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::layout::{self, MissingVersion};
use repserve_cache::Store;
use repserve_compile::{MANIFEST_FILE, Manifest, Package, PackageError, RepositorySpec, VersionPolicy};
use repserve_files::{self as files, FileError};

/// Models that one folder may hold, and files that one version may have.
const MODELS_MAX: usize = 1000;
const FILES_MAX: usize = 10_000;
/// Folders below a version's that are looked into.
const DEPTH_MAX: usize = 4;
/// Bytes of a `model.toml` at most.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Tells whether files have changed: a digest of their names, sizes, places and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A model as it was found.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// How it is served beside others.
    pub spec: RepositorySpec,
    /// The versions that are to be served, ascending.
    pub versions: Vec<VersionFolder>,
}

/// What a version is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFiles {
    /// Its folder, or its only file; links followed.
    pub folder: PathBuf,
    /// The `model.toml` of the model's folder, where versions lie in that; it need not be there.
    pub shared_manifest: Option<PathBuf>,
}

/// A version of a model as it was found.
#[derive(Debug, Clone)]
pub struct VersionFolder {
    /// Where it lies.
    pub files: VersionFiles,
    /// What its `model.toml` says, with the name and the version under which it is served.
    pub manifest: Manifest,
    /// Of its files, when they were looked at.
    pub fingerprint: Fingerprint,
}

/// Why a repository or a model's folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The repository is not there, or must not be read.
    #[error("cannot read the folder of models {}: {error}", path.display())]
    Repository {
        /// The folder.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// More models than one process serves.
    #[error("{} holds more than {MODELS_MAX} models", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// There is no folder of this name, or none of a model.
    #[error(
        "there is no model {name:?} in the folder of models: a model is a folder with a model.toml, or with folders of versions (1, 2, ...)"
    )]
    NoModel {
        /// What was looked for.
        name: String,
    },
    /// A version that is to be served is not there.
    #[error(transparent)]
    Version(#[from] MissingVersion),
    /// A `model.toml` is missing or wrong.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The table `[repository]` of a `model.toml` is wrong.
    #[error("{}: {reason}", path.display())]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Its files cannot be looked at.
    #[error("cannot read {}: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It has more files than a model has.
    #[error("{} holds more than {FILES_MAX} files", path.display())]
    TooManyFiles {
        /// The folder.
        path: PathBuf,
    },
}

/// The names of the models in a repository.
///
/// # Errors
/// Where the folder cannot be read, or holds too many.
pub(super) fn names(root: &Path) -> Result<BTreeSet<String>, ScanError> {
    if root.join(MANIFEST_FILE).is_file() && versions(root).is_empty() {
        return Ok([Package::manifest(root)?.name].into());
    }
    let failed = |error| ScanError::Repository {
        path: root.to_owned(),
        error,
    };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let Ok(name) = entry.map_err(failed)?.file_name().into_string() else {
            continue;
        };
        let folder = root.join(&name);
        let is_model = folder.join(MANIFEST_FILE).exists() || !versions(&folder).is_empty();
        if !folder.is_dir() || !is_model {
            continue;
        }
        if !layout::is_model_name(&name) {
            if !name.starts_with('.') {
                tracing::warn!(
                    folder = name,
                    "not a model's name: letters, digits, `-`, `_` and `.` are possible"
                );
            }
            continue;
        }
        names.insert(name);
        if names.len() > MODELS_MAX {
            return Err(ScanError::TooMany { path: root.to_owned() });
        }
    }
    Ok(names)
}

/// Reads what there is of one model: no path, a name that [`layout::is_model_name`] takes.
///
/// # Errors
/// Where it is not there, or something about it is wrong.
pub(super) fn model(root: &Path, name: &str, default: &VersionPolicy) -> Result<ModelFolder, ScanError> {
    let missing = || ScanError::NoModel { name: name.to_owned() };
    if root.join(MANIFEST_FILE).is_file() && versions(root).is_empty() {
        let found = flat(root, None)?;
        let is_it = found.versions.iter().all(|version| version.manifest.name == name);
        return if is_it { Ok(found) } else { Err(missing()) };
    }
    if !layout::is_model_name(name) {
        return Err(missing());
    }
    let folder = root.join(name);
    let folder = fs::canonicalize(&folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(),
        _ => ScanError::Folder { path: folder, error },
    })?;
    let found = versions(&folder);
    if found.is_empty() {
        if !folder.join(MANIFEST_FILE).exists() {
            return Err(missing());
        }
        return flat(&folder, Some(name));
    }
    let spec = spec(&folder, &found)?;
    let served = layout::served_versions(spec.versions.as_ref(), default, &found)?;
    let each = |number: u64| {
        let read = || version_manifest(&folder, number);
        version(
            &folder.join(number.to_string()),
            Some(folder.join(MANIFEST_FILE)),
            Some(name),
            Some(number.to_string()),
            read,
        )
    };
    Ok(ModelFolder {
        versions: served.into_iter().map(each).collect::<Result<_, _>>()?,
        spec,
    })
}

/// A model whose folder has no versions: it has the one of its `model.toml`.
fn flat(folder: &Path, name: Option<&str>) -> Result<ModelFolder, ScanError> {
    let found = version(folder, None, name, None, || Ok(Package::manifest(folder)?))?;
    Ok(ModelFolder {
        spec: found.manifest.repository.clone(),
        versions: vec![found],
    })
}

/// Looks at a version's files, and then reads its `model.toml`: what changes between the two is noticed later, not taken for known.
/// Name and version are those of the `model.toml` where none are given.
fn version(
    folder: &Path,
    shared_manifest: Option<PathBuf>,
    name: Option<&str>,
    version: Option<String>,
    read_manifest: impl FnOnce() -> Result<Manifest, ScanError>,
) -> Result<VersionFolder, ScanError> {
    let folder = fs::canonicalize(folder).map_err(|error| ScanError::Folder {
        path: folder.to_owned(),
        error,
    })?;
    let files = VersionFiles {
        folder,
        shared_manifest,
    };
    let fingerprint = files.fingerprint()?;
    let manifest = read_manifest()?;
    Ok(VersionFolder {
        fingerprint,
        files,
        manifest: Manifest {
            name: name.map_or_else(|| manifest.name.clone(), str::to_owned),
            version: version.unwrap_or_else(|| manifest.version.clone()),
            ..manifest
        },
    })
}

/// A version's `model.toml`; where it has none, that of the model's folder.
fn version_manifest(folder: &Path, number: u64) -> Result<Manifest, ScanError> {
    let own = folder.join(number.to_string());
    let shared = !own.join(MANIFEST_FILE).exists() && folder.join(MANIFEST_FILE).exists();
    Ok(Package::manifest(if shared { folder } else { &own })?)
}

/// How a model with versions is served: as its own `model.toml` says, which may hold nothing else, or that of its newest version.
fn spec(folder: &Path, versions: &BTreeSet<u64>) -> Result<RepositorySpec, ScanError> {
    let newest = versions.last().map(|newest| folder.join(newest.to_string()));
    for folder in [Some(folder.to_owned()), newest].into_iter().flatten() {
        let path = folder.join(MANIFEST_FILE);
        let wrong = |reason: String| ScanError::Spec {
            path: path.clone(),
            reason,
        };
        match files::read_text(&path, MANIFEST_BYTES_MAX) {
            // The rest of it is read where it is needed.
            Ok(text) => return Manifest::repository_of(&text).map_err(|error| wrong(error.to_string())),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    Ok(RepositorySpec::default())
}

/// The versions in a model's folder.
fn versions(folder: &Path) -> BTreeSet<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| {
        let number = layout::version_number(entry.file_name().to_str()?)?;
        entry.path().is_dir().then_some(number)
    };
    entries.filter_map(number).collect()
}

impl VersionFiles {
    /// Looks at all of them.
    ///
    /// # Errors
    /// Where the folder cannot be read, or has too many.
    pub(super) fn fingerprint(&self) -> Result<Fingerprint, ScanError> {
        let path = || self.folder.clone();
        let mut found: Vec<PathBuf> = self.shared_manifest.iter().cloned().collect();
        if self.folder.is_dir() {
            list(&self.folder, DEPTH_MAX, &mut found).map_err(|error| ScanError::Folder { path: path(), error })?;
        } else {
            found.push(path());
        }
        if found.len() > FILES_MAX {
            return Err(ScanError::TooManyFiles { path: path() });
        }
        found.sort();
        Ok(Fingerprint::of(&found))
    }
}

impl Fingerprint {
    fn of(files: &[PathBuf]) -> Self {
        let mut digest = Sha256::new();
        for file in files {
            digest.update(file.as_os_str().as_encoded_bytes());
            // A link that leads nowhere belongs to the picture as well.
            if let Ok(metadata) = fs::metadata(file) {
                let of_file = [metadata.dev(), metadata.ino(), metadata.size()];
                of_file.iter().for_each(|number| digest.update(number.to_le_bytes()));
                let times = [
                    metadata.mtime(),
                    metadata.mtime_nsec(),
                    metadata.ctime(),
                    metadata.ctime_nsec(),
                ];
                times.iter().for_each(|number| digest.update(number.to_le_bytes()));
            }
        }
        Self(digest.finalize().into())
    }
}

/// The files in a folder and those in it, but for those of caches.
fn list(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if found.len() > FILES_MAX {
            return Ok(());
        }
        let is_folder = path.is_dir();
        if is_folder && Store::is_tagged(&path) {
            continue;
        }
        if depth > 0 && is_folder {
            list(&path, depth - 1, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Reads the parts of a version.
///
/// # Errors
/// A part that is missing or wrong.
pub(super) fn package(version: &VersionFolder) -> Result<Package, PackageError> {
    Package::open_as(&version.files.folder, version.manifest.clone())
}

impl ScanError {
    /// Whether the model, and not something about it, is missing.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::NoModel { .. } => true,
            Self::Repository { error, .. } => error.kind() == io::ErrorKind::NotFound,
            Self::Package(PackageError::Read { error, .. }) => FileError::is_missing(error),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = include_str!("../../models/repvgg-cifar10/model.toml");

    fn write(folder: &Path, text: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(MANIFEST_FILE), text).unwrap();
    }

    fn found(root: &Path, name: &str) -> Result<Vec<(String, String)>, String> {
        let model = model(root, name, &VersionPolicy::Latest).map_err(|error| error.to_string())?;
        let each = |version: VersionFolder| (version.manifest.name, version.manifest.version);
        Ok(model.versions.into_iter().map(each).collect())
    }

    fn pair(name: &str, version: &str) -> (String, String) {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn folders_with_a_manifest_or_versions_are_models_by_their_names() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(&root.join("flat"), MANIFEST);
        write(&root.join("many/1"), MANIFEST);
        write(&root.join("many/10"), MANIFEST);
        write(&root.join("many/9"), MANIFEST);
        write(&root.join("shared"), MANIFEST);
        fs::create_dir_all(root.join("shared/3")).unwrap();
        fs::create_dir_all(root.join("no-model/files")).unwrap();
        write(&root.join(".hidden"), MANIFEST);
        write(&root.join("..data"), MANIFEST);
        fs::write(root.join("README"), "").unwrap();
        std::os::unix::fs::symlink("flat", root.join("link")).unwrap();
        let all = names(root).unwrap();
        assert_eq!(all.into_iter().collect::<Vec<_>>(), ["flat", "link", "many", "shared"]);
        assert_eq!(found(root, "flat"), Ok(vec![pair("flat", "1")]));
        assert_eq!(found(root, "link"), Ok(vec![pair("link", "1")]));
        assert_eq!(found(root, "many"), Ok(vec![pair("many", "10")]));
        assert_eq!(found(root, "shared"), Ok(vec![pair("shared", "3")]));
        for name in ["none", "no-model", "../flat", "..", "", "many/1"] {
            assert!(
                found(root, name).unwrap_err().starts_with("there is no model"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_model_says_which_versions_it_has() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(
            &root.join("m"),
            "[repository]\nversions = \"all\"\nrequired = true\nweight = 2",
        );
        write(&root.join("m/1"), MANIFEST);
        write(&root.join("m/2"), MANIFEST);
        assert_eq!(found(root, "m"), Ok(vec![pair("m", "1"), pair("m", "2")]));
        let spec = model(root, "m", &VersionPolicy::Latest).unwrap().spec;
        assert!(spec.required && spec.weight() == 2);
        write(&root.join("m"), "[repository]\nversions = [1, 3]");
        assert_eq!(found(root, "m").unwrap_err(), "there is no version 3; there are: 1, 2");
        let file = root.join("m").join(MANIFEST_FILE);
        let refused = |text: &str, reason: &str| {
            write(&root.join("m"), text);
            assert_eq!(found(root, "m").unwrap_err(), format!("{}: {reason}", file.display()));
        };
        refused(
            "[repository]\nrequired = 1",
            "line 2: `repository.required` wants true or false, found 1",
        );
        refused(
            "\n[repository]\nversions = \"newest\"",
            "line 3: `repository.versions` wants `latest`, `all`, or an array of version numbers, such as [1, 3], found \"newest\"",
        );
        refused(
            "[[repository]]\nrequired = true",
            "line 1: `repository` wants a table ([repository], and its keys below), found [[repository]]",
        );
        refused(
            "[repositry]\nrequired = true",
            "line 1: unknown field `repositry`, expected one of `name`, `version`, `file`, `labels`, `precision`, `input`, `output`, `repository`",
        );
    }

    #[test]
    fn a_folder_that_is_a_model_is_a_repository_of_one() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), MANIFEST);
        assert_eq!(names(root.path()).unwrap().len(), 1);
        assert_eq!(
            found(root.path(), "repvgg-cifar10"),
            Ok(vec![pair("repvgg-cifar10", "1")])
        );
        assert!(found(root.path(), "another").is_err());
    }

    fn fingerprint_of(folder: &Path) -> Result<Fingerprint, ScanError> {
        let files = VersionFiles {
            folder: fs::canonicalize(folder).unwrap(),
            shared_manifest: None,
        };
        files.fingerprint()
    }

    #[test]
    fn what_versions_share_belongs_to_each() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("m");
        fs::create_dir_all(folder.join("1")).unwrap();
        let looked_at = || {
            model(root.path(), "m", &VersionPolicy::Latest)
                .unwrap()
                .versions
                .remove(0)
        };
        write(&folder, MANIFEST);
        let before = looked_at();
        assert_eq!(looked_at().fingerprint, before.fingerprint);
        write(&folder, &format!("{MANIFEST}\n"));
        assert_ne!(looked_at().fingerprint, before.fingerprint);
        assert_ne!(before.files.fingerprint().unwrap(), before.fingerprint);
        // A version's own takes its place; how the model is served beside others is said in the shared one nevertheless.
        write(&folder.join("1"), MANIFEST);
        let own = looked_at();
        write(&folder, "[repository]\nweight = 2");
        assert_ne!(looked_at().fingerprint, own.fingerprint);
    }

    #[test]
    fn what_changes_in_a_folder_shows() {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("1"), MANIFEST);
        let before = fingerprint_of(root.path()).unwrap();
        assert_eq!(fingerprint_of(root.path()).unwrap(), before);
        fs::write(root.path().join("1/labels.txt"), "a").unwrap();
        let after = fingerprint_of(root.path()).unwrap();
        assert_ne!(after, before);
        fs::write(root.path().join("1/labels.txt"), "ab").unwrap();
        assert_ne!(fingerprint_of(root.path()).unwrap(), after);
    }

    #[test]
    fn a_cache_in_a_folder_belongs_to_no_model() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), MANIFEST);
        let before = fingerprint_of(root.path()).unwrap();
        let store = Store::new(root.path().join("cache"), 1 << 20);
        store.write("graph", &repserve_cache::Key::of(&[]), &[]).unwrap();
        assert!(Store::is_at(&root.path().join("cache")));
        assert_eq!(fingerprint_of(root.path()).unwrap(), before);
    }

    #[test]
    fn what_changes_while_it_is_read_shows() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), MANIFEST);
        let replaced_as_it_is_read = || {
            let manifest = Package::manifest(root.path())?;
            write(root.path(), &format!("{MANIFEST}\n"));
            Ok(manifest)
        };
        let found = version(root.path(), None, None, None, replaced_as_it_is_read).unwrap();
        assert_ne!(found.fingerprint, fingerprint_of(root.path()).unwrap());
    }

    #[test]
    fn a_repository_that_is_not_there_says_so() {
        let error = names(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.is_missing());
        assert_eq!(
            error.to_string(),
            "cannot read the folder of models /nowhere/at/all: No such file or directory (os error 2)"
        );
    }
}
