//! Why a call has no result, as callers and the log read it.

use serde_json::value::RawValue;
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use crate::invocation::{ArgumentFault, ArgumentName};
use crate::wasm::waits::DeadlineExceeded;
use crate::wasm_worker::messages::{CallFailure, write_error};
use crate::wasm_worker::value::{Mismatch, Unwritable};

/// Longest message and longest stack, in bytes: both may contain names of any length that the function chose.
const MAX_MESSAGE: usize = 1 << 10;
const MAX_STACK: usize = 16 << 10;

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments do not fit the function.
    Argument(Box<Mismatch>),
    /// The function returned an `err` with this JSON.
    Err(Box<RawValue>),
    /// The result cannot be written as JSON.
    Unwritable(String),
    /// The answer is longer than this limit of a message, in bytes.
    TooLarge(usize),
    /// The function trapped, or wasmtime ended it. With the memory limit in bytes, if the instance was refused memory.
    Trapped(wasmtime::Error, Option<usize>),
    /// The release has no such function.
    Unknown,
    /// The worker panicked in this call; the panic message is in the log.
    Panicked,
}

impl From<Mismatch> for Failure {
    fn from(mismatch: Mismatch) -> Self {
        Self::Argument(Box::new(mismatch))
    }
}

impl From<Unwritable> for Failure {
    fn from(unwritable: Unwritable) -> Self {
        match unwritable {
            Unwritable::TooLong(limit) => Self::TooLarge(limit),
            other => Self::Unwritable(other.to_string()),
        }
    }
}

impl Failure {
    /// Replaces `line` with the message that answers the call `id` with this failure.
    pub(super) fn write(&self, line: &mut Vec<u8>, id: &str) {
        line.clear();
        let fault;
        let failure = match self {
            Self::Argument(mismatch) => {
                fault = shorten_fault(&mismatch.fault);
                let message = shorten(mismatch.message.clone(), MAX_MESSAGE);
                CallFailure { kind: Some("argument"), fault: Some(&fault), ..plain("ArgumentError", message) }
            }
            Self::TooLarge(limit) => CallFailure {
                kind: Some("result_too_large"),
                ..plain(
                    "ResultTooLarge",
                    format!("the result has more bytes than the deployment's max_message of {limit} bytes"),
                )
            },
            Self::Unwritable(message) => plain("ResultError", shorten(message.clone(), MAX_MESSAGE)),
            Self::Panicked => {
                plain("Error", "the worker panicked in this call; see the log of the deployment".to_owned())
            }
            Self::Unknown => plain("Error", "the release has no such function".to_owned()),
            Self::Err(payload) => CallFailure { payload: Some(payload), ..plain("Error", message_of(payload)) },
            Self::Trapped(error, limit) => CallFailure {
                stack: Some(shorten(format!("{error:?}"), MAX_STACK)),
                ..plain("Trap", shorten(trap_message(error, *limit), MAX_MESSAGE))
            },
        };
        write_error(line, id, &failure);
    }
}

fn plain(name: &str, message: String) -> CallFailure<'_> {
    CallFailure { name, message, stack: None, kind: None, fault: None, payload: None }
}

fn shorten_fault(fault: &ArgumentFault) -> ArgumentFault {
    let shorten = |text: &String| shorten(text.clone(), MAX_MESSAGE);
    let argument = fault.argument.as_ref().map(|argument| match argument {
        ArgumentName::Name(name) => ArgumentName::Name(shorten(name)),
        ArgumentName::Position(position) => ArgumentName::Position(*position),
    });
    ArgumentFault { argument, path: fault.path.as_ref().map(shorten), expected: fault.expected.as_ref().map(shorten) }
}

/// The message for a payload: the text of a string, the JSON of any other value, shortened.
fn message_of(payload: &RawValue) -> String {
    shorten(serde_json::from_str(payload.get()).unwrap_or_else(|_| payload.get().to_owned()), MAX_MESSAGE)
}

fn shorten(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push('…');
    }
    text
}

fn trap_message(error: &wasmtime::Error, limit: Option<usize>) -> String {
    let mut message = if error.is::<DeadlineExceeded>() {
        "the call ran until its deadline".to_owned()
    } else if let Some(exit) = error.downcast_ref::<I32Exit>() {
        format!("the function exited with code {}", exit.0)
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        trap.to_string()
    } else {
        error.root_cause().to_string()
    };
    if let Some(limit) = limit {
        message.push_str(&format!("; the instance asked for more memory than its limit of {limit} bytes"));
    }
    message
}
