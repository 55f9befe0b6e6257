//! A file to write, so that nothing is destroyed: not what it is made from, nothing that was not to be replaced, and no half file is seen.

use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Where a file will be written.
#[derive(Debug)]
pub(super) struct OutFile {
    /// As it was named.
    named: PathBuf,
    /// The file itself, links followed.
    path: PathBuf,
    replace: bool,
}

/// A file cannot be written there.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutFileError {
    /// It is there already.
    #[error("{} exists; --force replaces it", .0.display())]
    Exists(PathBuf),
    /// Something else is there.
    #[error("cannot write {}: it is not a regular file, and is not replaced", .0.display())]
    NotRegular(PathBuf),
    /// What would be replaced is read, or belongs to what is read.
    #[error("{} is the same file as {}, which would be lost; name another file", target.display(), source_file.display())]
    Same {
        /// As it was named.
        target: PathBuf,
        /// What it is.
        source_file: PathBuf,
    },
    /// Its folder is missing.
    #[error("cannot write {}: there is no folder {}; make it first", path.display(), folder_of(path).display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot write {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl OutFile {
    /// Looks at where `named` leads. `sources`, those that exist, are not written whatever they are called; another file that exists only if
    /// `replace`.
    pub(super) fn new(named: &Path, replace: bool, sources: &[PathBuf]) -> Result<Self, OutFileError> {
        let is_link = fs::symlink_metadata(named).is_ok_and(|found| found.is_symlink());
        let found = fs::metadata(named).ok();
        if let Some(found) = &found {
            if let Some(source) = sources.iter().find(|source| is_same(source, found)) {
                return Err(OutFileError::Same {
                    target: named.to_owned(),
                    source_file: source.clone(),
                });
            }
            if !found.is_file() {
                return Err(OutFileError::NotRegular(named.to_owned()));
            }
        }
        if (is_link || found.is_some()) && !replace {
            return Err(OutFileError::Exists(named.to_owned()));
        }
        if found.is_none() {
            fs::metadata(folder_of(named)).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => OutFileError::NoFolder { path: named.to_owned() },
                _ => OutFileError::Io {
                    path: named.to_owned(),
                    error,
                },
            })?;
        }
        let followed = fs::canonicalize(named).ok();
        if is_link && followed.is_none() {
            return Err(OutFileError::NotRegular(named.to_owned()));
        }
        Ok(Self {
            path: followed.unwrap_or_else(|| named.to_owned()),
            named: named.to_owned(),
            replace,
        })
    }

    /// Writes a temporary file beside and renames it.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), OutFileError> {
        let failed = |error| OutFileError::Io {
            path: self.named.clone(),
            error,
        };
        let file = self.beside(bytes).map_err(failed)?;
        if self.replace {
            return file.persist(&self.path).map(drop).map_err(|e| failed(e.error));
        }
        // Refuses also what has come there since `new` looked.
        file.persist_noclobber(&self.path)
            .map(drop)
            .map_err(|e| match e.error.kind() {
                io::ErrorKind::AlreadyExists => OutFileError::Exists(self.named.clone()),
                _ => failed(e.error),
            })
    }

    fn beside(&self, bytes: &[u8]) -> io::Result<NamedTempFile> {
        let mut file = tempfile::Builder::new()
            .prefix(".repserve-")
            .tempfile_in(folder_of(&self.path))?;
        file.write_all(bytes)?;
        readable_as_usual(file.as_file())?;
        file.as_file().sync_all()?;
        Ok(file)
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Whether `source` is the file `found`, by whatever path or hard link.
fn is_same(source: &Path, found: &Metadata) -> bool {
    fs::metadata(source).is_ok_and(|source| (source.dev(), source.ino()) == (found.dev(), found.ino()))
}

/// A temporary file is its owner's alone; the written one gets what the umask leaves, as any other file.
fn readable_as_usual(file: &fs::File) -> io::Result<()> {
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    let mode = 0o666 & !mask.bits();
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with `in`, `other`, links to both and one to nowhere, a hard link of `in`, a pipe and a folder.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["in", "other"] {
            fs::write(at(name), name).unwrap();
        }
        symlink("in", at("link")).unwrap();
        symlink("other", at("link_of_other")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        fs::hard_link(at("in"), at("hard")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(at("pipe"))
                .status()
                .unwrap()
                .success()
        );
        dir
    }

    #[test]
    fn a_source_is_never_written_and_others_only_by_force() {
        let dir = folder();
        let at = |name: &str| dir.path().join(name);
        let outcome = |name: &str, replace: bool| match OutFile::new(&at(name), replace, &[at("missing"), at("in")]) {
            Ok(_) => "written",
            Err(OutFileError::Same { .. }) => "same",
            Err(OutFileError::Exists(_)) => "exists",
            Err(OutFileError::NotRegular(_)) => "not regular",
            Err(OutFileError::NoFolder { .. }) => "no folder",
            Err(OutFileError::Io { .. }) => "io",
        };
        let check = |name: &str, plain: &str, forced: &str| {
            assert_eq!((outcome(name, false), outcome(name, true)), (plain, forced), "{name}");
        };
        check("in", "same", "same");
        check("folder/../in", "same", "same");
        check("link", "same", "same");
        check("hard", "same", "same");
        check("other", "exists", "written");
        check("link_of_other", "exists", "written");
        check("dangling", "exists", "not regular");
        check("folder", "not regular", "not regular");
        check("pipe", "not regular", "not regular");
        check("/dev/null", "not regular", "not regular");
        check("new", "written", "written");
        check("missing_folder/new", "no folder", "no folder");
    }

    #[test]
    fn what_is_written_replaces_the_file_and_not_its_link() {
        let dir = folder();
        let at = |name: &str| dir.path().join(name);
        OutFile::new(&at("link_of_other"), true, &[])
            .unwrap()
            .write(b"new")
            .unwrap();
        assert_eq!(fs::read(at("other")).unwrap(), b"new");
        assert!(fs::symlink_metadata(at("link_of_other")).unwrap().is_symlink());
    }

    #[test]
    fn what_came_meanwhile_stays() {
        let dir = folder();
        let path = dir.path().join("new");
        let target = OutFile::new(&path, false, &[]).unwrap();
        fs::write(&path, "of another").unwrap();
        assert!(matches!(target.write(b"new"), Err(OutFileError::Exists(_))));
        assert_eq!(fs::read(&path).unwrap(), b"of another");
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            9,
            "no temporary file is left"
        );
    }
}
