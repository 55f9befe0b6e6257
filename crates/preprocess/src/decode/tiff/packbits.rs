//! Runs of equal bytes: TIFF 6.0, section 9.

/// Fills `out`; `None` where the stored bytes end before.
pub(super) fn unpack(stored: &[u8], out: &mut [u8]) -> Option<()> {
    let (mut stored, mut out) = (stored, out);
    while !out.is_empty() {
        let (head, rest) = stored.split_first()?;
        let count = usize::from(*head);
        let run = match count {
            // So many bytes as they are, and one.
            0..128 => count + 1,
            // One byte so many times.
            129.. => 257 - count,
            128 => {
                stored = rest;
                continue;
            }
        };
        let length = run.min(out.len());
        let (filled, left) = std::mem::take(&mut out).split_at_mut(length);
        if count < 128 {
            let bytes = rest.get(..run.min(rest.len()).max(filled.len()))?;
            filled.copy_from_slice(&bytes[..filled.len()]);
            stored = &rest[bytes.len()..];
        } else {
            let (byte, rest) = rest.split_first()?;
            filled.fill(*byte);
            stored = rest;
        }
        out = left;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_bytes_as_they_are() {
        let check = |stored: &[u8], length, expected: Option<&[u8]>| {
            let mut out = vec![0; length];
            assert_eq!(unpack(stored, &mut out).map(|()| &*out), expected, "{stored:?}");
        };
        check(&[2, 7, 8, 9, 128, 254, 5], 6, Some(&[7, 8, 9, 5, 5, 5]));
        check(&[254, 5], 2, Some(&[5, 5]));
        check(&[2, 7, 8], 2, Some(&[7, 8]));
        check(&[2, 7], 3, None);
        check(&[254], 3, None);
        check(&[], 1, None);
    }
}
