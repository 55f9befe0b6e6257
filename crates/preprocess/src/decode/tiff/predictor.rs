//! Samples that were stored as differences: TIFF 6.0, section 14, and for floats Adobe's technical note 3.

use super::errors::unsupported;
use super::fields::{Fields, Numbers};
use crate::error::ImageError;

/// Makes samples of the differences, row by row.
///
/// # Errors
/// Where the samples are of a kind that no writer stores so.
pub(super) fn undo(fields: &Fields<'_>, row_bytes: usize, samples: &mut [u8]) -> Result<(), ImageError> {
    let step = fields.samples_together();
    let little_endian = fields.directory.little_endian();
    let rows = samples.chunks_exact_mut(row_bytes.max(1));
    match (fields.predictor, fields.bits) {
        (2, 8) => rows.for_each(|row| add_up(row, step, |[a], [b]| [a.wrapping_add(b)])),
        (2, 16) => rows.for_each(|row| add_up(row, step, |a, b| sum16(a, b, little_endian))),
        (2, 32) => rows.for_each(|row| add_up(row, step, |a, b| sum32(a, b, little_endian))),
        (3, 32) if fields.numbers == Numbers::Float => {
            let mut whole = Vec::new();
            for row in rows {
                floats(row, step, little_endian, &mut whole);
            }
        }
        (0 | 1, _) => {}
        (predictor, bits) => {
            return Err(unsupported(format!(
                "differences (predictor {predictor}) of samples of {bits} bits"
            )));
        }
    }
    Ok(())
}

/// Adds to each sample the one `step` samples before.
fn add_up<const N: usize>(row: &mut [u8], step: usize, sum: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
    let samples = row.as_chunks_mut::<N>().0;
    for index in step..samples.len() {
        samples[index] = sum(samples[index], samples[index - step]);
    }
}

fn sum16(a: [u8; 2], b: [u8; 2], little_endian: bool) -> [u8; 2] {
    if little_endian {
        u16::from_le_bytes(a).wrapping_add(u16::from_le_bytes(b)).to_le_bytes()
    } else {
        u16::from_be_bytes(a).wrapping_add(u16::from_be_bytes(b)).to_be_bytes()
    }
}

fn sum32(a: [u8; 4], b: [u8; 4], little_endian: bool) -> [u8; 4] {
    if little_endian {
        u32::from_le_bytes(a).wrapping_add(u32::from_le_bytes(b)).to_le_bytes()
    } else {
        u32::from_be_bytes(a).wrapping_add(u32::from_be_bytes(b)).to_be_bytes()
    }
}

/// A row has the highest bytes of all its floats, then the next ones, each as the difference from the byte `step` before.
fn floats(row: &mut [u8], step: usize, little_endian: bool, whole: &mut Vec<u8>) {
    add_up(row, step, |[a], [b]| [a.wrapping_add(b)]);
    let count = row.len() / 4;
    whole.clear();
    for index in 0..count {
        let mut float = [0, 1, 2, 3].map(|byte| row[byte * count + index]);
        if little_endian {
            float.reverse();
        }
        whole.extend(float);
    }
    row[..whole.len()].copy_from_slice(whole);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_added_up() {
        let mut row = [1, 10, 1, 10, 255, 1];
        add_up(&mut row, 2, |[a], [b]| [a.wrapping_add(b)]);
        assert_eq!(row, [1, 10, 2, 20, 1, 21]);
        assert_eq!(sum16([0xff, 0], [1, 0], true), [0, 1]);
        assert_eq!(sum16([0, 0xff], [0, 1], false), [1, 0]);
        assert_eq!(sum32([0, 0, 0, 0xff], [0, 0, 0, 1], false), [0, 0, 1, 0]);
        let mut row = [0x3f, 0, 0x41, 0x40, 0x40, 0, 0, 0];
        floats(&mut row, 1, false, &mut Vec::new());
        assert_eq!(row, [0x3f, 0x80, 0, 0, 0x3f, 0xc0, 0, 0]);
    }
}
