//! The requests of one connection: handed to the router, with what the connection must know of them and of their answers.

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

use super::early::{Asked, closes, lend};
use super::link::Link;
use crate::http::answers::Charge;
use crate::http::budget::Peer;

/// Marks a request of a connection beyond the limit.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Reserved;

/// The service that hyper calls.
#[derive(Debug)]
pub(super) struct Requests {
    router: Router,
    link: Arc<Link>,
    reserve: bool,
    peer: Peer,
}

impl Requests {
    pub(super) fn new(router: Router, link: Arc<Link>, reserve: bool, peer: Peer) -> Self {
        Self {
            router,
            link,
            reserve,
            peer,
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.link.called(request.version() > Version::HTTP_10);
        request.extensions_mut().insert(self.peer);
        if self.reserve {
            request.extensions_mut().insert(Reserved);
        }
        Box::pin(answer(self.router.clone(), Arc::clone(&self.link), request))
    }
}

async fn answer(router: Router, link: Arc<Link>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let asked = Asked::of(request.headers());
    let last = request.version() < Version::HTTP_11 || closes(request.headers());
    let (head, body) = request.into_parts();
    let (lent, owner) = lend(body, Arc::clone(&link));
    let mut response = router.oneshot(Request::from_parts(head, lent)).await?;
    owner.settle(&asked, &mut response).await;
    if last || closes(response.headers()) {
        link.closing();
    }
    let charge = response.extensions_mut().remove::<Arc<Charge>>();
    Ok(response.map(|body| Answer { body, charge, link }))
}

/// An answer's body, which tells when hyper has all of it.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    charge: Option<Arc<Charge>>,
    link: Arc<Link>,
}

impl HttpBody for Answer {
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

impl Drop for Answer {
    fn drop(&mut self) {
        self.link.answered(self.charge.take());
    }
}
