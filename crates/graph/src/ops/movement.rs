//! Operators that cut, turn, widen and regroup elements and compute nothing.

use super::error::OperatorError;
use super::view::EXTENT_MAX;
use super::view::{NodeView, axis_of};
use crate::attribute::{Attribute, AttributeValue};
use crate::node::Node;
use crate::tensor::{DType, Tensor};

/// `Transpose`: axis `i` of the result is axis `order[i]` of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transpose {
    /// A permutation of the axes.
    pub order: Vec<usize>,
}

/// `Pad`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pad<'a> {
    /// `constant`, `reflect`, `edge` or `wrap`.
    pub mode: &'a str,
    /// All begins, then all ends; negative ones crop.
    pads: Vec<i64>,
    /// The axes that they belong to; all where `None`.
    axes: Option<Vec<i64>>,
}

/// `Slice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// What is taken of each axis that is cut.
    pub cuts: Vec<AxisCut>,
}

/// What a slice takes of one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AxisCut {
    /// The axis.
    pub axis: usize,
    /// First index; counted from the end where negative.
    pub start: i64,
    /// Index behind the last; counted from the end where negative.
    pub end: i64,
    /// Distance of neighbours; negative goes backwards, never 0.
    pub step: i64,
}

/// `Reshape`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reshape {
    /// The extents requested.
    pub extents: Vec<ReshapeExtent>,
}

/// One extent that a reshape asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReshapeExtent {
    /// This one.
    Fixed(usize),
    /// The input's at the same place.
    Copied,
    /// What is left of the elements; one extent at most.
    Rest,
}

/// `Expand`: the input, broadcast to a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expand {
    /// The shape that is asked for; the input's extents count where they are larger.
    pub extents: Vec<usize>,
}

/// `Cast`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cast {
    /// The result's element type.
    pub to: DType,
}

/// `Shape`: the extents of axes `start..end` of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShapeOf {
    start: i64,
    end: Option<i64>,
}

impl Transpose {
    /// The transposition that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Not a permutation, or none is given and the rank is not known.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Transpose") {
            return Ok(None);
        }
        let rank = view.rank_of(0);
        let order: Option<Vec<usize>> = match view.ints("perm")? {
            None => {
                let rank = rank.ok_or(OperatorError::Shape("the input"))?;
                Some((0..rank).rev().collect())
            }
            Some(list) => list.iter().map(|i| usize::try_from(*i).ok()).collect(),
        };
        let permutes = |order: &Vec<usize>| {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            sorted.into_iter().eq(0..order.len()) && rank.is_none_or(|rank| rank == order.len())
        };
        let order = order.filter(permutes).ok_or(OperatorError::Attribute {
            name: "perm",
            expected: "a permutation of the axes",
        })?;
        Ok(Some(Self { order }))
    }

    /// Whether this undoes `other`.
    pub fn is_inverse_of(&self, other: &Self) -> bool {
        let (own, other) = (&self.order, &other.order);
        own.len() == other.len() && own.iter().enumerate().all(|(i, j)| other[*j] == i)
    }
}

impl<'a> Pad<'a> {
    /// The padding that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Odd attributes, or pads that are not constants.
    pub fn of(view: &NodeView<'a>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Pad") {
            return Ok(None);
        }
        // The first operator set had another name for it.
        let pads = match view.list(1, "pads")? {
            Some(pads) => pads,
            None => view
                .ints("paddings")?
                .map(<[i64]>::to_vec)
                .ok_or(OperatorError::MissingInput(1))?,
        };
        let axes = match view.node.input(3) {
            None => None,
            Some(_) => view.list(3, "axes")?,
        };
        let ends = axes.as_ref().map_or(pads.len(), |axes| 2 * axes.len());
        if pads.len() % 2 != 0 || pads.len() != ends || pads.iter().any(|p| p.abs() > EXTENT_MAX) {
            return Err(OperatorError::Operand {
                index: 1,
                expected: "a pad for both ends of every axis",
            });
        }
        Ok(Some(Self {
            mode: view.string("mode", "constant")?,
            pads,
            axes,
        }))
    }

    /// Elements before and behind each of `rank` axes.
    ///
    /// # Errors
    /// Pads for another rank.
    pub fn along(&self, rank: usize) -> Result<[Vec<i64>; 2], OperatorError> {
        let count = self.pads.len() / 2;
        let mut ends = [vec![0; rank], vec![0; rank]];
        for i in 0..count {
            let axis = match &self.axes {
                Some(axes) => axis_of(axes[i], rank),
                None => Some(i).filter(|_| count == rank),
            };
            let axis = axis.ok_or(OperatorError::Shape("the input"))?;
            (ends[0][axis], ends[1][axis]) = (self.pads[i], self.pads[count + i]);
        }
        Ok(ends)
    }

    /// Position of the input that holds what the padding is made of.
    pub const FILL: usize = 2;

    /// Whether the pads belong to axes that an input lists.
    pub fn names_axes(&self) -> bool {
        self.axes.is_some()
    }

    /// `node`, a `Pad` of all axes, with other pads: all begins, then all ends. Where the node reads its pads, also which input they are
    /// and the tensor to put there.
    pub fn repadded(mut node: Node, pads: Vec<i64>) -> (Node, Option<(usize, Tensor)>) {
        if node.input(1).is_some() {
            return (node, Some((1, Tensor::from_i64(&[pads.len()], &pads))));
        }
        node.attributes
            .retain(|a| !["pads", "paddings"].contains(&a.name.as_str()));
        node.attributes.push(Attribute::new("pads", AttributeValue::Ints(pads)));
        (node, None)
    }

    /// What the padding is made of as a tensor of one element of type `dtype`, that of the input.
    ///
    /// # Errors
    /// A fill that is not constant, not one element or of another type; a type that has no zero.
    pub fn fill_element(view: &NodeView<'_>, dtype: DType) -> Result<Tensor, OperatorError> {
        let expected = OperatorError::Operand {
            index: Self::FILL,
            expected: "one constant element of the input's type",
        };
        if view.node.input(Self::FILL).is_some() {
            let given = view.constant(Self::FILL).filter(|t| t.len() == 1 && t.dtype() == dtype);
            return given.cloned().ok_or(expected);
        }
        match view.optional_float("value")? {
            Some(value) if dtype.is_float() => Ok(Tensor::from_f64(dtype, &[], &[f64::from(value)])),
            Some(_) => Err(expected),
            None => {
                let zero = dtype.size_bytes().map(|size| vec![0; size]);
                let zero = zero.and_then(|zero| Tensor::new(dtype, Vec::new(), zero.into()).ok());
                zero.ok_or(expected)
            }
        }
    }

    /// The number that the padding is made of: that of input 2, or of the attribute `value`; 0 where there is none.
    ///
    /// # Errors
    /// A number that is not constant or not a real one.
    pub fn fill(view: &NodeView<'_>) -> Result<f64, OperatorError> {
        view.number(Self::FILL, "value").map(Option::unwrap_or_default)
    }
}

impl Expand {
    /// The expansion that the node is; `None` for another operator.
    ///
    /// # Errors
    /// A shape that is not constant or not one of extents.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Expand") {
            return Ok(None);
        }
        let list = view.required_list(1, "shape")?;
        let extents: Option<_> = list.iter().map(|extent| usize::try_from(*extent).ok()).collect();
        let extents = extents.ok_or(OperatorError::Operand {
            index: 1,
            expected: "a list of extents",
        })?;
        Ok(Some(Self { extents }))
    }
}

impl Slice {
    /// The slice that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Bounds that are not constants, lists of different lengths, axes that there are not, a step of 0, an input of unknown rank.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Slice") {
            return Ok(None);
        }
        let rank = view.rank_of(0).ok_or(OperatorError::Shape("the input"))?;
        let (starts, ends) = (view.required_list(1, "starts")?, view.required_list(2, "ends")?);
        let count = starts.len();
        let axes = view.list(3, "axes")?.unwrap_or_else(|| (0..count as i64).collect());
        let steps = view.list(4, "steps")?.unwrap_or_else(|| vec![1; count]);
        if [ends.len(), axes.len(), steps.len()] != [count; 3] {
            return Err(OperatorError::Operand {
                index: 2,
                expected: "as long as the list of starts",
            });
        }
        let cut = |i: usize| {
            let axis = axis_of(axes[i], rank).ok_or(OperatorError::Shape("the input"))?;
            let (start, end, step) = (starts[i], ends[i], steps[i]);
            let zero = OperatorError::Operand {
                index: 4,
                expected: "steps other than 0",
            };
            let cut = AxisCut { axis, start, end, step };
            Some(cut).filter(|cut| cut.step != 0).ok_or(zero)
        };
        let cuts = (0..count).map(cut).collect::<Result<_, _>>()?;
        Ok(Some(Self { cuts }))
    }
}

impl AxisCut {
    /// Whether every element is taken, however many there are.
    pub fn is_whole(&self) -> bool {
        self.start == 0 && self.end >= i64::from(i32::MAX) && self.step == 1
    }

    /// The first index that is taken of `extent`, and the number of indices.
    pub fn range(&self, extent: usize) -> Option<(usize, usize)> {
        if extent == 0 {
            return Some((0, 0));
        }
        let extent = i64::try_from(extent).ok()?;
        let wrap = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
        let (first, length, step) = if self.step > 0 {
            let (start, end) = (wrap(self.start).clamp(0, extent), wrap(self.end).clamp(0, extent));
            (start, end - start, self.step)
        } else {
            let start = wrap(self.start).clamp(0, extent - 1);
            let end = wrap(self.end).clamp(-1, extent - 1);
            (start, start - end, self.step.checked_neg()?)
        };
        if length <= 0 {
            return Some((0, 0));
        }
        let count = (length - 1) / step + 1;
        Some((usize::try_from(first).ok()?, usize::try_from(count).ok()?))
    }
}

impl Reshape {
    /// The reshaping that the node is; `None` for another operator.
    ///
    /// # Errors
    /// A target that is not constant, has several open extents or negative ones.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Reshape") {
            return Ok(None);
        }
        let target = view.required_list(1, "shape")?;
        let keeps_zero = view.flag("allowzero")?;
        let extents: Option<Vec<ReshapeExtent>> = target
            .iter()
            .map(|extent| match extent {
                -1 => Some(ReshapeExtent::Rest),
                0 if !keeps_zero => Some(ReshapeExtent::Copied),
                n => usize::try_from(*n).ok().map(ReshapeExtent::Fixed),
            })
            .collect();
        let open = target.iter().filter(|extent| **extent == -1).count();
        let extents = extents.filter(|_| open <= 1).ok_or(OperatorError::Operand {
            index: 1,
            expected: "a list of extents, one of them -1 at most",
        })?;
        Ok(Some(Self { extents }))
    }
}

impl Cast {
    /// The cast that the node is; `None` for another operator.
    ///
    /// # Errors
    /// No type, or one that ONNX has not.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Cast") {
            return Ok(None);
        }
        let code = view.optional_int("to")?.and_then(|code| i32::try_from(code).ok());
        let code = code.ok_or(OperatorError::Attribute {
            name: "to",
            expected: "an element type",
        })?;
        Ok(Some(Self {
            to: DType::from_code(code),
        }))
    }
}

impl ShapeOf {
    /// The `Shape` that the node is; `None` for another operator.
    ///
    /// # Errors
    /// Odd attributes.
    pub fn of(view: &NodeView<'_>) -> Result<Option<Self>, OperatorError> {
        if !view.is("Shape") {
            return Ok(None);
        }
        Ok(Some(Self {
            start: view.int("start", 0)?,
            end: view.optional_int("end")?,
        }))
    }

    /// The part of the extents that is requested.
    pub fn part<T: Clone>(&self, extents: &[T]) -> Vec<T> {
        let rank = extents.len() as i64;
        let clamp = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
        let (start, end) = (clamp(self.start), self.end.map_or(extents.len(), clamp));
        extents.get(start..end.max(start)).unwrap_or_default().to_vec()
    }
}
