//! The stream that ends a call, while several hold it: hooks that may ask for its content, and the answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use parking_lot::Mutex;

use crate::answer::Failure;
use crate::answer::code::Code;
use crate::invocation::CallFailure;
use crate::invocation::stream::Stream;

/// `Retry-After` where there is no room for the content of a stream.
const RETRY: Duration = Duration::from_secs(1);

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

/// Memory for the contents of streams, which all of them share.
pub trait Room: Send + Sync {
    /// Takes `more` bytes for a content that has `own` already; false if they are not free.
    fn take(&self, own: usize, more: usize) -> bool;
    /// Gives bytes back.
    fn give_back(&self, bytes: usize);
}

/// A stream that several hold until one of them reads it. What a hook has read of it, all others see.
#[derive(Clone)]
pub struct HeldStream(Arc<Held>);

struct Held {
    state: Mutex<State>,
    is_answer: bool,
    of: StreamOf,
    explain: Explain,
    room: Option<Arc<dyn Room>>,
}

enum State {
    Unread(Stream),
    /// For the answer; or the stream is in the gateway, and this is the process of a plugin.
    Taken,
    Gathered(Result<Bytes, Failure>),
}

impl HeldStream {
    /// Holds a stream of this function. Its content takes memory of `room`, if a hook asks for it.
    #[must_use]
    pub fn new(stream: Stream, of: StreamOf, explain: Explain, room: Option<Arc<dyn Room>>) -> Self {
        let is_answer = stream.response.is_some();
        Self(Arc::new(Held { state: Mutex::new(State::Unread(stream)), is_answer, of, explain, room }))
    }

    /// Stands for a stream in the process of a plugin, which asks the gateway for its content.
    #[must_use]
    pub(crate) fn in_gateway(is_answer: bool) -> Self {
        let of = StreamOf { deployment: "".into(), function: "".into() };
        let explain: Explain = |_, _| interrupted();
        Self(Arc::new(Held { state: Mutex::new(State::Taken), is_answer, of, explain, room: None }))
    }

    /// Whether it is the body of a function's own answer, not a list of items.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.0.is_answer
    }

    /// Takes the stream; none if another has taken it, or has asked for its content.
    #[must_use]
    pub fn take(&self) -> Option<Stream> {
        let mut state = self.0.state.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Unread(stream) => Some(stream),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Reads the whole stream, of at most `limit` bytes, unless another has it.
    pub async fn gather(&self, limit: usize) {
        let Some(stream) = self.take() else { return };
        // If this ends early, others see why there is neither a stream nor its content.
        self.put(Err(interrupted()));
        let gathered = self.collect(stream, limit).await;
        self.put(gathered);
    }

    /// What a hook has read, or why it could not; none if no hook has asked.
    #[must_use]
    pub fn gathered(&self) -> Option<Result<Bytes, Failure>> {
        match &*self.0.state.lock() {
            State::Gathered(gathered) => Some(gathered.clone()),
            State::Unread(_) | State::Taken => None,
        }
    }

    /// Sets what has been read.
    pub(crate) fn put(&self, gathered: Result<Bytes, Failure>) {
        *self.0.state.lock() = State::Gathered(gathered);
    }

    async fn collect(&self, stream: Stream, limit: usize) -> Result<Bytes, Failure> {
        let Held { of, explain, room, .. } = &*self.0;
        let mut taken = Taken { room: room.clone(), bytes: 0 };
        let mut is_full = false;
        let admits = |text: &Vec<u8>| {
            is_full = text.len() <= limit && !taken.grow_to(text.capacity());
            text.len() <= limit && !is_full
        };
        match stream.collect(admits).await {
            Ok(Some(bytes)) => Ok(Bytes::from_owner(Content { bytes, _taken: taken })),
            Ok(None) if is_full => Err(full()),
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

/// Memory that a content takes, given back when this is dropped.
pub struct Taken {
    room: Option<Arc<dyn Room>>,
    bytes: usize,
}

impl Taken {
    /// Memory for so many bytes of an answer.
    ///
    /// # Errors
    ///
    /// `overloaded`: they are not free.
    pub fn of(room: Option<Arc<dyn Room>>, bytes: usize) -> Result<Self, Failure> {
        let mut taken = Self { room, bytes: 0 };
        if taken.grow_to(bytes) { Ok(taken) } else { Err(full()) }
    }

    fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let has_grown = more == 0 || self.room.as_ref().is_none_or(|room| room.take(self.bytes, more));
        if has_grown {
            self.bytes += more;
        }
        has_grown
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Taken").field(&self.bytes).finish()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.give_back(self.bytes);
        }
    }
}

/// A content with its memory.
struct Content {
    bytes: Bytes,
    _taken: Taken,
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn interrupted() -> Failure {
    Failure::of_code(Code::PluginFailed, "a plugin failed while it read the stream")
}

fn full() -> Failure {
    let message = "the gateway holds too many bytes of requests and answers (max_buffered)";
    let retry = (RETRY_AFTER, HeaderValue::from(RETRY.as_secs()));
    Failure { headers: vec![retry], ..Failure::of_code(Code::Overloaded, message) }
}
