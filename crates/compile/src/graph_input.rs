//! What a graph takes, and the preprocessing that makes it.

use super::error::CompileError;
use repserve_graph::shapes::fixed;
use repserve_graph::{DType, Model};
use repserve_preprocess::{BYTE_MAX, InputSpec, Preprocess};
use repserve_runtime::Layout;
use serde::{Deserialize, Serialize};

/// What a graph takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GraphInput {
    /// Channels, height and width of an image; `None` where the graph leaves one free.
    pub(super) extents: [Option<usize>; 3],
    /// Whether it takes the bytes of pixels: the graph has its own preprocessing.
    pub(super) bytes: bool,
}

impl GraphInput {
    /// That of a model's graph.
    pub(super) fn of(model: &Model) -> Self {
        let graph = &model.graph;
        let input = graph.inputs.iter().find(|value| graph.constant(**value).is_none());
        let input = input.map(|value| graph.value(*value));
        let shape = input.and_then(|value| value.shape.as_deref()).unwrap_or_default();
        let extents: Vec<_> = shape.iter().map(fixed).collect();
        let extents = match (Layout::of(&extents), &extents[..]) {
            (Some(layout), [.., a, b, c]) if layout.channels_last() => [*c, *a, *b],
            (Some(_), [.., a, b, c]) => [*a, *b, *c],
            _ => [None; 3],
        };
        Self {
            extents,
            bytes: input.is_some_and(|value| value.dtype == Some(DType::U8)),
        }
    }

    /// How images become what the graph takes, and the warnings that this calls for.
    ///
    /// # Errors
    /// A size that the graph does not take, or channels that are no image's.
    pub(super) fn preprocess(&self, spec: &InputSpec) -> Result<(Preprocess, Vec<String>), CompileError> {
        check_size(self.extents, spec.size.map(|side| side as usize))?;
        let mut spec = spec.clone();
        let mut warnings = Vec::new();
        if self.bytes {
            let bytes = InputSpec {
                scale: 1.0,
                mean: [0.0; 3],
                std: [1.0; 3],
                ..spec.clone()
            };
            let plain = [[1.0; 3], [1.0 / BYTE_MAX; 3]];
            if spec.mean != [0.0; 3] || !plain.contains(&spec.std) {
                warnings.push(format!(
                    "the graph takes bytes and prepares them itself: input.mean = {:?} and input.std = {:?} are not applied",
                    spec.mean, spec.std
                ));
            }
            spec = bytes;
        }
        let preprocess = Preprocess::try_from(spec)?;
        Ok(if self.channels() == 1 {
            (preprocess.gray(), warnings)
        } else {
            (preprocess, warnings)
        })
    }

    /// Channels of an image; three where the graph does not say.
    pub(super) fn channels(&self) -> usize {
        self.extents[0].unwrap_or(3)
    }
}

/// Checks that the graph takes images of the size (height, width) that `model.toml` says.
fn check_size(graph: [Option<usize>; 3], size: [usize; 2]) -> Result<(), CompileError> {
    let [channels, height, width] = graph;
    if let Some(channels) = channels.filter(|channels| !matches!(channels, 1 | 3)) {
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
    use super::*;
    use repserve_graph::{Dim, Value};
    use repserve_preprocess::{JpegDecode, Limits};

    #[test]
    fn sizes_that_the_graph_leaves_free_fit() {
        assert!(check_size([Some(3), None, Some(48)], [32, 48]).is_ok());
        assert!(check_size([None; 3], [1, 1]).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let message = |graph| check_size(graph, [32, 48]).unwrap_err().to_string();
        assert_eq!(
            message([Some(4), None, None]),
            "the graph takes images of 4 channels; only 3 (R, G, B) and 1 (gray) can be served"
        );
        assert_eq!(
            message([Some(3), None, Some(32)]),
            "the graph takes images of anyx32 pixels (height x width) and model.toml gives 32x48"
        );
    }

    fn input(dtype: DType, shape: &[usize]) -> GraphInput {
        let mut model = Model::default();
        let shape = shape.iter().copied().map(Dim::Fixed).collect();
        let value = model.graph.add_value(Value {
            dtype: Some(dtype),
            shape: Some(shape),
            ..Value::named("x")
        });
        model.graph.inputs.push(value);
        GraphInput::of(&model)
    }

    #[test]
    fn channels_are_found_in_either_place() {
        let expected = [Some(3), Some(32), Some(48)];
        assert_eq!(input(DType::F32, &[1, 3, 32, 48]).extents, expected);
        assert_eq!(input(DType::F16, &[1, 32, 48, 3]).extents, expected);
        assert_eq!(input(DType::U8, &[32, 48, 3]).extents, expected);
        assert_eq!(input(DType::F32, &[10]).extents, [None; 3]);
        assert_eq!(input(DType::F32, &[1, 1, 28, 28]).channels(), 1);
    }

    #[test]
    fn graphs_of_bytes_get_bytes_and_gray_ones_one_plane() {
        let mut bmp = b"BM".to_vec();
        bmp.extend([58_u32, 0, 54, 40, 1, 1].iter().flat_map(|x| x.to_le_bytes()));
        bmp.extend([1_u16, 24].iter().flat_map(|x| x.to_le_bytes()));
        bmp.extend([0_u32, 4, 0, 0, 0, 0].iter().flat_map(|x| x.to_le_bytes()));
        bmp.extend([10, 20, 200, 0]);
        let spec = InputSpec {
            size: [1, 1],
            resize: None,
            interpolation: repserve_preprocess::Interpolation::Nearest,
            scale: BYTE_MAX,
            mean: [0.5; 3],
            std: [0.5; 3],
        };
        let tensor = |input: GraphInput| {
            let (preprocess, warnings) = input.preprocess(&spec).unwrap();
            let decoded = preprocess.apply(&bmp, &Limits::default(), JpegDecode::Exact).unwrap();
            (decoded.tensor, !warnings.is_empty())
        };
        let (bytes, warned) = tensor(input(DType::U8, &[1, 3, 1, 1]));
        let rounded: Vec<f32> = bytes.iter().map(|x| x.round()).collect();
        assert_eq!((rounded.as_slice(), warned), (&[200.0, 20.0, 10.0][..], true));
        // (200 * 19595 + 20 * 38470 + 10 * 7471 + 32768) >> 16 = 73
        let (gray, _) = tensor(input(DType::U8, &[1, 1, 1, 1]));
        assert_eq!(gray.iter().map(|x| x.round()).collect::<Vec<_>>(), [73.0]);
        let (floats, warned) = tensor(input(DType::F32, &[1, 3, 1, 1]));
        assert_eq!((floats.len(), warned), (3, false));
    }
}
