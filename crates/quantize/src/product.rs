//! Matrix products, by the crate `matrixmultiply`: the only place here with raw pointers.
#![allow(unsafe_code)]

/// Adds `factor`·A·Aᵀ to the matrix at the head of `target`, whose rows are `stride` apart. A is (rows, depth).
///
/// # Panics
/// Where a slice is too short.
pub(super) fn add_product(target: &mut [f64], stride: usize, a: &[f64], rows: usize, depth: usize, factor: f64) {
    if rows == 0 || depth == 0 {
        return;
    }
    // What is more than can be counted is `usize::MAX`, which is no slice's length.
    let end = (rows - 1).saturating_mul(stride).saturating_add(rows);
    assert!(a.len() >= rows.saturating_mul(depth) && rows <= stride && target.len() >= end);
    // Steps that are not taken (of a single row) may be too large for a pointer's.
    assert!(stride.max(depth) <= isize::MAX as usize);
    let (down, right) = (depth as isize, 1);
    // SAFETY: the lengths were checked, `a` and `target` cannot overlap (one is borrowed mutably), and all strides
    // are those of row-major matrices of the sizes given (of the second factor: its transpose).
    unsafe {
        matrixmultiply::dgemm(
            rows,
            depth,
            rows,
            factor,
            a.as_ptr(),
            down,
            right,
            a.as_ptr(),
            right,
            down,
            1.0,
            target.as_mut_ptr(),
            stride as isize,
            1,
        );
    }
}

/// Adds Aᵀ·A to the (columns, columns) `target`. A is (rows, columns) in f32; the sum over its rows is made in f32.
///
/// # Panics
/// Where a slice is too short.
pub(super) fn add_gram(target: &mut [f64], scratch: &mut Vec<f32>, a: &[f32], columns: usize) {
    let rows = a.len() / columns.max(1);
    let square = columns.saturating_mul(columns);
    assert!(target.len() >= square && a.len() == rows * columns);
    scratch.resize(square, 0.0);
    let (down, right) = (columns as isize, 1);
    // SAFETY: as above; `scratch` holds columns² values, and beta = 0 means that they are not read.
    unsafe {
        matrixmultiply::sgemm(
            columns,
            rows,
            columns,
            1.0,
            a.as_ptr(),
            right,
            down,
            a.as_ptr(),
            down,
            right,
            0.0,
            scratch.as_mut_ptr(),
            down,
            1,
        );
    }
    for (sum, value) in target.iter_mut().zip(scratch.iter()) {
        *sum += f64::from(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        let a: Vec<f64> = (0..6).map(f64::from).collect();
        let mut target = vec![1.0; 4 + 3];
        add_product(&mut target, 4, &a, 2, 3, -1.0);
        assert_eq!(target[..2], [1.0 - 5.0, 1.0 - 14.0]);
        assert_eq!(target[4..6], [1.0 - 14.0, 1.0 - 50.0]);
        let mut gram = vec![0.0; 9];
        let a: Vec<f32> = (0..6u8).map(f32::from).collect();
        add_gram(&mut gram, &mut Vec::new(), &a, 3);
        assert_eq!(gram, [9.0, 12.0, 15.0, 12.0, 17.0, 22.0, 15.0, 22.0, 29.0]);
    }
}
