//! `model.toml`: what a model is called, where its parts lie, what goes in and what comes out.

use std::path::{Component, Path};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::embedding::EMBEDDINGS_MAX;
use super::precision::RequestedPrecision;
use super::repository::RepositorySpec;
use repserve_graph::GraphEnd;
use repserve_preprocess::{InputSpec, Interpolation};
use repserve_settings::Kind;

/// The content of a `model.toml`, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// By which the model is found: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Free, of the same characters.
    pub version: String,
    /// The ONNX file, within the folder.
    pub file: String,
    /// The labels, a line a class, within the folder. Absent: a class is called by its index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Arithmetic of the deploy graph, unless the settings say otherwise.
    #[serde(default)]
    pub precision: RequestedPrecision,
    /// From image to tensor.
    pub input: InputSpec,
    /// From tensor to classes.
    #[serde(default)]
    pub output: OutputSpec,
    /// How the model is served beside others.
    #[serde(default, skip_serializing_if = "RepositorySpec::is_default")]
    pub repository: RepositorySpec,
}

/// The `[output]` table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// The graph output to read. Absent: the first that looks like one of classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it holds.
    #[serde(default)]
    pub kind: OutputKind,
    /// The least probability, 0 to 1, of a class that a prediction names. Absent: the best are named, however small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Inner values of the graph that are returned to those who request them, by their names in the graph, such as the features before the
    /// last layer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<String>,
}

impl OutputSpec {
    /// Whether the output of a graph with this end holds probabilities, as far as is known without running it.
    pub fn holds_probabilities(&self, end: &GraphEnd) -> bool {
        match self.kind {
            OutputKind::Probabilities => true,
            OutputKind::Auto => *end == GraphEnd::Softmax,
            OutputKind::Logits | OutputKind::LogProbabilities | OutputKind::Sigmoid => false,
        }
    }
}

/// What a graph output holds for each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputKind {
    /// What the graph's end and its output on random images say.
    #[default]
    Auto,
    /// Unbounded scores, of which a softmax makes probabilities; one alone: a sigmoid makes that of the second of two classes.
    Logits,
    /// Probabilities already.
    Probabilities,
    /// Logarithms of probabilities.
    LogProbabilities,
    /// Independent classes, each with a probability of its own; a sigmoid makes it where the graph does not.
    Sigmoid,
}

impl OutputKind {
    /// As `model.toml` says it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Logits => "logits",
            Self::Probabilities => "probabilities",
            Self::LogProbabilities => "log-probabilities",
            Self::Sigmoid => "sigmoid",
        }
    }
}

/// `model.toml` cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, or an unknown key.
    #[error("line {line}: {message}")]
    Toml {
        /// Line of the fault, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key is missing.
    #[error("{message}; `repserve init MODEL.onnx` writes a model.toml in which nothing is missing")]
    Missing {
        /// Which.
        message: String,
    },
    /// A value of another type than its key takes.
    #[error("line {line}: `{key}` wants {wants}, found {found}")]
    Type {
        /// Line of the value, from 1.
        line: usize,
        /// The key, dotted.
        key: String,
        /// What it takes.
        wants: String,
        /// The value as it is written.
        found: String,
    },
    /// A value that cannot be meant.
    #[error("{key} = {value:?}: {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is possible.
        expected: &'static str,
    },
    /// A value of `[input]` that cannot be meant.
    #[error(transparent)]
    Input(#[from] repserve_preprocess::SpecError),
}

impl Manifest {
    /// Reads and checks a `model.toml`.
    ///
    /// # Errors
    /// The first error, with its line or its key.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = read(text)?;
        word("name", &manifest.name)?;
        word("version", &manifest.version)?;
        inside("file", &manifest.file)?;
        if let Some(labels) = &manifest.labels {
            inside("labels", labels)?;
        }
        manifest.input.validate()?;
        if let Some(threshold) = manifest.output.threshold.filter(|x| !(0.0..=1.0).contains(x)) {
            return Err(ManifestError::Value {
                key: "output.threshold",
                value: threshold.to_string(),
                expected: "a probability lies between 0 and 1",
            });
        }
        let embeddings = &manifest.output.embeddings;
        let again = |(at, name): (usize, &String)| embeddings[..at].contains(name);
        if embeddings.len() > EMBEDDINGS_MAX || embeddings.iter().enumerate().any(again) {
            return Err(ManifestError::Value {
                key: "output.embeddings",
                value: embeddings.join(", "),
                expected: "up to 8 values are possible, each once",
            });
        }
        Ok(manifest)
    }

    /// Reads the table `[repository]` of a `model.toml` that may hold nothing else; what else it holds is not checked.
    ///
    /// # Errors
    /// The first error in the table, or a key that no `model.toml` has.
    pub fn repository_of(text: &str) -> Result<RepositorySpec, ManifestError> {
        Ok(read::<RepositoryOnly>(text)?.repository)
    }
}

/// A `model.toml` of which `[repository]` alone is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the other keys are named so that misspelt ones are found")]
struct RepositoryOnly {
    name: Option<IgnoredAny>,
    version: Option<IgnoredAny>,
    file: Option<IgnoredAny>,
    labels: Option<IgnoredAny>,
    precision: Option<IgnoredAny>,
    input: Option<IgnoredAny>,
    output: Option<IgnoredAny>,
    #[serde(default)]
    repository: RepositorySpec,
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, ManifestError> {
    let document = toml::Deserializer::parse(text).map_err(|error| refused(text, "", &error))?;
    serde_path_to_error::deserialize(document).map_err(|error| refused(text, &error.path().to_string(), error.inner()))
}

/// What is wrong with the value at `path`, or with a key.
fn refused(text: &str, path: &str, error: &toml::de::Error) -> ManifestError {
    let span = error.span().unwrap_or(0..0);
    let line = 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count();
    let message = error.message().replace('\n', ", ");
    // An element of an array belongs to the array's key.
    let key = path.split('[').next().unwrap_or_default();
    if message.starts_with("missing field") {
        let table = if wants(key).is_some() {
            format!(" in [{key}]")
        } else {
            String::new()
        };
        return ManifestError::Missing {
            message: message + &table,
        };
    }
    match wants(key) {
        Some(wants) => ManifestError::Type {
            line,
            key: key.to_owned(),
            wants,
            found: text
                .get(span)
                .unwrap_or_default()
                .chars()
                .take(FOUND_CHARS_MAX)
                .collect(),
        },
        None => ManifestError::Toml {
            line,
            message: format!("{message}{}", where_else(&message).unwrap_or_default()),
        },
    }
}

/// Where a key stands that a message calls unknown, if in another table.
fn where_else(message: &str) -> Option<String> {
    let (key, _) = message.strip_prefix("unknown field `")?.split_once('`')?;
    let mut tables = ["input", "output", "repository"].into_iter();
    match tables.find(|table| wants(&format!("{table}.{key}")).is_some()) {
        Some(table) => Some(format!("; `{key}` is a key of [{table}]")),
        None => wants(key).map(|_| format!("; `{key}` stands above the tables")),
    }
}

/// Characters of a wrong value that an error repeats at most.
const FOUND_CHARS_MAX: usize = 100;

/// What a key takes, in words.
fn wants(key: &str) -> Option<String> {
    let words = match key {
        "name" | "version" | "output.name" => "a string",
        "file" => "a string (the ONNX file's path within the folder)",
        "labels" => "a string (the path within the folder of a file with one class a line)",
        "precision" => return Some(Kind::of::<RequestedPrecision>().to_string()),
        "input.size" => "an array of two whole numbers (height and width, 1 to 4096 pixels, such as [224, 224])",
        "input.resize" => "a whole number (the short side before the crop, 1 to 4096 pixels)",
        "input.interpolation" => return Some(Kind::of::<Interpolation>().to_string()),
        "input.scale" => "a number (what pixels are divided by: 255 or 1)",
        "input.mean" | "input.std" => {
            "an array of three numbers (of red, green and blue, such as [0.485, 0.456, 0.406])"
        }
        "output.kind" => return Some(Kind::of::<OutputKind>().to_string()),
        "output.threshold" => "a number (0 to 1)",
        "output.embeddings" => "an array of strings (names of inner values, such as [\"features\"])",
        "repository.versions" => "`latest`, `all`, or an array of version numbers, such as [1, 3]",
        "repository.required" => "true or false",
        "repository.weight" => "a whole number (1 to 1000)",
        "input" | "output" | "repository" => return Some(format!("a table ([{key}], and its keys below)")),
        _ => return None,
    };
    Some(words.to_owned())
}

fn word(key: &'static str, value: &str) -> Result<(), ManifestError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=128).contains(&value.len()) && value.chars().all(allowed) {
        return Ok(());
    }
    Err(ManifestError::Value {
        key,
        value: value.to_owned(),
        expected: "1 to 128 of the characters A-Z a-z 0-9 - _ . are possible",
    })
}

fn inside(key: &'static str, value: &str) -> Result<(), ManifestError> {
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if !value.is_empty() && Path::new(value).components().all(plain) {
        return Ok(());
    }
    Err(ManifestError::Value {
        key,
        value: value.to_owned(),
        expected: "it must be a path within the model's folder",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../models/repvgg-cifar10/model.toml");

    #[track_caller]
    fn check(from: &str, to: &str, message: &str) {
        assert!(GOOD.contains(from));
        let error = Manifest::parse(&GOOD.replace(from, to)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn the_default_model_is_described_well() {
        let manifest = Manifest::parse(GOOD).unwrap();
        assert_eq!(manifest.name, "repvgg-cifar10");
        assert_eq!(manifest.output.kind, OutputKind::Logits);
        let again = toml::to_string(&manifest).unwrap();
        assert_eq!(Manifest::parse(&again).unwrap(), manifest);
    }

    /// The keys of a table and of those in it, dotted.
    fn keys(table: &toml::Table, prefix: &str, found: &mut Vec<String>) {
        for (key, value) in table {
            match value {
                toml::Value::Table(inner) => keys(inner, &format!("{prefix}{key}."), found),
                _ => found.push(format!("{prefix}{key}")),
            }
        }
    }

    #[test]
    fn every_key_is_documented_and_no_other() {
        let reference = include_str!("../../../docs/model-toml.md");
        let (_, example) = reference.split_once("```toml\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        Manifest::parse(example).unwrap();
        let (mut expected, mut documented) = (Vec::new(), Vec::new());
        keys(&toml::from_str(example).unwrap(), "", &mut expected);
        documented.extend(reference.lines().filter_map(|line| {
            let (key, _) = line.strip_prefix("| `")?.split_once("` |")?;
            Some(key.to_owned())
        }));
        expected.sort();
        documented.sort();
        assert_eq!(documented, expected);
        // The parser lists the keys that it knows when it meets another.
        for table in ["", "input.", "output.", "repository."] {
            let error = Manifest::parse(&format!("{example}\n[{table}unheard_of]\n")).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("unknown field `unheard_of`"), "{error}");
            for key in error.split('`').skip(3).step_by(2).map(|key| format!("{table}{key}")) {
                let within = format!("{key}.");
                assert!(
                    documented
                        .iter()
                        .any(|known| *known == key || known.starts_with(&within)),
                    "{key}"
                );
            }
        }
        for kind in [
            "auto",
            "logits",
            "probabilities",
            "log-probabilities",
            "sigmoid",
            "bilinear",
            "bicubic",
            "lanczos",
            "nearest",
        ] {
            assert!(reference.contains(&format!("`{kind}`")), "{kind}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        check(
            "file = ",
            "fiel = ",
            "line 3: unknown field `fiel`, expected one of `name`, `version`, `file`, `labels`, `precision`, `input`, `output`, `repository`",
        );
        check(
            "name = \"repvgg-cifar10\"\n",
            "",
            "missing field `name`; `repserve init MODEL.onnx` writes a model.toml in which nothing is missing",
        );
        check(
            "mean = ",
            "# mean = ",
            "missing field `mean` in [input]; `repserve init MODEL.onnx` writes a model.toml in which nothing is missing",
        );
        check(
            "size = [",
            "sizes = [",
            "line 7: unknown field `sizes`, expected one of `size`, `resize`, `interpolation`, `scale`, `mean`, `std`",
        );
    }

    #[test]
    fn a_wrong_type_names_its_key_and_what_it_takes() {
        check(
            "version = \"1\"",
            "version = 1",
            "line 2: `version` wants a string, found 1",
        );
        check(
            "labels = \"labels.txt\"",
            "precision = \"int4\"",
            "line 4: `precision` wants one of `fp32`, `int8`, `auto`, found \"int4\"",
        );
        check(
            "kind = \"logits\"",
            "kind = \"odds\"",
            "line 15: `output.kind` wants one of `auto`, `logits`, `probabilities`, `log-probabilities`, `sigmoid`, found \"odds\"",
        );
        const SIZE: &str = "`input.size` wants an array of two whole numbers (height and width, 1 to 4096 pixels, such as [224, 224]), found";
        for found in ["\"32\"", "[32]", "32"] {
            check("[32, 32]", found, &format!("line 7: {SIZE} {found}"));
        }
        check("[32, 32]", "[32, \"a\"]", &format!("line 7: {SIZE} \"a\""));
        check("[32, 32]", "[32, -1]", &format!("line 7: {SIZE} -1"));
        check(
            "[output]\nname",
            "[[output]]\nname",
            "line 13: `output` wants a table ([output], and its keys below), found [[output]]",
        );
        check(
            "kind = \"logits\"",
            "embeddings = \"pool\"",
            "line 15: `output.embeddings` wants an array of strings (names of inner values, such as [\"features\"]), found \"pool\"",
        );
        check(
            "kind = \"logits\"",
            "kind = \"logits\"\n[repository]\nversions = \"newest\"",
            "line 17: `repository.versions` wants `latest`, `all`, or an array of version numbers, such as [1, 3], found \"newest\"",
        );
    }

    #[test]
    fn a_key_in_the_wrong_table_is_told_where_it_stands() {
        check(
            "[output]\nname = \"logits\"\n",
            "",
            "line 13: unknown field `kind`, expected one of `size`, `resize`, `interpolation`, `scale`, `mean`, `std`; \
             `kind` is a key of [output]",
        );
        check(
            "[input]",
            "threshold = 0.5\n[input]",
            "line 6: unknown field `threshold`, expected one of `name`, `version`, `file`, `labels`, `precision`, `input`, `output`, `repository`; \
             `threshold` is a key of [output]",
        );
        check(
            "kind = \"logits\"",
            "precision = \"fp32\"",
            "line 15: unknown field `precision`, expected one of `name`, `kind`, `threshold`, `embeddings`; \
             `precision` stands above the tables",
        );
    }

    #[test]
    fn whole_numbers_beyond_any_type_name_their_key() {
        for digits in [10, 20, 30, 50] {
            let number = "9".repeat(digits);
            check(
                "resize = 32",
                &format!("resize = {number}"),
                &format!(
                    "line 8: `input.resize` wants a whole number (the short side before the crop, 1 to 4096 pixels), found {number}"
                ),
            );
            check(
                "kind = \"logits\"",
                &format!("[repository]\nweight = {number}"),
                &format!("line 16: `repository.weight` wants a whole number (1 to 1000), found {number}"),
            );
            check(
                "version = \"1\"",
                &format!("version = {number}"),
                &format!("line 2: `version` wants a string, found {number}"),
            );
        }
    }

    #[test]
    fn impossible_values_are_named() {
        const WORD: &str = "1 to 128 of the characters A-Z a-z 0-9 - _ . are possible";
        check("\"repvgg-cifar10\"", "\"a/b\"", &format!("name = \"a/b\": {WORD}"));
        check("version = \"1\"", "version = \"\"", &format!("version = \"\": {WORD}"));
        check(
            "\"model.onnx\"",
            "\"../model.onnx\"",
            "file = \"../model.onnx\": it must be a path within the model's folder",
        );
        check(
            "\"labels.txt\"",
            "\"/etc/passwd\"",
            "labels = \"/etc/passwd\": it must be a path within the model's folder",
        );
        check(
            "[32, 32]",
            "[32, 0]",
            "input.size = [32, 0]: height and width must be 1 to 4096 pixels",
        );
        check(
            "kind = \"logits\"",
            "threshold = 1.5",
            "output.threshold = \"1.5\": a probability lies between 0 and 1",
        );
        check(
            "kind = \"logits\"",
            "embeddings = [\"pool\", \"pool\"]",
            "output.embeddings = \"pool, pool\": up to 8 values are possible, each once",
        );
    }
}
