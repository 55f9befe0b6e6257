//! From files and folders to the list of images.

use std::path::{Path, PathBuf};

use repserve_files as files;

/// Endings by which an image is known inside a folder; a file that is named itself needs none.
const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// A file to classify, or one that is known not to be readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Listed {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) unreadable: Option<String>,
}

impl Listed {
    /// The file's bytes; of one that is longer than any image may be, `bytes_max` and one more.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(in crate::cli) fn read(&self, bytes_max: u64) -> Result<Vec<u8>, String> {
        match &self.unreadable {
            Some(why) => Err(why.clone()),
            None => {
                files::read_start(&self.path, bytes_max.saturating_add(1)).map_err(|e| format!("cannot be read: {e}"))
            }
        }
    }
}

/// The images, in the order given; those of a folder in order of their paths.
pub(in crate::cli) fn list(paths: &[PathBuf]) -> Vec<Listed> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(path, &mut found);
        } else {
            found.push(Listed {
                path: path.clone(),
                unreadable: None,
            });
        }
    }
    found
}

fn walk(folder: &Path, found: &mut Vec<Listed>) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            found.push(Listed {
                path: folder.to_owned(),
                unreadable: Some(format!("cannot be read: {error}")),
            });
            return;
        }
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        // A link to a folder is not followed: it could lead back here.
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found);
        } else if is_image(&path) && path.is_file() {
            found.push(Listed { path, unreadable: None });
        }
    }
}

fn is_image(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| ENDINGS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_sorted_and_files_stay_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/2.png", "b/1.JPG", "b/notes.txt", "a.webp", "z/x.gif"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let given = [
            dir.path().join("missing"),
            dir.path().to_owned(),
            dir.path().join("b/notes.txt"),
        ];
        let found: Vec<String> = list(&given)
            .iter()
            .map(|l| l.path.strip_prefix(dir.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(
            found,
            ["missing", "a.webp", "b/1.JPG", "b/2.png", "z/x.gif", "b/notes.txt"]
        );
    }
}
