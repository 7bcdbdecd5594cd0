//! The outcome of a call, as after-invoke hooks see and change it.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, LAST_MODIFIED, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue};

use crate::answer::{self, Detail, Failure};
use crate::describe::declaration::check_code;
use crate::invocation::stream::StreamFormat;
use crate::invocation::times::Times;
use crate::plugin::headers;
use crate::plugin::held_stream::HeldStream;
use crate::plugin::invocation::check_json;

/// Headers that describe the body of an answer.
const DESCRIBES_BODY: [HeaderName; 11] = [
    ACCEPT_RANGES,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// The handle of an outcome in the interface.
pub struct OutcomeHandle;

/// What ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The function returned.
    Function,
    /// The function failed.
    FunctionError,
    /// A plugin answered, rejected or failed.
    Plugin,
    /// The gateway could not complete the call.
    Gateway,
}

/// The content of an outcome.
#[derive(Debug, Clone)]
pub enum Content {
    /// JSON, or nothing.
    Result(Bytes),
    /// The body of a function's own HTTP answer: any bytes, described by the headers.
    Answer(Bytes),
    /// A stream: items in this format, or the body of a function's own HTTP answer.
    Stream(HeldStream, StreamFormat),
    /// An error.
    Problem {
        /// Its code.
        code: Cow<'static, str>,
        /// Its message.
        message: String,
        /// What it says beyond the message.
        detail: Option<Detail>,
    },
}

/// The outcome of a call.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What ended the call.
    pub source: Source,
    /// The HTTP status.
    pub status: u16,
    /// Result or error.
    pub content: Content,
    /// Headers of this answer, in addition to those of every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long the parts of the call took.
    pub times: Times,
}

impl Outcome {
    /// A function's result.
    #[must_use]
    pub fn returned(body: Bytes) -> Self {
        Self {
            source: Source::Function,
            status: 200,
            content: Content::Result(body),
            headers: Vec::new(),
            times: Times::default(),
        }
    }

    /// A function's own HTTP answer.
    #[must_use]
    pub fn answered(status: u16, headers: Vec<(HeaderName, HeaderValue)>, body: Bytes) -> Self {
        Self { status, headers, content: Content::Answer(body), ..Self::returned(Bytes::new()) }
    }

    /// A stream; of a function's own HTTP answer with its status and headers.
    #[must_use]
    pub fn streamed(
        status: u16,
        headers: Vec<(HeaderName, HeaderValue)>,
        stream: HeldStream,
        format: StreamFormat,
    ) -> Self {
        Self { status, headers, content: Content::Stream(stream, format), ..Self::returned(Bytes::new()) }
    }

    /// A failure.
    #[must_use]
    pub fn failed(source: Source, failure: Failure) -> Self {
        let Failure { status, code, message, detail, headers } = failure;
        let content = Content::Problem { code, message, detail };
        Self { source, status, content, headers, times: Times::default() }
    }

    /// The code of an error.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match &self.content {
            Content::Result(_) | Content::Answer(_) | Content::Stream(..) => None,
            Content::Problem { code, .. } => Some(code),
        }
    }

    /// The body that the caller receives; empty for a stream.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Bytes {
        match &self.content {
            Content::Result(body) | Content::Answer(body) => body.clone(),
            Content::Stream(..) => Bytes::new(),
            Content::Problem { code, message, detail } => {
                answer::error_body(code, message, detail.as_ref(), request_id)
            }
        }
    }

    pub(super) fn set_status(&mut self, status: u16) -> Result<(), String> {
        check_status(status, 200)?;
        self.status = status;
        Ok(())
    }

    pub(super) fn set_body(&mut self, body: String, limit: usize) -> Result<(), String> {
        check_body(&body, limit)?;
        if matches!(self.content, Content::Problem { .. }) {
            self.status = 200;
            // These headers belong to the error.
            self.headers.retain(|(name, _)| *name != RETRY_AFTER && *name != WWW_AUTHENTICATE);
        }
        let mut headers = std::mem::take(&mut self.headers);
        self.forget_body(&mut headers);
        self.headers = headers;
        self.content = Content::Result(body.into());
        Ok(())
    }

    /// Removes the headers that describe the function's own body, because another body replaces it.
    fn forget_body(&self, headers: &mut Vec<(HeaderName, HeaderValue)>) {
        if matches!(self.content, Content::Answer(_) | Content::Stream(..)) {
            headers.retain(|(name, _)| !DESCRIBES_BODY.contains(name));
        }
    }

    pub(super) fn set_header(&mut self, name: &str, value: &str) -> Result<(), String> {
        headers::set(&mut self.headers, name, value)
    }

    pub(super) fn remove_header(&mut self, name: &str) {
        self.headers.retain(|(there, _)| !there.as_str().eq_ignore_ascii_case(name));
    }

    /// Replaces a stream that a hook has read by its content, or by the reason why it could not be read.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        let Content::Stream(held, _) = &self.content else { return Ok(()) };
        match held.gathered() {
            None => Ok(()),
            Some(Ok(bytes)) => {
                self.content = if held.is_answer() { Content::Answer(bytes) } else { Content::Result(bytes) };
                Ok(())
            }
            Some(Err(failure)) => self.set_problem(failure),
        }
    }

    pub(super) fn set_problem(&mut self, failure: Failure) -> Result<(), String> {
        let mut set = self.headers.clone();
        self.forget_body(&mut set);
        for (name, value) in failure.headers {
            set.retain(|(there, _)| *there != name);
            set.push((name, value));
        }
        headers::check(&set)?;
        self.status = failure.status;
        self.content = Content::Problem { code: failure.code, message: failure.message, detail: failure.detail };
        self.headers = set;
        Ok(())
    }
}

/// Checks a failure that a plugin returns, as strictly as the input of a client.
pub(super) fn checked_problem<'a>(
    status: u16,
    code: String,
    message: String,
    pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
) -> Result<Failure, String> {
    check_status(status, 400)?;
    check_code(&code)?;
    if message.len() > 4096 {
        return Err(format!("a message of {} bytes exceeds the limit of 4096", message.len()));
    }
    Ok(Failure { headers: headers::answer_headers(pairs)?, ..Failure::new(status, code, message) })
}

/// Checks an answer that a plugin returns.
pub(super) fn checked_response<'a>(
    status: u16,
    body: String,
    pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    limit: usize,
) -> Result<Outcome, String> {
    check_status(status, 200)?;
    check_body(&body, limit)?;
    let headers = headers::answer_headers(pairs)?;
    let content = Content::Result(body.into());
    Ok(Outcome { source: Source::Plugin, status, content, headers, times: Times::default() })
}

fn check_status(status: u16, least: u16) -> Result<(), String> {
    if (least..600).contains(&status) { Ok(()) } else { Err(format!("status {status} is outside {least} to 599")) }
}

fn check_body(body: &str, limit: usize) -> Result<(), String> {
    if body.is_empty() { Ok(()) } else { check_json(body, limit) }
}
