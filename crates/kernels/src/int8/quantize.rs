//! An image's numbers to codes, and its planes to pixels in one go: what stands before the first layer.

use std::sync::{Mutex, PoisonError};

use crate::executor::Executor;
use crate::geometry::{KernelError, check_length, product};
use crate::vector::{Codes, Int8Isa, pixels_of_codes};

/// Rows of a task.
const ROWS: usize = 32;

/// How numbers become codes: `round(x / scale) + zero` within u8, ties to even, as ONNX's `QuantizeLinear` does it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantizer {
    codes: Codes,
    isa: Int8Isa,
}

impl Quantizer {
    /// `None` where the scale is not positive and finite.
    pub fn new(scale: f32, zero: u8, isa: Int8Isa) -> Option<Self> {
        (scale > 0.0 && scale.is_finite()).then_some(Self {
            codes: Codes { scale, zero },
            isa,
        })
    }

    /// `input` is `[N, C, H, W]`, `output` `[N, H, W, C]`.
    ///
    /// # Errors
    /// A slice of the wrong length.
    pub fn run(
        &self,
        input: &[f32],
        [images, channels, height, width]: [usize; 4],
        output: &mut [u8],
        executor: &dyn Executor,
    ) -> Result<(), KernelError> {
        let (plane, row) = (product([height, width]), product([width, channels]));
        check_length("input", input.len(), product([images, channels, plane]))?;
        check_length("output", output.len(), input.len())?;
        if output.is_empty() {
            return Ok(());
        }
        let images = input
            .chunks_exact(plane * channels)
            .zip(output.chunks_exact_mut(height * row));
        let tasks: Vec<_> = images
            .flat_map(|(input, output)| {
                let bands = output.chunks_mut(ROWS * row).enumerate();
                bands.map(move |(band, output)| (input, band, Mutex::new(output)))
            })
            .collect();
        executor.run(tasks.len(), &|task| {
            let (input, band, output) = &tasks[task];
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            let first = band * ROWS * width;
            let pixels = output.len() / channels;
            let planes: Vec<&[f32]> = input
                .chunks_exact(plane)
                .map(|plane| &plane[first..][..pixels])
                .collect();
            pixels_of_codes(self.isa, self.codes, &planes, &mut output);
        });
        Ok(())
    }
}
