//! One session of ONNX Runtime over an image classifier: images as planes of f32 in, one row of f32 an image out, whatever the
//! graph takes and returns.

use std::borrow::Cow;
use std::path::Path;

use half::{bf16, f16};
use ort::session::Session as OrtSession;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{DynValue, TensorElementType, ValueType};
use serde::{Deserialize, Serialize};

use super::error::RuntimeError;
use super::input::Input;
use super::locate::Runtime;
use super::operators::Layers;
use super::weights::WeightedSession;

/// How a session is made.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// Threads that one run uses; 0 and 1 mean the calling thread alone.
    pub threads: usize,
    /// The output to read; the first of floats if not given.
    pub output: Option<String>,
    /// Outputs that [`ModelSession::run_rows`] reads as well.
    pub further: Vec<String>,
    /// Layers that the operators of a lowered model run; empty for a model of ONNX's own operators.
    pub layers: Layers,
    /// Whether nodes compute in int8 only where the graph says so. ONNX Runtime would also quantize, coarsely, an f32
    /// convolution that stands between two int8 ones.
    pub int8_as_given: bool,
    /// What ONNX Runtime makes of the graph before it runs it.
    pub optimization: Optimization,
}

/// What ONNX Runtime makes of a graph before it runs it. While it does so, each step holds a copy of the weights that it changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Optimization {
    /// All that makes runs faster: nodes are fused, and weights reordered for the machine.
    #[default]
    All,
    /// The same without reordering weights.
    Fusing,
    /// Nothing: the nodes run as they are, over the weights as they are.
    None,
}

impl From<Optimization> for GraphOptimizationLevel {
    fn from(optimization: Optimization) -> Self {
        match optimization {
            Optimization::All => Self::All,
            Optimization::Fusing => Self::Level2,
            Optimization::None => Self::Disable,
        }
    }
}

/// A loaded model. A run takes `&mut self`: a session belongs to one thread at a time.
#[derive(Debug)]
pub struct ModelSession {
    session: WeightedSession,
    input: Input,
    output: usize,
    further: Vec<usize>,
    batching: Batching,
    packed: Vec<f32>,
}

/// What comes out for one image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// The values of the output that is read, row-major.
    pub values: Vec<f32>,
    /// Those of each output that is read as well.
    pub further: Vec<Vec<f32>>,
}

/// How many images a run of a graph takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Batching {
    /// As many as there are, or as the graph's input fixes.
    #[default]
    Free,
    /// This many, which the graph fixes behind its input.
    Fixed(usize),
    /// One, whose result would depend on the others; where the graph fixes more, all are copies of it.
    Alone,
}

pub(super) fn builder(runtime: &Runtime, options: &SessionOptions) -> Result<SessionBuilder, RuntimeError> {
    let threads = options.threads;
    let model = |e: ort::Error<SessionBuilder>| RuntimeError::Model(e.to_string());
    let builder = OrtSession::builder(&runtime.environment).map_err(|e| RuntimeError::Model(e.to_string()))?;
    // One pool of threads for all sessions on all cores, of which only one runs at a time; a session on one core needs none.
    let shared = threads > 1 && threads == runtime.shared_threads;
    let mut builder = if shared {
        builder
    } else {
        let builder = builder.with_independent_thread_pool().map_err(model)?;
        let builder = builder.with_intra_threads(threads.max(1)).map_err(model)?;
        builder.with_inter_threads(1).map_err(model)?
    };
    if !options.layers.is_empty() {
        let domain = options
            .layers
            .domain(threads)
            .map_err(|e| RuntimeError::Model(e.to_string()))?;
        builder = builder.with_operators(domain).map_err(model)?;
    }
    if options.int8_as_given {
        builder = builder
            .with_config_entry("session.disable_quant_qdq", "1")
            .map_err(model)?;
    }
    // Between runs the pool's threads must not burn the cores that decoding needs; within a run they may spin.
    let builder = builder.with_intra_op_spinning(threads > 1).map_err(model)?;
    builder
        .with_config_entry("session.force_spinning_stop", "1")
        .map_err(model)
}

impl ModelSession {
    /// Loads a model from memory and optimizes it as the options say.
    pub fn from_memory(runtime: &Runtime, model: &[u8], options: &SessionOptions) -> Result<Self, RuntimeError> {
        let builder = builder(runtime, options)?.with_optimization_level(options.optimization.into());
        let session = builder
            .map_err(|e| RuntimeError::Model(e.to_string()))?
            .commit_from_memory(model);
        Self::of(session.map_err(|e| RuntimeError::Model(e.to_string()))?, options)
    }

    /// Loads a model from a file, beside which its external data may lie.
    pub fn from_file(runtime: &Runtime, model: &Path, options: &SessionOptions) -> Result<Self, RuntimeError> {
        let builder = builder(runtime, options)?.with_optimization_level(options.optimization.into());
        let session = builder
            .map_err(|e| RuntimeError::Model(e.to_string()))?
            .commit_from_file(model);
        Self::of(session.map_err(|e| RuntimeError::Model(e.to_string()))?, options)
    }

    pub(super) fn of(session: impl Into<WeightedSession>, options: &SessionOptions) -> Result<Self, RuntimeError> {
        let session = session.into();
        let input = Input::of(&session)?;
        let output = match &options.output {
            None => session.outputs().iter().position(|o| is_float(o.dtype())).unwrap_or(0),
            Some(name) => place(&session, name)?,
        };
        let further = options.further.iter().map(|name| place(&session, name));
        let further = further.collect::<Result<Vec<_>, _>>()?;
        for output in further.iter().chain([&output]) {
            let kind = session.outputs().get(*output).map(|o| o.dtype());
            if !kind.is_some_and(is_float) {
                return Err(RuntimeError::Unsupported(format!(
                    "output {output} is {kind:?}, not a tensor of floats"
                )));
            }
        }
        Ok(Self {
            session,
            input,
            output,
            further,
            batching: Batching::Free,
            packed: Vec::new(),
        })
    }

    /// Ends the profile that the session was built with; returns the file's path.
    pub(super) fn end_profiling(&mut self) -> Result<String, RuntimeError> {
        self.session
            .end_profiling()
            .map_err(|e| RuntimeError::Run(e.to_string()))
    }

    /// The same session, whose runs take that many images.
    #[must_use]
    pub fn with_batching(mut self, batching: Batching) -> Self {
        self.batching = batching;
        self
    }

    /// How many images a run takes.
    pub fn batching(&self) -> Batching {
        self.batching
    }

    /// The images of every run, where that is fixed.
    pub fn batch_fixed(&self) -> Option<usize> {
        match (self.batching, self.input.batch) {
            (Batching::Alone, _) => Some(1),
            (Batching::Fixed(images), None) => Some(images),
            (_, fixed) => fixed,
        }
    }

    /// What the model takes.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The name of the output that is read.
    pub fn output_name(&self) -> &str {
        self.session
            .outputs()
            .get(self.output)
            .map_or("", |output| output.name())
    }

    /// Values that come out for one image, where the graph says so.
    pub fn output_len(&self) -> Option<usize> {
        let shape = self.session.outputs().get(self.output)?.dtype().tensor_shape()?;
        shape.iter().skip(1).try_fold(1usize, |n, d| {
            usize::try_from(*d).ok().filter(|d| *d > 0)?.checked_mul(n)
        })
    }

    /// Runs a batch of images of `shape` (channels, height, width), each row-major; returns one row each, in order.
    ///
    /// A graph that fixes its batch extent is run as often as needed; the last run is filled up with copies of its last image.
    ///
    /// # Errors
    /// The run failed, or an image has another size.
    pub fn run(&mut self, images: &[impl AsRef<[f32]>], shape: [usize; 3]) -> Result<Vec<Vec<f32>>, RuntimeError> {
        let rows = self.run_rows(images, shape)?;
        Ok(rows.into_iter().map(|row| row.values).collect())
    }

    /// [`Self::run`], with the outputs that are read as well.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_rows(&mut self, images: &[impl AsRef<[f32]>], shape: [usize; 3]) -> Result<Vec<Row>, RuntimeError> {
        let length: usize = shape.iter().product();
        if let Some(wrong) = images.iter().find(|i| i.as_ref().len() != length) {
            return Err(RuntimeError::Run(format!(
                "an image has {} values, not {length} ({shape:?})",
                wrong.as_ref().len()
            )));
        }
        let step = self.batch_fixed().unwrap_or(images.len()).max(1);
        let extent = match self.batching {
            Batching::Fixed(images) => Some(self.input.batch.unwrap_or(images)),
            Batching::Free | Batching::Alone => self.input.batch,
        };
        let mut rows = Vec::with_capacity(images.len());
        for chunk in images.chunks(step) {
            self.run_chunk(chunk, extent.unwrap_or(chunk.len()), shape, &mut rows)?;
        }
        Ok(rows)
    }

    fn run_chunk(
        &mut self,
        chunk: &[impl AsRef<[f32]>],
        batch: usize,
        shape: [usize; 3],
        rows: &mut Vec<Row>,
    ) -> Result<(), RuntimeError> {
        let failed = |e: ort::Error| RuntimeError::Run(e.to_string());
        let data: Cow<'_, [f32]> = match chunk {
            [single] if batch == 1 => Cow::Borrowed(single.as_ref()),
            _ => {
                self.packed.clear();
                chunk
                    .iter()
                    .for_each(|image| self.packed.extend_from_slice(image.as_ref()));
                let last = chunk.last().map_or(&[][..], AsRef::as_ref);
                (chunk.len()..batch).for_each(|_| self.packed.extend_from_slice(last));
                Cow::Borrowed(&self.packed)
            }
        };
        let tensor = self.input.tensor(&data, batch, shape)?;
        let outputs = self.session.run([tensor]).map_err(failed)?;
        let of_image = |output: usize| -> Result<Vec<Vec<f32>>, RuntimeError> {
            let values = floats(&outputs[output]).map_err(failed)?;
            if values.is_empty() || values.len() % batch != 0 {
                return Err(RuntimeError::Run(format!(
                    "{} values came out for a batch of {batch}",
                    values.len()
                )));
            }
            let each = values.chunks(values.len() / batch).take(chunk.len());
            Ok(each.map(<[f32]>::to_vec).collect())
        };
        let first = rows.len();
        rows.extend(of_image(self.output)?.into_iter().map(|values| Row {
            values,
            further: Vec::new(),
        }));
        for output in &self.further {
            for (row, values) in rows[first..].iter_mut().zip(of_image(*output)?) {
                row.further.push(values);
            }
        }
        Ok(())
    }
}

/// Where an output stands among those of a session.
fn place(session: &OrtSession, name: &str) -> Result<usize, RuntimeError> {
    let found = session.outputs().iter().position(|output| output.name() == name);
    found.ok_or_else(|| {
        let names: Vec<_> = session.outputs().iter().map(|output| output.name()).collect();
        RuntimeError::Unsupported(format!("it has no output `{name}`; it has {}", names.join(", ")))
    })
}

/// Whether a value is a tensor whose elements are floats of any width.
fn is_float(kind: &ValueType) -> bool {
    use TensorElementType::{Bfloat16, Float16, Float32, Float64};
    matches!(
        kind,
        ValueType::Tensor {
            ty: Float32 | Float16 | Float64 | Bfloat16,
            ..
        }
    )
}

/// The elements of a tensor of floats.
fn floats(value: &DynValue) -> ort::Result<Cow<'_, [f32]>> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Ok(Cow::Borrowed(value.try_extract_tensor::<f32>()?.1));
    };
    Ok(match ty {
        TensorElementType::Float16 => {
            let (_, values) = value.try_extract_tensor::<f16>()?;
            values.iter().map(|x| x.to_f32()).collect()
        }
        TensorElementType::Bfloat16 => {
            let (_, values) = value.try_extract_tensor::<bf16>()?;
            values.iter().map(|x| x.to_f32()).collect()
        }
        TensorElementType::Float64 => {
            let (_, values) = value.try_extract_tensor::<f64>()?;
            values.iter().map(|x| *x as f32).collect()
        }
        _ => Cow::Borrowed(value.try_extract_tensor::<f32>()?.1),
    })
}
