//! The shape of an operator's first output.

use super::{Shapes, fixed};
use crate::graph::{Dim, Graph, Node, Tensor, ValueId};
use crate::reparam::fold::taken;

fn unknown() -> Dim {
    Dim::Symbol(String::new())
}

struct Look<'a> {
    graph: &'a Graph,
    node: &'a Node,
    opset: i64,
    shapes: &'a Shapes,
}

/// The shape of the node's first output, where it follows from its inputs.
pub(super) fn outputs(graph: &Graph, node: &Node, opset: i64, shapes: &Shapes) -> Option<Vec<Dim>> {
    if !node.is(&node.op) {
        return None;
    }
    let look = Look {
        graph,
        node,
        opset,
        shapes,
    };
    match node.op.as_str() {
        "Relu"
        | "LeakyRelu"
        | "PRelu"
        | "Sigmoid"
        | "HardSigmoid"
        | "HardSwish"
        | "Tanh"
        | "Elu"
        | "Selu"
        | "Gelu"
        | "Erf"
        | "Clip"
        | "Softmax"
        | "LogSoftmax"
        | "Softplus"
        | "Mish"
        | "Swish"
        | "Neg"
        | "Abs"
        | "Sqrt"
        | "Exp"
        | "Log"
        | "Reciprocal"
        | "BatchNormalization"
        | "InstanceNormalization"
        | "LayerNormalization"
        | "Dropout"
        | "Identity"
        | "Cast"
        | "QuantizeLinear"
        | "DequantizeLinear"
        | "LRN" => look.input(0).map(<[Dim]>::to_vec),
        "CastLike" | "ScatterND" | "ScatterElements" => look.input(0).map(<[Dim]>::to_vec),
        "Add" | "Sub" | "Mul" | "Div" | "Sum" | "Mean" | "Pow" | "Max" | "Min" => look.broadcast(),
        "Conv" => look.conv(),
        "AveragePool" | "MaxPool" | "LpPool" => look.pool(),
        "GlobalAveragePool" | "GlobalMaxPool" => {
            let x = look.input(0)?;
            Some(
                x.iter()
                    .enumerate()
                    .map(|(i, d)| if i < 2 { d.clone() } else { Dim::Fixed(1) })
                    .collect(),
            )
        }
        "Gemm" => look.gemm(),
        "MatMul" => look.matmul(),
        "Flatten" => look.flatten(),
        "Reshape" => look.reshape(),
        "Transpose" => look.transpose(),
        "Pad" => look.pad(),
        "Concat" => look.concat(),
        "ReduceMean" | "ReduceSum" | "ReduceMax" => look.reduce(),
        "Squeeze" => look.squeeze(),
        "Unsqueeze" => look.unsqueeze(),
        "Slice" => look.slice(),
        "Expand" => look.expand(),
        "Gather" => look.gather(),
        _ => None,
    }
}

impl<'a> Look<'a> {
    fn input(&self, index: usize) -> Option<&'a [Dim]> {
        self.shapes.of(self.node.input(index)?)
    }

    fn constant(&self, index: usize) -> Option<&'a Tensor> {
        self.graph.constant(self.node.input(index)?)
    }

    fn int(&self, name: &str, default: i64) -> i64 {
        self.node.attribute(name).and_then(|a| a.as_int()).unwrap_or(default)
    }

    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.node.attribute(name).and_then(|a| a.as_ints()).map(<[i64]>::to_vec)
    }

    /// A list that newer operator sets give as an input and older ones as an attribute.
    fn list(&self, name: &str, index: usize) -> Option<Vec<i64>> {
        self.ints(name)
            .or_else(|| self.constant(index).and_then(Tensor::to_i64))
    }

    fn broadcast(&self) -> Option<Vec<Dim>> {
        let all: Option<Vec<&[Dim]>> = self
            .node
            .inputs
            .iter()
            .map(|v| v.and_then(|v: ValueId| self.shapes.of(v)))
            .collect();
        let all = all?;
        if self.opset < 7 {
            return all.first().map(|s| s.to_vec());
        }
        let rank = all.iter().map(|s| s.len()).max()?;
        let dim = |axis: usize| {
            let mut dims = all
                .iter()
                .filter_map(|s| (axis + s.len()).checked_sub(rank).map(|i| &s[i]));
            let first = dims.next()?.clone();
            Some(dims.fold(first, |a, b| match (a, b) {
                (Dim::Fixed(1), b) => b.clone(),
                (a, Dim::Fixed(1)) => a,
                (Dim::Fixed(a), _) => Dim::Fixed(a),
                (_, Dim::Fixed(b)) => Dim::Fixed(*b),
                (a, b) if a == *b => a,
                _ => unknown(),
            }))
        };
        (0..rank).map(dim).collect()
    }

    fn conv(&self) -> Option<Vec<Dim>> {
        let (x, w) = (self.input(0)?, self.input(1)?);
        if x.len() < 3 || w.len() != x.len() {
            return None;
        }
        let kernel: Option<Vec<usize>> = w[2..].iter().map(fixed).collect();
        let mut shape = vec![x[0].clone(), w[0].clone()];
        shape.extend(self.slide(&x[2..], &kernel?)?);
        Some(shape)
    }

    fn pool(&self) -> Option<Vec<Dim>> {
        let x = self.input(0).filter(|x| x.len() > 2)?;
        let kernel: Option<Vec<usize>> = self
            .ints("kernel_shape")?
            .iter()
            .map(|k| usize::try_from(*k).ok())
            .collect();
        let mut shape = x[..2].to_vec();
        shape.extend(self.slide(&x[2..], &kernel?)?);
        Some(shape)
    }

    fn slide(&self, extents: &[Dim], kernel: &[usize]) -> Option<Vec<Dim>> {
        let rank = extents.len();
        let list = |name: &str, len: usize, default: i64| {
            self.ints(name).or(Some(vec![default; len])).filter(|l| l.len() == len)
        };
        let (strides, dilations) = (list("strides", rank, 1)?, list("dilations", rank, 1)?);
        let pads = list("pads", 2 * rank, 0)?;
        let auto = self
            .node
            .attribute("auto_pad")
            .and_then(|a| a.as_str())
            .unwrap_or("NOTSET");
        let up = self.int("ceil_mode", 0) != 0;
        if kernel.len() != rank || strides.iter().chain(&dilations).any(|v| !(1..1 << 20).contains(v)) {
            return None;
        }
        let along = |axis: usize| {
            let Some(n) = fixed(&extents[axis]) else {
                return Some(unknown());
            };
            let (n, stride) = (i64::try_from(n).ok()?, strides[axis]);
            if auto.starts_with("SAME") {
                return Some(Dim::Fixed(((n + stride - 1) / stride) as usize));
            }
            let padded = if auto == "VALID" {
                n
            } else {
                n.checked_add(pads[axis])?.checked_add(pads[axis + rank])?
            };
            let reach = dilations[axis].checked_mul(i64::try_from(kernel[axis]).ok()? - 1)?;
            let free = padded.checked_sub(reach)?.checked_sub(1).filter(|f| *f >= 0)?;
            if up && free % stride != 0 {
                return Some(unknown());
            }
            Some(Dim::Fixed((free / stride) as usize + 1))
        };
        (0..rank).map(along).collect()
    }

    fn gemm(&self) -> Option<Vec<Dim>> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        if a.len() != 2 || b.len() != 2 {
            return None;
        }
        let row = usize::from(self.int("transA", 0) != 0);
        let column = usize::from(self.int("transB", 0) == 0);
        Some(vec![a[row].clone(), b[column].clone()])
    }

    fn matmul(&self) -> Option<Vec<Dim>> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        if a.len() < 2 || b.len() != 2 {
            return None;
        }
        let mut shape = a[..a.len() - 1].to_vec();
        shape.push(b[1].clone());
        Some(shape)
    }

    fn flatten(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let axis = self.axis(self.int("axis", 1), x.len() + 1)?;
        let product = |dims: &[Dim]| match dims {
            [one] => one.clone(),
            many => many
                .iter()
                .map(fixed)
                .try_fold(1usize, |n, d| n.checked_mul(d?))
                .map_or(unknown(), Dim::Fixed),
        };
        Some(vec![product(&x[..axis]), product(&x[axis..])])
    }

    fn axis(&self, axis: i64, rank: usize) -> Option<usize> {
        let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
        usize::try_from(axis).ok().filter(|a| *a < rank.max(1))
    }

    fn reshape(&self) -> Option<Vec<Dim>> {
        let target = self.list("shape", 1)?;
        let x = self.input(0);
        let keep_zero = self.int("allowzero", 0) != 0;
        let mut shape: Vec<Dim> = Vec::with_capacity(target.len());
        for (i, d) in target.iter().enumerate() {
            shape.push(match *d {
                0 if !keep_zero => x.and_then(|x| x.get(i)).cloned().unwrap_or_else(unknown),
                -1 => unknown(),
                d => Dim::Fixed(usize::try_from(d).ok()?),
            });
        }
        let open: Vec<usize> = (0..target.len()).filter(|i| target[*i] == -1).collect();
        if let (&[open], Some(x)) = (&open[..], x) {
            shape[open] = rest(x, &target, &shape, open);
        }
        Some(shape)
    }

    fn transpose(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let order = self.ints("perm").unwrap_or_else(|| (0..x.len() as i64).rev().collect());
        if order.len() != x.len() {
            return None;
        }
        order
            .iter()
            .map(|i| x.get(usize::try_from(*i).ok()?).cloned())
            .collect()
    }

    fn pad(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        if self.node.input(3).is_some() {
            return Some(vec![unknown(); x.len()]);
        }
        let pads = self.list("pads", 1)?;
        if pads.len() != 2 * x.len() {
            return None;
        }
        let wide = |(i, d): (usize, &Dim)| match fixed(d) {
            _ if pads[i] == 0 && pads[i + x.len()] == 0 => Some(d.clone()),
            Some(n) => {
                let n = i64::try_from(n)
                    .ok()?
                    .checked_add(pads[i])?
                    .checked_add(pads[i + x.len()])?;
                usize::try_from(n).ok().map(Dim::Fixed)
            }
            None => Some(unknown()),
        };
        x.iter().enumerate().map(wide).collect()
    }

    fn concat(&self) -> Option<Vec<Dim>> {
        let all: Option<Vec<&[Dim]>> = self.node.inputs.iter().map(|v| self.shapes.of((*v)?)).collect();
        let all = all?;
        let mut shape = all.first()?.to_vec();
        let axis = self.axis(self.int("axis", 1), shape.len())?;
        let total = all
            .iter()
            .map(|s| s.get(axis).and_then(fixed))
            .try_fold(0usize, |n, d| n.checked_add(d?));
        shape[axis] = total.map_or(unknown(), Dim::Fixed);
        Some(shape)
    }

    fn reduce(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let axes = match self.list("axes", 1) {
            Some(axes) => axes,
            None if self.node.input(1).is_none() => (0..x.len() as i64).collect(),
            None => return None,
        };
        let axes: Option<Vec<usize>> = axes.iter().map(|a| self.axis(*a, x.len())).collect();
        let (axes, keep) = (axes?, self.int("keepdims", 1) != 0);
        let dims = x.iter().enumerate().filter(|(i, _)| keep || !axes.contains(i));
        Some(
            dims.map(|(i, d)| if axes.contains(&i) { Dim::Fixed(1) } else { d.clone() })
                .collect(),
        )
    }

    fn squeeze(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let axes: Option<Vec<usize>> = self.list("axes", 1)?.iter().map(|a| self.axis(*a, x.len())).collect();
        let axes = axes?;
        Some(
            x.iter()
                .enumerate()
                .filter(|(i, _)| !axes.contains(i))
                .map(|(_, d)| d.clone())
                .collect(),
        )
    }

    fn slice(&self) -> Option<Vec<Dim>> {
        let mut shape = self.input(0)?.to_vec();
        let (starts, ends) = (self.list("starts", 1)?, self.list("ends", 2)?);
        let axes = match self.node.input(3) {
            None => self.ints("axes").unwrap_or_else(|| (0..starts.len() as i64).collect()),
            Some(_) => self.list("axes", 3)?,
        };
        let steps = match self.node.input(4) {
            None => vec![1; starts.len()],
            Some(_) => self.list("steps", 4)?,
        };
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return None;
        }
        for (i, axis) in axes.iter().enumerate() {
            let axis = self.axis(*axis, shape.len())?;
            let whole = starts[i] == 0 && ends[i] >= i64::from(i32::MAX) && steps[i] == 1;
            shape[axis] = match fixed(&shape[axis]) {
                _ if whole => continue,
                Some(n) => Dim::Fixed(taken(starts[i], ends[i], steps[i], n)?.1),
                None => unknown(),
            };
        }
        Some(shape)
    }

    fn expand(&self) -> Option<Vec<Dim>> {
        let (x, to) = (self.input(0)?, self.list("shape", 1)?);
        let rank = x.len().max(to.len());
        let own = |axis: usize| (axis + x.len()).checked_sub(rank).map(|i| x[i].clone());
        let wanted = |axis: usize| {
            (axis + to.len())
                .checked_sub(rank)
                .map_or(Some(1), |i| usize::try_from(to[i]).ok())
        };
        (0..rank)
            .map(|axis| match (own(axis), wanted(axis)?) {
                (Some(d), 1) => Some(d),
                (None | Some(_), n) => Some(Dim::Fixed(n)),
            })
            .collect()
    }

    fn gather(&self) -> Option<Vec<Dim>> {
        let (x, indices) = (self.input(0)?, self.input(1)?);
        let axis = self.axis(self.int("axis", 0), x.len())?;
        Some([&x[..axis], indices, &x[axis + 1..]].concat())
    }

    fn unsqueeze(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let axes = self.list("axes", 1)?;
        let rank = x.len() + axes.len();
        let axes: Option<Vec<usize>> = axes.iter().map(|a| self.axis(*a, rank)).collect();
        let axes = axes?;
        let mut rest = x.iter();
        (0..rank)
            .map(|i| {
                if axes.contains(&i) {
                    Some(Dim::Fixed(1))
                } else {
                    rest.next().cloned()
                }
            })
            .collect()
    }
}

/// The extent that a reshape leaves open: what is left of the elements, or the one dynamic extent that nothing else took.
fn rest(x: &[Dim], target: &[i64], shape: &[Dim], open: usize) -> Dim {
    let others = shape.iter().enumerate().filter(|(i, _)| *i != open).map(|(_, d)| d);
    let taken = others.clone().map(fixed).try_fold(1usize, |n, d| n.checked_mul(d?));
    let all = x.iter().map(fixed).try_fold(1usize, |n, d| n.checked_mul(d?));
    if let (Some(all), Some(taken)) = (all, taken) {
        return all.checked_div(taken).map_or(unknown(), Dim::Fixed);
    }
    let copied = |i: usize| target.get(i) == Some(&0);
    let mut left = x.iter().enumerate().filter(|(i, _)| !copied(*i)).map(|(_, d)| fixed(d));
    let left = left.try_fold(1usize, |n, d| n.checked_mul(d?));
    let fresh = target
        .iter()
        .filter(|d| **d > 0)
        .try_fold(1usize, |n, d| n.checked_mul(*d as usize));
    match (left, fresh) {
        (Some(left), Some(fresh)) if fresh > 0 => Dim::Fixed(left / fresh),
        _ => unknown(),
    }
}
