//! Streams of requests end after a while: a client that holds one open would hold its connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::Frame;
use tokio::time::Sleep;

use crate::http::Shared;

/// A body that ends when its time is over.
struct TimedBody {
    body: Body,
    over: Pin<Box<Sleep>>,
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => self.over.as_mut().poll(context).map(|()| None),
            ready => ready,
        }
    }
}

/// The layer: a request may take as long as one for inference.
pub(super) async fn end_in_time(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let over = tokio::time::sleep(shared.server.request_timeout(None));
    let timed = |body| {
        Body::new(TimedBody {
            body,
            over: Box::pin(over),
        })
    };
    next.run(request.map(timed)).await
}
