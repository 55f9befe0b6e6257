//! Which weights are rounded up, as a short text.
//!
//! Most weights are rounded to the nearest quantized value, the more surely the nearer it is. So each direction is coded with
//! the probability that directions of weights between the same two parts of a step had so far: an adaptive binary range coder (as in
//! LZMA), with the part of a step as context. It takes the weights to read the text again. A checksum says whether they were the same.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Parts of a step that are told apart.
const CONTEXTS: usize = 64;
/// Bits of a probability.
const BITS: u32 = 15;
/// Below this the coder's range is widened by a byte.
const RANGE_MIN: u32 = 1 << 24;
/// Bytes of the checksum.
const SUM_BYTES: usize = 4;

/// The text of the directions of weights that are given in steps of their scales.
pub(super) fn encode(up: &[bool], steps: &[f64]) -> String {
    let mut encoder = Encoder::default();
    let mut model = Model::default();
    let mut sum = Sum::default();
    for (up, step) in up.iter().zip(steps) {
        model.code(*step, |zero| {
            encoder.encode(*up, zero);
            *up
        });
        sum.add(*up);
    }
    let mut bytes = encoder.finish();
    bytes.extend(sum.0.to_le_bytes());
    STANDARD.encode(bytes)
}

/// The directions of weights that are given in steps of their scales; `None` where the text was not made of as many such weights.
pub(super) fn decode(text: &str, steps: &[f64]) -> Option<Vec<bool>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (bytes, expected) = bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?)?;
    let mut decoder = Decoder::new(bytes);
    let mut model = Model::default();
    let mut sum = Sum::default();
    let mut up = Vec::with_capacity(steps.len());
    for step in steps {
        let direction = model.code(*step, |zero| decoder.decode(zero));
        sum.add(direction);
        up.push(direction);
    }
    (expected == sum.0.to_le_bytes() && decoder.is_at_end()).then_some(up)
}

/// How many weights were rounded down and up in each context.
struct Model([[u32; 2]; CONTEXTS]);

impl Default for Model {
    fn default() -> Self {
        Self([[0; 2]; CONTEXTS])
    }
}

impl Model {
    /// Hands the probability of rounding down to `code`, and learns from the direction that it returns. The probability is that of Krichevsky and
    /// Trofimov (1981): half a weight more than were seen, of each direction.
    fn code(&mut self, step: f64, code: impl FnOnce(u32) -> bool) -> bool {
        let part = (step - step.floor()) * CONTEXTS as f64;
        let counts = &mut self.0[(part as usize).min(CONTEXTS - 1)];
        let [down, up] = counts.map(|count| 2 * u64::from(count) + 1);
        let probability = ((down << BITS) / (down + up)) as u32;
        let is_up = code(probability.clamp(1, (1 << BITS) - 1));
        let seen = &mut counts[usize::from(is_up)];
        *seen = seen.saturating_add(1);
        is_up
    }
}

/// FNV-1a over directions.
struct Sum(u32);

impl Default for Sum {
    fn default() -> Self {
        Self(0x811c_9dc5)
    }
}

impl Sum {
    fn add(&mut self, up: bool) {
        self.0 = (self.0 ^ u32::from(up)).wrapping_mul(0x0100_0193);
    }
}

/// Codes bits of known probabilities into bytes.
struct Encoder {
    low: u64,
    range: u32,
    /// A byte that a carry may still change, and how many of 255 follow it.
    cache: u8,
    pending: u64,
    bytes: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            low: 0,
            range: u32::MAX,
            cache: 0,
            pending: 1,
            bytes: Vec::new(),
        }
    }
}

impl Encoder {
    fn encode(&mut self, bit: bool, zero: u32) {
        let bound = (self.range >> BITS) * zero;
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.shift();
        }
    }

    /// Writes the top byte of `low`, once no carry can change it.
    fn shift(&mut self) {
        if self.low < 0xff00_0000 || self.low > u64::from(u32::MAX) {
            let carry = (self.low >> 32) as u8;
            let mut byte = self.cache;
            for _ in 0..self.pending {
                self.bytes.push(byte.wrapping_add(carry));
                byte = 0xff;
            }
            self.pending = 0;
            self.cache = (self.low >> 24) as u8;
        }
        self.pending += 1;
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        self.bytes
    }
}

/// Reads what [`Encoder`] wrote; zeros behind its end.
struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    range: u32,
    code: u32,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            bytes,
            at: 0,
            range: u32::MAX,
            code: 0,
        };
        for _ in 0..5 {
            decoder.next();
        }
        decoder
    }

    fn next(&mut self) {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.code = self.code << 8 | u32::from(byte);
        self.at += 1;
    }

    fn decode(&mut self, zero: u32) -> bool {
        let bound = (self.range >> BITS) * zero;
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.next();
        }
        bit
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn weights_that_are_rounded_to_the_nearest_take_little() {
        let steps: Vec<f64> = (0..8000).map(|i| f64::from(i * 37 % 1000) / 1000.0).collect();
        let nearest: Vec<bool> = steps.iter().map(|s| *s >= 0.5).collect();
        assert!(
            encode(&nearest, &steps).len() < 8000 / 20,
            "{}",
            encode(&nearest, &steps).len()
        );
    }

    #[test]
    fn other_weights_are_noticed() {
        let steps: Vec<f64> = (0..500).map(|i| f64::from(i * 37 % 100) / 100.0).collect();
        let up: Vec<bool> = (0..500).map(|i| i * 37 % 100 > 40).collect();
        let text = encode(&up, &steps);
        assert_eq!(decode(&text, &steps), Some(up));
        assert_eq!(decode(&text, &steps[1..]), None);
        assert_eq!(decode(&text, &steps.iter().map(|s| 0.9 - s).collect::<Vec<_>>()), None);
        assert_eq!(decode("", &steps), None);
        assert_eq!(decode("AAAA", &[]), None);
    }

    proptest! {
        #[test]
        fn directions_come_back(pairs in proptest::collection::vec((any::<bool>(), -128f64..128.0), 0..400)) {
            let (up, steps): (Vec<bool>, Vec<f64>) = pairs.into_iter().unzip();
            let text = encode(&up, &steps);
            prop_assert_eq!(decode(&text, &steps), Some(up));
        }

        #[test]
        fn any_text_is_read_without_harm(text in "[A-Za-z0-9+/]{0,80}", steps in proptest::collection::vec(any::<f64>(), 0..100)) {
            let _ = decode(&text, &steps);
        }
    }
}
