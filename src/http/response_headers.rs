//! The headers of every answer on every listener, whichever part of the gateway made it. The headers of one kind of
//! answer (a problem, a call's outcome, a file) are set where that answer is made.

use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue};

use crate::http::request_id;

/// Whether the gateway closes the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It does.
    Close,
    /// It does not, unless the answer itself says so.
    Continue,
}

/// Sets the headers of every answer: the request's id, and `connection: close` before the connection is closed.
pub fn set(headers: &mut HeaderMap, request_id: HeaderValue, after: After) {
    if after == After::Close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(request_id::HEADER, request_id);
}
