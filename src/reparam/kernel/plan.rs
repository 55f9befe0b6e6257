//! Whether a program is one convolution, which one, and what it costs. Geometry only, except for the values of borders.

use super::{Conv, Lattice, Op, Program, Same, Window, gcd};
use crate::reparam::reason::Reason;

/// How far a border value may be from what its map makes of zeros, relative to the largest of them: exporters compute
/// it in f32.
const FILL_TOLERANCE: f64 = 4e-6;

/// Taps that a merged kernel may have; more is not a network but an attack.
const TAPS_MAX: usize = 1 << 16;

/// Why a program is not one convolution, and which operation shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Obstacle {
    /// Index into [`Program::ops`].
    pub op: usize,
    /// Why.
    pub reason: Reason,
}

/// The merged convolution along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Input offsets of its taps.
    pub taps: Lattice,
    /// Distance of neighbouring outputs.
    pub stride: usize,
    /// Zeros in front.
    pub begin: usize,
    /// Zeros behind.
    pub end: usize,
}

/// The convolution that a program is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Geometry, an entry an axis.
    pub axes: Vec<Axis>,
    /// Set where every branch has this unresolved `auto_pad`; `begin` and `end` are then 0.
    pub auto: Option<Same>,
    /// Number of groups.
    pub groups: usize,
    /// Channels of the source.
    pub in_channels: usize,
    /// Channels of the result.
    pub out_channels: usize,
    /// Multiplications per pixel of the source in the program.
    pub cost_before: f64,
    /// The same for the merged convolution.
    pub cost_after: f64,
    /// Channels of every value.
    pub(super) channels: Vec<usize>,
    /// Offsets of every value (in its own grid) that output 0 depends on, an entry an axis; the source's are `axes`.
    pub(super) reads: Vec<Vec<Lattice>>,
    /// Whether output channel `o` depends on channel `o` of the value alone, whatever follows it.
    pub(super) diagonal: Vec<bool>,
}

impl Plan {
    /// The merged window.
    pub fn window(&self) -> Window {
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

/// A value along one axis: `y[i]` reads offsets `lo..=hi` around `stride·i`; its extent is `⌊(n − 1 + slack)/stride⌋ + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    stride: i64,
    lo: i64,
    hi: i64,
    slack: i64,
}

#[derive(Debug, Clone)]
struct Form {
    lines: Vec<Line>,
    uniform: bool,
    auto: Option<Window>,
    channels: usize,
    groups: usize,
}

impl Line {
    const SOURCE: Self = Self {
        stride: 1,
        lo: 0,
        hi: 0,
        slack: 0,
    };

    fn extent(&self, source: usize) -> i64 {
        (source as i64 - 1 + self.slack).div_euclid(self.stride) + 1
    }
}

impl Program<'_> {
    /// The one convolution that the program is.
    ///
    /// # Errors
    /// The first operation that keeps it from being one, with the reason.
    pub fn plan(&self) -> Result<Plan, Obstacle> {
        let mut forms = vec![Form {
            lines: vec![Line::SOURCE; self.rank],
            uniform: true,
            auto: None,
            channels: self.channels,
            groups: self.channels,
        }];
        let mut cost = 0.0;
        for (index, op) in self.ops.iter().enumerate() {
            let form = self.form(&forms, op).map_err(|reason| Obstacle { op: index, reason })?;
            cost += multiplications(op, &form);
            forms.push(form);
        }
        let last = self.ops.len().saturating_sub(1);
        self.finish(&forms, cost)
            .map_err(|reason| Obstacle { op: last, reason })
    }

    fn form(&self, forms: &[Form], op: &Op<'_>) -> Result<Form, Reason> {
        match op {
            Op::Conv(conv) => self.conv_form(forms, conv),
            Op::Affine { input, .. } => Ok(forms[*input].clone()),
            Op::Pool { input, window } => {
                let from = &forms[*input];
                let mut form = self.slide(forms, *input, window)?;
                (form.channels, form.groups) = (from.channels, from.groups);
                Ok(form)
            }
            Op::Pad {
                input,
                before,
                after,
                fill,
            } => self.pad_form(forms, *input, before, after, fill),
            Op::Sum { terms } => self.sum_form(forms, terms),
        }
    }

    fn conv_form(&self, forms: &[Form], conv: &Conv<'_>) -> Result<Form, Reason> {
        let mut form = self.slide(forms, conv.input, &conv.window)?;
        form.channels = conv.out_channels;
        form.groups = gcd(forms[conv.input].groups as i64, conv.groups as i64) as usize;
        Ok(form)
    }

    /// A window over a value: offsets add, extents compose, borders must agree.
    fn slide(&self, forms: &[Form], input: usize, window: &Window) -> Result<Form, Reason> {
        let mut form = forms[input].clone();
        let single = window.taps() == 1;
        if form.auto.is_some() && !(single && !window.is_padded() && window.strides.iter().all(|s| *s == 1)) {
            return Err(Reason::AutoPad);
        }
        if window.is_padded() {
            self.border(forms, input, |_| 0.0, 0.0)?;
        }
        if window.auto.is_some() {
            if form.lines.iter().any(|line| *line != Line::SOURCE) {
                return Err(Reason::AutoPad);
            }
            form.auto = Some(window.clone());
        }
        for (axis, line) in form.lines.iter_mut().enumerate() {
            let (kernel, stride) = (window.kernel[axis] as i64, window.strides[axis] as i64);
            let reach = window.dilations[axis] as i64 * (kernel - 1);
            let (begin, end) = (window.begins[axis] as i64, window.ends[axis] as i64);
            line.lo -= line.stride * begin;
            line.hi += line.stride * (reach - begin);
            line.slack += if window.auto.is_some() {
                0
            } else {
                line.stride * (begin + end - reach)
            };
            line.stride *= stride;
        }
        form.uniform &= single && !window.is_padded();
        Ok(form)
    }

    fn pad_form(
        &self,
        forms: &[Form],
        input: usize,
        before: &[i64],
        after: &[i64],
        fill: &[f64],
    ) -> Result<Form, Reason> {
        let mut form = forms[input].clone();
        if form.auto.is_some() {
            return Err(Reason::AutoPad);
        }
        if before.iter().chain(after).any(|p| *p > 0) {
            self.border(forms, input, |c| fill[c], FILL_TOLERANCE)?;
        }
        form.uniform &= before.iter().chain(after).all(|p| *p >= 0);
        for (axis, line) in form.lines.iter_mut().enumerate() {
            line.lo -= line.stride * before[axis];
            line.hi -= line.stride * before[axis];
            line.slack += line.stride * (before[axis] + after[axis]);
        }
        Ok(form)
    }

    fn sum_form(&self, forms: &[Form], terms: &[(usize, f64)]) -> Result<Form, Reason> {
        let mut form = forms[terms[0].0].clone();
        for (value, _) in &terms[1..] {
            let other = &forms[*value];
            if other.channels != form.channels {
                let (few, many) = (form.channels.min(other.channels), form.channels.max(other.channels));
                return Err(Reason::Broadcast(few, many));
            }
            if other.auto != form.auto {
                return Err(Reason::AutoPad);
            }
            for (axis, (a, b)) in form.lines.iter_mut().zip(&other.lines).enumerate() {
                if a.stride != b.stride {
                    return Err(Reason::UnequalStrides);
                }
                let known = self.extents.as_ref().map(|e| e[axis]);
                if a.slack != b.slack && known.is_none_or(|n| a.extent(n) != b.extent(n)) {
                    return Err(Reason::UnequalSizes);
                }
                (a.lo, a.hi) = (a.lo.min(b.lo), a.hi.max(b.hi));
            }
            form.uniform &= other.uniform && other.lines == form.lines;
            form.groups = gcd(form.groups as i64, other.groups as i64) as usize;
        }
        Ok(form)
    }

    /// Whether the extension of a value is `fill` outside its grid.
    fn border(&self, forms: &[Form], input: usize, fill: impl Fn(usize) -> f64, tolerance: f64) -> Result<(), Reason> {
        if !forms[input].uniform {
            return Err(Reason::WindowBeforePadding);
        }
        if input == 0 && (0..self.channels).all(|c| fill(c) == 0.0) {
            return Ok(());
        }
        let zeros = self.of_zeros(input);
        let largest = zeros.iter().fold(0.0f64, |m, z| m.max(z.abs()));
        let agrees = |(c, z): (usize, &f64)| (z - fill(c)).abs() <= tolerance * largest;
        if zeros.iter().enumerate().all(agrees) {
            Ok(())
        } else if tolerance == 0.0 {
            Err(Reason::ShiftBeforePadding)
        } else {
            Err(Reason::PaddingValue)
        }
    }

    /// What a uniform value is where the source is zero, a number a channel.
    fn of_zeros(&self, value: usize) -> Vec<f64> {
        let Some(op) = value.checked_sub(1).map(|i| &self.ops[i]) else {
            return vec![0.0; self.channels];
        };
        match op {
            Op::Conv(conv) => conv.of_constant(&self.of_zeros(conv.input)),
            Op::Affine { input, scale, shift } => {
                let x = self.of_zeros(*input);
                x.iter().zip(scale).zip(shift).map(|((x, a), b)| a * x + b).collect()
            }
            Op::Pool { input, .. } | Op::Pad { input, .. } => self.of_zeros(*input),
            Op::Sum { terms } => {
                let mut sum = self.of_zeros(terms[0].0);
                sum.iter_mut().for_each(|v| *v *= terms[0].1);
                for (value, factor) in &terms[1..] {
                    let x = self.of_zeros(*value);
                    sum.iter_mut().zip(x).for_each(|(s, x)| *s += factor * x);
                }
                sum
            }
        }
    }

    fn finish(&self, forms: &[Form], cost_before: f64) -> Result<Plan, Reason> {
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
        Ok(Plan {
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
            Self::Conv(Conv { window, .. }) | Self::Pool { window, .. } => outputs.through(
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
