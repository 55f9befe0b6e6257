//! What goes into a model and what comes out, where graph, `model.toml` and labels agree on it.

use super::embedding::Embedding;
use super::error::CompileError;
use super::package::Package;
use super::scores::Scores;
use repserve_runtime::ModelSession;

/// A model's input and output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The graph's input.
    pub input: String,
    /// Channels, height and width of one image.
    pub image: [usize; 3],
    /// The graph's output that is read.
    pub output: String,
    /// Values that come out for one image.
    pub classes: usize,
    /// Inner values that are returned to those who request them.
    pub embeddings: Vec<Embedding>,
}

impl Signature {
    /// Compares what the package says with a session of its graph, which takes images of `image` (channels, height, width) and returns
    /// `values` for each.
    ///
    /// # Errors
    /// Where the labels are of other classes.
    pub fn new(
        package: &Package,
        session: &ModelSession,
        image: [usize; 3],
        values: usize,
        scores: Scores,
    ) -> Result<Self, CompileError> {
        let classes = scores.classes(values);
        let labels = package.labels.as_ref().map(Vec::len);
        if let Some(labels) = labels.filter(|labels| *labels != classes) {
            return Err(mismatch(package, classes, labels));
        }
        Ok(Self {
            input: session.input().name.clone(),
            image,
            output: session.output_name().to_owned(),
            classes: values,
            embeddings: Vec::new(),
        })
    }

    /// The same, with these inner values.
    #[must_use]
    pub fn with_embeddings(mut self, embeddings: Vec<Embedding>) -> Self {
        self.embeddings = embeddings;
        self
    }

    /// The place of an inner value among those that are returned to those who request them.
    pub fn embedding(&self, name: &str) -> Option<usize> {
        self.embeddings.iter().position(|embedding| embedding.name == name)
    }

    /// Values that go in for one image.
    pub fn image_len(&self) -> usize {
        self.image.iter().product()
    }
}

fn mismatch(package: &Package, classes: usize, labels: usize) -> CompileError {
    let (file, remedy) = match &package.manifest.labels {
        Some(file) => (
            file.clone(),
            "write a line for each class, in the order of the outputs, or leave `labels` out of model.toml",
        ),
        None => (
            "the graph's metadata".to_owned(),
            "run `repserve init`, and name a file with a line for each class as `labels` in model.toml",
        ),
    };
    CompileError::Labels {
        file,
        remedy,
        classes,
        labels,
    }
}
