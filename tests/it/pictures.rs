//! Files of kinds that are rare or a little broken against what Pillow makes of them; `tests/vectors/pictures.py` made both.

use std::path::Path;

use repserve_preprocess::{Format, InputSpec, Interpolation, JpegDecode, Limits, Preprocess, decode_rgb, decoder};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::support::costly;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
pub(crate) struct Case {
    name: String,
    bytes: usize,
    size: [u32; 2],
    sha256: String,
}

/// All files, each with what Pillow makes of it.
pub(crate) fn files() -> Vec<(Case, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let vectors: Vectors = serde_json::from_slice(&std::fs::read(folder.join("pictures.json")).unwrap()).unwrap();
    let bytes = std::fs::read(folder.join("pictures.bin")).unwrap();
    let mut rest = bytes.as_slice();
    let files = vectors.cases.into_iter().map(|case| {
        let (file, after) = rest.split_at(case.bytes);
        rest = after;
        (case, file.to_vec())
    });
    let files: Vec<_> = files.collect();
    assert!(rest.is_empty());
    files
}

/// What differs from Pillow; `None` if nothing does.
fn difference(case: &Case, file: &[u8]) -> Option<String> {
    let picture = match decode_rgb(file, &Limits::default()) {
        Ok(picture) => picture,
        Err(error) => return Some(format!("refused: {error}")),
    };
    if [picture.width, picture.height] != case.size {
        return Some(format!(
            "{}x{} instead of {:?}",
            picture.width, picture.height, case.size
        ));
    }
    // Other decoders round otherwise than Pillow's.
    let exact = decoder() != "image" || !case.name.to_lowercase().contains("jpeg");
    let sum: String = Sha256::digest(&picture.data)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    (exact && sum != case.sha256).then(|| "other pixels".to_owned())
}

#[test]
fn rare_kinds_are_read_as_pillow_reads_them() {
    let files = files();
    assert!(files.len() > 100);
    let inks = |case: &Case| decoder() == "image" && case.name == "tiff: JPEG of CMYK";
    let compared = files.iter().filter(|(case, _)| !inks(case));
    let different: Vec<String> = compared
        .filter_map(|(case, file)| Some(format!("{}: {}", case.name, difference(case, file)?)))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// A header that is read costs no less than what is refused, and the limits hold for all.
#[test]
fn the_limits_hold_for_rare_kinds() {
    let spec = InputSpec {
        size: [8, 8],
        resize: None,
        interpolation: Interpolation::Bilinear,
        scale: 255.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let preprocess = Preprocess::try_from(spec).unwrap();
    for (case, file) in files() {
        let few = Limits {
            pixels_max: u64::from(case.size[0] * case.size[1]) - 1,
            ..Limits::default()
        };
        let refused = preprocess.inspect(&file, &few, JpegDecode::Scaled).unwrap_err();
        assert_eq!(refused.code(), "too_large", "{}: {refused}", case.name);
        assert_eq!(
            preprocess.apply(&file, &few, JpegDecode::Scaled),
            Err(refused),
            "{}",
            case.name
        );
        let inspected = preprocess.inspect(&file, &Limits::default(), JpegDecode::Scaled);
        assert!(
            inspected.is_ok_and(|inspected| inspected.bytes < 16 << 20),
            "{}",
            case.name
        );
    }
}

/// Half of a file is not a picture; a JPEG's and a fax's missing part would otherwise be gray or white.
#[test]
fn half_of_a_file_is_refused() {
    for (case, file) in files() {
        let half = decode_rgb(&file[..file.len() / 2], &Limits::default());
        assert!(half.is_err(), "{}", case.name);
    }
}

#[test]
fn what_is_not_read_is_named() {
    let check = |file: &[u8], name: &str| {
        let error = Format::sniff(file).unwrap_err();
        assert_eq!(error.code(), "unsupported_type");
        assert_eq!(
            error.to_string(),
            format!("{name}, which is not read here: convert it to one of JPEG, PNG, WebP, GIF, BMP, TIFF")
        );
    };
    check(b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf", "an AVIF image");
    check(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image");
    check(b"\xff\x0a\xfa\x7f", "a JPEG XL image");
    check(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing");
    check(b"%PDF-1.7\n", "a PDF document");
}

/// Rows that cost nothing in the file: the charge follows the picture that the header announces.
#[test]
fn a_fax_is_charged_by_its_pixels() {
    let file = costly::fax(8000, 6000);
    assert!(file.len() < 100_000, "{}", file.len());
    let picture = decode_rgb(&file, &Limits::default()).unwrap();
    assert!(picture.data.iter().all(|level| *level == 255));
}
