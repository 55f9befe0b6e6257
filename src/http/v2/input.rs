//! A request's one input: what its JSON describes, and the images that this and the raw bytes make.

use bytes::Bytes;
use serde::de::{Error, MapAccess, SeqAccess};

use super::data::{Data, DataContent, RANK_MAX, Reader};
use super::error::RequestError::{self, Malformed, TooLarge};
use super::json::{Array, Elements, Members, Object, Scalar, skip};
use super::limits::InferLimits;
use super::tensor::{self, Datatype};
use crate::classify::Tensor;
use crate::http::echo::echo;
use repserve_compile::Signature;
use repserve_scheduler::Payload;

/// The name under which encoded images may be sent, besides the graph's own input.
const IMAGES: &str = "images";

/// The images of a request.
type Images = Vec<Payload<Bytes, Tensor>>;

/// An input as its JSON describes it.
pub(super) struct Input {
    name: Option<String>,
    shape: Option<Vec<u64>>,
    datatype: Option<Datatype>,
    binary_data_size: Option<u64>,
    has_data: bool,
    pub(super) data: Data,
}

impl Members for Input {
    const NAME: &'static str = "an input";

    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => self.name = map.next_value::<Scalar>()?.text(key)?,
            "shape" => {
                let mut shape = Shape(Vec::new());
                map.next_value_seed(Array(&mut shape))?;
                self.data.announced = elements(&shape.0);
                self.shape = Some(shape.0);
            }
            "datatype" => {
                self.datatype = map.next_value::<Scalar>()?.text(key)?.as_deref().map(Datatype::called);
                self.data.datatype = self.datatype;
            }
            "parameters" => map.next_value_seed(Object(&mut Parameters(self)))?,
            "data" => {
                self.has_data = map.next_value_seed(Reader::new(&mut self.data))?;
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

struct Parameters<'a>(&'a mut Input);

impl Members for Parameters<'_> {
    const NAME: &'static str = "`parameters`";

    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "binary_data_size" => self.0.binary_data_size = map.next_value::<Scalar>()?.whole(key)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

struct Shape(Vec<u64>);

impl Elements for Shape {
    const NAME: &'static str = "`shape`";

    fn element<'de, A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let Some(extent) = seq.next_element::<Scalar>()? else {
            return Ok(false);
        };
        let Scalar::Whole(extent) = extent else {
            return Err(A::Error::custom("`shape` must hold whole numbers, 0 or more"));
        };
        if self.0.len() == RANK_MAX {
            return Err(A::Error::custom(format_args!(
                "`shape` has more than {RANK_MAX} extents"
            )));
        }
        self.0.push(extent);
        Ok(true)
    }
}

/// The elements of a tensor of this shape, where they can be counted.
fn elements(shape: &[u64]) -> Option<usize> {
    let all = shape.iter().try_fold(1u64, |all, extent| all.checked_mul(*extent))?;
    usize::try_from(all).ok()
}

impl Input {
    pub(super) fn new(signature: &Signature, limits: InferLimits) -> Self {
        Self {
            name: None,
            shape: None,
            datatype: None,
            binary_data_size: None,
            has_data: false,
            data: Data::new(signature.image_len(), limits),
        }
    }

    /// The images; `raw` are the bytes behind the JSON.
    pub(super) fn images(self, raw: Bytes, signature: &Signature, limits: InferLimits) -> Result<Images, RequestError> {
        let missing = |what: &str| Malformed(format!("the input has no {what}"));
        let name = self.name.as_deref().ok_or_else(|| missing("name"))?;
        if name != signature.input && name != IMAGES {
            return Err(Malformed(format!(
                "there is no input {:?}; send FP32 as {:?}, or encoded images (BYTES) as {IMAGES:?}",
                echo(name),
                signature.input
            )));
        }
        self.check_raw(&raw)?;
        let shape = self.shape.ok_or_else(|| missing("shape"))?;
        let content = self.has_data.then_some(self.data.content);
        let elements_sent = InputElements {
            shape,
            content,
            count: self.data.count,
            raw,
        };
        match self.datatype.ok_or_else(|| missing("datatype"))? {
            Datatype::Fp32 => elements_sent.tensors(signature, limits),
            Datatype::Bytes => elements_sent.encoded(limits),
            Datatype::Other => Err(Malformed("the input's datatype must be FP32 or BYTES".to_owned())),
        }
    }

    /// Whether what follows the JSON is what it announces.
    fn check_raw(&self, raw: &Bytes) -> Result<(), RequestError> {
        match self.binary_data_size {
            Some(_) if self.has_data => Err(Malformed("the input has both `data` and `binary_data_size`".to_owned())),
            Some(size) if size != raw.len() as u64 => Err(Malformed(format!(
                "binary_data_size is {size}, {} bytes follow the JSON",
                raw.len()
            ))),
            None if !raw.is_empty() => Err(Malformed(format!(
                "{} bytes follow the JSON, and no input has `binary_data_size`",
                raw.len()
            ))),
            _ => Ok(()),
        }
    }
}

/// The elements that a request holds, in its JSON or behind it.
struct InputElements {
    shape: Vec<u64>,
    content: Option<DataContent>,
    /// Elements in `content`.
    count: usize,
    raw: Bytes,
}

impl InputElements {
    fn tensors(self, signature: &Signature, limits: InferLimits) -> Result<Images, RequestError> {
        let [channels, height, width] = signature.image;
        let [images, rest @ ..] = &self.shape[..] else {
            return Err(Malformed("the input has no shape".to_owned()));
        };
        if *rest != [channels, height, width].map(|extent| extent as u64) {
            return Err(Malformed(format!(
                "the input's shape is {:?}, the model takes [n, {channels}, {height}, {width}]",
                self.shape
            )));
        }
        let images = counted(*images, limits)?;
        let image_len = signature.image_len();
        let wanted = images.checked_mul(image_len).ok_or_else(|| limits.too_many_images())?;
        let (tensors, count) = match self.content {
            Some(DataContent::Tensors(tensors)) => (tensors, self.count),
            Some(DataContent::Empty) => (Vec::new(), 0),
            Some(DataContent::Images(_)) => return Err(Malformed("FP32 `data` holds strings".to_owned())),
            None => {
                let count = tensor::floats_len(&self.raw).map_err(Malformed)?;
                // What is of another size is refused below, uncopied.
                let tensors = if count == wanted {
                    tensor::floats(&self.raw, image_len)
                } else {
                    Vec::new()
                };
                (tensors, count)
            }
        };
        shape_holds(&self.shape, wanted, count)?;
        if !tensors.iter().flatten().all(|x| x.is_finite()) {
            return Err(RequestError::not_finite());
        }
        Ok(tensors.into_iter().map(Payload::Ready).collect())
    }

    fn encoded(self, limits: InferLimits) -> Result<Images, RequestError> {
        let wanted = match self.shape[..] {
            [n] | [n, 1] => counted(n, limits)?,
            _ => {
                return Err(Malformed(format!(
                    "the input's shape is {:?}, encoded images come as [n]",
                    self.shape
                )));
            }
        };
        let images = match self.content {
            Some(DataContent::Images(images)) => images,
            Some(DataContent::Empty) => Vec::new(),
            Some(DataContent::Tensors(_)) => return Err(Malformed("BYTES `data` holds numbers".to_owned())),
            None => tensor::strings(self.raw, wanted).map_err(Malformed)?,
        };
        shape_holds(&self.shape, wanted, images.len())?;
        for (index, image) in images.iter().enumerate() {
            limits.check_image(index, image.len())?;
        }
        Ok(images.into_iter().map(Payload::Raw).collect())
    }
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
