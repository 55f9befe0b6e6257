//! The Cholesky factor of a positive definite matrix, in blocks, so that matrix products do the work.

/// Rows that are factored at a time.
const BLOCK: usize = 64;

/// Turns the symmetric row-major `matrix` of order `n` into the lower factor L of L·Lᵀ (above the diagonal: zeros).
/// `false` where the matrix is not positive definite.
pub(super) fn factor(matrix: &mut [f64], n: usize) -> bool {
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        if !factor_columns(matrix, n, start, end) {
            return false;
        }
        if end < n {
            subtract_outer(matrix, n, start, end);
        }
    }
    for row in 0..n {
        matrix[row * n + row + 1..(row + 1) * n].fill(0.0);
    }
    true
}

/// Factors columns `start..end` of the trailing matrix, all rows below them included.
fn factor_columns(matrix: &mut [f64], n: usize, start: usize, end: usize) -> bool {
    for column in start..end {
        let (above, below) = matrix.split_at_mut((column + 1) * n);
        let pivot_row = &mut above[column * n..];
        let done: f64 = pivot_row[start..column].iter().map(|v| v * v).sum();
        let square = pivot_row[column] - done;
        if square.is_nan() || square <= 0.0 {
            return false;
        }
        let pivot = square.sqrt();
        pivot_row[column] = pivot;
        for row in below.chunks_mut(n) {
            let dot: f64 = row[start..column]
                .iter()
                .zip(&pivot_row[start..column])
                .map(|(a, b)| a * b)
                .sum();
            row[column] = (row[column] - dot) / pivot;
        }
    }
    true
}

/// Subtracts P·Pᵀ from the trailing matrix, P being its columns `start..end` below row `end`.
fn subtract_outer(matrix: &mut [f64], n: usize, start: usize, end: usize) {
    let (rows, depth) = (n - end, end - start);
    let panel: Vec<f64> = (end..n)
        .flat_map(|r| matrix[r * n + start..r * n + end].to_vec())
        .collect();
    crate::product::add_product(&mut matrix[end * n + end..], n, &panel, rows, depth, -1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        assert!(!factor(&mut [1.0, 2.0, 2.0, 1.0], 2));
        assert!(!factor(&mut [f64::NAN], 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_factor_times_itself_is_the_matrix(n in 1usize..150, seed in any::<u64>()) {
            let mut random = fastrand::Rng::with_seed(seed);
            let root: Vec<f64> = (0..n * n).map(|_| random.f64() - 0.5).collect();
            let mut matrix = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = (0..n).map(|k| root[i * n + k] * root[j * n + k]).sum();
                    matrix[i * n + j] = dot + if i == j { 0.1 } else { 0.0 };
                }
            }
            let mut lower = matrix.clone();
            prop_assert!(factor(&mut lower, n));
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = (0..n).map(|k| lower[i * n + k] * lower[j * n + k]).sum();
                    prop_assert!((dot - matrix[i * n + j]).abs() < 1e-9);
                }
            }
        }
    }
}
