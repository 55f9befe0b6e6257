//! A request's one input as its JSON describes it, with the raw bytes behind that.

use bytes::Bytes;
use serde::de::{Error, MapAccess, SeqAccess};

use super::data::{Data, Reader};
use super::json::{Array, Elements, Members, Object, Scalar, skip};
use crate::http::inference::RequestError::{self, Malformed};
use crate::http::inference::{Datatype, InferLimits, InputContent, InputTensor, RANK_MAX};
use repserve_compile::Signature;

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

    /// The tensor; `raw` are the bytes behind the JSON.
    pub(super) fn tensor(self, raw: Bytes) -> Result<InputTensor, RequestError> {
        self.check_raw(&raw)?;
        let content = if self.has_data {
            InputContent::Elements {
                content: self.data.content,
                count: self.data.count,
            }
        } else {
            InputContent::Raw(raw)
        };
        Ok(InputTensor {
            name: self.name,
            shape: self.shape,
            datatype: self.datatype,
            content,
        })
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
