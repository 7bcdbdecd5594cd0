//! Bodies of API requests that wait to be read until the token has been checked: clients without it cannot make the
//! gateway buffer and inflate theirs.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::http::api::reply;
use crate::http::bodies::Bodies;
use crate::http::buffers::ConnectionBuffers;

/// The body of a request, in the request's extensions until it is read.
#[derive(Debug, Clone)]
pub struct UnreadBody {
    body: Arc<Mutex<Option<Incoming>>>,
    buffers: Arc<ConnectionBuffers>,
}

impl UnreadBody {
    /// A body that nothing has been read of, and the budgets in which it will count.
    #[must_use]
    pub fn new(body: Incoming, buffers: &Arc<ConnectionBuffers>) -> Self {
        Self { body: Arc::new(Mutex::new(Some(body))), buffers: Arc::clone(buffers) }
    }

    /// The body, unless it has been taken already.
    #[must_use]
    pub fn take(&self) -> Option<Incoming> {
        self.body.lock().take()
    }
}

/// Reads the body of a request for its handler.
pub async fn read_whole(State(bodies): State<Arc<Bodies>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let Some(unread) = head.extensions.remove::<UnreadBody>() else {
        return next.run(Request::from_parts(head, body)).await;
    };
    let Some(body) = unread.take() else {
        return next.run(Request::from_parts(head, Body::empty())).await;
    };
    match bodies.read(&head, body, &unread.buffers, |body| Ok(body.bytes.clone())).await {
        // The body counts in the budgets until the answer.
        Ok((bytes, _body)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Err(problem) => reply::problem(problem, &head.headers),
    }
}
