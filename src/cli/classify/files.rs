//! From files and folders to the list of images.

use std::collections::BTreeMap;
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

/// What was found at the paths that were given.
#[derive(Debug, Default)]
pub(in crate::cli) struct Found {
    /// The images, in the order given; those of a folder in order of their paths.
    pub(in crate::cli) images: Vec<Listed>,
    /// Folders that were given and hold no image.
    pub(in crate::cli) empty: Vec<PathBuf>,
    /// What lies in the folders and is left out, by the reason.
    left_out: BTreeMap<LeftOut, Vec<PathBuf>>,
}

/// Why a part of a folder is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LeftOut {
    /// A file with another ending than those of images.
    Ending,
    /// A link to a folder.
    Link,
    /// A pipe, a socket, a device, or a link that leads nowhere.
    NotRegular,
}

/// The images at these paths.
pub(in crate::cli) fn list(paths: &[PathBuf]) -> Vec<Listed> {
    find(paths).images
}

/// The images at these paths, and what was left out.
pub(in crate::cli) fn find(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        if !path.is_dir() {
            found.images.push(Listed {
                path: path.clone(),
                unreadable: None,
            });
            continue;
        }
        let before = found.images.len();
        found.walk(path);
        if found.images.len() == before {
            found.empty.push(path.clone());
        }
    }
    found
}

impl Found {
    /// A line for each reason for which something was left out: how many, the first of them, and why.
    pub(in crate::cli) fn left_out(&self) -> Vec<String> {
        let line = |(reason, paths): (&LeftOut, &Vec<PathBuf>)| {
            let (one, many, why) = reason.words();
            let noun = if paths.len() == 1 { one } else { many };
            let first = paths.first().map(|path| path.display());
            let first = first.map_or_else(String::new, |first| {
                format!(" ({}{first})", if paths.len() == 1 { "" } else { "such as " })
            });
            format!("left out {} {noun}{first}: {why}", paths.len())
        };
        self.left_out.iter().map(line).collect()
    }

    fn walk(&mut self, folder: &Path) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                self.images.push(Listed {
                    path: folder.to_owned(),
                    unreadable: Some(format!("cannot be read: {error}")),
                });
                return;
            }
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            match reason(&path) {
                // A link to a folder is not followed: it could lead back here.
                None if path.is_dir() => self.walk(&path),
                None => self.images.push(Listed { path, unreadable: None }),
                Some(reason) => self.left_out.entry(reason).or_default().push(path),
            }
        }
    }
}

/// Why `path` is left out; `None` where it is an image or a folder to search.
fn reason(path: &Path) -> Option<LeftOut> {
    if path.is_dir() {
        path.is_symlink().then_some(LeftOut::Link)
    } else if !path.is_file() {
        Some(LeftOut::NotRegular)
    } else {
        (!is_image(path)).then_some(LeftOut::Ending)
    }
}

impl LeftOut {
    /// One of its kind, several of it, and why they are left out.
    fn words(self) -> (&'static str, &'static str, String) {
        match self {
            Self::Ending => (
                "file",
                "files",
                format!(
                    "in a folder, only files ending in {} are taken; name a file to have it tried",
                    ENDINGS.join(", ")
                ),
            ),
            Self::Link => (
                "link to a folder",
                "links to folders",
                "they are not followed; name the folder".to_owned(),
            ),
            Self::NotRegular => ("entry", "entries", "not a regular file".to_owned()),
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

    #[test]
    fn what_is_left_out_is_counted_by_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.png", "notes.txt", "more.md"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let none = dir.path().join("none");
        std::fs::create_dir(&none).unwrap();
        std::os::unix::fs::symlink(&none, dir.path().join("link")).unwrap();
        let found = find(&[dir.path().to_owned(), none.clone()]);
        assert_eq!(found.images.len(), 1);
        assert_eq!(found.empty, [none]);
        let lines: Vec<String> = found
            .left_out()
            .iter()
            .map(|line| line.replace(&dir.path().display().to_string(), "DIR"))
            .collect();
        assert_eq!(
            lines,
            [
                "left out 2 files (such as DIR/more.md): in a folder, only files ending in jpg, jpeg, png, webp, gif, bmp, tif, tiff are taken; name a file to have it tried",
                "left out 1 link to a folder (DIR/link): they are not followed; name the folder",
            ]
        );
    }
}
