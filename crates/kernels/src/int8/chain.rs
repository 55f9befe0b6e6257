//! Layers of which each reads what earlier ones have written, as one call: what lies between them stays in this module's memory, as near to
//! the core as it fits.
//!
//! Where every thread can have images of its own, it computes them alone, from the first layer to the last: first layers one image
//! after the other, since an image's values fill a second-level cache there; later ones all images together, since weights are most of what
//! is read there. Else threads share each layer's rows, and pass to the next layer together ([`in_phases`]).

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::PreparedInt8Conv;
use super::run::{Cut, Run};
use crate::executor::{Executor, Sequential};
use crate::geometry::{KernelError, check_length, product};
use crate::phases::in_phases;
use crate::vector::{Buffer, Residual, Slots};

/// Bytes that a layer reads and writes of all images that are computed together: part of a second-level cache.
const TOGETHER_BYTES: usize = 512 << 10;

/// A layer of a chain. Values are counted: 0 is what the chain reads, `i + 1` what its step `i` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int8Step {
    /// The place of its layer among those that [`Int8Chain::run`] is given.
    pub layer: usize,
    /// The value that it reads.
    pub input: usize,
    /// The value that it adds, where the layer has a sum.
    pub other: Option<usize>,
}

/// Layers of which each reads what is there before it. The chain returns what its last one does.
#[derive(Debug, Clone)]
pub struct Int8Chain {
    steps: Vec<Int8Step>,
    /// For each value the last step that reads it, or the one that makes it where none does.
    last_read: Vec<usize>,
    /// Steps before which only the value of the step before is read any more.
    cuts: Vec<usize>,
}

/// Memory that a chain keeps between its runs.
#[derive(Default)]
pub struct Int8ChainMemory(Mutex<Vec<Memory>>);

/// That of one thread: what lies between first and later layers, and the values within each of both.
#[derive(Default)]
struct Memory {
    between: Buffer<u8>,
    values: Vec<Buffer<u8>>,
}

/// A value's rows, columns and channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent([usize; 3]);

impl Extent {
    fn bytes(self, images: usize) -> usize {
        product([images, product(self.0)])
    }
}

/// What a run computes with.
#[derive(Clone, Copy)]
struct Layers<'a> {
    all: &'a [PreparedInt8Conv],
    /// Of each value.
    extents: &'a [Extent],
}

/// Computes so many images by these steps, from the input's values to the output's.
type Section<'a> = dyn FnMut(Range<usize>, usize, &[u8], &mut [u8]) + 'a;

impl Int8Chain {
    /// Checks how the steps hang together.
    ///
    /// # Errors
    /// No step, or one that reads what is not there yet.
    pub fn new(steps: Vec<Int8Step>) -> Result<Self, KernelError> {
        let mut last_read: Vec<usize> = (0..=steps.len()).map(|value| value.saturating_sub(1)).collect();
        for (i, step) in steps.iter().enumerate() {
            for value in [Some(step.input), step.other].into_iter().flatten() {
                if value > i {
                    return Err(KernelError::Geometry("a chain whose layers read what is not there yet"));
                }
                last_read[value] = i;
            }
        }
        if steps.is_empty() {
            return Err(KernelError::Geometry("a chain of no layers"));
        }
        let only_one = |cut: &usize| last_read[..*cut].iter().all(|last| last < cut);
        let cuts = (0..=steps.len()).filter(only_one).collect();
        Ok(Self { steps, last_read, cuts })
    }

    /// The layers, in order.
    pub fn steps(&self) -> &[Int8Step] {
        &self.steps
    }

    /// Rows, columns and channels of what it returns for images of `height` by `width`.
    ///
    /// # Errors
    /// Steps that name no layer, layers that do not fit each other, or an input that is smaller than a kernel.
    pub fn output_extent(
        &self,
        layers: &[PreparedInt8Conv],
        [height, width]: [usize; 2],
    ) -> Result<[usize; 3], KernelError> {
        let extents = self.extents(layers, [height, width])?;
        Ok(extents[self.steps.len()].0)
    }

    /// Convolves `images` images of `height` by `width`: `input` is `[N, H, W, C]`, `output` as [`Self::output_extent`] says.
    ///
    /// # Errors
    /// As [`Self::output_extent`]; a slice of the wrong length.
    pub fn run(
        &self,
        layers: &[PreparedInt8Conv],
        input: &[u8],
        [images, height, width]: [usize; 3],
        output: &mut [u8],
        memory: &Int8ChainMemory,
        executor: &dyn Executor,
    ) -> Result<(), KernelError> {
        let extents = &self.extents(layers, [height, width])?;
        let (first, last) = (extents[0], extents[self.steps.len()]);
        check_length("input", input.len(), first.bytes(images))?;
        check_length("output", output.len(), last.bytes(images))?;
        if output.is_empty() {
            return Ok(());
        }
        let layers = Layers { all: layers, extents };
        let threads = executor.threads().max(1);
        if !images.is_multiple_of(threads) {
            memory.with(|memory| {
                let all = 0..self.steps.len();
                self.section(all, layers, images, input, output, &mut memory.values, executor);
            });
            return Ok(());
        }
        let each = images / threads;
        let parts: Vec<_> = output.chunks_mut(last.bytes(each)).map(Mutex::new).collect();
        executor.run(threads, &|part| {
            let input = &input[part * first.bytes(each)..][..first.bytes(each)];
            let mut output = parts[part].lock().unwrap_or_else(PoisonError::into_inner);
            memory.with(|memory| self.alone(layers, each, input, &mut output, memory));
        });
        Ok(())
    }

    /// Of each value; the layers fit each other.
    fn extents(&self, layers: &[PreparedInt8Conv], [height, width]: [usize; 2]) -> Result<Vec<Extent>, KernelError> {
        let layer = |step: &Int8Step| {
            let layer = layers.get(step.layer);
            layer.ok_or(KernelError::Geometry("a chain with a layer that is not there"))
        };
        let mut extents = vec![Extent([height, width, layer(&self.steps[0])?.read()])];
        for step in &self.steps {
            let layer = layer(step)?;
            let Extent([height, width, channels]) = extents[step.input];
            let (rows, columns) = layer.output_size(height, width)?;
            let extent = Extent([rows, columns, layer.written()]);
            let other = step.other.map(|other| extents[other]);
            let fits = channels == layer.read()
                && step.other.is_some() == layer.sum.is_some()
                && (layer.sum.is_none() || layer.finer.then.is_none())
                && other.is_none_or(|other| other == extent);
            if !fits {
                return Err(KernelError::Geometry("a chain whose layers do not fit each other"));
            }
            extents.push(extent);
        }
        Ok(extents)
    }

    /// Images that one thread computes.
    fn alone(&self, layers: Layers<'_>, images: usize, input: &[u8], output: &mut [u8], memory: &mut Memory) {
        let cut = self.cut(layers.extents, images);
        let (first, between) = (layers.extents[0].bytes(1), layers.extents[cut].bytes(1));
        let Memory { between: kept, values } = memory;
        let mut section = |steps, images, input: &[u8], output: &mut [u8]| {
            self.section(steps, layers, images, input, output, values, &Sequential);
        };
        let each = |section: &mut Section<'_>, to: &mut [u8]| {
            for (input, output) in input.chunks_exact(first).zip(to.chunks_exact_mut(between)) {
                section(0..cut, 1, input, output);
            }
        };
        if cut == 0 {
            section(0..self.steps.len(), images, input, output);
        } else if cut == self.steps.len() {
            each(&mut section, output);
        } else {
            let kept = grown(kept, between * images);
            each(&mut section, kept);
            section(cut..self.steps.len(), images, kept, output);
        }
    }

    /// The step before which images are computed one after the other, and from which on together.
    fn cut(&self, extents: &[Extent], images: usize) -> usize {
        if images == 1 {
            return 0;
        }
        let large = |(i, step): (usize, &Int8Step)| {
            let values = [Some(step.input), step.other, Some(i + 1)].into_iter().flatten();
            let bytes = values.fold(0usize, |bytes, value| {
                bytes.saturating_add(extents[value].bytes(images))
            });
            (bytes > TOGETHER_BYTES).then_some(i + 1)
        };
        let small_from = self.steps.iter().enumerate().filter_map(large).max().unwrap_or(0);
        let cut = self.cuts.iter().copied().find(|cut| *cut >= small_from);
        cut.unwrap_or(self.steps.len())
    }

    /// Some steps, which read the value before the first of them and return that of the last.
    #[expect(clippy::too_many_arguments, reason = "private; two slices and what they are")]
    fn section(
        &self,
        steps: Range<usize>,
        layers: Layers<'_>,
        images: usize,
        input: &[u8],
        output: &mut [u8],
        buffers: &mut Vec<Buffer<u8>>,
        executor: &dyn Executor,
    ) {
        let places = self.places(steps.clone());
        for value in steps.start + 1..steps.end {
            let place = places[value - steps.start - 1];
            if buffers.len() <= place {
                buffers.resize_with(place + 1, Buffer::default);
            }
            grown(&mut buffers[place], layers.extents[value].bytes(images));
        }
        let slots = Slots::new(buffers.iter_mut().map(|buffer| &mut **buffer).chain([output]));
        let last = slots.len() - 1;
        let slot = |value: usize| {
            if value == steps.end {
                last
            } else {
                places[value - steps.start - 1]
            }
        };
        let read = |value: usize| {
            if value == steps.start {
                input
            } else {
                slots.read(slot(value), layers.extents[value].bytes(images))
            }
        };
        let cut = |i: usize| {
            let Extent([rows, columns, _]) = layers.extents[i + 1];
            let layer = &layers.all[self.steps[i].layer];
            Cut::new(layer, (rows, columns), images, executor.threads())
        };
        let cuts: Vec<Cut> = steps.clone().map(cut).collect();
        let counts: Vec<usize> = cuts.iter().map(|cut| cut.tasks).collect();
        in_phases(executor, &counts, &|phase, task| {
            let value = steps.start + phase + 1;
            let step = &self.steps[value - 1];
            let layer = &layers.all[step.layer];
            let (Extent([height, width, _]), Extent([rows, columns, _])) =
                (layers.extents[step.input], layers.extents[value]);
            let residual = step.other.zip(layer.sum).map(|(other, sum)| Residual {
                codes: read(other),
                sum,
            });
            let run = Run {
                layer,
                input: read(step.input),
                residual,
                output: slots.written(slot(value), layers.extents[value].bytes(images)),
                size: (height, width),
                out_size: (rows, columns),
            };
            run.any_task(&cuts[phase], task);
        });
    }

    /// The buffer of each value that some steps make, the last one's aside: one that holds nothing that is still read.
    fn places(&self, steps: Range<usize>) -> Vec<usize> {
        let (mut free, mut count) = (Vec::new(), 0);
        let mut places: Vec<usize> = Vec::with_capacity(steps.len());
        for (i, step) in steps.clone().zip(&self.steps[steps.clone()]) {
            places.push(free.pop().unwrap_or_else(|| {
                count += 1;
                count - 1
            }));
            let read = [Some(step.input), step.other.filter(|other| *other != step.input)];
            for value in read.into_iter().flatten() {
                if value > steps.start && self.last_read[value] == i {
                    free.push(places[value - steps.start - 1]);
                }
            }
        }
        places
    }
}

impl Int8ChainMemory {
    /// Memory that nobody else uses meanwhile.
    fn with(&self, body: impl FnOnce(&mut Memory)) {
        let all = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = all().pop().unwrap_or_default();
        body(&mut memory);
        all().push(memory);
    }
}

/// At least `len` bytes; those that are there are kept where they suffice.
fn grown(buffer: &mut Buffer<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        *buffer = Buffer::zeroed(len);
    }
    &mut buffer[..len]
}
