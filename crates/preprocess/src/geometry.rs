//! Where the pixels of a model's input come from: torchvision's `Resize` and `CenterCrop` as pure arithmetic.

/// A span of the resized image along one axis and where it lies in the input: the crop, or the image between padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Length of the whole resized image.
    pub resized: u32,
    /// First pixel of the resized image that is used.
    pub start: u32,
    /// Pixels that are used.
    pub length: u32,
    /// Pixels of the input before them, which stay black.
    pub padding: u32,
}

/// The geometry of a network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The short side of the resized image; absent: it is resized straight to `size`.
    pub resize: Option<u32>,
    /// Height and width of the input.
    pub size: [u32; 2],
}

impl Frame {
    /// The size, height and width, to which an image of `height` and `width` is resized before the crop.
    ///
    /// With `resize` the short side gets that length and the long side `int(resize * long / short)`.
    pub(crate) fn resized(&self, height: u32, width: u32) -> [u32; 2] {
        let Some(resize) = self.resize else { return self.size };
        let long = |long: u32, short: u32| {
            let length = u64::from(resize) * u64::from(long) / u64::from(short.max(1));
            u32::try_from(length).unwrap_or(u32::MAX)
        };
        if height <= width {
            [resize, long(width, height)]
        } else {
            [long(height, width), resize]
        }
    }
}

/// The centre crop of `target` pixels out of `resized`: offset `round((resized - target) / 2)`, half to even.
/// A shorter image is padded, with the odd pixel behind, as torchvision does.
pub(crate) fn centre(resized: u32, target: u32) -> Span {
    if resized < target {
        return Span {
            resized,
            start: 0,
            length: resized,
            padding: (target - resized) / 2,
        };
    }
    let spare = resized - target;
    let half = spare / 2;
    let start = if spare % 2 == 1 { half + half % 2 } else { half };
    Span {
        resized,
        start,
        length: target,
        padding: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resized: u32, target: u32, start: u32, length: u32, padding: u32) {
        assert_eq!(
            centre(resized, target),
            Span {
                resized,
                start,
                length,
                padding
            }
        );
    }

    #[test]
    fn the_long_side_is_rounded_down() {
        let check = |height, width, resize, expected| {
            assert_eq!(Frame { resize, size: [30, 40] }.resized(height, width), expected);
        };
        check(375, 500, Some(256), [256, 341]);
        check(500, 375, Some(256), [341, 256]);
        check(7, 7, Some(32), [32, 32]);
        check(7, 9, None, [30, 40]);
        check(1, 65_535, Some(4096), [4096, 268_431_360]);
    }

    #[test]
    fn halves_go_to_the_even_offset() {
        check(256, 224, 16, 224, 0);
        check(341, 224, 58, 224, 0);
        check(227, 224, 2, 224, 0);
        check(225, 224, 0, 224, 0);
        check(229, 224, 2, 224, 0);
        check(224, 224, 0, 224, 0);
    }

    #[test]
    fn short_images_are_padded() {
        check(3, 8, 0, 3, 2);
        check(4, 8, 0, 4, 2);
    }
}
