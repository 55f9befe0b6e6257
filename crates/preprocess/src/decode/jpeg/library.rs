//! libjpeg-turbo's calls, of which its safe wrapper does not serve: it refuses a file whose header draws a warning, before it decodes.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};

use turbojpeg_sys as raw;

/// What comes out for each pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pixels {
    /// R, G, B, of three bytes.
    Rgb,
    /// Inks as they are stored, of four bytes.
    Ink,
    /// One byte.
    Gray,
}

impl Pixels {
    /// Bytes of a pixel.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Ink => 4,
            Self::Gray => 1,
        }
    }
}

/// A file whose header has been read.
pub(super) struct Library<'a> {
    handle: Handle,
    encoded: &'a [u8],
    /// Width and height, in pixels.
    pub sides: [u32; 2],
    /// Whether it is coded without a transform, so that it has no reduced scales.
    pub lossless: bool,
    /// Whether its colours are inks.
    pub has_ink: bool,
}

impl<'a> Library<'a> {
    /// Reads a file's header.
    ///
    /// # Errors
    /// The library's message.
    pub(super) fn open(encoded: &'a [u8]) -> Result<Self, String> {
        let handle = Handle::new()?;
        // SAFETY: the handle is live, and the library reads as many bytes as it is told that there are.
        let code = unsafe { raw::tj3DecompressHeader(handle.0, encoded.as_ptr(), encoded.len() as raw::size_t) };
        handle.judge(code)?;
        let side = |parameter| u32::try_from(handle.get(parameter)).unwrap_or(0);
        let colours = handle.get(raw::TJPARAM_TJPARAM_COLORSPACE);
        Ok(Self {
            sides: [
                side(raw::TJPARAM_TJPARAM_JPEGWIDTH),
                side(raw::TJPARAM_TJPARAM_JPEGHEIGHT),
            ],
            lossless: handle.get(raw::TJPARAM_TJPARAM_LOSSLESS) != 0,
            has_ink: [raw::TJCS_TJCS_CMYK, raw::TJCS_TJCS_YCCK].contains(&(colours as raw::TJCS)),
            handle,
            encoded,
        })
    }

    /// Every pixel of the picture at `eighths`/8 of its size, each side rounded up, row after row.
    ///
    /// # Errors
    /// The library's message; what it only warns of is no error.
    pub(super) fn decode(self, eighths: u32, pixels: Pixels) -> Result<Vec<u8>, String> {
        let Self { handle, encoded, .. } = self;
        // The library knows its factors in lowest terms.
        let halvings = eighths.trailing_zeros().min(3);
        let factor = raw::tjscalingfactor {
            num: (eighths >> halvings) as c_int,
            denom: 8 >> halvings,
        };
        // SAFETY: the handle is live.
        handle.judge(unsafe { raw::tj3SetScalingFactor(handle.0, factor) })?;
        let [width, height] = self.sides.map(|side| side as usize * eighths as usize);
        let pitch = width.div_ceil(8) * pixels.bytes();
        let pitch_given = c_int::try_from(pitch).map_err(|_| "its rows are too long")?;
        let format = match pixels {
            Pixels::Rgb => raw::TJPF_TJPF_RGB,
            Pixels::Ink => raw::TJPF_TJPF_CMYK,
            Pixels::Gray => raw::TJPF_TJPF_GRAY,
        };
        let mut out = vec![0; pitch * height.div_ceil(8)];
        // SAFETY: as in `open`. The library writes rows of the width and the number that the header of the same bytes says, at the
        // scale that was set, `pitch` apart: `out` was made for these.
        let code = unsafe {
            raw::tj3Decompress8(
                handle.0,
                encoded.as_ptr(),
                encoded.len() as raw::size_t,
                out.as_mut_ptr(),
                pitch_given,
                format as c_int,
            )
        };
        handle.judge(code)?;
        Ok(out)
    }
}

/// A decompressor; not null.
struct Handle(raw::tjhandle);

impl Handle {
    fn new() -> Result<Self, String> {
        // SAFETY: it takes no pointer.
        let handle = unsafe { raw::tj3Init(raw::TJINIT_TJINIT_DECOMPRESS as c_int) };
        if handle.is_null() {
            return Err("the decoder got no memory".into());
        }
        Ok(Self(handle))
    }

    fn get(&self, parameter: raw::TJPARAM) -> c_int {
        // SAFETY: the handle is live.
        unsafe { raw::tj3Get(self.0, parameter as c_int) }
    }

    /// Takes a call that ended in a warning for a good one.
    fn judge(&self, code: c_int) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the handle is live; the message ends with a zero and stays until the next call.
        let message = unsafe { CStr::from_ptr(raw::tj3GetErrorStr(self.0)) };
        let message = message.to_string_lossy();
        if is_warning(&message) {
            Ok(())
        } else {
            Err(message.into_owned())
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is live, and nothing uses it any more.
        unsafe { raw::tj3Destroy(self.0) };
    }
}

/// Whether the library decoded the whole picture and only remarked on something, which Pillow accepts too. The library's own code for
/// that is also the code of an error that comes after a warning; its message is the error's then. Each of its warnings (the `JWRN_`
/// entries of its `jerror.h`) begins in one of these ways.
fn is_warning(message: &str) -> bool {
    const WARNINGS: [&str; 7] = [
        "Corrupt JPEG data",
        "Inconsistent progression sequence",
        "Invalid SOS parameters for sequential JPEG",
        "Premature end of JPEG file",
        "Unknown Adobe color transform code",
        "Warning",
        "Application transferred too many scanlines",
    ];
    WARNINGS.iter().any(|warning| message.starts_with(warning))
}
