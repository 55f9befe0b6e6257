//! The requests of one connection of HTTP/2: passed to the router, while the connection's state follows how many there are and what the
//! client takes of their responses.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use tower::ServiceExt;

use super::handle::ConnectionHandle;
use super::service::Reserved;
use crate::http::client::Peer;
use crate::http::response_budget::ResponseCharge;

/// What hyper is handed of a response at a time: it takes no more before the client's window has room.
const SLICE_BYTES: usize = 16 << 10;

/// The service that hyper calls.
#[derive(Debug)]
pub(super) struct StreamService {
    router: Router,
    handle: Arc<ConnectionHandle>,
    reserve: bool,
    peer: Peer,
}

impl StreamService {
    pub(super) fn new(router: Router, handle: Arc<ConnectionHandle>, reserve: bool, peer: Peer) -> Self {
        Self {
            router,
            handle,
            reserve,
            peer,
        }
    }
}

/// An open stream; ended when it is dropped.
#[derive(Debug)]
struct OpenStream {
    handle: Arc<ConnectionHandle>,
    /// Its response is whole.
    complete: bool,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.handle.stream_ended(self.complete);
    }
}

impl hyper::service::Service<Request<Incoming>> for StreamService {
    type Response = Response<StreamBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<StreamBody>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.handle.stream_began();
        request.extensions_mut().insert(self.peer);
        if self.reserve {
            request.extensions_mut().insert(Reserved);
        }
        let open = OpenStream {
            handle: Arc::clone(&self.handle),
            complete: false,
        };
        Box::pin(respond(self.router.clone(), open, request))
    }
}

async fn respond(
    router: Router,
    open: OpenStream,
    request: Request<Incoming>,
) -> Result<Response<StreamBody>, Infallible> {
    let mut response = router.oneshot(request.map(Body::new)).await?;
    let charge = response.extensions_mut().remove::<Arc<ResponseCharge>>();
    let id = open.handle.response_began();
    Ok(response.map(|body| StreamBody {
        body,
        rest: Bytes::new(),
        id,
        charge,
        open,
    }))
}

/// A response's body, in slices. hyper asks for the next one when the client's window has room: until then the client holds it up.
#[derive(Debug)]
pub(super) struct StreamBody {
    body: Body,
    /// Of a frame of `body`: what has not been handed out.
    rest: Bytes,
    /// The response's number in the connection's state.
    id: u64,
    charge: Option<Arc<ResponseCharge>>,
    open: OpenStream,
}

impl HttpBody for StreamBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.open.handle.response_wanted(self.id);
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => {
                        self.open.complete = true;
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                },
                ended => {
                    self.open.complete = ended.is_none();
                    return Poll::Ready(ended);
                }
            }
        }
        let bytes = self.rest.len().min(SLICE_BYTES);
        let slice = self.rest.split_to(bytes);
        self.open.handle.response_taken(self.id, bytes);
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.open.complete |= self.is_end_stream();
        self.open.handle.stream_response_ended(self.id, self.charge.take());
    }
}
