//! What a graph takes: the order of axes and the element type of its images, and tensors of that kind.

use half::f16;
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{PrimitiveTensorElementType, Tensor, TensorElementType, TensorRef, ValueType};

use super::error::RuntimeError;

/// The model's one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in the graph.
    pub name: String,
    /// The batch extent that the graph fixes; `None` where it is free.
    pub batch: Option<usize>,
    /// Channels, height, width; `None` where the graph leaves one free.
    pub image: [Option<usize>; 3],
    /// The order of its axes.
    pub layout: Layout,
    /// The type of its elements.
    pub element: Element,
}

/// The order of an input's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Batch, channels, height, width.
    ChannelsFirst,
    /// Batch, height, width, channels.
    ChannelsLast,
    /// Channels, height, width: one image.
    ImageChannelsFirst,
    /// Height, width, channels: one image.
    ImageChannelsLast,
}

/// The type of an input's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 64-bit floats.
    F64,
    /// Bytes: pixels before any preprocessing.
    U8,
}

impl Layout {
    /// Whether an axis counts the images.
    pub fn has_batch(self) -> bool {
        matches!(self, Self::ChannelsFirst | Self::ChannelsLast)
    }

    /// Whether the channels are its last axis.
    pub fn channels_last(self) -> bool {
        matches!(self, Self::ChannelsLast | Self::ImageChannelsLast)
    }

    /// The layout of four or three extents (`None`: free); `None` for any other number. Channels are one or three, and come first where
    /// that leaves a choice.
    pub fn of(extents: &[Option<usize>]) -> Option<Self> {
        let channels = |extent: Option<usize>| matches!(extent, Some(1 | 3));
        let last = |extents: [Option<usize>; 3]| !channels(extents[0]) && channels(extents[2]);
        match *extents {
            [_, a, b, c] if last([a, b, c]) => Some(Self::ChannelsLast),
            [_, _, _, _] => Some(Self::ChannelsFirst),
            [a, b, c] if last([a, b, c]) => Some(Self::ImageChannelsLast),
            [_, _, _] => Some(Self::ImageChannelsFirst),
            _ => None,
        }
    }
}

impl Element {
    fn of(kind: TensorElementType) -> Option<Self> {
        match kind {
            TensorElementType::Float32 => Some(Self::F32),
            TensorElementType::Float16 => Some(Self::F16),
            TensorElementType::Float64 => Some(Self::F64),
            TensorElementType::Uint8 => Some(Self::U8),
            _ => None,
        }
    }
}

impl Input {
    /// What a session takes.
    ///
    /// # Errors
    /// Where it takes anything but images.
    pub(super) fn of(session: &OrtSession) -> Result<Self, RuntimeError> {
        let unsupported = |what: String| RuntimeError::Unsupported(what);
        let [input] = session.inputs() else {
            let names: Vec<_> = session.inputs().iter().map(|i| i.name()).collect();
            return Err(unsupported(format!(
                "it has {} inputs ({}), not one",
                names.len(),
                names.join(", ")
            )));
        };
        let kind = || {
            unsupported(format!(
                "its input is {}, not a tensor of floats or bytes",
                input.dtype()
            ))
        };
        let ValueType::Tensor { ty, shape, .. } = input.dtype() else {
            return Err(kind());
        };
        let element = Element::of(*ty).ok_or_else(kind)?;
        let extents: Vec<Option<usize>> = shape
            .iter()
            .map(|d| usize::try_from(*d).ok().filter(|d| *d > 0))
            .collect();
        let layout = Layout::of(&extents).ok_or_else(|| {
            unsupported(format!(
                "its input has {} dimensions, not 4 (batch and those of an image)",
                extents.len()
            ))
        })?;
        let (batch, image) = match extents[..] {
            [batch, a, b, c] => (batch, [a, b, c]),
            [a, b, c] => (Some(1), [a, b, c]),
            _ => return Err(kind()),
        };
        let [a, b, c] = image;
        Ok(Self {
            name: input.name().to_owned(),
            batch,
            image: if layout.channels_last() { [c, a, b] } else { image },
            layout,
            element,
        })
    }

    /// A tensor of the kind that the graph takes. `values` are `batch` images of `shape` (channels, height, width), each
    /// row-major.
    ///
    /// # Errors
    /// ONNX Runtime refuses it.
    pub(super) fn tensor<'v>(
        &self,
        values: &'v [f32],
        batch: usize,
        shape: [usize; 3],
    ) -> Result<SessionInputValue<'v>, RuntimeError> {
        let [channels, height, width] = shape;
        let mut extents = match self.layout.channels_last() {
            true => vec![batch, height, width, channels],
            false => vec![batch, channels, height, width],
        };
        if !self.layout.has_batch() {
            extents.remove(0);
        }
        match self.element {
            Element::F32 if !self.layout.channels_last() => Ok(TensorRef::from_array_view((extents, values))
                .map_err(|e| RuntimeError::Run(e.to_string()))?
                .into()),
            Element::F32 => owned(extents, self.ordered(values, shape, |x| x)),
            Element::F16 => owned(extents, self.ordered(values, shape, f16::from_f32)),
            Element::F64 => owned(extents, self.ordered(values, shape, f64::from)),
            Element::U8 => owned(
                extents,
                self.ordered(values, shape, |x| x.round().clamp(0.0, 255.0) as u8),
            ),
        }
    }

    /// The values in the order of the graph's axes, converted.
    fn ordered<T>(&self, values: &[f32], [channels, height, width]: [usize; 3], convert: fn(f32) -> T) -> Vec<T> {
        if !self.layout.channels_last() {
            return values.iter().map(|x| convert(*x)).collect();
        }
        let plane = height * width;
        let images = values.chunks_exact((channels * plane).max(1));
        images
            .flat_map(|image| (0..plane).flat_map(move |at| image.iter().skip(at).step_by(plane.max(1))))
            .map(|x| convert(*x))
            .collect()
    }
}

fn owned<T>(extents: Vec<usize>, values: Vec<T>) -> Result<SessionInputValue<'static>, RuntimeError>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
{
    let tensor = Tensor::from_array((extents, values)).map_err(|e| RuntimeError::Run(e.to_string()))?;
    Ok(tensor.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(extents: &[usize], expected: Option<Layout>) {
        let extents: Vec<_> = extents.iter().map(|x| Some(*x).filter(|x| *x > 0)).collect();
        assert_eq!(Layout::of(&extents), expected);
    }

    #[test]
    fn channels_are_where_one_or_three_stand() {
        check(&[0, 3, 224, 224], Some(Layout::ChannelsFirst));
        check(&[0, 224, 224, 3], Some(Layout::ChannelsLast));
        check(&[1, 28, 28, 1], Some(Layout::ChannelsLast));
        check(&[1, 1, 28, 28], Some(Layout::ChannelsFirst));
        check(&[0, 0, 0, 3], Some(Layout::ChannelsLast));
        check(&[0, 0, 0, 0], Some(Layout::ChannelsFirst));
        check(&[0, 3, 1, 3], Some(Layout::ChannelsFirst));
        check(&[32, 32, 3], Some(Layout::ImageChannelsLast));
        check(&[3, 32, 32], Some(Layout::ImageChannelsFirst));
        check(&[10, 3], None);
    }

    #[test]
    fn planes_become_pixels() {
        let input = Input {
            name: "x".to_owned(),
            batch: None,
            image: [None; 3],
            layout: Layout::ChannelsLast,
            element: Element::U8,
        };
        let planes = [1.0, 2.0, 10.0, 20.0, 100.0, 200.4, 3.0, 4.0, 30.0, 40.0, 300.0, -1.0];
        let pixels = input.ordered(&planes, [3, 1, 2], |x| x);
        assert_eq!(
            pixels,
            [1.0, 10.0, 100.0, 2.0, 20.0, 200.4, 3.0, 30.0, 300.0, 4.0, 40.0, -1.0]
        );
    }
}
