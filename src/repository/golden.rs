//! Golden answers: images in a model's folder `golden/`, and the classes that it must find in them before it is served.
//!
//! An image lies in a folder that is called as its class, by label or by index (`golden/cat/a.jpg`); or in `golden/` itself with its class in
//! `golden/answers.toml` (`"a.jpg" = "cat"`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use repserve_files::{self as files, FileError};

/// The folder within a model's.
const FOLDER: &str = "golden";
/// The classes of the images that lie in the folder itself.
const ANSWERS: &str = "answers.toml";
const ANSWERS_BYTES_MAX: u64 = 1 << 20;
/// Images at most.
const IMAGES_MAX: usize = 1000;

/// An image and the class that must be found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Golden {
    /// The image's name within the folder.
    pub name: String,
    /// Where it lies.
    pub file: PathBuf,
    /// The class, by label or by index.
    pub class: String,
}

/// Why a model's golden answers cannot be had, or are not what the model says.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// A file or folder cannot be read.
    #[error("golden answers: cannot read {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: FileError,
    },
    /// `answers.toml` is wrong.
    #[error("golden answers: {}: {reason}", path.display())]
    Answers {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There are too many.
    #[error("golden answers: {} holds more than {IMAGES_MAX} images", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// An image cannot be decoded.
    #[error("golden answers: {name}: {error}")]
    Image {
        /// The image.
        name: String,
        /// Why not.
        error: repserve_preprocess::ImageError,
    },
    /// The model cannot be run on an image.
    #[error("golden answers: {name}: {reason}")]
    Run {
        /// The image.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The model has no such class.
    #[error("golden answers: {name}: the model has no class {class:?}")]
    NoClass {
        /// The image.
        name: String,
        /// The class.
        class: String,
    },
    /// The model finds another class.
    #[error("golden answers: {name}: the model says {found:?} ({probability:.3}), and {expected:?} is right")]
    Wrong {
        /// The image.
        name: String,
        /// What the model says.
        found: String,
        /// How sure it is.
        probability: f32,
        /// What is right.
        expected: String,
    },
}

impl Golden {
    /// The golden answers of a model's folder, by name; none where it has no such folder.
    ///
    /// # Errors
    /// Where something in it cannot be read.
    pub fn of(model: &Path) -> Result<Vec<Self>, GoldenError> {
        let folder = model.join(FOLDER);
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let mut all = listed(model)?;
        for class in children(&folder)?.into_iter().filter(|path| path.is_dir()) {
            let label = name_of(&class);
            for file in children(&class)?.into_iter().filter(|path| path.is_file()) {
                let name = format!("{label}/{}", name_of(&file));
                all.push(Self::new(model, name, label.clone())?);
                if all.len() > IMAGES_MAX {
                    return Err(GoldenError::TooMany { path: folder });
                }
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Reads the image.
    ///
    /// # Errors
    /// Where it cannot be read, or has more than `bytes_max` bytes.
    pub fn read(&self, bytes_max: usize) -> Result<Vec<u8>, GoldenError> {
        files::read(&self.file, bytes_max as u64).map_err(|error| GoldenError::Read {
            path: self.file.clone(),
            error,
        })
    }

    /// Whether a class is the one that must be found.
    pub fn is(&self, index: usize, label: &str) -> bool {
        self.class == label || self.class.parse() == Ok(index)
    }

    fn new(model: &Path, name: String, class: String) -> Result<Self, GoldenError> {
        let part = Path::new(FOLDER).join(&name);
        let file = files::within(model, &part).map_err(|error| GoldenError::Read {
            path: model.join(&part),
            error,
        })?;
        Ok(Self { name, file, class })
    }
}

/// The images that `answers.toml` names.
fn listed(model: &Path) -> Result<Vec<Golden>, GoldenError> {
    let path = model.join(FOLDER).join(ANSWERS);
    let text = match files::read_text(&path, ANSWERS_BYTES_MAX) {
        Ok(text) => text,
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        Err(error) => return Err(GoldenError::Read { path, error }),
    };
    let answers: BTreeMap<String, toml::Value> = toml::from_str(&text).map_err(|error| GoldenError::Answers {
        path: path.clone(),
        reason: error.message().replace('\n', ", "),
    })?;
    if answers.len() > IMAGES_MAX {
        return Err(GoldenError::TooMany { path });
    }
    let class = |(name, value): (String, toml::Value)| match value {
        toml::Value::String(class) => Golden::new(model, name, class),
        toml::Value::Integer(class) => Golden::new(model, name, class.to_string()),
        _ => Err(GoldenError::Answers {
            path: path.clone(),
            reason: format!("{name}: a class is a label or an index"),
        }),
    };
    answers.into_iter().map(class).collect()
}

fn children(folder: &Path) -> Result<Vec<PathBuf>, GoldenError> {
    let failed = |error: io::Error| GoldenError::Read {
        path: folder.to_owned(),
        error: error.into(),
    };
    let entries = fs::read_dir(folder).map_err(failed)?.take(IMAGES_MAX + 1);
    entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_by_folder_and_by_list() {
        let model = tempfile::tempdir().unwrap();
        assert_eq!(Golden::of(model.path()).unwrap(), []);
        let folder = model.path().join(FOLDER);
        fs::create_dir_all(folder.join("cat")).unwrap();
        for file in ["cat/b.png", "a.png", "c.png"] {
            fs::write(folder.join(file), "").unwrap();
        }
        fs::write(folder.join(ANSWERS), "\"a.png\" = \"dog\"\n\"c.png\" = 7\n").unwrap();
        let all = Golden::of(model.path()).unwrap();
        let brief: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.class.as_str())).collect();
        assert_eq!(brief, [("a.png", "dog"), ("c.png", "7"), ("cat/b.png", "cat")]);
        assert!(all[0].is(5, "dog") && !all[0].is(5, "cat") && all[1].is(7, "horse") && !all[1].is(6, "frog"));
        fs::write(folder.join(ANSWERS), "\"../secret\" = \"dog\"").unwrap();
        let outside = Golden::of(model.path()).unwrap_err().to_string();
        assert!(outside.contains("outside"), "{outside}");
        fs::write(folder.join(ANSWERS), "\"a.png\" = true").unwrap();
        let odd = Golden::of(model.path()).unwrap_err().to_string();
        assert!(
            odd.ends_with("answers.toml: a.png: a class is a label or an index"),
            "{odd}"
        );
    }
}
