//! Answers that are there before the request's body is.
//!
//! A handler may answer without having read the body. hyper then closes the connection without saying so, and a client that is
//! still sending sees a reset in place of the answer. So the body is lent to the handler and comes back when it is dropped:
//! where little is left it is read and the connection goes on; else the answer says `connection: close`, and the connection
//! lingers when it is closed (RFC 9112, section 9.6).

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

use super::link::Link;

/// How much of a body that nobody wants is read to keep its connection.
const REST_BYTES_MAX: u64 = 64 << 10;
/// How long that may take. The answer waits meanwhile.
const REST_TIME_MAX: Duration = Duration::from_millis(100);

/// Where a body is.
#[derive(Debug)]
enum Place<B> {
    /// With the handler.
    Lent,
    /// Dropped by the handler before its end. `begun`: some of it was asked for.
    Back { body: B, begun: bool },
    /// Read to its end, or it cannot be read any more.
    Ended,
}

/// A body's owner, which gets it back.
#[derive(Debug)]
pub(super) struct Owner<B>(Arc<Mutex<Place<B>>>);

/// A body as the handler has it.
#[derive(Debug)]
pub(super) struct Lent<B> {
    body: Option<B>,
    begun: bool,
    owner: Arc<Mutex<Place<B>>>,
    link: Arc<Link>,
}

fn lock<B>(place: &Mutex<Place<B>>) -> MutexGuard<'_, Place<B>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lends a body.
pub(super) fn lend<B: HttpBody>(body: B, link: Arc<Link>) -> (Lent<B>, Owner<B>) {
    let ended = body.is_end_stream();
    let place = Arc::new(Mutex::new(if ended { Place::Ended } else { Place::Lent }));
    if ended {
        link.body_ended();
    }
    let owner = Owner(Arc::clone(&place));
    let lent = Lent {
        body: Some(body),
        begun: false,
        owner: place,
        link,
    };
    (lent, owner)
}

impl<B: HttpBody<Data = Bytes> + Unpin> Owner<B> {
    /// Sees to it that the answer arrives, and that the next request does, or that the answer says that it would not.
    pub(super) async fn settle<A>(self, request: &Asked, response: &mut Response<A>) {
        let place = std::mem::replace(&mut *lock(&self.0), Place::Ended);
        let goes_on = match place {
            Place::Ended => true,
            Place::Lent => false,
            Place::Back { body, begun } => {
                let waits = request.expects && !begun;
                let useless = closes(response.headers()) || response.status() == StatusCode::REQUEST_TIMEOUT;
                !waits && !useless && rest_is_read(body).await
            }
        };
        if !goes_on {
            close_after(response);
        }
    }
}

/// What of a request's head matters for the end of its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The client sends its body when it is told to.
    expects: bool,
}

impl Asked {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            expects: headers.contains_key(EXPECT),
        }
    }
}

/// Makes an answer the last one of its connection.
pub(in crate::http) fn close_after<A>(response: &mut Response<A>) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}

/// Whether a message says that the connection ends with it.
pub(super) fn closes(headers: &HeaderMap) -> bool {
    let mut options = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Reads what is left, where that is little and comes soon.
async fn rest_is_read<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) -> bool {
    if body.size_hint().lower() > REST_BYTES_MAX {
        return false;
    }
    let read = async {
        let mut left = REST_BYTES_MAX;
        while let Some(frame) = body.frame().await {
            let bytes = match frame {
                Ok(frame) => frame.data_ref().map_or(0, Bytes::len) as u64,
                Err(_) => return false,
            };
            let Some(less) = left.checked_sub(bytes) else {
                return false;
            };
            left = less;
        }
        true
    };
    tokio::time::timeout(REST_TIME_MAX, read).await.unwrap_or(false)
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Lent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.begun = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(context));
        let whole = match &frame {
            Some(Ok(_)) => body.is_end_stream(),
            None => true,
            Some(Err(_)) => {
                *lock(&self.owner) = Place::Ended;
                false
            }
        };
        if whole {
            *lock(&self.owner) = Place::Ended;
            self.link.body_ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl<B> Drop for Lent<B> {
    fn drop(&mut self) {
        let mut place = lock(&self.owner);
        if let (Place::Lent, Some(body)) = (&*place, self.body.take()) {
            *place = Place::Back {
                body,
                begun: self.begun,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::stream;

    use super::super::slots::Slots;
    use super::*;
    use crate::telemetry::Metrics;

    fn link() -> Arc<Link> {
        let slots = Slots::new(1, Arc::new(Metrics::new().unwrap()));
        let timeouts = crate::http::ServerSettings::default().connection_timeouts();
        Arc::new(Link::new(slots.take().unwrap(), timeouts))
    }

    /// A body of so many pieces of 1 kB, of unknown length.
    fn pieces(count: usize) -> Body {
        Body::from_stream(stream::iter(
            (0..count).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1024]))),
        ))
    }

    /// Whether the answer to a request says that the connection closes, whose handler has read `frames` of the body.
    async fn says_close(body: Body, frames: usize, headers: &[(&'static str, &'static str)], status: u16) -> bool {
        let mut head = axum::http::HeaderMap::new();
        for (name, value) in headers {
            head.insert(*name, HeaderValue::from_static(value));
        }
        let (mut lent, owner) = lend(body, link());
        for _ in 0..frames {
            lent.frame().await;
        }
        drop(lent);
        let mut response = Response::builder().status(status).body(()).unwrap();
        owner.settle(&Asked::of(&head), &mut response).await;
        closes(response.headers())
    }

    #[tokio::test]
    async fn little_is_read_and_much_ends_the_connection() {
        assert!(!says_close(Body::empty(), 0, &[], 404).await);
        assert!(!says_close(Body::from("x"), 0, &[], 404).await);
        assert!(!says_close(Body::from("x"), 1, &[], 200).await);
        assert!(!says_close(pieces(64), 0, &[], 401).await);
        assert!(says_close(pieces(65), 0, &[], 401).await);
        assert!(!says_close(pieces(65), 1, &[], 413).await);
        assert!(says_close(Body::from(vec![0; 65 * 1024]), 0, &[], 413).await);
    }

    #[tokio::test]
    async fn what_does_not_come_is_not_waited_for() {
        let never = || Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(says_close(never(), 0, &[], 404).await);
        assert!(says_close(never(), 0, &[], 408).await);
    }

    #[tokio::test]
    async fn a_client_that_waits_for_leave_to_send_is_not_given_it() {
        let expects = [("expect", "100-continue")];
        assert!(says_close(Body::from("x"), 0, &expects, 401).await);
        assert!(!says_close(pieces(3), 1, &expects, 413).await);
    }

    #[tokio::test]
    async fn a_body_that_is_still_read_when_the_answer_is_there_ends_the_connection() {
        let (lent, owner) = lend(Body::from("x"), link());
        let mut response = Response::new(());
        owner.settle(&Asked::of(&HeaderMap::new()), &mut response).await;
        assert!(closes(response.headers()));
        drop(lent);
    }

    #[track_caller]
    fn check(values: &[&'static str], expected: bool) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONNECTION, HeaderValue::from_static(value));
        }
        assert_eq!(closes(&headers), expected, "{values:?}");
    }

    #[test]
    fn close_is_found_among_other_options() {
        check(&[], false);
        check(&["keep-alive"], false);
        check(&["Close"], true);
        check(&["te, close"], true);
        check(&["keep-alive", " close "], true);
        check(&["closed"], false);
    }
}
