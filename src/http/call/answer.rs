//! The HTTP answer to a call, made of the call's outcome.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::http::problem::ERROR_HEADER;
use crate::http::reply_body::ReplyBody;
use crate::plugin::outcome::{Content, Outcome};

/// The answer to a call that ended this way.
pub fn render(outcome: Outcome, request_id: &str) -> Response<ReplyBody> {
    let status = StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // These have no body (RFC 9110, section 6.4.1); HTTP/2 would send one.
    let has_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if has_body { outcome.body(request_id) } else { Bytes::new() };
    let mut response = Response::new(ReplyBody::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if matches!(outcome.content, Content::Result(_) | Content::Problem { .. }) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in outcome.headers {
        // A type set by a function or plugin replaces the one above; any other header may occur more than once.
        if name == CONTENT_TYPE {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    if let Content::Problem { code, .. } = &outcome.content {
        tracing::debug!(request_id, code = &**code, "call failed");
        if let Ok(code) = HeaderValue::from_str(code) {
            headers.insert(ERROR_HEADER, code);
        }
    }
    response
}
