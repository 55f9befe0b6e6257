//! Inner values of a graph that a server returns on request, beside the classes: the features of a layer.
//!
//! `model.toml` names them by their names in the train-time graph. They become outputs of the deploy graph once that is fused, so that they keep no
//! branches from being fused; a value that fusing removes is refused, with those that there are.

mod verify;

pub(super) use verify::{compare_embedded, embedded};

use serde::{Deserialize, Serialize};

use super::error::CompileError;
use super::source::Source;
use repserve_graph::ops::{Cast, GraphView};
use repserve_graph::shapes::{Shapes, fixed};
use repserve_graph::{DType, Dim, Graph, Model, ValueId};

/// Values that all embeddings of a model have for one image, at most.
pub const EMBEDDING_VALUES_MAX: usize = 65_536;
/// Embeddings of a model, at most.
pub const EMBEDDINGS_MAX: usize = 8;
/// Values that an error names at most.
const NAMED_MAX: usize = 8;

const GONE: &str = "the deploy graph has no such value; fusing keeps none of those within a block";

/// An inner value of a graph that is returned on request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedding {
    /// Its name in the train-time graph.
    pub name: String,
    /// Its extents for one image.
    pub shape: Vec<usize>,
}

impl Embedding {
    /// Values for one image.
    pub fn values(&self) -> usize {
        self.shape.iter().product()
    }

    /// The inner values of a deploy graph that can be returned, from its end to its beginning.
    pub fn possible(model: &Model) -> Vec<Self> {
        let graph = &model.graph;
        let known = Known::of(model);
        let made = graph.nodes().rev().flat_map(|(_, node)| node.produces());
        let inner = made.filter(|value| !graph.outputs.contains(value));
        inner.filter_map(|value| known.embedding(value).ok()).collect()
    }
}

/// What is known of a graph's values.
struct Known<'a> {
    graph: &'a Graph,
    shapes: Shapes,
    opset: i64,
    /// Axes of the graph's input, and the first of them.
    input: Option<(usize, Dim)>,
}

impl<'a> Known<'a> {
    fn of(model: &'a Model) -> Self {
        let graph = &model.graph;
        let shapes = Shapes::infer(graph, model.opset());
        let input = graph.inputs.iter().find(|value| graph.constant(**value).is_none());
        let extents = input.and_then(|value| shapes.of(*value));
        let input = extents.and_then(|extents| Some((extents.len(), extents.first()?.clone())));
        Self {
            graph,
            opset: model.opset(),
            input,
            shapes,
        }
    }

    /// The embedding that a value is, or why it is none.
    fn embedding(&self, value: ValueId) -> Result<Embedding, String> {
        if self.graph.producer(value).is_none() {
            let there = self.graph.inputs.contains(&value) || self.graph.constant(value).is_some();
            return Err(if there { "it is an input or a constant" } else { GONE }.to_owned());
        }
        let kind = self.dtype(value);
        if !kind.is_float() {
            return Err("its elements are no floats".to_owned());
        }
        let shape = self.shapes.of(value).ok_or("its shape is not known")?;
        let (of_batch, of_image) = match (&self.input, shape) {
            (Some((4, batch)), [first, rest @ ..]) if !rest.is_empty() => (fits(first, batch), rest),
            (Some((rank, _)), _) if *rank != 4 => (true, shape),
            _ => (false, shape),
        };
        let extents: Option<Vec<usize>> = of_image.iter().map(fixed).collect();
        let extents = extents.filter(|_| of_batch).ok_or_else(|| {
            format!(
                "its shape is {}; it takes the batch and fixed extents behind it",
                shown(shape)
            )
        })?;
        let values = extents.iter().try_fold(1usize, |n, extent| n.checked_mul(*extent));
        match values {
            Some(1..=EMBEDDING_VALUES_MAX) => Ok(Embedding {
                name: self.graph.value(value).name.clone(),
                shape: extents,
            }),
            _ => Err(format!(
                "its shape is {}; {EMBEDDING_VALUES_MAX} values for an image are possible",
                shown(shape)
            )),
        }
    }

    /// The type of a value's elements; where the file does not say it, that of what it is made of.
    fn dtype(&self, value: ValueId) -> DType {
        let mut value = value;
        // A graph has no cycles, and a walk towards its inputs ends.
        loop {
            let known = self.graph.value(value).dtype;
            if let Some(known) = known.or_else(|| self.graph.constant(value).map(|tensor| tensor.dtype())) {
                return known;
            }
            let Some(node) = self.graph.producer(value).and_then(|id| self.graph.node(id)) else {
                return DType::F32;
            };
            let view = GraphView {
                graph: self.graph,
                shapes: &self.shapes,
                opset: self.opset,
            };
            if let Ok(Some(cast)) = Cast::of(&view.node(node)) {
                return cast.to;
            }
            let operand = usize::from(node.is("DequantizeLinear"));
            match node.input(operand) {
                Some(input) => value = input,
                None => return DType::F32,
            }
        }
    }
}

/// Whether a value's first axis may be that of the batch.
fn fits(first: &Dim, batch: &Dim) -> bool {
    match (first, batch) {
        (Dim::Fixed(n), Dim::Fixed(batch)) => n == batch,
        (Dim::Fixed(_), Dim::Symbol(_)) => false,
        // That of each image is compared with what the image gives alone.
        (Dim::Symbol(_), _) => true,
    }
}

fn shown(shape: &[Dim]) -> String {
    let extents = shape.iter().map(|dim| match dim {
        Dim::Fixed(n) => n.to_string(),
        Dim::Symbol(name) if name.is_empty() => "?".to_owned(),
        Dim::Symbol(name) => name.clone(),
    });
    format!("[{}]", extents.collect::<Vec<_>>().join(", "))
}

/// Makes the values that `source` names outputs of its deploy graph, behind those that it has.
///
/// # Errors
/// A name that is no value of the deploy graph, or a value that cannot be returned.
pub(super) fn expose(fused: &mut repserve_reparam::Fused, source: &Source) -> Result<Vec<Embedding>, CompileError> {
    let mut found = Vec::new();
    for name in &source.options.further {
        let known = Known::of(&fused.model);
        let value = fused.model.graph.find(name);
        let checked = match value {
            Some(value) => known.embedding(value).map(|embedding| (value, embedding)),
            None => Err(GONE.to_owned()),
        };
        let dtype = value.map(|value| known.dtype(value));
        let (value, embedding) = checked.map_err(|reason| refused(name, reason, &fused.model, source))?;
        expose_value(&mut fused.model, value, dtype.unwrap_or(DType::F32));
        fused.altered();
        found.push(embedding);
    }
    let values: usize = found.iter().map(Embedding::values).sum();
    match source.options.further.first() {
        Some(name) if values > EMBEDDING_VALUES_MAX => {
            let reason = format!("all have {values} values for an image together; {EMBEDDING_VALUES_MAX} are possible");
            Err(refused(name, reason, &fused.model, source))
        }
        _ => Ok(found),
    }
}

/// Makes a value an output, where it is none.
fn expose_value(model: &mut Model, value: ValueId, dtype: DType) {
    let graph = &mut model.graph;
    graph.value_mut(value).dtype.get_or_insert(dtype);
    if !graph.outputs.contains(&value) {
        graph.outputs.push(value);
    }
}

fn refused(name: &str, reason: String, deploy: &Model, source: &Source) -> CompileError {
    let train = source.model().ok();
    let in_both = |embedding: &Embedding| {
        let train = train.as_ref().map(|train| &train.graph);
        train.is_none_or(|train| train.find(&embedding.name).is_some())
    };
    let possible = Embedding::possible(deploy).into_iter().filter(in_both);
    let possible: Vec<String> = possible.map(|embedding| embedding.name).take(NAMED_MAX).collect();
    CompileError::Embedding {
        name: name.to_owned(),
        reason,
        possible: possible.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fused::Fused;
    use bytes::Bytes;
    use repserve_graph::onnx;

    fn fused(onnx: &'static [u8], names: &[&str]) -> Result<Fused, CompileError> {
        let mut source = Source {
            onnx: Bytes::from_static(onnx),
            ..Source::default()
        };
        source.options.further = names.iter().map(|name| (*name).to_owned()).collect();
        Fused::new(source)
    }

    const TRAIN: &[u8] = include_bytes!("../../../../models/repvgg-cifar10/model.onnx");

    #[test]
    fn what_stands_before_the_classifier_is_possible_and_named_first() {
        let plain = fused(TRAIN, &[]).unwrap();
        let possible = Embedding::possible(plain.model());
        let features = &possible[0];
        assert_eq!(features.shape.first(), possible[1].shape.first());
        let declared = fused(TRAIN, &[&features.name]).unwrap();
        assert_eq!(declared.embeddings(), std::slice::from_ref(features));
        assert_eq!(declared.output(), Some("logits"));
        assert_eq!(declared.report().blocks.len(), plain.report().blocks.len());
    }

    #[test]
    fn what_fusing_removes_is_refused_with_what_there_is() {
        let plain = fused(TRAIN, &[]).unwrap();
        let train = onnx::read(Bytes::from_static(TRAIN), &Default::default()).unwrap();
        let convolutions = train.graph.nodes().filter(|(_, node)| node.is("Conv"));
        let values = convolutions.flat_map(|(_, node)| node.produces().collect::<Vec<_>>());
        let mut names = values.map(|value| train.graph.value(value).name.clone());
        let gone = names.find(|name| plain.model().graph.find(name).is_none()).unwrap();
        let error = fused(TRAIN, &[&gone]).unwrap_err().to_string();
        assert!(
            error.contains("within a block") && error.contains(&Embedding::possible(plain.model())[0].name),
            "{error}"
        );
        let error = fused(TRAIN, &[&train.graph.value(train.graph.inputs[0]).name]).unwrap_err();
        assert!(error.to_string().contains("it is an input"), "{error}");
    }
}
