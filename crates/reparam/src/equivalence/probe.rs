//! Inputs to compare graphs on.

/// A batch of network inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// What it is, for messages: a seed or a file.
    pub label: String,
    /// Extents, the batch first.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<f32>,
}

impl Probe {
    /// Standard normal noise of this shape; the same for the same seed, everywhere.
    pub fn random(shape: &[usize], seed: u64) -> Self {
        let mut state = seed;
        let data = (0..shape.iter().product::<usize>())
            .map(|_| normal(&mut state))
            .collect();
        Self {
            label: format!("seed {seed}, batch {}", shape.first().unwrap_or(&0)),
            shape: shape.to_vec(),
            data,
        }
    }

    /// Noise for an input of `image` extents in each of these batch sizes.
    pub fn batches(image: &[usize], batches: &[usize], seed: u64) -> Vec<Self> {
        let probe = |(i, n): (usize, &usize)| Self::random(&[&[*n], image].concat(), seed + i as u64);
        batches.iter().enumerate().map(probe).collect()
    }
}

/// Sebastiano Vigna's SplitMix64.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A standard normal number, by Box and Muller.
fn normal(state: &mut u64) -> f32 {
    let mut uniform = || (splitmix(state) >> 11) as f64 / (1u64 << 53) as f64;
    let (u, v) = (1.0 - uniform(), uniform());
    ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
}
