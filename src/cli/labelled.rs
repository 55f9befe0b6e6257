//! Images and the classes that they are of: a folder a class, or a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::classify::files::{self, Listed};
use super::output;
use repserve_evaluation::{ClassNames, NameError};
use repserve_files::read_start;

/// Bytes of a table at most.
const TABLE_BYTES_MAX: u64 = 256 << 20;

/// An image, and its class where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LabelledImage {
    pub(super) listed: Listed,
    pub(super) label: Option<usize>,
}

/// What is done where some folders name classes and others do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The labels are not used, and stderr says so.
    NoLabels,
    /// It is an error: the figures would be of another set of images than it seems.
    Error,
}

/// The images of a folder, in order of their paths, or of a table.
///
/// A folder's images are of the class that the folder directly below it names, else of the one whose WordNet identifier their file's name begins with. A
/// table is a CSV file of `file,label` with paths relative to its own folder; a label may be empty.
pub(super) fn list(path: &Path, names: &ClassNames, unknown: Unknown) -> anyhow::Result<Vec<LabelledImage>> {
    if !path.is_dir() {
        let is_table = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        ensure!(is_table, "{} is no folder and no CSV file", path.display());
        return table(path, names);
    }
    let found = files::list(&[path.to_owned()]);
    if let [
        Listed {
            path,
            unreadable: Some(why),
        },
    ] = &found[..]
    {
        bail!("{} {why}", path.display());
    }
    ensure!(!found.is_empty(), "{} holds no image that can be read", path.display());
    let use_folders = folders_name_classes(path, &found, names, unknown)?;
    let label = |listed: &Listed| match folder_below(path, &listed.path) {
        Some(folder) if use_folders => names.find(&folder).ok(),
        _ => names.of_file(&listed.path.file_name()?.to_string_lossy()),
    };
    let labelled = |listed: Listed| LabelledImage {
        label: label(&listed),
        listed,
    };
    Ok(found.into_iter().map(labelled).collect())
}

/// Whether the folders below `path` name classes: all of them, or none.
fn folders_name_classes(path: &Path, found: &[Listed], names: &ClassNames, unknown: Unknown) -> anyhow::Result<bool> {
    let folders = found.iter().filter_map(|listed| folder_below(path, &listed.path));
    let outcomes: BTreeMap<String, Result<usize, NameError>> = folders
        .map(|folder| {
            let class = names.find(&folder);
            (folder, class)
        })
        .collect();
    let wrong = outcomes
        .iter()
        .find_map(|(folder, class)| Some((folder, class.as_ref().err()?)));
    let Some((folder, error)) = wrong else {
        return Ok(!outcomes.is_empty());
    };
    let some = outcomes.values().any(Result::is_ok);
    let folder = path.join(folder);
    if some && unknown == Unknown::Error {
        bail!(
            "{}: the folder's name {error}, and other folders' names are: rename it, or use a CSV file",
            folder.display()
        );
    }
    output::complain(&format!(
        "{}: the folder's name {error}; the folders are not taken for classes",
        folder.display()
    ));
    Ok(false)
}

/// The name of the folder directly below `path` in which a file lies.
fn folder_below(path: &Path, file: &Path) -> Option<String> {
    let mut parts = file.strip_prefix(path).ok()?.components();
    let first = parts.next()?;
    parts.next()?;
    Some(first.as_os_str().to_string_lossy().into_owned())
}

fn table(path: &Path, names: &ClassNames) -> anyhow::Result<Vec<LabelledImage>> {
    let bytes = read_start(path, TABLE_BYTES_MAX + 1).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        bytes.len() as u64 <= TABLE_BYTES_MAX,
        "{} is longer than {TABLE_BYTES_MAX} bytes",
        path.display()
    );
    let folder = path.parent().unwrap_or(Path::new(""));
    rows(&bytes, folder, names).with_context(|| path.display().to_string())
}

/// The images of a table's rows; the first may be a head.
fn rows(bytes: &[u8], folder: &Path, names: &ClassNames) -> anyhow::Result<Vec<LabelledImage>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let mut images = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let record = record?;
        let line = record.position().map_or(number as u64 + 1, csv::Position::line);
        let (file, name) = match (record.get(0), record.get(1), record.get(2)) {
            (Some("file"), Some("label"), None) if number == 0 => continue,
            (Some(""), ..) | (_, None, _) | (.., Some(_)) => bail!("line {line}: a row is `file,label`"),
            (Some(file), Some(name), None) => (file, name),
            (None, ..) => continue,
        };
        let label = match name {
            "" => None,
            name => {
                let class = names.find(name);
                Some(class.map_err(|error| anyhow::anyhow!("line {line}: {name:?} {error}"))?)
            }
        };
        let listed = Listed {
            path: folder.join(PathBuf::from(file)),
            unreadable: None,
        };
        images.push(LabelledImage { listed, label });
    }
    ensure!(!images.is_empty(), "there is no row `file,label`");
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> ClassNames {
        ClassNames::new(&["cat".to_owned(), "dog, hound".to_owned()])
    }

    /// A folder with files that hold nothing.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        dir
    }

    #[track_caller]
    fn check(files: &[&str], unknown: Unknown, expected: Result<&[Option<usize>], &str>) {
        let dir = folder(files);
        let found = list(dir.path(), &names(), unknown);
        let labels = found.map(|images| images.iter().map(|i| i.label).collect::<Vec<_>>());
        match (labels, expected) {
            (Ok(labels), Ok(expected)) => assert_eq!(labels, expected),
            (Err(error), Err(expected)) => assert!(format!("{error:#}").contains(expected), "{error:#}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_is_a_class() {
        check(
            &["cat/a.png", "Hound/x/b.png", "c.png"],
            Unknown::Error,
            Ok(&[Some(1), None, Some(0)]),
        );
        check(&["1/a.png"], Unknown::Error, Ok(&[Some(1)]));
        check(&["a.png"], Unknown::Error, Ok(&[None]));
        check(&["x/a.png", "y/b.png"], Unknown::Error, Ok(&[None, None]));
        check(&["cat/a.png", "cow/b.png"], Unknown::NoLabels, Ok(&[None, None]));
        check(
            &["cat/a.png", "cow/b.png"],
            Unknown::Error,
            Err("cow: the folder's name is no label"),
        );
        check(&["cat/a.txt"], Unknown::Error, Err("holds no image"));
    }

    #[track_caller]
    fn check_rows(text: &str, expected: Result<&[(&str, Option<usize>)], &str>) {
        match (rows(text.as_bytes(), Path::new("/at"), &names()), expected) {
            (Ok(images), Ok(expected)) => {
                let found: Vec<_> = images
                    .iter()
                    .map(|i| (i.listed.path.to_str().unwrap(), i.label))
                    .collect();
                assert_eq!(found, expected);
            }
            (Err(error), Err(expected)) => assert_eq!(format!("{error:#}"), expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_table_names_files_and_their_classes() {
        check_rows(
            "file,label\na.png,cat\n\"b, c.png\",\"dog, hound\"\n\nd.png,\n/e.png,1\n",
            Ok(&[
                ("/at/a.png", Some(0)),
                ("/at/b, c.png", Some(1)),
                ("/at/d.png", None),
                ("/e.png", Some(1)),
            ]),
        );
        check_rows(
            "a.png,cow",
            Err("line 1: \"cow\" is no label, index or WordNet id of the model's classes"),
        );
        check_rows("a.png,cat\nb.png\n", Err("line 2: a row is `file,label`"));
        check_rows("a.png,cat,1\n", Err("line 1: a row is `file,label`"));
        check_rows("file,label\n", Err("there is no row `file,label`"));
    }
}
