//! The verdicts of hooks, checked. An after-invoke hook has none: it changes the outcome.

use crate::answer::Failure;
use crate::plugin::bindings::metagate::plugin::types::{Problem, Response};
use crate::plugin::instance::RawVerdict;
use crate::plugin::outcome::{self, Outcome};

/// Longest text of a plugin in log lines and error messages, in bytes.
const TEXT_LIMIT: usize = 2_000;

/// The verdict of a before-invoke hook.
#[derive(Debug)]
pub enum CallVerdict {
    /// Continue with the next hook, then with the function.
    Proceed,
    /// Answer the call with this outcome.
    Respond(Box<Outcome>),
    /// Refuse the call with this failure.
    Reject(Failure),
}

/// The verdict of a load hook.
#[derive(Debug)]
pub enum LoadVerdict {
    /// Continue the load.
    Accept,
    /// Refuse the release, for this reason.
    Refuse(String),
}

impl CallVerdict {
    /// Checks a verdict as strictly as the input of a client: status, code, headers, a body of at most `max_body`
    /// bytes.
    pub(super) fn check(raw: RawVerdict, max_body: usize) -> Result<Self, String> {
        match raw {
            RawVerdict::Proceed => Ok(Self::Proceed),
            RawVerdict::Respond(Response { status, headers, body }) => {
                let pairs = headers.iter().map(|pair| (pair.name.as_str(), pair.value.as_str()));
                outcome::checked_response(status, body, pairs, max_body).map(|outcome| Self::Respond(Box::new(outcome)))
            }
            RawVerdict::Reject(Problem { status, code, message, headers }) => {
                let pairs = headers.iter().map(|pair| (pair.name.as_str(), pair.value.as_str()));
                outcome::checked_problem(status, code, message, pairs).map(Self::Reject)
            }
        }
    }
}

impl From<Result<(), String>> for LoadVerdict {
    fn from(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::Accept,
            Err(reason) => Self::Refuse(readable(&reason)),
        }
    }
}

/// A text of a plugin, shortened, without control characters other than line breaks.
pub(super) fn readable(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_LIMIT);
    text[..end].chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
