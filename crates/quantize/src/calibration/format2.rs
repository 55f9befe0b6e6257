//! Format 2, in which channels were equalized by whole powers of two: a character a channel, `0` to `9` and `a` for -5 to 5.

use serde_json::Value;

use super::FORMAT as WRITTEN;
use crate::equalize::{EXPONENT_MAX, PARTS};
use crate::packed;

/// The number of the format.
pub(super) const FORMAT: u64 = 2;
/// The largest exponent.
const WHOLE_MAX: i8 = EXPONENT_MAX / PARTS;

/// Makes of a file's value of format 2 one of the format after it. What is not of the right type is left to the reader of that.
pub(super) fn upgrade(value: &mut Value) -> Result<(), String> {
    for layer in value
        .get_mut("layers")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(Value::String(text)) = layer.get_mut("equalization") {
            *text = packed::exponents_text(&text.chars().map(exponent).collect::<Result<Vec<_>, _>>()?);
        }
    }
    if let Some(fields) = value.as_object_mut() {
        fields.insert("format".to_owned(), WRITTEN.into());
        fields.insert("quantized_sums".to_owned(), false.into());
    }
    Ok(())
}

/// In quarters.
fn exponent(digit: char) -> Result<i8, String> {
    let value = digit.to_digit(2 * WHOLE_MAX.unsigned_abs() as u32 + 1);
    let value = value.ok_or_else(|| format!("{digit:?} is no exponent; each is one of 0 to 9 and a"))?;
    Ok((value as i8 - WHOLE_MAX) * PARTS)
}
