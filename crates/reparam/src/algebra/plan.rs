//! Whether a program is one convolution, which one, and what it costs. Geometry only, except for the values of borders.

use super::form::{Form, Forms, Line};
use super::lattice::Lattice;
use super::program::{ConvMap, Op, Program};
use crate::reason::Reason;
use repserve_graph::ops::{SamePadding, Window};

/// Taps that a merged kernel may have; more is not a network but an attack.
const TAPS_MAX: usize = 1 << 16;

/// Why a program is not one convolution, and which operation shows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Obstacle {
    /// Index into [`Program::ops`].
    pub(crate) op: usize,
    /// Why.
    pub(crate) reason: Reason,
}

/// The merged convolution along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Input offsets of its taps.
    pub(crate) taps: Lattice,
    /// Distance of neighbouring outputs.
    pub(crate) stride: usize,
    /// Zeros in front.
    pub(crate) begin: usize,
    /// Zeros behind.
    pub(crate) end: usize,
}

/// The convolution that a program is.
#[derive(Debug, Clone)]
pub(crate) struct MergePlan {
    /// Geometry, an entry an axis.
    pub(crate) axes: Vec<Axis>,
    /// Set where every branch has this unresolved `auto_pad`; `begin` and `end` are then 0.
    pub(crate) auto: Option<SamePadding>,
    /// Number of groups.
    pub(crate) groups: usize,
    /// Channels of the source.
    pub(crate) in_channels: usize,
    /// Channels of the result.
    pub(crate) out_channels: usize,
    /// Multiplications per pixel of the source in the program.
    pub(crate) cost_before: f64,
    /// The same for the merged convolution.
    pub(crate) cost_after: f64,
    /// Channels of every value.
    pub(super) channels: Vec<usize>,
    /// Offsets of every value (in its own grid) that output 0 depends on, an entry an axis; the source's are `axes`.
    pub(super) reads: Vec<Vec<Lattice>>,
    /// Whether output channel `o` depends on channel `o` of the value alone, whatever follows it.
    pub(super) diagonal: Vec<bool>,
}

impl MergePlan {
    /// Weights of the merged convolution.
    pub(crate) fn weight_count(&self) -> usize {
        let taps: usize = self.axes.iter().map(|a| a.taps.count()).product();
        self.out_channels
            .saturating_mul(self.in_channels / self.groups.max(1))
            .saturating_mul(taps)
    }

    /// The merged window.
    pub(crate) fn window(&self) -> Window {
        Window {
            kernel: self.axes.iter().map(|a| a.taps.count()).collect(),
            strides: self.axes.iter().map(|a| a.stride).collect(),
            dilations: self.axes.iter().map(|a| a.taps.step.max(1) as usize).collect(),
            begins: self.axes.iter().map(|a| a.begin).collect(),
            ends: self.axes.iter().map(|a| a.end).collect(),
            auto: self.auto,
        }
    }
}

impl Program<'_> {
    /// The one convolution that the program is.
    ///
    /// # Errors
    /// The first operation that keeps it from being one, with the reason.
    pub(crate) fn plan(&self) -> Result<MergePlan, Obstacle> {
        let mut forms = Forms::new(self);
        let mut cost = 0.0;
        for (index, op) in self.ops.iter().enumerate() {
            let form = forms.push(op).map_err(|reason| Obstacle { op: index, reason })?;
            cost += multiplications(op, form);
        }
        let last = self.ops.len().saturating_sub(1);
        self.finish(&forms.finish(), cost)
            .map_err(|reason| Obstacle { op: last, reason })
    }

    fn finish(&self, forms: &[Form], cost_before: f64) -> Result<MergePlan, Reason> {
        let form = &forms[forms.len() - 1];
        let (diagonal, mut reads) = self.backward();
        let mut axes = Vec::with_capacity(self.rank);
        for (axis, line) in form.lines.iter().enumerate() {
            axes.push(placed(*line, reads[0][axis], form.auto.as_ref())?);
        }
        reads[0] = axes.iter().map(|a| a.taps).collect();
        let taps = axes.iter().try_fold(1usize, |n, a| n.checked_mul(a.taps.count()));
        let taps = taps
            .filter(|n| *n <= TAPS_MAX)
            .ok_or(Reason::NotUnderstood("window".into()))?;
        let pixels: f64 = form.lines.iter().map(|l| l.stride as f64).product();
        let row = (self.channels / form.groups.max(1)) as f64 * taps as f64;
        Ok(MergePlan {
            axes,
            auto: form.auto.as_ref().and_then(|w| w.auto),
            groups: form.groups,
            in_channels: self.channels,
            out_channels: form.channels,
            cost_before,
            cost_after: form.channels as f64 * row / pixels,
            channels: forms.iter().map(|f| f.channels).collect(),
            reads,
            diagonal,
        })
    }

    /// From the result back to the source: which offsets of each value the result at 0 reads, and whether it reads
    /// only its own channel.
    fn backward(&self) -> (Vec<bool>, Vec<Vec<Lattice>>) {
        let count = self.value_count();
        let mut diagonal = vec![true; count];
        let mut reads: Vec<Option<Vec<Lattice>>> = vec![None; count];
        reads[count - 1] = Some(vec![Lattice::point(0); self.rank]);
        for (index, op) in self.ops.iter().enumerate().rev() {
            let Some(own) = reads[index + 1].clone() else { continue };
            let keeps = diagonal[index + 1] && !matches!(op, Op::Conv(_));
            for input in op.inputs() {
                diagonal[input] &= keeps;
                let new = own.iter().enumerate().map(|(axis, l)| op.reads(axis, *l));
                reads[input] = Some(match reads[input].take() {
                    None => new.collect(),
                    Some(old) => old.into_iter().zip(new).map(|(a, b)| a.union(b)).collect(),
                });
            }
        }
        let none = || vec![Lattice::point(0); self.rank];
        (diagonal, reads.into_iter().map(|r| r.unwrap_or_else(none)).collect())
    }
}

impl Op<'_> {
    /// The offsets of the input that these outputs read.
    fn reads(&self, axis: usize, outputs: Lattice) -> Lattice {
        match self {
            Self::Conv(ConvMap { window, .. }) | Self::Pool { window, .. } => outputs.through(
                window.kernel[axis],
                window.strides[axis],
                window.dilations[axis],
                window.begins[axis] as i64,
            ),
            Self::Pad { before, .. } => outputs.through(1, 1, 1, before[axis]),
            Self::Affine { .. } | Self::Sum { .. } => outputs,
        }
    }
}

/// Where the merged kernel stands: it may need zero taps so that neither padding is negative.
fn placed(line: Line, taps: Lattice, auto: Option<&Window>) -> Result<Axis, Reason> {
    let narrow = |v: i64| usize::try_from(v).map_err(|_| Reason::NotUnderstood("window".into()));
    let stride = narrow(line.stride)?;
    if auto.is_some() {
        let (begin, end) = (0, 0);
        return Ok(Axis {
            taps,
            stride,
            begin,
            end,
        });
    }
    let end = (line.slack + taps.hi).max(0);
    let taps = taps.union(Lattice::point(taps.lo.min(0)));
    let taps = taps.union(Lattice::point(end - line.slack));
    Ok(Axis {
        taps,
        stride,
        begin: narrow(-taps.lo)?,
        end: narrow(end)?,
    })
}

fn multiplications(op: &Op<'_>, form: &Form) -> f64 {
    let pixels: f64 = form.lines.iter().map(|l| l.stride as f64).product();
    let row = match op {
        Op::Conv(conv) => (conv.in_channels / conv.groups) as f64 * conv.window.taps() as f64,
        Op::Pool { window, .. } => window.taps() as f64,
        Op::Affine { .. } => 1.0,
        Op::Pad { .. } | Op::Sum { .. } => 0.0,
    };
    form.channels as f64 * row / pixels
}
