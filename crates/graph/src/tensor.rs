//! Constant tensors: a type, a shape and little-endian bytes that are shared, not copied.

use bytes::Bytes;
use half::{bf16, f16};

/// ONNX element types (`TensorProto.DataType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// IEEE half.
    F16,
    /// Brain float.
    BF16,
    /// Signed 8 bit.
    I8,
    /// Unsigned 8 bit.
    U8,
    /// Unsigned 16 bit.
    U16,
    /// Signed 32 bit.
    I32,
    /// Signed 64 bit.
    I64,
    /// Boolean, a byte each.
    Bool,
    /// Any other type, by its ONNX number.
    Other(i32),
}

/// Why a tensor cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The shape and the bytes disagree.
    #[error("a tensor of shape {shape:?} and type {dtype:?} needs {expected} bytes and has {found}")]
    Size {
        /// The shape.
        shape: Vec<usize>,
        /// The element type.
        dtype: DType,
        /// Bytes that the shape asks for.
        expected: usize,
        /// Bytes at hand.
        found: usize,
    },
    /// The product of the extents does not fit.
    #[error("shape {0:?} has more elements than a machine can address")]
    Overflow(Vec<usize>),
}

/// A constant. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Bytes,
    opaque: Bytes,
}

impl DType {
    /// ONNX's number for the type.
    pub fn code(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I8 => 3,
            Self::U16 => 4,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F16 => 10,
            Self::F64 => 11,
            Self::BF16 => 16,
            Self::Other(code) => code,
        }
    }

    /// The type of ONNX's number `code`.
    pub fn from_code(code: i32) -> Self {
        match code {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            4 => Self::U16,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            16 => Self::BF16,
            other => Self::Other(other),
        }
    }

    /// Bytes an element takes; `None` where that is not a whole number of bytes or not modelled.
    pub fn size_bytes(self) -> Option<usize> {
        match self {
            Self::I8 | Self::U8 | Self::Bool => Some(1),
            Self::F16 | Self::BF16 | Self::U16 => Some(2),
            Self::F32 | Self::I32 => Some(4),
            Self::F64 | Self::I64 => Some(8),
            Self::Other(_) => None,
        }
    }

    /// Whether weights of this type can be folded.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::BF16)
    }
}

impl Tensor {
    /// A tensor over little-endian `data`. Types of unknown element size are taken as they are.
    pub fn new(dtype: DType, shape: Vec<usize>, data: Bytes) -> Result<Self, TensorError> {
        if let Some(size) = dtype.size_bytes() {
            let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
            let Some(expected) = elements.and_then(|n| n.checked_mul(size)) else {
                return Err(TensorError::Overflow(shape));
            };
            if expected != data.len() {
                return Err(TensorError::Size {
                    shape,
                    dtype,
                    expected,
                    found: data.len(),
                });
            }
        }
        Ok(Self {
            dtype,
            shape,
            data,
            opaque: Bytes::new(),
        })
    }

    /// An f32 tensor. Panics if the shape does not hold `values.len()` elements.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "shape {shape:?}");
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        Self {
            dtype: DType::F32,
            shape: shape.to_vec(),
            data: data.into(),
            opaque: Bytes::new(),
        }
    }

    /// A tensor of float type `dtype`, each value rounded once from f64. Panics on a shape that does not fit or a type
    /// that is not a float.
    pub fn from_f64(dtype: DType, shape: &[usize], values: &[f64]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "shape {shape:?}");
        let data: Vec<u8> = match dtype {
            DType::F32 => values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect(),
            DType::F64 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            DType::F16 => values.iter().flat_map(|v| f16::from_f64(*v).to_le_bytes()).collect(),
            DType::BF16 => values.iter().flat_map(|v| bf16::from_f64(*v).to_le_bytes()).collect(),
            other => panic!("{other:?} is not a float type"),
        };
        Self {
            dtype,
            shape: shape.to_vec(),
            data: data.into(),
            opaque: Bytes::new(),
        }
    }

    /// An i64 tensor. Panics if the shape does not hold `values.len()` elements.
    pub fn from_i64(shape: &[usize], values: &[i64]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "shape {shape:?}");
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        Self {
            dtype: DType::I64,
            shape: shape.to_vec(),
            data: data.into(),
            opaque: Bytes::new(),
        }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Little-endian bytes, row-major.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Fields of the `TensorProto` that the IR does not model (doc string, metadata, strings), encoded.
    pub fn opaque(&self) -> &Bytes {
        &self.opaque
    }

    /// The same tensor with fields of its `TensorProto` that the IR does not model.
    pub fn with_opaque(mut self, opaque: Bytes) -> Self {
        self.opaque = opaque;
        self
    }

    /// The same bytes under another shape of as many elements.
    pub fn reshaped(&self, shape: Vec<usize>) -> Result<Self, TensorError> {
        Self::new(self.dtype, shape, self.data.clone())
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements as f64, if the type is a float; exact for every float type.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        let d = &self.data[..];
        Some(match self.dtype {
            DType::F32 => d
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f64::from(f32::from_le_bytes(*b)))
                .collect(),
            DType::F64 => d.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            DType::F16 => d
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| f16::from_le_bytes(*b).to_f64())
                .collect(),
            DType::BF16 => d
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| bf16::from_le_bytes(*b).to_f64())
                .collect(),
            _ => return None,
        })
    }

    /// All elements as i64, if the type is an integer or boolean.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        let d = &self.data[..];
        Some(match self.dtype {
            DType::I64 => d.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
            DType::I32 => d
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| i64::from(i32::from_le_bytes(*b)))
                .collect(),
            DType::I8 => d.iter().map(|b| i64::from(*b as i8)).collect(),
            DType::U16 => {
                let words = d.as_chunks::<2>().0.iter();
                words.map(|b| i64::from(u16::from_le_bytes(*b))).collect()
            }
            DType::U8 | DType::Bool => d.iter().map(|b| i64::from(*b)).collect(),
            _ => return None,
        })
    }
}
