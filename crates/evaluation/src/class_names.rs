//! Which class a folder's or a table's name means.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// WordNet's identifiers of ImageNet's classes (ILSVRC 2012), in the order of their indices.
const IMAGENET: &str = include_str!("class_names/imagenet1k.txt");
/// Characters of such an identifier: `n` and eight digits.
const WORDNET_CHARS: usize = 9;

/// The names by which the classes of a model are known: its labels and their parts between commas, WordNet identifiers, indices.
#[derive(Debug, Clone)]
pub struct ClassNames {
    classes: usize,
    labels: HashMap<String, Named>,
    parts: HashMap<String, Named>,
    wordnet: HashMap<String, Named>,
}

/// What a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    One(usize),
    Several(usize, usize),
}

/// A name that means no class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// It is none of the names.
    Unknown,
    /// It is a label of several classes, of these among them.
    Several(usize, usize),
    /// It is an index beyond the model's classes, of which there are so many.
    Beyond(usize),
}

impl std::fmt::Display for NameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => write!(f, "is no label, index or WordNet id of the model's classes"),
            Self::Several(a, b) => write!(f, "is the label of several classes, such as {a} and {b}; use the index"),
            Self::Beyond(classes) => write!(f, "is beyond the model's {classes} classes, which count from 0"),
        }
    }
}

impl std::error::Error for NameError {}

impl ClassNames {
    /// The names of the classes that have these labels, one each. Where there are 1,000 (or 1,001, of which the first is the background), they
    /// have ImageNet's WordNet identifiers too.
    pub fn new(labels: &[String]) -> Self {
        let mut names = Self {
            classes: labels.len(),
            labels: HashMap::new(),
            parts: HashMap::new(),
            wordnet: HashMap::new(),
        };
        for (class, label) in labels.iter().enumerate() {
            enter(&mut names.labels, normalised(label), class);
            for part in label.split(',') {
                enter(&mut names.parts, normalised(part), class);
            }
            if let Some(id) = wordnet_id(label) {
                enter(&mut names.wordnet, id.to_owned(), class);
                enter(&mut names.parts, normalised(&label[WORDNET_CHARS..]), class);
            }
        }
        if names.wordnet.is_empty()
            && let Some(background) = labels.len().checked_sub(1000).filter(|more| *more <= 1)
        {
            for (class, id) in IMAGENET.lines().enumerate() {
                enter(&mut names.wordnet, id.to_owned(), class + background);
            }
        }
        names
    }

    /// The class that a name means. Case does not count, and `_` and `-` are spaces; a WordNet identifier may have anything behind it.
    ///
    /// # Errors
    /// A name that means none, or several.
    pub fn find(&self, name: &str) -> Result<usize, NameError> {
        let plain = normalised(name);
        let by_label = self.labels.get(&plain).or_else(|| self.parts.get(&plain));
        let found = by_label.or_else(|| wordnet_id(name).and_then(|id| self.wordnet.get(id)));
        match (found, name.trim().parse::<usize>()) {
            (Some(Named::One(class)), _) => Ok(*class),
            (Some(Named::Several(a, b)), _) => Err(NameError::Several(*a, *b)),
            (None, Ok(index)) if index < self.classes => Ok(index),
            (None, Ok(_)) => Err(NameError::Beyond(self.classes)),
            (None, Err(_)) => Err(NameError::Unknown),
        }
    }

    /// The class whose WordNet identifier a file's name begins with, as `n01440764_tench.JPEG` does.
    pub fn of_file(&self, name: &str) -> Option<usize> {
        let behind = name.get(WORDNET_CHARS..)?;
        let id = wordnet_id(name).filter(|_| behind.starts_with(['_', '.']))?;
        match self.wordnet.get(id) {
            Some(Named::One(class)) => Some(*class),
            _ => None,
        }
    }
}

fn enter(names: &mut HashMap<String, Named>, name: String, class: usize) {
    if name.is_empty() {
        return;
    }
    match names.entry(name) {
        Entry::Vacant(vacant) => {
            vacant.insert(Named::One(class));
        }
        Entry::Occupied(mut occupied) => {
            if let Named::One(other) = *occupied.get()
                && other != class
            {
                occupied.insert(Named::Several(other, class));
            }
        }
    }
}

/// In small letters, words separated by one space.
fn normalised(name: &str) -> String {
    let spaced = name.to_lowercase().replace(['_', '-'], " ");
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The identifier that a name begins with.
fn wordnet_id(name: &str) -> Option<&str> {
    let id = name.get(..WORDNET_CHARS)?;
    let digits = id.strip_prefix('n')?;
    let ends = !name[WORDNET_CHARS..].starts_with(|c: char| c.is_ascii_alphanumeric());
    (ends && digits.bytes().all(|b| b.is_ascii_digit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(labels: &[&str]) -> ClassNames {
        ClassNames::new(&labels.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn labels_their_parts_and_indices_name_classes() {
        let names = names(&["tench, Tinca tinca", "great white shark", "crane", "crane, bird", "7"]);
        let check = |name: &str, expected: Result<usize, NameError>| assert_eq!(names.find(name), expected, "{name}");
        check("Tench", Ok(0));
        check("tinca_tinca", Ok(0));
        check("great-white  SHARK", Ok(1));
        check("crane, bird", Ok(3));
        check("crane", Ok(2));
        check("bird", Ok(3));
        check("7", Ok(4));
        check("3", Ok(3));
        check("5", Err(NameError::Beyond(5)));
        check("-1", Err(NameError::Unknown));
        check("", Err(NameError::Unknown));
        let twice = super::tests::names(&["maillot", "maillot"]);
        assert_eq!(twice.find("Maillot"), Err(NameError::Several(0, 1)));
        assert_eq!(twice.find("1"), Ok(1));
    }

    #[test]
    fn wordnet_identifiers_name_imagenets_classes() {
        let imagenet = |classes: usize| ClassNames::new(&(0..classes).map(|i| format!("c{i}")).collect::<Vec<_>>());
        let thousand = imagenet(1000);
        assert_eq!(thousand.find("n01440764"), Ok(0));
        assert_eq!(thousand.find("n15075141_toilet_tissue"), Ok(999));
        assert_eq!(imagenet(1001).find("n01440764"), Ok(1));
        assert_eq!(imagenet(10).find("n01440764"), Err(NameError::Unknown));
        assert_eq!(thousand.of_file("n01601694_water_ouzel.JPEG"), Some(20));
        assert_eq!(thousand.of_file("n016016945.JPEG"), None);
        assert_eq!(thousand.of_file("n99999999_x.JPEG"), None);
        assert_eq!(thousand.of_file("éééééééé"), None);
        let own = names(&["n02000001 cat", "n01440764 dog"]);
        assert_eq!((own.find("n01440764"), own.find("cat")), (Ok(1), Ok(0)));
    }

    proptest! {
        #[test]
        fn any_name_is_looked_up_without_harm(labels in prop::collection::vec(".{0,12}", 0..6), name in ".{0,12}") {
            let names = ClassNames::new(&labels);
            if let Ok(class) = names.find(&name) {
                prop_assert!(class < labels.len());
            }
            let _ = names.of_file(&name);
        }
    }
}
