//! The one map from a failed call to what its caller sees: status, code and message.

use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::Value;

use crate::answer::code::Code;
use crate::answer::{self, ArgumentFault, Detail, Failure};
use crate::deployment::Takes;
use crate::gateway::whole_request;
use crate::invocation::{self, ArgumentName, CallFailure, ErrorKind, FunctionError};
use crate::plugin::held_stream::StreamOf;
use crate::worker::failure::{CallError, LoadFailure, LoadFailureKind};

/// Callers may try again this soon where the reason passes by itself.
const RETRY_SOON: Duration = Duration::from_secs(1);
/// Names of functions that a message lists.
const SHOWN_NAMES: usize = 8;

/// What the caller of `function` of the deployment `name` sees of an error. `takes` is how the function was addressed.
#[must_use]
pub fn of_call(error: CallError, name: &str, function: &str, takes: Takes) -> Failure {
    match error {
        CallError::FunctionNotFound => failure(Code::FunctionNotFound, not_found(name, function, takes)),
        CallError::AmbiguousFunction(names) => {
            let message = format!("deployment {name:?} has several functions {function:?}: call {}", any_of(&names));
            failure(Code::AmbiguousFunction, message)
        }
        CallError::Function(error) => {
            let message = error.message_for_caller();
            match error.kind {
                ErrorKind::Argument => {
                    Failure { detail: Some(fault_of(error.fault)), ..failure(Code::BadArgument, message) }
                }
                ErrorKind::ResultTooLarge => failure(Code::ResultTooLarge, message),
                ErrorKind::Function => of_function(*error, message),
            }
        }
        CallError::Crashed(how) => failure(Code::WorkerCrashed, format!("worker of {name:?} {how} during the call")),
        CallError::Protocol(how) => {
            failure(Code::WorkerProtocolError, format!("worker of {name:?} {how} during the call"))
        }
        CallError::TimedOut(limit) => {
            failure(Code::CallTimeout, format!("function {function:?} of {name:?} gave no answer within {limit:?}"))
        }
        CallError::CallerLeft => failure(Code::ClientGone, format!("the caller left the queue of {name:?}")),
        CallError::Overloaded(wait) => {
            retry(wait, Code::Overloaded, format!("too many calls of {name:?} wait already"))
        }
        CallError::HeldByStreams { waited, function, others } => {
            let more = if others > 0 { format!(" and {others} more occupy them") } else { " occupies it".to_owned() };
            let message = format!(
                "no worker of {name:?} was free within {waited:?}, because a stream of {function:?}{more}: raise \
                 workers or concurrency"
            );
            retry(RETRY_SOON, Code::Overloaded, message)
        }
        CallError::Starting => retry(RETRY_SOON, Code::Starting, format!("no worker of {name:?} is ready yet")),
        CallError::CrashLoop(wait) => {
            let message = format!("workers of {name:?} fail repeatedly: see its log and /readyz");
            retry(wait, Code::CrashLoop, message)
        }
        CallError::NotLoaded(wait, reason) => Failure {
            // The code's own status is for the client that deploys. A caller has to try again later.
            status: Code::Starting.status().as_u16(),
            ..retry(wait, Code::LoadFailed, not_loaded(name, &reason))
        },
        CallError::SpawnFailed(wait, message) => retry(wait, Code::SpawnFailed, message),
        CallError::Stopping | CallError::Cut => retry(RETRY_SOON, Code::Draining, "the gateway is stopping".to_owned()),
        CallError::Deleted => {
            let message = format!("{name:?} was deleted or replaced, and the call did not end in time");
            failure(Code::Deleted, message)
        }
        CallError::Gone => failure(Code::DeploymentNotFound, format!("no deployment {name:?}")),
    }
}

/// What the caller sees of a stream that broke off before the caller got any of it.
#[must_use]
pub fn of_stream(fault: CallFailure, of: &StreamOf) -> Failure {
    let StreamOf { deployment: name, function } = of;
    let error = match fault {
        CallFailure::Function(error) => CallError::Function(error),
        CallFailure::Crashed(how) => CallError::Crashed(how),
        CallFailure::Protocol(how) => CallError::Protocol(how),
        CallFailure::Stopped | CallFailure::Unsent => {
            let message = format!("{name:?} was replaced or deleted, or the gateway stopped, before the stream ended");
            return retry(RETRY_SOON, Code::Draining, message);
        }
        CallFailure::TimedOut => {
            let message = format!(
                "function {function:?} of {name:?} sent nothing of its stream for too long (stream_idle_timeout)"
            );
            return failure(Code::CallTimeout, message);
        }
    };
    of_call(error, name, function, Takes::Arguments)
}

/// An error that a function raised. It may ask for a status and headers; unusable headers are left out.
fn of_function(error: FunctionError, message: String) -> Failure {
    let mut failure = failure(Code::FunctionError, message);
    failure.detail = error.payload.map(Detail::Payload);
    if let Some(status) = error.status {
        failure.status = status;
        failure.headers = whole_request::answer_headers(&error.headers).unwrap_or_default();
        // The gateway writes the body.
        failure.headers.retain(|(name, _)| *name != CONTENT_TYPE);
    }
    failure
}

fn fault_of(fault: invocation::ArgumentFault) -> Detail {
    let argument = fault.argument.map(|argument| match argument {
        ArgumentName::Name(name) => Value::from(name),
        ArgumentName::Position(position) => Value::from(position),
    });
    Detail::Argument(Box::new(ArgumentFault { argument, path: fault.path, expected: fault.expected }))
}

fn failure(code: Code, message: String) -> Failure {
    Failure::of_code(code, message)
}

fn retry(wait: Duration, code: Code, message: String) -> Failure {
    let mut failure = failure(code, message);
    failure.headers.push((RETRY_AFTER, answer::retry_after(wait)));
    failure
}

fn not_found(name: &str, function: &str, takes: Takes) -> String {
    match takes {
        Takes::Arguments => format!("deployment {name:?} has no function {function:?}"),
        Takes::Request => {
            format!("deployment {name:?} has no web app, nor a component that serves HTTP (wasi:http/incoming-handler)")
        }
    }
}

/// `"a/f" or "b/f"`; of many names, the first ones.
fn any_of(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().take(SHOWN_NAMES).map(|name| format!("{name:?}")).collect();
    let more = if names.len() > SHOWN_NAMES { " or another" } else { "" };
    format!("{}{more}", quoted.join(" or "))
}

/// The reason without paths and without the output of workers, plugins and installers: every caller sees it, and those
/// may hold secrets.
fn not_loaded(name: &str, reason: &LoadFailure) -> String {
    let why = match reason.kind {
        LoadFailureKind::Refused => "a plugin refuses it",
        LoadFailureKind::Install => "its dependencies cannot be installed",
        LoadFailureKind::Spawn | LoadFailureKind::Load | LoadFailureKind::Timeout | LoadFailureKind::Died => {
            reason.public.as_deref().unwrap_or("its log and /readyz say why")
        }
    };
    format!("deployment {name:?} has not loaded: {why}")
}
