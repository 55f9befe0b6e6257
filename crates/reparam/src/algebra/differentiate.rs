//! A row (output channel) of the merged kernel at a time, by running the program backwards: the row is the derivative of
//! the output channel with respect to the source, its constant part the bias.

use super::plan::MergePlan;
use super::program::{ConvMap, Op, Program};
use super::route::{At, Route, grid, tap};
use super::rows::Rows;

/// For every value the derivative of one output channel, `[channel of its group][tap]`.
pub(super) type Gradients = Vec<Vec<f64>>;

/// A program made ready for differentiation.
pub(super) struct Differentiation<'a> {
    program: &'a Program<'a>,
    plan: &'a MergePlan,
    /// How many positions of every value the result reads.
    taps: Vec<usize>,
    /// For every operation and each of its inputs, where the taps of the one read the other.
    routes: Vec<Vec<Route>>,
    /// For every operation that is a convolution its weights.
    rows: Vec<Option<Rows<'a>>>,
}

impl<'a> Differentiation<'a> {
    pub(super) fn new(program: &'a Program<'a>, plan: &'a MergePlan) -> Self {
        let rows = program.ops.iter().map(|op| match op {
            Op::Conv(conv) => Some(Rows::of(conv)),
            _ => None,
        });
        Self {
            program,
            plan,
            taps: plan
                .reads
                .iter()
                .map(|r| r.iter().map(|l| l.count()).product())
                .collect(),
            routes: (0..program.ops.len()).map(|i| routes(program, plan, i)).collect(),
            rows: rows.collect(),
        }
    }

    /// Weights of one row of the merged kernel.
    pub(super) fn row_len(&self) -> usize {
        self.width(0) * self.taps[0]
    }

    /// Memory for the derivatives, all zero.
    pub(super) fn gradients(&self) -> Gradients {
        let zeros = |v: usize| vec![0.0; self.width(v) * self.taps[v]];
        (0..self.taps.len()).map(zeros).collect()
    }

    /// Adds output channel `out`'s derivative to `gradients[0]`, `[in/groups][tap]`, and leaves the others zero.
    /// Returns the constant part.
    pub(super) fn run(&self, out: usize, gradients: &mut Gradients) -> f64 {
        let last = self.taps.len() - 1;
        gradients[last][out - self.first(last, out)] = 1.0;
        let mut bias = 0.0;
        for index in (0..self.program.ops.len()).rev() {
            let mut gradient = std::mem::take(&mut gradients[index + 1]);
            bias += self.through(index, out, &gradient, gradients);
            gradient.fill(0.0);
            gradients[index + 1] = gradient;
        }
        bias
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

    /// Hands the derivative of operation `index`'s result on to its inputs; the constant part.
    fn through(&self, index: usize, out: usize, gradient: &[f64], gradients: &mut Gradients) -> f64 {
        let first = self.first(index + 1, out);
        match &self.program.ops[index] {
            Op::Conv(conv) => self.through_conv(conv, index, out, gradient, gradients),
            Op::Affine { input, scale, shift } => {
                self.through_diagonal(index, (0, *input), out, gradient, gradients, |c| [scale[c]]);
                let channels = gradient.chunks(self.taps[index + 1]).zip(&shift[first..]);
                channels.map(|(g, s)| g.iter().sum::<f64>() * s).sum()
            }
            Op::Pad { input, .. } => {
                self.through_diagonal(index, (0, *input), out, gradient, gradients, |_| [1.0]);
                0.0
            }
            Op::Pool { input, window } => {
                let parts = vec![1.0 / window.taps() as f64; window.taps()];
                self.through_diagonal(index, (0, *input), out, gradient, gradients, |_| &parts);
                0.0
            }
            Op::Sum { terms } => {
                for (term, (input, factor)) in terms.iter().enumerate() {
                    self.through_diagonal(index, (term, *input), out, gradient, gradients, |_| [*factor]);
                }
                0.0
            }
        }
    }

    /// A map that keeps channels apart: the weights of its window, a channel. `term` says which input, by place and value.
    fn through_diagonal<W: AsRef<[f64]>>(
        &self,
        index: usize,
        (place, input): (usize, usize),
        out: usize,
        gradient: &[f64],
        gradients: &mut Gradients,
        weights: impl Fn(usize) -> W,
    ) {
        let route = &self.routes[index][place];
        let (first, to_first) = (self.first(index + 1, out), self.first(input, out));
        let targets = gradients[input].chunks_mut(self.taps[input]).skip(first - to_first);
        for (c, (gradient, target)) in gradient.chunks(self.taps[index + 1]).zip(targets).enumerate() {
            route.spread(weights(first + c).as_ref(), |w| *w, gradient, target);
        }
    }

    fn through_conv(
        &self,
        conv: &ConvMap<'_>,
        index: usize,
        out: usize,
        gradient: &[f64],
        gradients: &mut Gradients,
    ) -> f64 {
        let Some(rows) = &self.rows[index] else { return 0.0 };
        let (first, to_first) = (self.first(index + 1, out), self.first(conv.input, out));
        let per_row = conv.in_channels / conv.groups;
        let taps = self.taps[conv.input];
        let mut bias = 0.0;
        for (c, gradient) in gradient.chunks(self.taps[index + 1]).enumerate() {
            if gradient.iter().all(|g| *g == 0.0) {
                continue;
            }
            let channel = first + c;
            if let Some(own) = &conv.bias {
                bias += own[channel] * gradient.iter().sum::<f64>();
            }
            let start = channel / (conv.out_channels / conv.groups) * per_row - to_first;
            let target = &mut gradients[conv.input][start * taps..(start + per_row) * taps];
            rows.spread(channel, &self.routes[index][0], gradient, target);
        }
        bias
    }
}

/// The routes of operation `index`, an input each.
fn routes(program: &Program<'_>, plan: &MergePlan, index: usize) -> Vec<Route> {
    let op = &program.ops[index];
    let own = grid(
        plan.reads[index + 1]
            .iter()
            .map(|l| (0..l.count()).map(|i| l.at(i)).collect()),
    );
    let kernel: &[usize] = match op {
        Op::Conv(ConvMap { window, .. }) | Op::Pool { window, .. } => &window.kernel,
        _ => &[],
    };
    let offsets = grid(kernel.iter().map(|k| (0..*k as i64).collect()));
    let route = |input: usize| {
        let lattices = &plan.reads[input];
        let place = |at: At, offset: At| tap(lattices, op.read(at, offset));
        let from: Vec<usize> = own.iter().map(|at| place(*at, [0; 3])).collect();
        let by = offsets.iter().map(|offset| place(own[0], *offset) - from[0]).collect();
        Route::new(from, by)
    };
    op.inputs().into_iter().map(route).collect()
}
