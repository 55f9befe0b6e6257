//! multipart/form-data taken apart into images. Pure: bytes in, images out.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use multer::{Constraints, Field, Multipart, SizeLimit};

use super::echo::echo;
use super::error::{Code, Problem};
use super::settings::LimitSettings;
use crate::classify::Item;
use repserve_preprocess::Format;

/// Fields of a form that are no images, at most.
const FIELDS_MAX: usize = 64;
/// What comes before the first part, and the head of each part, at most.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The reader gets the body in slices of this size, so that it keeps no copy of all of it.
const SLICE_BYTES: usize = 16 << 10;
/// The name of an image at most; it is repeated in the response.
const NAME_BYTES_MAX: usize = 1024;

/// A body in slices. After each slice it is pending once: the reader would otherwise take all that there is before it looks at it.
struct Slices {
    rest: Bytes,
    given: bool,
    /// Bytes that may still be read before the next part begins.
    allowed: Arc<AtomicUsize>,
}

impl Stream for Slices {
    type Item = Result<Bytes, HeadTooLong>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if std::mem::replace(&mut self.given, false) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let allowed = self.allowed.load(Ordering::Relaxed);
        if allowed == 0 {
            return Poll::Ready(Some(Err(HeadTooLong)));
        }
        let len = self.rest.len().min(SLICE_BYTES);
        self.allowed.store(allowed.saturating_sub(len), Ordering::Relaxed);
        self.given = true;
        Poll::Ready(Some(Ok(self.rest.split_to(len))))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("more than {HEAD_BYTES_MAX} bytes before an image")]
struct HeadTooLong;

/// A form's files are images; its file name, or else its field's name, is the image's name. The images are copies. A part without a file name
/// that does not look like an image is another field of the form, and left out.
pub(super) fn images(body: Bytes, boundary: String, limits: &LimitSettings) -> Result<Vec<Item>, Problem> {
    // Each slice makes a step; a few more begin and end the parts.
    let parts_max = limits.request_images_max + FIELDS_MAX;
    let steps_max = body.len().div_ceil(SLICE_BYTES) * 2 + parts_max * 4 + 64;
    let mut context = Context::from_waker(Waker::noop());
    let mut read = pin!(read(body, boundary, limits));
    for _ in 0..steps_max {
        if let Poll::Ready(images) = read.as_mut().poll(&mut context) {
            return images;
        }
    }
    Err(Problem::new(Code::Malformed, "not a valid form: it does not end"))
}

async fn read(body: Bytes, boundary: String, limits: &LimitSettings) -> Result<Vec<Item>, Problem> {
    let allowed = Arc::new(AtomicUsize::new(HEAD_BYTES_MAX));
    let slices = Slices {
        rest: body,
        given: false,
        allowed: Arc::clone(&allowed),
    };
    let size = SizeLimit::new().per_field(limits.image_bytes_max as u64);
    let mut form = Multipart::with_constraints(slices, boundary, Constraints::new().size_limit(size));
    let mut images = Vec::new();
    let mut fields = 0;
    while let Some(mut field) = form.next_field().await.map_err(|e| broken(&e, images.len(), limits))? {
        let full = images.len() == limits.request_images_max;
        let is_file = is_file(&field);
        if full && is_file {
            return Err(too_many(limits));
        }
        let field_name = field.name().unwrap_or_default().to_owned();
        let name = name(&field, images.len())?;
        allowed.store(usize::MAX, Ordering::Relaxed);
        let mut bytes = BytesMut::new();
        while let Some(chunk) = field.chunk().await.map_err(|e| broken(&e, images.len(), limits))? {
            bytes.extend_from_slice(&chunk);
        }
        allowed.store(HEAD_BYTES_MAX, Ordering::Relaxed);
        if !is_file && Format::sniff(&bytes).is_err() {
            fields += 1;
            if fields > FIELDS_MAX {
                let detail = format!("the form has more than {FIELDS_MAX} fields that are no images");
                return Err(Problem::new(Code::TooLarge, detail));
            }
            continue;
        }
        if full {
            return Err(too_many(limits));
        }
        if bytes.is_empty() {
            let (image, field) = (images.len() + 1, echo(&field_name));
            let detail =
                format!("image {image} is empty: no file was chosen in the field {field:?}, or the file is empty");
            return Err(Problem::new(Code::NoImage, detail));
        }
        images.push(Item {
            name,
            bytes: bytes.freeze(),
        });
    }
    if images.is_empty() {
        return Err(Problem::new(
            Code::NoImage,
            "the form has no image; send each as a file, with a file name",
        ));
    }
    Ok(images)
}

fn too_many(limits: &LimitSettings) -> Problem {
    let detail = format!("the request has more than {} images", limits.request_images_max);
    Problem::new(Code::TooLarge, detail)
}

/// The name of an image that has so many before it.
fn name(field: &Field<'_>, before: usize) -> Result<Option<String>, Problem> {
    let name = field.file_name().filter(|name| !name.is_empty()).or(field.name());
    if name.is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        let detail = format!("the name of image {} has more than {NAME_BYTES_MAX} bytes", before + 1);
        return Err(Problem::new(Code::Malformed, detail));
    }
    Ok(name.map(str::to_owned))
}

/// Whether a part was sent as a file: it has a file name, or the type of one.
fn is_file(field: &Field<'_>) -> bool {
    let typed = |essence: &str| essence.starts_with("image/") || essence.ends_with("/octet-stream");
    field.file_name().is_some()
        || field
            .content_type()
            .is_some_and(|content_type| typed(content_type.essence_str()))
}

fn broken(error: &multer::Error, index: usize, limits: &LimitSettings) -> Problem {
    match error {
        multer::Error::FieldSizeExceeded { .. } => Problem::new(
            Code::TooLarge,
            format!("image {} has more than {} bytes", index + 1, limits.image_bytes_max),
        ),
        multer::Error::StreamReadFailed(_) => Problem::new(
            Code::Malformed,
            format!("not a valid form, after {index} images: {HeadTooLong}"),
        ),
        other => Problem::new(
            Code::Malformed,
            format!("not a valid form, after {index} images: {}", echo(&other.to_string())),
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> LimitSettings {
        LimitSettings {
            image_bytes_max: 100_000,
            request_images_max: 3,
            ..LimitSettings::default()
        }
    }

    fn part(name: &str, content: &[u8]) -> Vec<u8> {
        let head = format!("--B\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"\"\r\n\r\n");
        [head.as_bytes(), content, b"\r\n"].concat()
    }

    fn split(body: Vec<u8>) -> Result<Vec<Item>, Problem> {
        images(Bytes::from(body), "B".to_owned(), &limits())
    }

    #[track_caller]
    fn refused(body: Vec<u8>, code: &str, detail: &str) {
        let problem = split(body).unwrap_err();
        assert_eq!((problem.code().name(), problem.detail()), (code, detail));
    }

    #[test]
    fn images_larger_than_a_slice_come_out_whole() {
        let contents = [vec![1; 90_000], vec![b'\r'; 40_000], vec![2; 1]];
        let mut body: Vec<u8> = contents.iter().flat_map(|content| part("a", content)).collect();
        body.extend(b"--B--\r\n");
        let images = split(body).unwrap();
        assert!(
            images
                .iter()
                .map(|image| &image.bytes[..])
                .eq(contents.iter().map(|c| &c[..]))
        );
        assert!(images.iter().all(|image| image.name.as_deref() == Some("a")));
    }

    #[test]
    fn what_comes_before_an_image_is_limited() {
        let long = format!("not a valid form, after 0 images: more than {HEAD_BYTES_MAX} bytes before an image");
        refused(vec![b'x'; 1 << 20], "malformed", &long);
        refused(part(&"n".repeat(1 << 20), b"1"), "malformed", &long);
        let name = format!("the name of image 1 has more than {NAME_BYTES_MAX} bytes");
        refused(part(&"n".repeat(NAME_BYTES_MAX + 1), b"1"), "malformed", &name);
    }

    #[test]
    fn images_are_limited_in_size_and_number() {
        let large = [part("a", &[1; 100_001]), b"--B--\r\n".to_vec()].concat();
        refused(large, "too_large", "image 1 has more than 100000 bytes");
        let many = (0..4).flat_map(|_| part("a", b"1")).collect();
        refused(many, "too_large", "the request has more than 3 images");
    }

    #[test]
    fn fields_that_are_no_images_are_left_out() {
        let field = |name: &str, more: &str, content: &[u8]| {
            let head = format!("--B\r\ncontent-disposition: form-data; name=\"{name}\"\r\n{more}\r\n");
            [head.as_bytes(), content, b"\r\n"].concat()
        };
        let end = b"--B--\r\n".to_vec();
        let png = b"\x89PNG\r\n\x1a\n and so on";
        let body = [
            field("token", "", b"abc"),
            field("typed", "content-type: image/png\r\n", b"1"),
            field("untyped", "", png),
            part("file", b"2"),
            field("note", "content-type: text/plain\r\n", b""),
            end.clone(),
        ];
        let images = split(body.concat()).unwrap();
        let names: Vec<_> = images.iter().filter_map(|image| image.name.as_deref()).collect();
        assert_eq!(names, ["typed", "untyped", "file"]);
        let none = [field("token", "", b"abc"), end.clone()].concat();
        refused(
            none,
            "no_image",
            "the form has no image; send each as a file, with a file name",
        );
        let empty = "image 1 is empty: no file was chosen in the field \"picture\", or the file is empty";
        refused([part("picture", b""), end.clone()].concat(), "no_image", empty);
        let many: Vec<u8> = (0..65).flat_map(|_| field("a", "", b"1")).collect();
        let many = [many, end].concat();
        refused(many, "too_large", "the form has more than 64 fields that are no images");
    }

    #[test]
    fn a_long_name_is_not_repeated_whole() {
        let head = format!("--B\r\n{}: 1\r\n\r\n", "\u{7f}".repeat(9000));
        assert!(split(head.into_bytes()).unwrap_err().detail().len() < 300);
    }

    proptest! {
        #[test]
        fn any_cut_of_a_form_is_read_or_refused(at in 0usize..400, seed in any::<u8>()) {
            let mut body = [part("a", &[seed; 100]), part("b", b"\r\n--\r\n--B"), b"--B--\r\n".to_vec()].concat();
            body.truncate(at);
            let _ = split(body);
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = split([b"--B".to_vec(), body].concat());
        }
    }
}
