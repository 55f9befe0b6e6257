//! The headers of a request's images, read before any of them is admitted.

use bytes::Bytes;

use super::engine::{Encoded, ImageEngine, Tensor};
use super::{Failure, part};
use repserve_preprocess::ImageError;
use repserve_scheduler::{Batcher, Payload, SessionError};

/// Reading the headers of so many encoded bytes takes less than a millisecond; more of them are read beside the threads that serve
/// connections.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Work whose header was read, or why it cannot be done.
pub(super) type Inspected = Result<Payload<Encoded, Tensor>, Failure>;

/// Reads the headers and judges what each image and all together will take. Nothing is decoded. An image that cannot be decoded has an error in
/// its place.
///
/// # Errors
/// Where all together take too long.
pub(super) async fn inspect(
    batcher: &Batcher<ImageEngine>,
    work: Vec<Payload<Bytes, Tensor>>,
    names: &[Option<String>],
) -> Result<Vec<Inspected>, Failure> {
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
    let images = inspected.iter().filter_map(|work| match work {
        Ok(Payload::Raw(image)) => Some(image),
        _ => None,
    });
    batcher.engine().check_request(images).map_err(Failure::TooMuchWork)?;
    let invalid = |index: usize, error| Failure::Invalid {
        part: part(index, names.len(), names[index].as_deref()),
        error,
    };
    let indexed = inspected.into_iter().enumerate();
    Ok(indexed
        .map(|(index, work)| work.map_err(|error| invalid(index, error)))
        .collect())
}

fn headers(
    engine: &ImageEngine,
    work: Vec<Payload<Bytes, Tensor>>,
) -> Vec<Result<Payload<Encoded, Tensor>, ImageError>> {
    let header = |work| match work {
        Payload::Raw(bytes) => engine.inspect(bytes).map(Payload::Raw),
        Payload::Ready(tensor) => Ok(Payload::Ready(tensor)),
    };
    work.into_iter().map(header).collect()
}
