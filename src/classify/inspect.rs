//! The headers of a request's images, read before any of them is admitted.

use bytes::Bytes;

use super::engine::{Encoded, ImageEngine, Tensor};
use super::{Failure, part};
use repserve_preprocess::ImageError;
use repserve_scheduler::{Batcher, Payload, SessionError};

/// Reading the headers of so many encoded bytes takes less than a millisecond; more of them are read beside the threads that serve
/// connections.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Reads the headers and judges what each image and all together will take. Nothing is decoded.
///
/// # Errors
/// The first image's that cannot be decoded, or that all together take too long.
pub(super) async fn inspect(
    batcher: &Batcher<ImageEngine>,
    work: Vec<Payload<Bytes, Tensor>>,
    names: &[Option<String>],
) -> Result<Vec<Payload<Encoded, Tensor>>, Failure> {
    let encoded = |work: &Payload<Bytes, Tensor>| match work {
        Payload::Raw(bytes) => bytes.len(),
        Payload::Ready(_) => 0,
    };
    let inspected = if work.iter().map(encoded).sum::<usize>() <= INLINE_BYTES_MAX {
        headers(batcher.engine(), work)
    } else {
        let batcher = batcher.clone();
        let beside = tokio::task::spawn_blocking(move || headers(batcher.engine(), work));
        beside.await.map_err(|error| {
            tracing::error!(%error, "reading the headers of images panicked");
            Failure::Session(SessionError("the headers could not be read".to_owned()))
        })?
    };
    let work = inspected.map_err(|(index, error)| Failure::Invalid {
        part: part(index, names.len(), names[index].as_deref()),
        error,
    })?;
    let images = work.iter().filter_map(|work| match work {
        Payload::Raw(image) => Some(image),
        Payload::Ready(_) => None,
    });
    batcher.engine().check_request(images).map_err(Failure::TooMuchWork)?;
    Ok(work)
}

/// The error carries the index of the image that cannot be decoded.
fn headers(
    engine: &ImageEngine,
    work: Vec<Payload<Bytes, Tensor>>,
) -> Result<Vec<Payload<Encoded, Tensor>>, (usize, ImageError)> {
    let header = |(index, work)| match work {
        Payload::Raw(bytes) => {
            let encoded = engine.inspect(bytes).map_err(|error| (index, error))?;
            Ok(Payload::Raw(encoded))
        }
        Payload::Ready(tensor) => Ok(Payload::Ready(tensor)),
    };
    work.into_iter().enumerate().map(header).collect()
}
