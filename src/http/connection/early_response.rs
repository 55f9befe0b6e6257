//! Responses that are made before the request's body has been read.
//!
//! A handler may respond without having read the body. hyper then closes the connection without announcing it, and a client that
//! is still sending sees a reset in place of the response. So the body comes back here when its handler drops it: where little is
//! left it is read and the connection goes on; else the response carries `connection: close`, and the connection lingers when it
//! is closed (RFC 9112, section 9.6).

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::http::header::EXPECT;
use axum::http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

use super::handle::ConnectionHandle;
use crate::http::keep_alive::{close_after, closes};

/// How much of a body that its handler did not read is read to keep its connection: a new one costs more than reading an ordinary picture.
const REST_BYTES_MAX: u64 = 256 << 10;
/// How long that may take. The response waits meanwhile.
const REST_TIME_MAX: Duration = Duration::from_millis(100);

/// Where a body is.
#[derive(Debug)]
enum BodyPlace<B> {
    /// With the handler.
    InHandler,
    /// Dropped by the handler before its end. `begun`: the handler has polled it.
    Returned { body: B, begun: bool },
    /// Read to its end, or it cannot be read any more.
    Ended,
}

/// The connection's end of a body: gets it back when the handler drops it.
#[derive(Debug)]
pub(super) struct BodyReturn<B>(Arc<Mutex<BodyPlace<B>>>);

/// The handler's end of a body.
#[derive(Debug)]
pub(super) struct HandlerBody<B> {
    body: Option<B>,
    begun: bool,
    place: Arc<Mutex<BodyPlace<B>>>,
    handle: Arc<ConnectionHandle>,
}

fn lock<B>(place: &Mutex<BodyPlace<B>>) -> MutexGuard<'_, BodyPlace<B>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Splits a body into the handler's end and the connection's.
pub(super) fn share_body<B: HttpBody>(body: B, handle: Arc<ConnectionHandle>) -> (HandlerBody<B>, BodyReturn<B>) {
    let ended = body.is_end_stream();
    let place = Arc::new(Mutex::new(if ended { BodyPlace::Ended } else { BodyPlace::InHandler }));
    if ended {
        handle.body_ended();
    }
    let body_return = BodyReturn(Arc::clone(&place));
    let handler_body = HandlerBody {
        body: Some(body),
        begun: false,
        place,
        handle,
    };
    (handler_body, body_return)
}

impl<B: HttpBody<Data = Bytes> + Unpin> BodyReturn<B> {
    /// Reads what is left of the body, so that the next request can follow, or announces in the response that the connection
    /// closes. `expects_continue`: the client sends its body only after an interim response ([`expects_continue`]).
    pub(super) async fn settle<A>(self, expects_continue: bool, response: &mut Response<A>) {
        let place = std::mem::replace(&mut *lock(&self.0), BodyPlace::Ended);
        let goes_on = match place {
            BodyPlace::Ended => true,
            BodyPlace::InHandler => false,
            BodyPlace::Returned { body, begun } => {
                let waits = expects_continue && !begun;
                let useless = closes(response.headers()) || response.status() == StatusCode::REQUEST_TIMEOUT;
                !waits && !useless && rest_is_read(body).await
            }
        };
        if !goes_on {
            close_after(response);
        }
    }
}

/// Whether a request's head carries `expect: 100-continue`: the client sends its body only after that interim response.
pub(super) fn expects_continue(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
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

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for HandlerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if !std::mem::replace(&mut self.begun, true) {
            self.handle.body_begun();
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(context));
        let whole = match &frame {
            Some(Ok(_)) => body.is_end_stream(),
            None => true,
            Some(Err(_)) => {
                *lock(&self.place) = BodyPlace::Ended;
                false
            }
        };
        if whole {
            *lock(&self.place) = BodyPlace::Ended;
            self.handle.body_ended();
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

impl<B> Drop for HandlerBody<B> {
    fn drop(&mut self) {
        let mut place = lock(&self.place);
        if let (BodyPlace::InHandler, Some(body)) = (&*place, self.body.take()) {
            *place = BodyPlace::Returned {
                body,
                begun: self.begun,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::HeaderValue;
    use futures_util::stream;

    use super::super::slots::Slots;
    use super::*;
    use crate::telemetry::Metrics;

    fn handle() -> Arc<ConnectionHandle> {
        let slots = Slots::new(1, Arc::new(Metrics::new().unwrap()));
        let timeouts = crate::http::ServerSettings::default().connection_timeouts();
        Arc::new(ConnectionHandle::new(slots.take().unwrap(), timeouts))
    }

    /// A body of so many pieces of 1 kB, of unknown length.
    fn pieces(count: usize) -> Body {
        Body::from_stream(stream::iter(
            (0..count).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1024]))),
        ))
    }

    /// Whether the response to a request announces that the connection closes, whose handler has read `frames` of the body.
    async fn announces_close(body: Body, frames: usize, headers: &[(&'static str, &'static str)], status: u16) -> bool {
        let mut head = axum::http::HeaderMap::new();
        for (name, value) in headers {
            head.insert(*name, HeaderValue::from_static(value));
        }
        let (mut handler_body, body_return) = share_body(body, handle());
        for _ in 0..frames {
            handler_body.frame().await;
        }
        drop(handler_body);
        let mut response = Response::builder().status(status).body(()).unwrap();
        body_return.settle(expects_continue(&head), &mut response).await;
        closes(response.headers())
    }

    #[tokio::test]
    async fn little_is_read_and_much_ends_the_connection() {
        assert!(!announces_close(Body::empty(), 0, &[], 404).await);
        assert!(!announces_close(Body::from("x"), 0, &[], 404).await);
        assert!(!announces_close(Body::from("x"), 1, &[], 200).await);
        assert!(!announces_close(pieces(256), 0, &[], 401).await);
        assert!(announces_close(pieces(257), 0, &[], 401).await);
        assert!(!announces_close(pieces(257), 1, &[], 413).await);
        assert!(announces_close(Body::from(vec![0; 257 * 1024]), 0, &[], 413).await);
    }

    #[tokio::test]
    async fn what_does_not_come_is_not_waited_for() {
        let never = || Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(announces_close(never(), 0, &[], 404).await);
        assert!(announces_close(never(), 0, &[], 408).await);
    }

    #[tokio::test]
    async fn a_client_that_waits_for_leave_to_send_is_not_given_it() {
        let expects = [("expect", "100-continue")];
        assert!(announces_close(Body::from("x"), 0, &expects, 401).await);
        assert!(!announces_close(pieces(3), 1, &expects, 413).await);
    }

    #[tokio::test]
    async fn a_body_that_is_still_read_when_the_response_is_made_ends_the_connection() {
        let (handler_body, body_return) = share_body(Body::from("x"), handle());
        let mut response = Response::new(());
        body_return.settle(false, &mut response).await;
        assert!(closes(response.headers()));
        drop(handler_body);
    }
}
