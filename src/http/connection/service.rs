//! The requests of one connection: passed to the router, while the connection's state follows them and their responses.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response, Version};
use hyper::body::{Frame, Incoming, SizeHint};
use tower::ServiceExt;

use super::early_response::{expects_continue, share_body};
use super::handle::ConnectionHandle;
use crate::http::client::Peer;
use crate::http::keep_alive::closes;
use crate::http::response_budget::ResponseCharge;

/// Marks a request of a connection beyond the limit.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Reserved;

/// The service that hyper calls.
#[derive(Debug)]
pub(super) struct RequestService {
    router: Router,
    handle: Arc<ConnectionHandle>,
    reserve: bool,
    peer: Peer,
}

impl RequestService {
    pub(super) fn new(router: Router, handle: Arc<ConnectionHandle>, reserve: bool, peer: Peer) -> Self {
        Self {
            router,
            handle,
            reserve,
            peer,
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for RequestService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.handle.request_started(request.version() > Version::HTTP_10);
        request.extensions_mut().insert(self.peer);
        if self.reserve {
            request.extensions_mut().insert(Reserved);
        }
        Box::pin(respond(self.router.clone(), Arc::clone(&self.handle), request))
    }
}

async fn respond(
    router: Router,
    handle: Arc<ConnectionHandle>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let expects_continue = expects_continue(request.headers());
    let last = request.version() < Version::HTTP_11 || closes(request.headers());
    let (head, body) = request.into_parts();
    let (handler_body, body_return) = share_body(body, Arc::clone(&handle));
    let mut response = router.oneshot(Request::from_parts(head, handler_body)).await?;
    body_return.settle(expects_continue, &mut response).await;
    if last || closes(response.headers()) {
        handle.closing();
    }
    let charge = response.extensions_mut().remove::<Arc<ResponseCharge>>();
    Ok(response.map(|body| ResponseBody { body, charge, handle }))
}

/// A response's body. Dropped, it reports that hyper has all of it.
#[derive(Debug)]
pub(super) struct ResponseBody {
    body: Body,
    charge: Option<Arc<ResponseCharge>>,
    handle: Arc<ConnectionHandle>,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.handle.response_buffered(self.charge.take());
    }
}
