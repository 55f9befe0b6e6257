//! Shapes that layers make: windows and matrix products.

use super::fixed;
use super::infer::{Look, unknown};
use crate::Dim;

impl Look<'_> {
    pub(super) fn conv(&self) -> Option<Vec<Dim>> {
        let (x, w) = (self.input(0)?, self.input(1)?);
        if x.len() < 3 || w.len() != x.len() {
            return None;
        }
        let kernel: Option<Vec<usize>> = w[2..].iter().map(fixed).collect();
        let mut shape = vec![x[0].clone(), w[0].clone()];
        shape.extend(self.slide(&x[2..], &kernel?)?);
        Some(shape)
    }

    pub(super) fn pool(&self) -> Option<Vec<Dim>> {
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

    pub(super) fn gemm(&self) -> Option<Vec<Dim>> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        if a.len() != 2 || b.len() != 2 {
            return None;
        }
        let row = usize::from(self.int("transA", 0) != 0);
        let column = usize::from(self.int("transB", 0) == 0);
        Some(vec![a[row].clone(), b[column].clone()])
    }

    pub(super) fn matmul(&self) -> Option<Vec<Dim>> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        if a.len() < 2 || b.len() != 2 {
            return None;
        }
        let mut shape = a[..a.len() - 1].to_vec();
        shape.push(b[1].clone());
        Some(shape)
    }
}
