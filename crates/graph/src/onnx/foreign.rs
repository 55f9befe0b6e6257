//! Files of other kinds that people take for ONNX models, so that an error can name them and say what to do.

/// Bytes in which the names that tell kinds apart are looked for.
const SEARCHED_BYTES: usize = 1 << 20;
/// Bytes by which a text is known.
const TEXT_BYTES: usize = 512;

const FROM_PYTORCH: &str =
    "export the model from PyTorch with `torch.onnx.export(model.eval(), example, \"model.onnx\", dynamo=False)`";
const FROM_TENSORFLOW: &str = "convert it with tf2onnx: `python -m tf2onnx.convert`";
const ORIGINAL: &str = "give the ONNX file from which it was made";
const DOWNLOAD: &str = "download the file itself, not the page about it";

/// What a file is instead of an ONNX model, and what to do about it; `None` where that is not known.
pub(super) fn name(bytes: &[u8]) -> Option<String> {
    let (kind, remedy) = kind(bytes)?;
    Some(format!("it is {kind}; {remedy}"))
}

fn kind(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match bytes {
        [b'P', b'K', 3, 4, ..] => archive(bytes),
        [0x80, 2..=5, ..] => (
            "a Python pickle, as `torch.save` wrote it before PyTorch 1.6",
            FROM_PYTORCH,
        ),
        [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n', ..] => {
            ("an HDF5 file, as Keras writes it", FROM_TENSORFLOW)
        }
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => (
            "a TensorFlow Lite model",
            "convert it with tf2onnx: `python -m tf2onnx.convert --tflite FILE --output model.onnx`",
        ),
        [_, _, _, _, b'O', b'R', b'T', b'M', ..] => ("a model in ONNX Runtime's own format (ORT)", ORIGINAL),
        [_, _, _, _, b'E', b'T', b'0'..=b'9', b'0'..=b'9', ..] => ("an ExecuTorch program", FROM_PYTORCH),
        [b'p' | b'f', b't', b'r', b't', ..] => ("a TensorRT engine", ORIGINAL),
        [b'G', b'G', b'U', b'F', ..] => (
            "a GGUF file, which holds a language model",
            "give an image classifier in ONNX",
        ),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => ("a NumPy array", "give the model itself"),
        [_, _, _, _, _, _, 0, 0, b'{', b'"', ..] => {
            ("a safetensors file, which holds weights and no graph", FROM_PYTORCH)
        }
        [0x1f, 0x8b, ..]
        | [0x28, 0xb5, 0x2f, 0xfd, ..]
        | [b'B', b'Z', b'h', ..]
        | [0xfd, b'7', b'z', b'X', b'Z', ..] => ("a compressed file", "unpack it first"),
        [0xff, 0xd8, 0xff, ..] | [0x89, b'P', b'N', b'G', ..] | [b'G', b'I', b'F', b'8', ..] => {
            ("a picture", "give a model")
        }
        [8, 1, 18, ..] if has(bytes, b"\x22\x05serve") => ("a TensorFlow SavedModel", FROM_TENSORFLOW),
        [10, ..] if has(bytes, b"Placeholder") => ("a TensorFlow graph", FROM_TENSORFLOW),
        _ => return text(bytes),
    })
}

/// What a ZIP archive holds, by the names of its first files.
fn archive(bytes: &[u8]) -> (&'static str, &'static str) {
    if has(bytes, b"constants.pkl") || has(bytes, b"code/__torch__") {
        ("a TorchScript module (ZIP)", FROM_PYTORCH)
    } else if has(bytes, b"data.pkl") {
        ("a PyTorch checkpoint (ZIP), as `torch.save` writes it", FROM_PYTORCH)
    } else if has(bytes, b"model.weights.h5") {
        ("a Keras model (ZIP)", FROM_TENSORFLOW)
    } else if has(bytes, b".npy") {
        ("a NumPy archive", "give the model itself")
    } else {
        ("a ZIP archive", "unpack it first")
    }
}

/// What a text is, by how it begins.
fn text(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let starts = |with: &[u8]| {
        text.get(..with.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(with))
    };
    if starts(b"version https://git-lfs") {
        return Some(("a Git LFS pointer", "fetch the file itself with `git lfs pull`"));
    }
    if starts(b"<!doctype html") || starts(b"<html") {
        return Some(("an HTML page", DOWNLOAD));
    }
    if starts(b"<?xml") && has(text, b"<net ") {
        return Some(("a model in OpenVINO's format (IR)", ORIGINAL));
    }
    if starts(b"<ir_version") || starts(b"< ir_version") || starts(b"<\n  ir_version") {
        return Some((
            "an ONNX model as text",
            "save it in binary form: `onnx.save(onnx.parser.parse_model(text), \"model.onnx\")`",
        ));
    }
    let head = &text[..text.len().min(TEXT_BYTES)];
    // A character may be cut at the end.
    let is_text = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    } && !head
        .iter()
        .any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace());
    match head.first() {
        Some(b'{') if is_text => Some(("a JSON text", "give the model's ONNX file")),
        Some(_) if is_text && head.len() >= 8 => Some(("a text", "give the model's ONNX file")),
        _ => None,
    }
}

fn has(bytes: &[u8], what: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(SEARCHED_BYTES)];
    bytes.windows(what.len()).any(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_bytes() {
        let check = |bytes: &[u8], expected: Option<&str>| {
            assert_eq!(kind(bytes).map(|(kind, _)| kind), expected, "{bytes:?}");
        };
        let torch = Some("a PyTorch checkpoint (ZIP), as `torch.save` writes it");
        check(b"PK\x03\x04..........................resnet18/data.pkl", torch);
        check(
            b"PK\x03\x04..........................m/data.pkl....m/code/__torch__/torchvision",
            Some("a TorchScript module (ZIP)"),
        );
        check(
            b"PK\x03\x04....config.json....model.weights.h5",
            Some("a Keras model (ZIP)"),
        );
        check(b"PK\x03\x04....notes.txt", Some("a ZIP archive"));
        check(
            b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
            Some("a Python pickle, as `torch.save` wrote it before PyTorch 1.6"),
        );
        check(b"\x89HDF\r\n\x1a\n\0", Some("an HDF5 file, as Keras writes it"));
        check(b"\x1c\0\0\0TFL3\x14\0", Some("a TensorFlow Lite model"));
        check(
            b"\x1c\0\0\0ORTM\x14\0",
            Some("a model in ONNX Runtime's own format (ORT)"),
        );
        check(b"\n <!DOCTYPE html>\n<html>", Some("an HTML page"));
        check(
            b"version https://git-lfs.github.com/spec/v1\n",
            Some("a Git LFS pointer"),
        );
        check(
            b"\x58\0\0\0\0\0\0\0{\"weight\":",
            Some("a safetensors file, which holds weights and no graph"),
        );
        check(
            b"\x08\x01\x12\x80\x01\x0a\x10\x22\x05serve",
            Some("a TensorFlow SavedModel"),
        );
        check(
            b"<?xml version=\"1.0\"?>\n<net name=\"m\">",
            Some("a model in OpenVINO's format (IR)"),
        );
        check(b"{\"a\": 1}", Some("a JSON text"));
        check(b"[server]\ntop_k = 1\n", Some("a text"));
        check(b"airplane\nautomobile\n", Some("a text"));
        check(b"\x08\x07\x12\x07pytorch", None);
        check(b"\x08\x08", None);
        check(b"", None);
    }

    #[test]
    fn a_character_may_be_cut_where_the_search_ends() {
        let mut long = "x".repeat(TEXT_BYTES - 1);
        long.push('é');
        assert_eq!(kind(long.as_bytes()).map(|(kind, _)| kind), Some("a text"));
    }
}
