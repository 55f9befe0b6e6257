//! Element-wise operators, and numbers to compute with.

use super::view::{broadcast_strides, strides, visit};
use super::{Call, broadcast, elements};
use repserve_graph::{DType, Tensor};

/// A tensor's elements in a type wide enough to compute with.
#[derive(Debug, Clone)]
pub(super) enum Numbers {
    Floats(Vec<f64>),
    Integers(Vec<i64>),
}

impl Numbers {
    pub(super) fn of(tensor: &Tensor) -> Option<Self> {
        tensor
            .to_f64()
            .map(Self::Floats)
            .or_else(|| tensor.to_i64().map(Self::Integers))
    }

    /// Back to a tensor; `None` where an integer does not fit its type.
    pub(super) fn into_tensor(self, dtype: DType, shape: Vec<usize>) -> Option<Tensor> {
        let integers = match self {
            Self::Floats(values) => return dtype.is_float().then(|| Tensor::from_f64(dtype, &shape, &values)),
            Self::Integers(values) => values,
        };
        let data: Option<Vec<u8>> = match dtype {
            DType::I64 => Some(integers.iter().flat_map(|v| v.to_le_bytes()).collect()),
            DType::I32 => {
                let narrow: Option<Vec<i32>> = integers.iter().map(|v| i32::try_from(*v).ok()).collect();
                narrow.map(|n| n.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            DType::I8 => integers
                .iter()
                .map(|v| i8::try_from(*v).ok().map(|v| v as u8))
                .collect(),
            DType::U8 => integers.iter().map(|v| u8::try_from(*v).ok()).collect(),
            DType::Bool => integers
                .iter()
                .map(|v| u8::try_from(*v).ok().filter(|v| *v < 2))
                .collect(),
            _ => None,
        };
        Tensor::new(dtype, shape, data?.into()).ok()
    }
}

impl Call<'_> {
    /// Operators of one or two operands that go element by element.
    pub(super) fn elementwise(&self) -> Option<Tensor> {
        match self.inputs {
            [Some(_)] => self.unary(),
            [Some(a), Some(b)] => self.binary(a, b),
            _ => None,
        }
    }

    fn unary(&self) -> Option<Tensor> {
        let x = self.tensor(0)?;
        let numbers = match (self.node.op.as_str(), Numbers::of(x)?) {
            ("Neg", Numbers::Integers(v)) => {
                Numbers::Integers(v.iter().map(|v| v.checked_neg()).collect::<Option<_>>()?)
            }
            ("Not", Numbers::Integers(v)) if x.dtype() == DType::Bool => {
                Numbers::Integers(v.iter().map(|v| 1 - v).collect())
            }
            (op, Numbers::Floats(v)) => {
                let f: fn(f64) -> f64 = match op {
                    "Neg" => |v| -v,
                    "Sqrt" => f64::sqrt,
                    "Reciprocal" => |v| 1.0 / v,
                    "Abs" => f64::abs,
                    _ => return None,
                };
                Numbers::Floats(v.into_iter().map(f).collect())
            }
            _ => return None,
        };
        numbers.into_tensor(x.dtype(), x.shape().to_vec())
    }

    fn binary(&self, a: &Tensor, b: &Tensor) -> Option<Tensor> {
        let op = self.node.op.as_str();
        if a.dtype() != b.dtype() && op != "Pow" {
            return None;
        }
        if self.view.opset < 7 && a.shape() != b.shape() {
            return None;
        }
        let shape = broadcast(a.shape(), b.shape())?;
        elements(&shape, 8)?;
        let compares = matches!(
            op,
            "Equal" | "Less" | "Greater" | "LessOrEqual" | "GreaterOrEqual" | "And" | "Or"
        );
        let dtype = if compares { DType::Bool } else { a.dtype() };
        let numbers = match (Numbers::of(a)?, Numbers::of(b)?) {
            (Numbers::Floats(x), Numbers::Floats(y)) if compares => {
                let f = compare::<f64>(op)?;
                Numbers::Integers(zipped(&x, a.shape(), &y, b.shape(), &shape, |x, y| {
                    Some(i64::from(f(&x, &y)))
                })?)
            }
            (Numbers::Integers(x), Numbers::Integers(y)) if compares => {
                let f = compare::<i64>(op)?;
                Numbers::Integers(zipped(&x, a.shape(), &y, b.shape(), &shape, |x, y| {
                    Some(i64::from(f(&x, &y)))
                })?)
            }
            (Numbers::Floats(x), Numbers::Floats(y)) => {
                let f = float(op)?;
                Numbers::Floats(zipped(&x, a.shape(), &y, b.shape(), &shape, |x, y| Some(f(x, y)))?)
            }
            (Numbers::Integers(x), Numbers::Integers(y)) => {
                let f = integer(op)?;
                Numbers::Integers(zipped(&x, a.shape(), &y, b.shape(), &shape, f)?)
            }
            _ => return None,
        };
        numbers.into_tensor(dtype, shape)
    }

    /// `Where`.
    pub(super) fn select(&self) -> Option<Tensor> {
        let (condition, x, y) = (self.tensor(0)?, self.tensor(1)?, self.tensor(2)?);
        if x.dtype() != y.dtype() {
            return None;
        }
        let size = x.dtype().size_bytes()?;
        let shape = broadcast(&broadcast(condition.shape(), x.shape())?, y.shape())?;
        let count = elements(&shape, size)?;
        let offsets = |t: &Tensor| {
            let mut offsets = Vec::with_capacity(count);
            visit(&shape, 0, &broadcast_strides(t.shape(), &shape), |at| {
                offsets.push(at as usize)
            });
            offsets
        };
        let mut out = Vec::with_capacity(count * size);
        for ((c, x_at), y_at) in offsets(condition).into_iter().zip(offsets(x)).zip(offsets(y)) {
            let (from, at) = if *condition.data().get(c)? != 0 {
                (x, x_at)
            } else {
                (y, y_at)
            };
            out.extend_from_slice(from.data().get(at * size..(at + 1) * size)?);
        }
        Tensor::new(x.dtype(), shape, out.into()).ok()
    }
}

fn zipped<T: Copy, R>(
    x: &[T],
    x_shape: &[usize],
    y: &[T],
    y_shape: &[usize],
    shape: &[usize],
    f: impl Fn(T, T) -> Option<R>,
) -> Option<Vec<R>> {
    if x_shape == y_shape {
        return x.iter().zip(y).map(|(x, y)| f(*x, *y)).collect();
    }
    let mut y_offsets = Vec::new();
    visit(shape, 0, &broadcast_strides(y_shape, shape), |at| {
        y_offsets.push(at as usize)
    });
    let mut out = Vec::with_capacity(y_offsets.len());
    let mut next = y_offsets.into_iter();
    visit(shape, 0, &broadcast_strides(x_shape, shape), |at| {
        out.push(next.next().and_then(|y_at| f(*x.get(at as usize)?, *y.get(y_at)?)));
    });
    out.into_iter().collect()
}

fn compare<T: PartialOrd + Truth>(op: &str) -> Option<fn(&T, &T) -> bool> {
    Some(match op {
        "Equal" => |a, b| a == b,
        "Less" => |a, b| a < b,
        "Greater" => |a, b| a > b,
        "LessOrEqual" => |a, b| a <= b,
        "GreaterOrEqual" => |a, b| a >= b,
        "And" => |a, b| a.is_true() && b.is_true(),
        "Or" => |a, b| a.is_true() || b.is_true(),
        _ => return None,
    })
}

/// Numbers as booleans.
trait Truth {
    fn is_true(&self) -> bool;
}

impl Truth for f64 {
    fn is_true(&self) -> bool {
        *self != 0.0
    }
}

impl Truth for i64 {
    fn is_true(&self) -> bool {
        *self != 0
    }
}

fn float(op: &str) -> Option<fn(f64, f64) -> f64> {
    Some(match op {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Pow" => f64::powf,
        "Min" => f64::min,
        "Max" => f64::max,
        _ => return None,
    })
}

fn integer(op: &str) -> Option<fn(i64, i64) -> Option<i64>> {
    Some(match op {
        "Add" => i64::checked_add,
        "Sub" => i64::checked_sub,
        "Mul" => i64::checked_mul,
        "Div" => |a, b| a.checked_div(b),
        "Mod" => |a, b| a.checked_rem_euclid(b).filter(|_| b > 0),
        "Min" => |a, b| Some(a.min(b)),
        "Max" => |a, b| Some(a.max(b)),
        _ => return None,
    })
}

/// The flat element offset of a multi-index, for tests and scatters.
pub(super) fn flat(shape: &[usize], at: &[usize]) -> usize {
    strides(shape).iter().zip(at).map(|(s, i)| *s as usize * i).sum()
}
