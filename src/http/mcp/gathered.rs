//! The whole body of an answer, gathered piece by piece within the bounds of results.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::http::buffers::{Class, ConnectionBuffers, Held};
use crate::http::call::stream_body;
use crate::http::problem::{Code, Problem};
use crate::http::reply_body::ReplyBody;

/// Most bytes of a result: it is held as a whole, and models read less.
const RESULT_BYTES: usize = 8 << 20;

/// What has come of a body so far.
#[derive(Debug)]
pub struct Gathered {
    body: ReplyBody,
    all: BytesMut,
    held: Held,
}

impl Gathered {
    /// Nothing so far. What comes counts in these buffers.
    #[must_use]
    pub fn new(body: ReplyBody, buffers: &Arc<ConnectionBuffers>) -> Self {
        Self { body, all: BytesMut::new(), held: Held::nothing(buffers) }
    }

    /// Waits for the next piece, and returns it; none at the end.
    ///
    /// # Errors
    ///
    /// The stream breaks off, is too long for a result, or there is no room for it.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Problem> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| {
                let (code, read) = (stream_body::code_of(&error), self.all.len());
                Problem::new(Code::FunctionError, format!("the stream broke off after {read} bytes: {code}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if self.all.len() + data.len() > RESULT_BYTES {
                let message = format!("a stream of more than {RESULT_BYTES} bytes is no result of a tool");
                return Err(Problem::new(Code::ResultTooLarge, message));
            }
            self.all.extend_from_slice(&data);
            self.held.grow_to(self.all.capacity(), Class::Answer)?;
            return Ok(Some(data));
        }
        Ok(None)
    }

    /// All that has come.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.held.attach(self.all.freeze())
    }
}
