//! Reading files of which others may decide what they are: only regular ones, up to a size, and the parts of a folder from within it.
//!
//! ```
//! use std::path::Path;
//!
//! use repserve_files::{FileError, read_text, within};
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("labels.txt"), "cat")?;
//!
//! let labels = within(folder.path(), Path::new("labels.txt"))?;
//! assert_eq!(read_text(&labels, 1024)?, "cat");
//! assert!(matches!(read_text(&labels, 2), Err(FileError::TooLarge { bytes_max: 2 })));
//! assert!(matches!(within(folder.path(), Path::new("../secret")), Err(FileError::Outside)));
//! # Ok::<(), FileError>(())
//! ```

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A folder, a pipe, a socket or a device.
    #[error("it is not a regular file")]
    NotRegular,
    /// More bytes than are read of such a file.
    #[error("it has more than {bytes_max} bytes, the most that is read of such a file")]
    TooLarge {
        /// Bytes at most.
        bytes_max: u64,
    },
    /// By its name or through a link.
    #[error("it lies outside of its folder, by its name or through a link")]
    Outside,
    /// Not a text.
    #[error("it is not UTF-8")]
    NotUtf8,
}

/// A message without the numbers of the system's errors, such as ` (os error 2)`: the words before them say the same.
///
/// ```
/// let error = std::io::Error::from_raw_os_error(2);
/// assert_eq!(error.to_string(), "No such file or directory (os error 2)");
/// assert_eq!(repserve_files::in_words(&error), "No such file or directory");
/// ```
pub fn in_words(message: impl Display) -> String {
    const START: &str = " (os error ";
    let message = message.to_string();
    let mut parts = message.split(START);
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        match rest.strip_prefix(')') {
            Some(rest) if rest.len() + 1 < part.len() => words.push_str(rest),
            _ => words.extend([START, part]),
        }
    }
    words
}

impl FileError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Opens a regular file for reading. Never waits, as opening a pipe would.
///
/// # Errors
/// Where it is none, or cannot be opened.
pub fn open(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    let file = options.open(path).map_err(|error| match fs::metadata(path) {
        // Sockets and some devices cannot be opened at all.
        Ok(found) if !found.is_file() => FileError::NotRegular,
        _ => FileError::Io(error),
    })?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(FileError::NotRegular)
    }
}

/// Reads a regular file of at most `bytes_max` bytes.
///
/// # Errors
/// Where it is none, larger, or cannot be read.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    if file.metadata()?.len() > bytes_max {
        return Err(FileError::TooLarge { bytes_max });
    }
    // It may grow meanwhile; files of the kernel say that they are empty.
    let content = start_of(&file, bytes_max.saturating_add(1))?;
    if content.len() as u64 > bytes_max {
        return Err(FileError::TooLarge { bytes_max });
    }
    Ok(content)
}

/// Reads the first `bytes` bytes of a regular file, or all of it where it is shorter.
///
/// # Errors
/// Where it is none, or cannot be read.
pub fn read_start(path: &Path, bytes: u64) -> Result<Vec<u8>, FileError> {
    start_of(&open(path)?, bytes)
}

fn start_of(file: &File, bytes: u64) -> Result<Vec<u8>, FileError> {
    let expected = file.metadata()?.len().min(bytes);
    let mut content = Vec::new();
    // As much as is there, at once; refused, where memory does not suffice, instead of ending the process.
    content
        .try_reserve_exact(usize::try_from(expected).unwrap_or(usize::MAX))
        .map_err(io::Error::from)?;
    file.take(bytes).read_to_end(&mut content)?;
    Ok(content)
}

/// Reads a text of at most `bytes_max` bytes.
///
/// # Errors
/// As [`read`]; where it is not UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, FileError> {
    String::from_utf8(read(path, bytes_max)?).map_err(|_| FileError::NotUtf8)
}

/// Where the part `name` of `folder` really lies, links followed: in the folder or below it. The folder itself may be a link.
///
/// Hugging Face's cache keeps a model in `NAME/snapshots/REVISION/`, as links to `NAME/blobs/`: what lies there belongs to the folder too.
///
/// # Errors
/// Where it lies elsewhere, or does not exist.
pub fn within(folder: &Path, name: &Path) -> Result<PathBuf, FileError> {
    let stays = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !name.components().all(stays) {
        return Err(FileError::Outside);
    }
    let here = folder.as_os_str().is_empty();
    let folder = fs::canonicalize(if here { Path::new(".") } else { folder })?;
    let file = fs::canonicalize(folder.join(name))?;
    if file.starts_with(&folder) || blobs(&folder).is_some_and(|blobs| file.parent() == Some(&*blobs)) {
        Ok(file)
    } else {
        Err(FileError::Outside)
    }
}

/// The folder of the files of a snapshot in Hugging Face's cache.
fn blobs(folder: &Path) -> Option<PathBuf> {
    let is_snapshots = |folder: &&Path| folder.file_name().is_some_and(|name| name == "snapshots");
    Some(folder.ancestors().find(is_snapshots)?.parent()?.join("blobs"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn shown<T>(result: Result<T, FileError>) -> String {
        result.map_or_else(|error| error.to_string(), |_| "read".to_owned())
    }

    #[test]
    fn messages_say_in_words_what_failed() {
        let check = |message: &str, expected: &str| assert_eq!(in_words(message), expected);
        check("a: No such file (os error 2)", "a: No such file");
        check("in use (os error 98); end it", "in use; end it");
        check("a (os error 2): b (os error 13)", "a: b");
        for kept in [
            "",
            "done",
            "x (os error )",
            "x (os error two)",
            "x (os error 2",
            "(os error 2)",
        ] {
            check(kept, kept);
        }
    }

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(at("pipe"))
                .status()
                .unwrap()
                .success()
        );
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        for (name, expected) in [
            ("file", "read"),
            ("link", "read"),
            ("pipe", "it is not a regular file"),
            ("socket", "it is not a regular file"),
            ("folder", "it is not a regular file"),
            ("/dev/zero", "it is not a regular file"),
            ("missing", "No such file or directory (os error 2)"),
        ] {
            assert_eq!(shown(read(&at(name), 4)), expected, "{name}");
        }
        assert!(read(&at("missing"), 4).unwrap_err().is_missing());
    }

    #[test]
    fn no_more_is_read_than_may_be() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"12345").unwrap();
        assert_eq!(read_text(file.path(), 5).unwrap(), "12345");
        assert_eq!(
            shown(read(file.path(), 4)),
            "it has more than 4 bytes, the most that is read of such a file"
        );
        assert_eq!(read_start(file.path(), 2).unwrap(), b"12");
        fs::write(file.path(), b"\xff").unwrap();
        assert_eq!(shown(read_text(file.path(), 5)), "it is not UTF-8");
        // A hole that has no blocks on the disk.
        file.as_file().set_len(1 << 40).unwrap();
        assert!(matches!(read(file.path(), 1 << 20), Err(FileError::TooLarge { .. })));
    }

    #[test]
    fn parts_of_a_folder_lie_in_it() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir_all(folder.join("..version")).unwrap();
        fs::write(folder.join("..version/labels"), "").unwrap();
        symlink("..version", folder.join("..data")).unwrap();
        symlink("..data/labels", folder.join("labels")).unwrap();
        symlink(outside.path().join("secret"), folder.join("secret")).unwrap();
        symlink(outside.path(), folder.join("sub")).unwrap();
        symlink("../../", folder.join("up")).unwrap();
        symlink(&folder, dir.path().join("alias")).unwrap();
        let check = |name: &str, expected: &str| {
            for folder in [&folder, &dir.path().join("alias")] {
                assert_eq!(shown(within(folder, Path::new(name))), expected, "{name}");
            }
        };
        const OUTSIDE: &str = "it lies outside of its folder, by its name or through a link";
        check("labels", "read");
        check("./..data/labels", "read");
        check("secret", OUTSIDE);
        check("sub/secret", OUTSIDE);
        check("up", OUTSIDE);
        check("../folder/labels", OUTSIDE);
        check("/etc/passwd", OUTSIDE);
        check("missing", "No such file or directory (os error 2)");
    }

    #[test]
    fn snapshots_of_a_cache_may_link_to_its_blobs_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("models--a--b");
        let snapshot = model.join("snapshots/0123abcd");
        fs::create_dir_all(snapshot.join("onnx")).unwrap();
        fs::create_dir_all(model.join("blobs/deep")).unwrap();
        fs::create_dir(model.join("refs")).unwrap();
        for file in ["blobs/5ca1ab1e", "blobs/deep/other", "refs/main"] {
            fs::write(model.join(file), "").unwrap();
        }
        symlink("../../../blobs/5ca1ab1e", snapshot.join("onnx/model.onnx")).unwrap();
        symlink("../../blobs/5ca1ab1e", snapshot.join("model.onnx")).unwrap();
        symlink("../../refs/main", snapshot.join("labels.txt")).unwrap();
        symlink("../../blobs/deep/other", snapshot.join("other")).unwrap();
        let check = |folder: &str, name: &str, inside: bool| {
            let found = within(&snapshot.join(folder), Path::new(name));
            assert_eq!(found.is_ok(), inside, "{folder}/{name}");
        };
        check("", "model.onnx", true);
        check("", "onnx/model.onnx", true);
        check("onnx", "model.onnx", true);
        check("", "labels.txt", false);
        check("", "other", false);
        check("", "../../blobs/5ca1ab1e", false);
    }
}
