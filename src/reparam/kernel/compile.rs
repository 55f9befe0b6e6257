//! The weights of the merged convolution, a row (output channel) at a time, by running the program backwards.

use std::num::NonZero;

use half::{bf16, f16};

use super::{Conv, Op, Plan, Program};
use crate::graph::{DType, Tensor};

/// Weights from which on rows are shared out to threads.
const PARALLEL_WEIGHTS_MIN: usize = 1 << 20;

/// The merged convolution's parameters.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// `[out, in/groups, kernel…]`, rounded once from f64.
    pub weight: Tensor,
    /// A summand an output channel.
    pub bias: Vec<f64>,
    /// Whether every parameter is finite.
    pub finite: bool,
}

/// A position; axes that a program lacks stay 0.
type At = [i64; 3];

struct Job<'a> {
    program: &'a Program<'a>,
    plan: &'a Plan,
    /// Positions of every value that the result reads, in order of their tap number.
    taps: Vec<Vec<At>>,
    /// For convolutions of which every row is read for every output channel: all weights, `[out][tap][in/groups]`.
    expanded: Vec<Option<Vec<f64>>>,
}

/// What one thread works in.
struct Scratch {
    /// For every value the derivative of the current output channel, `[tap][channel of its group]`.
    grads: Vec<Vec<f64>>,
    /// One row of weights, `[tap][in/groups]`.
    row: Vec<f64>,
}

impl Program<'_> {
    /// The weights of the convolution that `plan` (made by this program) describes, in the float type `dtype`.
    pub fn compile(&self, plan: &Plan, dtype: DType) -> Compiled {
        let job = Job::new(self, plan);
        let row_bytes = job.width(0) * job.taps[0].len() * dtype.size_bytes().unwrap_or(0);
        let rows = plan.out_channels;
        let mut data = vec![0u8; rows * row_bytes];
        let mut bias = vec![0.0; rows];
        let threads = if rows * job.width(0) * job.taps[0].len() < PARALLEL_WEIGHTS_MIN {
            1
        } else {
            std::thread::available_parallelism().map_or(1, NonZero::get).min(8)
        };
        let share = rows.div_ceil(threads).max(1);
        let finite = std::thread::scope(|scope| {
            let shares = data.chunks_mut((share * row_bytes).max(1)).zip(bias.chunks_mut(share));
            let mut shares = shares.enumerate();
            let own = shares.next();
            let others: Vec<_> = shares
                .map(|(i, (d, b))| {
                    scope.spawn({
                        let job = &job;
                        move || job.run(i * share, d, b, dtype)
                    })
                })
                .collect();
            let own = own.is_none_or(|(_, (d, b))| job.run(0, d, b, dtype));
            others.into_iter().all(|t| t.join().unwrap_or(false)) && own
        });
        let mut shape = vec![rows, job.width(0)];
        shape.extend(plan.axes.iter().map(|a| a.taps.count()));
        let weight = Tensor::new(dtype, shape, data.into());
        let finite = finite && weight.is_ok();
        let weight = weight.unwrap_or_else(|_| Tensor::from_f32(&[0], &[]));
        Compiled { weight, bias, finite }
    }
}

impl<'a> Job<'a> {
    fn new(program: &'a Program<'a>, plan: &'a Plan) -> Self {
        let taps = plan.reads.iter().map(|axes| {
            let mut all = vec![[0i64; 3]];
            for (axis, lattice) in axes.iter().enumerate() {
                let along = |at: At| {
                    (0..lattice.count()).map(move |i| {
                        let mut at = at;
                        at[axis] = lattice.at(i);
                        at
                    })
                };
                all = all.into_iter().flat_map(along).collect();
            }
            all
        });
        let expanded = program.ops.iter().enumerate().map(|(i, op)| match op {
            Op::Conv(conv) if !plan.diagonal[i + 1] => Some(conv.expand()),
            _ => None,
        });
        Self {
            program,
            plan,
            taps: taps.collect(),
            expanded: expanded.collect(),
        }
    }

    /// Channels of a value that one output channel can depend on.
    fn width(&self, value: usize) -> usize {
        if self.plan.diagonal[value] {
            1
        } else {
            self.plan.channels[value] / self.plan.groups
        }
    }

    /// The first of them, for output channel `out`.
    fn first(&self, value: usize, out: usize) -> usize {
        if self.plan.diagonal[value] {
            return out;
        }
        out / (self.plan.out_channels / self.plan.groups) * self.width(value)
    }

    fn tap(&self, value: usize, at: At) -> usize {
        let axes = self.plan.reads[value].iter().enumerate();
        axes.fold(0, |n, (axis, lattice)| n * lattice.count() + lattice.index(at[axis]))
    }

    /// Computes output channels `first..first + bias.len()`; whether all is finite.
    fn run(&self, first: usize, data: &mut [u8], bias: &mut [f64], dtype: DType) -> bool {
        let mut scratch = Scratch {
            grads: (0..self.taps.len())
                .map(|v| vec![0.0; self.taps[v].len() * self.width(v)])
                .collect(),
            row: Vec::new(),
        };
        let row_bytes = data.len() / bias.len().max(1);
        let mut finite = true;
        for (i, (bias, out)) in bias.iter_mut().zip(data.chunks_mut(row_bytes.max(1))).enumerate() {
            *bias = self.differentiate(first + i, &mut scratch);
            let source = &mut scratch.grads[0];
            finite &= bias.is_finite() && round(source, self.width(0), dtype, out);
            source.fill(0.0);
        }
        finite
    }

    /// Leaves output channel `out`'s derivative in `grads[0]`; its constant part is the bias.
    fn differentiate(&self, out: usize, scratch: &mut Scratch) -> f64 {
        let last = self.taps.len() - 1;
        scratch.grads[last][out - self.first(last, out)] = 1.0;
        let mut bias = 0.0;
        for (index, op) in self.program.ops.iter().enumerate().rev() {
            let value = index + 1;
            let mut grad = std::mem::take(&mut scratch.grads[value]);
            match op {
                Op::Conv(conv) => bias += self.through_conv(conv, index, out, &grad, scratch),
                Op::Affine { input, scale, shift } => {
                    bias +=
                        self.through_diagonal(value, *input, out, &grad, scratch, |c| (scale[c], shift[c]), |at| at);
                }
                Op::Pad { input, before, .. } => {
                    let moved = |at: At| shifted(at, before);
                    self.through_diagonal(value, *input, out, &grad, scratch, |_| (1.0, 0.0), moved);
                }
                Op::Pool { input, window } => {
                    let part = 1.0 / window.taps() as f64;
                    for tap in window.offsets() {
                        let moved = |at: At| window.reads(at, tap);
                        self.through_diagonal(value, *input, out, &grad, scratch, |_| (part, 0.0), moved);
                    }
                }
                Op::Sum { terms } => {
                    for (input, factor) in terms {
                        self.through_diagonal(value, *input, out, &grad, scratch, |_| (*factor, 0.0), |at| at);
                    }
                }
            }
            grad.fill(0.0);
            scratch.grads[value] = grad;
        }
        bias
    }

    /// A map that keeps channels apart: `(scale, shift)` a channel, at a position that `moved` gives.
    #[allow(clippy::too_many_arguments)]
    fn through_diagonal(
        &self,
        value: usize,
        input: usize,
        out: usize,
        grad: &[f64],
        scratch: &mut Scratch,
        map: impl Fn(usize) -> (f64, f64),
        moved: impl Fn(At) -> At,
    ) -> f64 {
        let (width, first) = (self.width(value), self.first(value, out));
        let (to_width, to_first) = (self.width(input), self.first(input, out));
        let mut bias = 0.0;
        for (at, grad) in self.taps[value].iter().zip(grad.chunks(width)) {
            let start = self.tap(input, moved(*at)) * to_width + (first - to_first);
            let target = &mut scratch.grads[input][start..start + width];
            for (c, (g, t)) in grad.iter().zip(target).enumerate() {
                let (scale, shift) = map(first + c);
                bias += g * shift;
                *t += g * scale;
            }
        }
        bias
    }

    fn through_conv(&self, conv: &Conv<'_>, index: usize, out: usize, grad: &[f64], scratch: &mut Scratch) -> f64 {
        let (value, input) = (index + 1, conv.input);
        let (width, first) = (self.width(value), self.first(value, out));
        let (to_width, to_first) = (self.width(input), self.first(input, out));
        let per_row = conv.in_channels / conv.groups;
        let offsets = conv.window.offsets();
        let Scratch { grads, row } = scratch;
        let mut bias = 0.0;
        for c in 0..width {
            let channel = first + c;
            let weights = match &self.expanded[index] {
                Some(all) => &all[channel * per_row * offsets.len()..][..per_row * offsets.len()],
                None => {
                    conv.row(channel, row);
                    &row[..]
                }
            };
            let start = channel / (conv.out_channels / conv.groups) * per_row - to_first;
            for (at, g) in self.taps[value].iter().zip(grad.iter().skip(c).step_by(width)) {
                if *g == 0.0 {
                    continue;
                }
                bias += conv.bias.as_ref().map_or(0.0, |b| g * b[channel]);
                for (tap, weights) in offsets.iter().zip(weights.chunks(per_row)) {
                    let at = self.tap(input, conv.window.reads(*at, *tap)) * to_width + start;
                    let target = &mut grads[input][at..at + per_row];
                    target.iter_mut().zip(weights).for_each(|(t, w)| *t += g * w);
                }
            }
        }
        bias
    }
}

impl super::Window {
    /// The number of each tap along each axis, in storage order.
    fn offsets(&self) -> Vec<At> {
        let mut all = vec![[0i64; 3]];
        for (axis, kernel) in self.kernel.iter().enumerate() {
            let along = |at: At| {
                (0..*kernel as i64).map(move |k| {
                    let mut at = at;
                    at[axis] = k;
                    at
                })
            };
            all = all.into_iter().flat_map(along).collect();
        }
        all
    }

    /// Where tap `tap` of the output at `at` reads.
    fn reads(&self, at: At, tap: At) -> At {
        let mut to = [0; 3];
        for axis in 0..self.kernel.len() {
            to[axis] = at[axis] * self.strides[axis] as i64 + tap[axis] * self.dilations[axis] as i64
                - self.begins[axis] as i64;
        }
        to
    }
}

fn shifted(at: At, before: &[i64]) -> At {
    let mut at = at;
    at.iter_mut().zip(before).for_each(|(a, b)| *a -= b);
    at
}

impl Conv<'_> {
    /// The weights of one output channel, `[tap][in/groups]`.
    fn row(&self, channel: usize, row: &mut Vec<f64>) {
        let (per_row, taps) = (self.in_channels / self.groups, self.window.taps());
        row.resize(per_row * taps, 0.0);
        let data = &self.weight.data()[..];
        match self.weight.dtype() {
            DType::F32 => self.gather(data.as_chunks::<4>().0, channel, taps, row, |b| {
                f64::from(f32::from_le_bytes(*b))
            }),
            DType::F64 => self.gather(data.as_chunks::<8>().0, channel, taps, row, |b| f64::from_le_bytes(*b)),
            DType::F16 => self.gather(data.as_chunks::<2>().0, channel, taps, row, |b| {
                f16::from_le_bytes(*b).to_f64()
            }),
            DType::BF16 => self.gather(data.as_chunks::<2>().0, channel, taps, row, |b| {
                bf16::from_le_bytes(*b).to_f64()
            }),
            _ => row.fill(f64::NAN),
        }
    }

    fn gather<T>(&self, data: &[T], channel: usize, taps: usize, row: &mut [f64], get: impl Fn(&T) -> f64) {
        if self.transposed {
            let column = data.iter().skip(channel).step_by(self.out_channels);
            row.iter_mut().zip(column).for_each(|(r, v)| *r = get(v) * self.factor);
            return;
        }
        let per_row = row.len() / taps;
        let stored = &data[channel * row.len()..][..row.len()];
        for (c, stored) in stored.chunks(taps).enumerate() {
            for (u, v) in stored.iter().enumerate() {
                row[u * per_row + c] = get(v) * self.factor;
            }
        }
    }

    /// All weights, `[out][tap][in/groups]`.
    fn expand(&self) -> Vec<f64> {
        let mut all = Vec::with_capacity(self.weight.len());
        let mut row = Vec::new();
        for channel in 0..self.out_channels {
            self.row(channel, &mut row);
            all.extend_from_slice(&row);
        }
        all
    }

    /// What the convolution makes of an input that is `x[c]` everywhere.
    pub(super) fn of_constant(&self, x: &[f64]) -> Vec<f64> {
        let per_row = self.in_channels / self.groups;
        let zero = x.iter().all(|v| *v == 0.0);
        let mut row = Vec::new();
        let outputs = (0..self.out_channels).map(|o| {
            let bias = self.bias.as_ref().map_or(0.0, |b| b[o]);
            if zero {
                return bias;
            }
            self.row(o, &mut row);
            let x = &x[o / (self.out_channels / self.groups) * per_row..][..per_row];
            row.chunks(per_row)
                .fold(bias, |sum, w| sum + w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>())
        });
        outputs.collect()
    }
}

/// Writes `[tap][channel]` as `[channel][tap]` in type `dtype`; whether every number is finite.
fn round(grad: &[f64], width: usize, dtype: DType, out: &mut [u8]) -> bool {
    match dtype {
        DType::F32 => place(grad, width, out.as_chunks_mut::<4>().0, |v| {
            let v = v as f32;
            (v.to_le_bytes(), v.is_finite())
        }),
        DType::F64 => place(grad, width, out.as_chunks_mut::<8>().0, |v| {
            (v.to_le_bytes(), v.is_finite())
        }),
        DType::F16 => place(grad, width, out.as_chunks_mut::<2>().0, |v| {
            let v = f16::from_f64(v);
            (v.to_le_bytes(), v.is_finite())
        }),
        DType::BF16 => place(grad, width, out.as_chunks_mut::<2>().0, |v| {
            let v = bf16::from_f64(v);
            (v.to_le_bytes(), v.is_finite())
        }),
        _ => false,
    }
}

fn place<const N: usize>(grad: &[f64], width: usize, out: &mut [[u8; N]], to: impl Fn(f64) -> ([u8; N], bool)) -> bool {
    let taps = grad.len() / width.max(1);
    let mut finite = true;
    for (c, out) in out.chunks_mut(taps.max(1)).enumerate() {
        for (u, out) in out.iter_mut().enumerate() {
            let (bytes, ok) = to(grad[u * width + c]);
            *out = bytes;
            finite &= ok;
        }
    }
    finite
}
