//! A `model.toml` for an ONNX file that comes without one, filled from the graph.

use std::path::Path;

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;

use super::graph_input::GraphInput;
use super::manifest::{Manifest, OutputSpec};
use super::normalization;
use super::precision::RequestedPrecision;
use super::repository::RepositorySpec;
use repserve_graph::{InputNormalization, Model};
use repserve_preprocess::{BYTE_MAX, InputSpec, Interpolation};

/// Side of the images of a graph that leaves it free, in pixels.
const SIDE: usize = 224;
/// Keys of a file's metadata under which exporters write labels.
const LABEL_KEYS: [&str; 6] = ["names", "labels", "class_names", "classes", "id2label", "categories"];
/// Characters of a name at most.
const NAME_CHARS_MAX: usize = 128;

/// What pixels are usually made of for models of one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Pixels divided by 255, the image resized straight to the graph's size.
    #[default]
    Plain,
    /// As torchvision and timm prepare images for ImageNet's models: the short side to 8/7 of the size, the centre, mean and standard
    /// deviation of ImageNet where the graph does not normalize itself.
    Imagenet,
}

/// A `model.toml` and labels, as far as the ONNX file determines them.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The content of `model.toml`.
    pub manifest: Manifest,
    /// The labels that the file carries, a class each.
    pub labels: Option<Vec<String>>,
}

impl std::str::FromStr for Preset {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let error = |_: serde::de::value::Error| format!("{word:?}: one of plain, imagenet");
        Self::deserialize(word.into_deserializer()).map_err(error)
    }
}

impl Draft {
    /// Describes the model of the ONNX file `path`.
    pub fn new(path: &Path, model: &Model, preset: Preset) -> Self {
        let part = |part: Option<&std::ffi::OsStr>| part.map_or(String::new(), |p| p.to_string_lossy().into_owned());
        let input = GraphInput::of(model);
        let [_, height, width] = input.extents;
        let size = [height, width].map(|side| side.unwrap_or(SIDE) as u32);
        let own = InputNormalization::of(model);
        let pixel_max = own.as_ref().and_then(normalization::pixel_max);
        let plain = [[0.0; 3], [1.0; 3]];
        let short = size[0].min(size[1]);
        let ([mean, std], resize) = match preset {
            _ if input.bytes => (plain, None),
            Preset::Plain => (plain, None),
            Preset::Imagenet => {
                let normalized = pixel_max.map_or(normalization::IMAGENET, |_| plain);
                (normalized, Some((short.saturating_mul(8) / 7).max(short)))
            }
        };
        let scale = pixel_max
            .filter(|_| !input.bytes)
            .map_or(BYTE_MAX, |max| BYTE_MAX / max as f32);
        Self {
            manifest: Manifest {
                name: word(&part(path.file_stem())),
                version: "1".to_owned(),
                file: part(path.file_name()),
                labels: None,
                precision: RequestedPrecision::Fp32,
                input: InputSpec {
                    size,
                    resize,
                    interpolation: Interpolation::Bilinear,
                    scale,
                    mean,
                    std,
                },
                output: OutputSpec::default(),
                repository: RepositorySpec::default(),
            },
            labels: labels(&model.metadata),
        }
    }
}

/// A name of the characters that a model's may have.
fn word(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = text
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .take(NAME_CHARS_MAX)
        .collect();
    if name.is_empty() { "model".to_owned() } else { name }
}

/// The labels in a file's metadata: a list, or a map from index to label, as JSON or as Python prints it.
fn labels(metadata: &[(String, String)]) -> Option<Vec<String>> {
    let found = |key: &&str| metadata.iter().find(|(k, _)| k.eq_ignore_ascii_case(key));
    let text = &LABEL_KEYS.iter().find_map(found)?.1;
    let labels = listed(text).or_else(|| mapped(text))?;
    let fits = |label: &String| !label.trim().is_empty() && !label.contains(['\n', '\r']);
    (!labels.is_empty() && labels.iter().all(fits)).then_some(labels)
}

/// The strings of `["cat", "dog"]`.
fn listed(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (label, after) = quoted(rest)?;
        labels.push(label);
        rest = comma(after)?;
    }
    Some(labels)
}

/// The strings of `{0: 'cat', "1": 'dog'}`, whose keys count from 0.
fn mapped(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut labels = std::collections::BTreeMap::new();
    while !rest.is_empty() {
        let (key, after) = match quoted(rest) {
            Some((key, after)) => (key, after),
            None => {
                let end = rest.find(':')?;
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        let (label, after) = quoted(after.trim_start().strip_prefix(':')?.trim_start())?;
        labels.insert(key.parse::<usize>().ok()?, label);
        rest = comma(after)?;
    }
    let counted = labels.keys().copied().eq(0..labels.len());
    counted.then(|| labels.into_values().collect())
}

/// A string in quotes, of either kind, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut label = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => label.push(chars.next()?.1),
            c if c == quote => return Some((label, &text[at + c.len_utf8()..])),
            c => label.push(c),
        }
    }
    None
}

/// What follows a comma, or nothing where nothing is left.
fn comma(text: &str) -> Option<&str> {
    let text = text.trim_start();
    if text.is_empty() {
        return Some(text);
    }
    Some(text.strip_prefix(',')?.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use repserve_graph::{DType, Dim, Value};

    #[track_caller]
    fn check(text: &str, expected: Option<&[&str]>) {
        let found = labels(&[("Names".to_owned(), text.to_owned())]);
        let expected = expected.map(|labels| labels.iter().map(|l| (*l).to_owned()).collect());
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn labels_are_read_as_exporters_write_them() {
        check("{0: 'cat', 1: \"dog's\"}", Some(&["cat", "dog's"]));
        check(r#"{"1": "dog", "0": "cat"}"#, Some(&["cat", "dog"]));
        check(r#" ["cat", "a \"b\""] "#, Some(&["cat", "a \"b\""]));
        check("{0: 'cat', 2: 'dog'}", None);
        check("{0: 'cat' 1: 'dog'}", None);
        check("['cat", None);
        check("[]", None);
        check("cat", None);
        check("{x: 'é'}", None);
        check("[\"a\\", None);
    }

    fn model(dtype: DType, shape: [usize; 4]) -> Model {
        let mut model = Model::default();
        let extent = |n| {
            if n == 0 {
                Dim::Symbol("n".to_owned())
            } else {
                Dim::Fixed(n)
            }
        };
        let value = model.graph.add_value(Value {
            dtype: Some(dtype),
            shape: Some(shape.map(extent).to_vec()),
            ..Value::named("x")
        });
        model.graph.inputs.push(value);
        model
    }

    #[test]
    fn the_graph_fills_what_it_determines() {
        let draft = |dtype, shape, preset| Draft::new(Path::new("/x/my model.onnx"), &model(dtype, shape), preset);
        let plain = draft(DType::F32, [0, 3, 96, 64], Preset::Plain).manifest;
        assert_eq!(
            (plain.name.as_str(), plain.file.as_str()),
            ("my-model", "my model.onnx")
        );
        assert_eq!((plain.input.size, plain.input.resize), ([96, 64], None));
        assert_eq!((plain.input.mean, plain.input.std), ([0.0; 3], [1.0; 3]));
        let imagenet = draft(DType::F32, [0, 0, 0, 3], Preset::Imagenet).manifest;
        assert_eq!((imagenet.input.size, imagenet.input.resize), ([224, 224], Some(256)));
        assert_eq!(imagenet.input.mean, [0.485, 0.456, 0.406]);
        let bytes = draft(DType::U8, [1, 32, 32, 3], Preset::Imagenet).manifest;
        assert_eq!(bytes.input.mean, [0.0; 3]);
        for manifest in [plain, imagenet, bytes] {
            let text = toml::to_string(&manifest).unwrap();
            assert_eq!(Manifest::parse(&text), Ok(manifest));
        }
        assert!("imagenet".parse::<Preset>().is_ok() && "other".parse::<Preset>().is_err());
    }
}
