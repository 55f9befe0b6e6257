//! Winograd's transforms in one dimension.
//!
//! F(4x4,3x3) uses the points 0, ±1/√2, ±√2 and ∞ instead of Lavin and Gray's 0, ±1, ±2, ∞: the same count of operations and a
//! fifth of the worst error (Barabasz et al., arXiv 1803.10986, on why the points matter). F(2x2,3x3) uses 0, ±1, ∞, and where a
//! layer of F(4x4) has two outputs over, 0, ±1/√2 and ∞: a subset of the layer's points, so that it needs no weights of its own.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::register::Vector;

/// One dimension of a tile: `P` points for `M` outputs.
pub(super) trait Transform<const P: usize, const M: usize> {
    /// Where its points lie among those of the layer's weights.
    const POINTS: [usize; P];

    /// `Bᵀ d`.
    unsafe fn input<V: Vector>(d: [V; P]) -> [V; P];
    /// `Aᵀ m`.
    unsafe fn output<V: Vector>(m: [V; P]) -> [V; M];
}

pub(super) struct F4;
pub(super) struct F2;
/// Two outputs of a layer whose weights are F4's: they hold `1/Π(p − q)` over all of F4's points, which makes the factors below.
pub(super) struct F2OfF4;

impl Transform<6, 4> for F4 {
    const POINTS: [usize; 6] = [0, 1, 2, 3, 4, 5];

    /// The rows are the coefficients of `M(x)/(x − point)`, `M(x) = x (x² − 1/2) (x² − 2)`, and of `M(x)` itself for ∞.
    #[inline(always)]
    unsafe fn input<V: Vector>(d: [V; 6]) -> [V; 6] {
        unsafe {
            let near = V::splat(FRAC_1_SQRT_2 as f32);
            let far = V::splat(SQRT_2 as f32);
            let (near_neg, far_neg) = (V::splat(-FRAC_1_SQRT_2 as f32), V::splat(-SQRT_2 as f32));
            let (half, two, sum) = (V::splat(-0.5), V::splat(-2.0), V::splat(-2.5));
            let (even_near, odd_near) = (d[2].mul_add(two, d[4]), d[1].mul_add(two, d[3]));
            let (even_far, odd_far) = (d[2].mul_add(half, d[4]), d[1].mul_add(half, d[3]));
            [
                d[2].mul_add(sum, d[0].add(d[4])),
                odd_near.mul_add(near, even_near),
                odd_near.mul_add(near_neg, even_near),
                odd_far.mul_add(far, even_far),
                odd_far.mul_add(far_neg, even_far),
                d[3].mul_add(sum, d[1].add(d[5])),
            ]
        }
    }

    /// Row `k` holds the `k`-th powers of the points; ∞ counts in the last row only.
    #[inline(always)]
    unsafe fn output<V: Vector>(m: [V; 6]) -> [V; 4] {
        unsafe {
            let (near_sum, near_diff) = (m[1].add(m[2]), m[1].sub(m[2]));
            let (far_sum, far_diff) = (m[3].add(m[4]), m[3].sub(m[4]));
            let (half, two) = (V::splat(0.5), V::splat(2.0));
            let (near, far) = (V::splat(FRAC_1_SQRT_2 as f32), V::splat(SQRT_2 as f32));
            let near_cubed = V::splat((0.5 * FRAC_1_SQRT_2) as f32);
            let far_cubed = V::splat((2.0 * SQRT_2) as f32);
            [
                m[0].add(near_sum.add(far_sum)),
                far_diff.mul_add(far, near_diff.mul(near)),
                far_sum.mul_add(two, near_sum.mul(half)),
                far_diff.mul_add(far_cubed, near_diff.mul_add(near_cubed, m[5])),
            ]
        }
    }
}

impl Transform<4, 2> for F2 {
    const POINTS: [usize; 4] = [0, 1, 2, 3];

    #[inline(always)]
    unsafe fn input<V: Vector>(d: [V; 4]) -> [V; 4] {
        unsafe { [d[0].sub(d[2]), d[1].add(d[2]), d[2].sub(d[1]), d[3].sub(d[1])] }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>(m: [V; 4]) -> [V; 2] {
        unsafe { [m[0].add(m[1].add(m[2])), m[1].sub(m[2]).add(m[3])] }
    }
}

impl Transform<4, 2> for F2OfF4 {
    const POINTS: [usize; 4] = [0, 1, 2, 5];

    /// The coefficients of `M(x)/(x − point)`, `M(x) = x (x² − 1/2)`, times `p² − 2`: the factor of ±√2 in F4's weights.
    #[inline(always)]
    unsafe fn input<V: Vector>(d: [V; 4]) -> [V; 4] {
        unsafe {
            let even = d[2].mul(V::splat(-1.5));
            let (odd, odd_neg) = (
                V::splat((-1.5 * FRAC_1_SQRT_2) as f32),
                V::splat((1.5 * FRAC_1_SQRT_2) as f32),
            );
            [
                d[2].mul_add(V::splat(-2.0), d[0]),
                d[1].mul_add(odd, even),
                d[1].mul_add(odd_neg, even),
                d[1].mul_add(V::splat(-0.5), d[3]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>(m: [V; 4]) -> [V; 2] {
        unsafe {
            let near = V::splat(FRAC_1_SQRT_2 as f32);
            [m[0].add(m[1].add(m[2])), m[1].sub(m[2]).mul_add(near, m[3])]
        }
    }
}
