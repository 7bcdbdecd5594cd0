//! Asynchronous calls as the queue keeps them. What a call is made of, and what it came to, are bytes that the queue
//! does not read.

use std::time::Duration;

use bytes::Bytes;

use crate::queue::call_id::CallId;
use crate::queue::progress::{Millis, Policy, Progress, State};

/// Bytes of a request or an answer that are kept in the database; larger ones are files beside it.
pub const INLINE: usize = 256 << 10;

/// Which of two calls of a deployment goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Before the others.
    #[default]
    Normal,
    /// When no other call of the deployment waits.
    Low,
}

impl Priority {
    /// Its name in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// A call to be accepted.
#[derive(Debug, Clone)]
pub struct NewCall {
    /// Its id.
    pub id: CallId,
    /// The deployment.
    pub deployment: Box<str>,
    /// The function.
    pub function: Box<str>,
    /// Which calls it goes after.
    pub priority: Priority,
    /// Where it comes from, such as the name of a schedule; empty for a caller.
    pub origin: Box<str>,
    /// When it was accepted.
    pub accepted: Millis,
    /// When it is tried first.
    pub due: Millis,
    /// When it is too old.
    pub expires: Millis,
    /// What decides about further tries.
    pub policy: Policy,
    /// What it is made of.
    pub request: Bytes,
    /// The key that only one call may have, and what that call must be like.
    pub key: Option<CallKey>,
    /// Where its end is reported to.
    pub callback: Option<Callback>,
}

impl NewCall {
    /// The call as it is shown once it was accepted.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept {
            row: 0,
            id: self.id,
            deployment: self.deployment.clone(),
            function: self.function.clone(),
            priority: self.priority,
            origin: self.origin.clone(),
            accepted: self.accepted,
            began: None,
            ended: None,
            progress: Progress::accepted(self.due, self.expires),
            last: None,
            callback: self.callback.as_ref().map(|callback| callback.url.clone()),
            reports: None,
            report: None,
        }
    }
}

#[cfg(test)]
impl NewCall {
    /// A call for tests, accepted at 1000 and too old at 9000.
    pub fn sample(number: u8) -> Self {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        Self {
            id: CallId::from_bytes([number; 16]),
            deployment: "shop".into(),
            function: "order".into(),
            priority: Priority::Normal,
            origin: "".into(),
            accepted: 1000,
            due: 1000,
            expires: 9000,
            policy: Policy { attempts: 3, backoff: second, max_backoff: second, keep: hour, keep_dead: hour },
            request: Bytes::from_static(b"[]"),
            key: None,
            callback: None,
        }
    }
}

/// Where the end of a call is reported to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// The URL.
    pub url: Box<str>,
    /// How long that is tried.
    pub max_age: Duration,
}

/// A key, and a digest of what is asked for under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallKey {
    /// The digest of the key and of who has used it for what.
    pub key: [u8; 32],
    /// The digest of the request.
    pub fingerprint: [u8; 32],
}

/// What became of a call that was to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is on the disk.
    New,
    /// This call was accepted before under the same key.
    Before(CallId),
    /// The key belongs to another request.
    OtherRequest,
}

/// A try to be made.
#[derive(Debug, Clone)]
pub struct Try {
    /// The row of the call.
    pub row: i64,
    /// The call's id.
    pub id: CallId,
    /// Which of the tries of the call it is; the first is 1.
    pub number: u32,
    /// Tells this try from others of the call.
    pub serial: u32,
    /// The deployment.
    pub deployment: Box<str>,
    /// The function.
    pub function: Box<str>,
    /// Whose limit of tries it counts for: the deployment, or the origin of a callback.
    pub lane: Box<str>,
    /// Where the call comes from.
    pub origin: Box<str>,
    /// Where it goes, if it is a callback.
    pub callback: Option<Box<str>>,
    /// What the call is made of; none if its file is gone.
    pub request: Option<Bytes>,
    /// Whether this is the last try if it fails.
    pub is_last: bool,
}

/// What a try came to.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The code of an error; empty for none.
    pub code: Box<str>,
    /// The message of an error.
    pub message: Box<str>,
    /// Headers and the like, which the queue does not read.
    pub head: Box<str>,
    /// The body.
    pub body: Bytes,
}

/// What a call came to, without the body.
#[derive(Debug, Clone)]
pub struct AnswerHead {
    /// Headers and the like, which the queue does not read.
    pub head: Box<str>,
    /// The bytes of the body.
    pub bytes: u64,
}

impl AnswerHead {
    /// The whole answer. `last` is what its call has of it.
    #[must_use]
    pub fn with(self, last: Option<(u16, Box<str>, Box<str>)>, body: Bytes) -> Answer {
        let (status, code, message) = last.unwrap_or_default();
        Answer { status, code, message, head: self.head, body }
    }
}

/// A call as it is shown.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its row: larger for calls accepted later; 0 for one that is accepted just now.
    pub row: i64,
    /// Its id.
    pub id: CallId,
    /// The deployment.
    pub deployment: Box<str>,
    /// The function.
    pub function: Box<str>,
    /// Which calls it goes after.
    pub priority: Priority,
    /// Where it comes from.
    pub origin: Box<str>,
    /// When it was accepted.
    pub accepted: Millis,
    /// When its last try began.
    pub began: Option<Millis>,
    /// When it ended.
    pub ended: Option<Millis>,
    /// How far it is.
    pub progress: Progress,
    /// The status, code and message of its last try.
    pub last: Option<(u16, Box<str>, Box<str>)>,
    /// Where its end is reported to; where a callback goes.
    pub callback: Option<Box<str>>,
    /// The call whose end it reports, if it is a callback.
    pub reports: Option<CallId>,
    /// The callback that reports its end, the last one of several.
    pub report: Option<Box<Self>>,
}

/// Which calls are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this deployment.
    pub deployment: Option<Box<str>>,
    /// Of this function.
    pub function: Option<Box<str>>,
    /// In this state.
    pub state: Option<State>,
}
