//! A request's one input, whatever it was sent as, and the images that it makes. Pure.

use bytes::Bytes;

use super::error::RequestError::{self, Malformed, TooLarge};
use super::limits::InferLimits;
use super::tensor::{self, Datatype};
use crate::classify::Tensor;
use crate::http::echo::echo;
use repserve_compile::Signature;
use repserve_scheduler::Payload;

/// The name under which encoded images may be sent, besides the graph's own input.
const IMAGES: &str = "images";

/// The images of a request.
pub(super) type Images = Vec<Payload<Bytes, Tensor>>;

/// An input tensor as a request describes it.
#[derive(Debug)]
pub(in crate::http) struct InputTensor {
    pub(in crate::http) name: Option<String>,
    pub(in crate::http) shape: Option<Vec<u64>>,
    pub(in crate::http) datatype: Option<Datatype>,
    pub(in crate::http) content: InputContent,
}

/// The elements of an input tensor.
#[derive(Debug)]
pub(in crate::http) enum InputContent {
    /// Read one by one; how many there were.
    Elements { content: DataContent, count: usize },
    /// As raw bytes; see [`tensor`].
    Raw(Bytes),
}

/// Elements that were read one by one.
#[derive(Debug, Default, PartialEq)]
pub(in crate::http) enum DataContent {
    /// Nothing.
    #[default]
    Empty,
    /// Numbers, cut into images; the last one may be incomplete.
    Tensors(Vec<Tensor>),
    /// Strings.
    Images(Vec<Bytes>),
}

impl InputTensor {
    /// The images.
    pub(in crate::http) fn images(self, signature: &Signature, limits: InferLimits) -> Result<Images, RequestError> {
        let missing = |what: &str| Malformed(format!("the input has no {what}"));
        let name = self.name.as_deref().ok_or_else(|| missing("name"))?;
        if name != signature.input && name != IMAGES {
            return Err(Malformed(format!(
                "there is no input {:?}; send FP32 as {:?}, or encoded images (BYTES) as {IMAGES:?}",
                echo(name),
                signature.input
            )));
        }
        let shape = self.shape.ok_or_else(|| missing("shape"))?;
        match self.datatype.ok_or_else(|| missing("datatype"))? {
            Datatype::Fp32 if name != signature.input => Err(Malformed(format!(
                "the input {IMAGES:?} takes encoded images (BYTES); send FP32 as {:?}",
                signature.input
            ))),
            Datatype::Fp32 => tensors(&shape, self.content, signature, limits),
            Datatype::Bytes => encoded(&shape, self.content, limits),
            Datatype::Other => Err(Malformed("the input's datatype must be FP32 or BYTES".to_owned())),
        }
    }
}

fn tensors(
    shape: &[u64],
    content: InputContent,
    signature: &Signature,
    limits: InferLimits,
) -> Result<Images, RequestError> {
    let [channels, height, width] = signature.image;
    let [images, rest @ ..] = shape else {
        return Err(Malformed("the input has no shape".to_owned()));
    };
    if *rest != [channels, height, width].map(|extent| extent as u64) {
        return Err(Malformed(format!(
            "the input's shape is {shape:?}, the model takes [n, {channels}, {height}, {width}]"
        )));
    }
    let images = counted(*images, limits)?;
    let image_len = signature.image_len();
    let wanted = images.checked_mul(image_len).ok_or_else(|| limits.too_many_images())?;
    let (tensors, count) = match content {
        InputContent::Elements { content, count } => match content {
            DataContent::Tensors(tensors) => (tensors, count),
            DataContent::Empty => (Vec::new(), 0),
            DataContent::Images(_) => return Err(Malformed("the FP32 input holds strings".to_owned())),
        },
        InputContent::Raw(raw) => {
            let count = tensor::floats_len(&raw).map_err(Malformed)?;
            // What is of another size is refused below, uncopied.
            let tensors = if count == wanted {
                tensor::floats(&raw, image_len)
            } else {
                Vec::new()
            };
            (tensors, count)
        }
    };
    shape_holds(shape, wanted, count)?;
    if !tensors.iter().flatten().all(|x| x.is_finite()) {
        return Err(RequestError::not_finite());
    }
    Ok(tensors.into_iter().map(Payload::Ready).collect())
}

fn encoded(shape: &[u64], content: InputContent, limits: InferLimits) -> Result<Images, RequestError> {
    let wanted = match *shape {
        [n] | [n, 1] => counted(n, limits)?,
        _ => {
            return Err(Malformed(format!(
                "the input's shape is {shape:?}, encoded images come as [n]"
            )));
        }
    };
    let images = match content {
        InputContent::Elements { content, .. } => match content {
            DataContent::Images(images) => images,
            DataContent::Empty => Vec::new(),
            DataContent::Tensors(_) => return Err(Malformed("the BYTES input holds numbers".to_owned())),
        },
        InputContent::Raw(raw) => tensor::strings(raw, wanted).map_err(Malformed)?,
    };
    shape_holds(shape, wanted, images.len())?;
    for (index, image) in images.iter().enumerate() {
        limits.check_image(index, image.len())?;
    }
    Ok(images.into_iter().map(Payload::Raw).collect())
}

fn shape_holds(shape: &[u64], wanted: usize, count: usize) -> Result<(), RequestError> {
    if wanted == count {
        return Ok(());
    }
    Err(Malformed(format!(
        "the shape {shape:?} has {wanted} elements, the data {count}"
    )))
}

/// The number of images, which is the shape's first extent.
fn counted(images: u64, limits: InferLimits) -> Result<usize, RequestError> {
    match usize::try_from(images) {
        Ok(0) => Err(Malformed("the request holds no image".to_owned())),
        Ok(count) if count <= limits.images_max => Ok(count),
        _ => Err(TooLarge(format!(
            "{images} images in one request, at most {} are taken",
            limits.images_max
        ))),
    }
}
