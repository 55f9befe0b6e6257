//! What goes into a model and what comes out, where graph, `model.toml` and labels agree on it.

use super::error::CompileError;
use super::package::Package;
use repserve_graph::{Dim, Model};
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
}

impl Signature {
    /// Compares what the package says with a session of its graph.
    ///
    /// # Errors
    /// Where they disagree, or nothing says how many classes there are.
    pub fn new(package: &Package, session: &ModelSession) -> Result<Self, CompileError> {
        let [height, width] = package.image_size();
        check_size(session.input().image, [height, width])?;
        let labels = package.labels.as_ref().map(Vec::len);
        let classes = match (session.output_len(), labels) {
            (Some(classes), Some(labels)) if labels != classes => return Err(CompileError::Labels { classes, labels }),
            (Some(classes), _) => classes,
            (None, Some(labels)) => labels,
            (None, None) => return Err(CompileError::NoClasses),
        };
        Ok(Self {
            input: session.input().name.clone(),
            image: [3, height, width],
            output: session.output_name().to_owned(),
            classes,
        })
    }

    /// Values that go in for one image.
    pub fn image_len(&self) -> usize {
        self.image.iter().product()
    }
}

/// Channels, height and width that a graph takes; `None` where it leaves one free.
pub(super) fn image_extents(model: &Model) -> [Option<usize>; 3] {
    let graph = &model.graph;
    let input = graph.inputs.iter().find(|value| graph.constant(**value).is_none());
    let shape = input.and_then(|value| graph.value(*value).shape.as_deref());
    let extent = |axis: usize| match shape?.get(axis)? {
        Dim::Fixed(extent) => Some(*extent),
        Dim::Symbol(_) => None,
    };
    [extent(1), extent(2), extent(3)]
}

/// Checks that the graph takes images of the size (height, width) that `model.toml` says.
pub(super) fn check_size(graph: [Option<usize>; 3], size: [usize; 2]) -> Result<(), CompileError> {
    let [channels, height, width] = graph;
    if let Some(channels) = channels.filter(|channels| *channels != 3) {
        return Err(CompileError::Channels { channels });
    }
    let [h, w] = size;
    if height.is_none_or(|x| x == h) && width.is_none_or(|x| x == w) {
        return Ok(());
    }
    let extent = |extent: Option<usize>| extent.map_or("any".to_owned(), |x| x.to_string());
    Err(CompileError::Size {
        graph: format!("{}x{}", extent(height), extent(width)),
        manifest: format!("{h}x{w}"),
    })
}

#[cfg(test)]
mod tests {
    use super::check_size;

    #[test]
    fn sizes_that_the_graph_leaves_free_fit() {
        assert!(check_size([Some(3), None, Some(48)], [32, 48]).is_ok());
        assert!(check_size([None; 3], [1, 1]).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let message = |graph| check_size(graph, [32, 48]).unwrap_err().to_string();
        assert_eq!(
            message([Some(1), None, None]),
            "the graph takes images of 1 channels; only 3 (R, G, B) can be served"
        );
        assert_eq!(
            message([Some(3), None, Some(32)]),
            "the graph takes images of anyx32 pixels (height x width) and model.toml gives 32x48"
        );
    }
}
