//! Weights that sessions read where they lie, whoever owns that memory.
//!
//! Reason for `unsafe`: ONNX Runtime takes the address of a weight, and `ort` has a value of no other memory than a `Vec`'s. A [`Weight`]
//! checks length and alignment, and [`WeightedSession`] holds the memory for longer than the session that reads it; nothing hands out one
//! without the other.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytes::Bytes;
use ort::AsPointer;
use ort::memory::{Allocator, MemoryInfo};
use ort::ortsys;
use ort::session::Session as OrtSession;
use ort::session::builder::SessionBuilder;
use ort::value::{DynValue, Shape, TensorElementType};
use repserve_graph::DType;

use super::error::RuntimeError;

/// A named constant, in this machine's order of bytes.
#[derive(Clone)]
pub(super) struct Weight {
    pub(super) name: String,
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) memory: Bytes,
    /// Points into `memory`.
    value: Arc<DynValue>,
}

impl Weight {
    /// The constant of that type and shape whose elements are `memory`. They are read where they lie, unless they are not aligned.
    ///
    /// # Errors
    /// A type that sessions cannot share, or another length than the shape asks for.
    pub(super) fn new(name: String, dtype: DType, shape: Vec<usize>, memory: Bytes) -> Result<Self, RuntimeError> {
        let Some((element, size)) = element(dtype) else {
            return Err(RuntimeError::Unsupported(format!(
                "tensor `{name}` holds {dtype:?}, which sessions cannot share"
            )));
        };
        let bytes = shape.iter().try_fold(size, |bytes, extent| bytes.checked_mul(*extent));
        if bytes != Some(memory.len()) {
            return Err(RuntimeError::Model(format!(
                "tensor `{name}` of shape {shape:?} holds {} bytes",
                memory.len()
            )));
        }
        let memory = aligned(memory, size);
        let extents = shape.iter().map(|extent| *extent as i64).collect();
        // SAFETY: the memory is aligned, as long as the shape says, and lasts as long as `memory`, which this holds beside the value.
        let value = unsafe { value(&memory, element, extents) };
        Ok(Self {
            name,
            dtype,
            shape,
            value: Arc::new(value.map_err(|e| RuntimeError::Model(e.to_string()))?),
            memory,
        })
    }
}

/// A session, and the memory of the weights that were handed to it.
#[derive(Debug)]
pub(super) struct WeightedSession {
    // Dropped first.
    session: OrtSession,
    _memory: Vec<Bytes>,
}

impl WeightedSession {
    /// A session of `graph` that uses these weights where they lie; `external` says that the graph names a file for them.
    ///
    /// # Errors
    /// ONNX Runtime refuses the graph.
    pub(super) fn new(
        mut builder: SessionBuilder,
        graph: &[u8],
        weights: &[Weight],
        external: bool,
    ) -> Result<Self, RuntimeError> {
        let refused = |error: ort::Error<SessionBuilder>| RuntimeError::Model(error.to_string());
        for Weight { name, value, .. } in weights {
            // Makes the session use the value where it lies.
            builder = builder.with_initializer(name, Arc::clone(value)).map_err(refused)?;
            if external {
                // ONNX Runtime checks that external data exists; this alone would be copied.
                let value = Arc::clone(value);
                builder = builder.with_external_initializer(name, value).map_err(refused)?;
            }
        }
        let session = builder.commit_from_memory(graph);
        Ok(Self {
            session: session.map_err(|e| RuntimeError::Model(e.to_string()))?,
            _memory: weights.iter().map(|weight| weight.memory.clone()).collect(),
        })
    }
}

impl From<OrtSession> for WeightedSession {
    fn from(session: OrtSession) -> Self {
        Self {
            session,
            _memory: Vec::new(),
        }
    }
}

impl Deref for WeightedSession {
    type Target = OrtSession;

    fn deref(&self) -> &OrtSession {
        &self.session
    }
}

impl DerefMut for WeightedSession {
    fn deref_mut(&mut self) -> &mut OrtSession {
        &mut self.session
    }
}

/// What ONNX Runtime calls a type of elements, and the bytes of one; `None` for those that sessions do not share.
fn element(dtype: DType) -> Option<(TensorElementType, usize)> {
    Some(match dtype {
        DType::F32 => (TensorElementType::Float32, 4),
        DType::F64 => (TensorElementType::Float64, 8),
        DType::I8 => (TensorElementType::Int8, 1),
        DType::U8 => (TensorElementType::Uint8, 1),
        DType::I32 => (TensorElementType::Int32, 4),
        DType::I64 => (TensorElementType::Int64, 8),
        _ => return None,
    })
}

/// The same bytes at an address that is a multiple of `size`, 8 at most.
fn aligned(memory: Bytes, size: usize) -> Bytes {
    if (memory.as_ptr() as usize).is_multiple_of(size) {
        return memory;
    }
    const SIZE_MAX: usize = 8;
    let mut room = vec![0; memory.len() + SIZE_MAX];
    let start = room.as_ptr().align_offset(SIZE_MAX).min(SIZE_MAX);
    room[start..][..memory.len()].copy_from_slice(&memory);
    Bytes::from_owner(room).slice(start..start + memory.len())
}

/// # Safety
/// `memory` is aligned for `element`, holds as many as `shape` says, and outlives the value and every session that it is handed to.
unsafe fn value(memory: &[u8], element: TensorElementType, shape: Shape) -> ort::Result<DynValue> {
    let info = MemoryInfo::default();
    let mut tensor: *mut ort::sys::OrtValue = std::ptr::null_mut();
    ortsys![
        unsafe CreateTensorWithDataAsOrtValue(
            info.ptr(),
            // Weights are read only.
            memory.as_ptr().cast_mut().cast(),
            memory.len(),
            shape.as_ptr(),
            shape.len(),
            element.into(),
            &mut tensor
        )?;
        nonNull(tensor)
    ];
    // SAFETY: a tensor that was just made, of memory that no allocator owns.
    Ok(unsafe { DynValue::from_ptr(tensor, Some(&Allocator::default())) })
}
