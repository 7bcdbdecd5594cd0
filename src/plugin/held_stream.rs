//! The stream that ends a call, while several hold it: hooks that may ask for its content, and the answer.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::answer::Failure;
use crate::answer::code::Code;
use crate::invocation::CallFailure;
use crate::invocation::stream::Stream;

/// Whose stream it is: the names of the deployment and of the function.
#[derive(Debug, Clone)]
pub struct StreamOf {
    /// The deployment.
    pub deployment: Box<str>,
    /// The function.
    pub function: Box<str>,
}

/// What callers see of a stream that broke off.
pub type Explain = fn(CallFailure, &StreamOf) -> Failure;

/// A stream that several hold until one of them reads it.
#[derive(Clone)]
pub struct HeldStream(Arc<Held>);

struct Held {
    stream: Mutex<Option<Stream>>,
    of: StreamOf,
    explain: Explain,
}

impl HeldStream {
    /// Holds a stream of this function.
    #[must_use]
    pub fn new(stream: Stream, of: StreamOf, explain: Explain) -> Self {
        Self(Arc::new(Held { stream: Mutex::new(Some(stream)), of, explain }))
    }

    /// Takes the stream; none if another has taken it.
    #[must_use]
    pub fn take(&self) -> Option<Stream> {
        self.0.stream.lock().take()
    }

    /// Reads a stream that [`Self::take`] gave, as a whole.
    ///
    /// # Errors
    ///
    /// The stream broke off, or has more than `limit` bytes.
    pub async fn gather(&self, stream: Stream, limit: usize) -> Result<Bytes, Failure> {
        let Held { of, explain, .. } = &*self.0;
        match stream.collect(limit).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => {
                let StreamOf { deployment, function } = of;
                let message = format!("the stream of {function:?} of {deployment:?} has more than {limit} bytes");
                Err(Failure::of_code(Code::ResultTooLarge, message))
            }
            Err(failure) => Err(explain(failure, of)),
        }
    }
}

impl fmt::Debug for HeldStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldStream").field(&self.0.of).finish()
    }
}
