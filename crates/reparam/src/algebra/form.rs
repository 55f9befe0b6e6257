//! What each value of a program is along its axes, and whether borders agree.

use super::lattice::gcd;
use super::program::{ConvMap, Op, Program};
use crate::reason::Reason;
use repserve_graph::ops::Window;

/// Offsets beyond this are not a network's, and products of them would not fit.
const REACH_MAX: i64 = 1 << 40;

/// A value along one axis: `y[i]` reads offsets `lo..=hi` around `stride·i`; its extent is `⌊(n − 1 + slack)/stride⌋ + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) stride: i64,
    pub(super) lo: i64,
    pub(super) hi: i64,
    pub(super) slack: i64,
}

/// A number that may be the small difference of large ones, and how large they were.
#[derive(Debug, Clone, Copy, Default)]
struct Rounded {
    value: f64,
    size: f64,
}

/// A value: where it comes from, whether its extension is uniform, which `auto_pad` it carries, its channels and groups.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) lines: Vec<Line>,
    pub(super) uniform: bool,
    pub(super) auto: Option<Window>,
    pub(super) channels: usize,
    pub(super) groups: usize,
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

impl Rounded {
    fn times(self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            size: (self.size * factor).abs(),
        }
    }

    fn plus(self, factor: f64, value: f64) -> Self {
        Self {
            value: self.value + factor * value,
            size: self.size + (factor * value).abs(),
        }
    }
}

/// Finds the form of every value, in order.
pub(super) struct Forms<'p> {
    program: &'p Program<'p>,
    forms: Vec<Form>,
    zeros: Vec<Vec<Rounded>>,
}

impl<'p> Forms<'p> {
    /// Knows the source alone.
    pub(super) fn new(program: &'p Program<'p>) -> Self {
        let source = Form {
            lines: vec![Line::SOURCE; program.rank],
            uniform: true,
            auto: None,
            channels: program.channels,
            groups: program.channels,
        };
        Self {
            program,
            forms: vec![source],
            zeros: Vec::new(),
        }
    }

    /// Adds what `op`, the next operation, makes.
    ///
    /// # Errors
    /// Why it cannot be part of one convolution.
    pub(super) fn push(&mut self, op: &Op<'_>) -> Result<&Form, Reason> {
        let form = self.form(op)?;
        let far = |v: i64| v.abs() > REACH_MAX;
        if form
            .lines
            .iter()
            .any(|l| far(l.stride) || far(l.lo) || far(l.hi) || far(l.slack))
        {
            return Err(Reason::NotUnderstood("window".into()));
        }
        self.forms.push(form);
        Ok(&self.forms[self.forms.len() - 1])
    }

    /// All forms.
    pub(super) fn finish(self) -> Vec<Form> {
        self.forms
    }

    fn form(&mut self, op: &Op<'_>) -> Result<Form, Reason> {
        match op {
            Op::Conv(conv) => self.conv_form(conv),
            Op::Affine { input, .. } => Ok(self.forms[*input].clone()),
            Op::Pool { input, window } => self.slide(*input, window),
            Op::Pad {
                input,
                before,
                after,
                fill,
            } => self.pad_form(*input, before, after, fill),
            Op::Sum { terms } => self.sum_form(terms),
        }
    }

    fn conv_form(&mut self, conv: &ConvMap<'_>) -> Result<Form, Reason> {
        let mut form = self.slide(conv.input, &conv.window)?;
        form.channels = conv.out_channels;
        form.groups = gcd(self.forms[conv.input].groups as i64, conv.groups as i64) as usize;
        Ok(form)
    }

    /// A window over a value: offsets add, extents compose, borders must agree.
    fn slide(&mut self, input: usize, window: &Window) -> Result<Form, Reason> {
        let mut form = self.forms[input].clone();
        let single = window.taps() == 1;
        if form.auto.is_some() && !(single && !window.is_padded() && window.strides.iter().all(|s| *s == 1)) {
            return Err(Reason::AutoPad);
        }
        if window.is_padded() {
            self.border(input, |_| 0.0, 0.0)?;
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

    fn pad_form(&mut self, input: usize, before: &[i64], after: &[i64], fill: &[f64]) -> Result<Form, Reason> {
        let mut form = self.forms[input].clone();
        if form.auto.is_some() {
            return Err(Reason::AutoPad);
        }
        if before.iter().chain(after).any(|p| *p > 0) {
            self.border(input, |c| fill[c], self.program.rounding)?;
        }
        form.uniform &= before.iter().chain(after).all(|p| *p >= 0);
        for (axis, line) in form.lines.iter_mut().enumerate() {
            line.lo -= line.stride * before[axis];
            line.hi -= line.stride * before[axis];
            line.slack += line.stride * (before[axis] + after[axis]);
        }
        Ok(form)
    }

    fn sum_form(&self, terms: &[(usize, f64)]) -> Result<Form, Reason> {
        let mut form = self.forms[terms[0].0].clone();
        for (value, _) in &terms[1..] {
            let other = &self.forms[*value];
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
                let known = self.program.extents.as_ref().map(|e| e[axis]);
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
    fn border(&mut self, input: usize, fill: impl Fn(usize) -> f64, tolerance: f64) -> Result<(), Reason> {
        if !self.forms[input].uniform {
            return Err(Reason::WindowBeforePadding);
        }
        if input == 0 && (0..self.program.channels).all(|c| fill(c) == 0.0) {
            return Ok(());
        }
        let zeros = self.of_zeros(input);
        let largest = zeros.iter().fold(0.0f64, |m, z| m.max(z.size));
        let agrees = |(c, z): (usize, &Rounded)| (z.value - fill(c)).abs() <= tolerance * largest;
        if zeros.iter().enumerate().all(agrees) {
            Ok(())
        } else if tolerance == 0.0 {
            Err(Reason::ShiftBeforePadding)
        } else {
            Err(Reason::PaddingValue)
        }
    }

    /// What a uniform value is where the source is zero, a number a channel.
    fn of_zeros(&mut self, value: usize) -> &[Rounded] {
        for index in self.zeros.len()..=value {
            let made = match index.checked_sub(1).map(|i| &self.program.ops[i]) {
                None => vec![Rounded::default(); self.program.channels],
                Some(op) if self.forms[index].uniform => self.apply(op, self.forms[index].channels),
                Some(_) => Vec::new(),
            };
            self.zeros.push(made);
        }
        &self.zeros[value]
    }

    fn apply(&self, op: &Op<'_>, channels: usize) -> Vec<Rounded> {
        match op {
            Op::Conv(conv) => {
                let x: Vec<f64> = self.zeros[conv.input].iter().map(|x| x.value).collect();
                let made = conv.of_constant(&x).into_iter();
                made.map(|v| Rounded::default().plus(1.0, v)).collect()
            }
            Op::Affine { input, scale, shift } => {
                let maps = scale.iter().zip(shift);
                let x = self.zeros[*input].iter().zip(maps);
                x.map(|(x, (a, b))| x.times(*a).plus(1.0, *b)).collect()
            }
            Op::Pool { input, .. } | Op::Pad { input, .. } => self.zeros[*input].clone(),
            Op::Sum { terms } => {
                let mut sum = vec![Rounded::default(); channels];
                for (value, factor) in terms {
                    for (s, x) in sum.iter_mut().zip(&self.zeros[*value]) {
                        let term = x.times(*factor);
                        s.value += term.value;
                        s.size += term.size;
                    }
                }
                sum
            }
        }
    }
}
