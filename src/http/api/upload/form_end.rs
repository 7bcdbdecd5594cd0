//! What is wrong with a form that cannot be read further, and its end.

use std::error::Error;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;

use crate::http::form_feed::{FeedError, HEADER_LIMIT};
use crate::http::problem::{Code, Problem};
use crate::http::request_body;
use crate::http::streamed_body::BodyFault;

/// Reads the bytes after the last part, of which there may be few.
pub(super) async fn read_end(body: &mut Body) -> Result<(), Problem> {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.map_err(|error| body_problem(&error))?.data_ref().map_or(0, Bytes::len);
        if read > HEADER_LIMIT {
            return Err(Problem::new(Code::BadRequest, "the upload goes on after its last part"));
        }
    }
    Ok(())
}

/// The answer when a form cannot be parsed further, in this part or between two.
pub(super) fn problem(error: &multer::Error, part: Option<&str>) -> Problem {
    let place = part.map_or_else(|| "between two parts".to_owned(), |name| format!("in part {name:?}"));
    let message = match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast_ref() {
            Some(FeedError::Body(error)) => return body_problem(error.as_ref()),
            Some(FeedError::Headers) => format!("a part's headers of more than {HEADER_LIMIT} bytes"),
            None => format!("the upload cannot be read {place}"),
        },
        multer::Error::IncompleteStream | multer::Error::IncompleteFieldData { .. } => {
            format!("the form breaks off {place}")
        }
        _ => format!("the form is broken {place}: {error}"),
    };
    Problem::new(Code::BadRequest, message)
}

fn body_problem(error: &(dyn Error + 'static)) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(BodyFault::TooSlow) = error.downcast_ref() {
            return request_body::too_slow();
        }
        cause = error.source();
    }
    Problem::new(Code::BadRequest, format!("the upload broke off: {error}")).closing()
}
