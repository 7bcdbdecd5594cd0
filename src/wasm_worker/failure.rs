//! Why a call has no result, as callers and the log read it.

use serde_json::value::RawValue;
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use crate::wasm::waits::DeadlineExceeded;
use crate::wasm_worker::messages::{CallFailure, write_error};

/// Longest message and longest stack, in bytes: both may contain names of any length that the function chose.
const MAX_MESSAGE: usize = 1 << 10;
const MAX_STACK: usize = 16 << 10;

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments do not fit the function.
    Argument(String),
    /// The function returned an `err` with this JSON.
    Err(Box<RawValue>),
    /// The result cannot be written as JSON.
    Unwritable(String),
    /// The function trapped, or wasmtime ended it. With the memory limit in bytes, if the instance was refused memory.
    Trapped(wasmtime::Error, Option<usize>),
    /// The release has no such function.
    Unknown,
    /// The worker panicked in this call; the panic message is in the log.
    Panicked,
}

impl Failure {
    /// Replaces `line` with the message that answers the call `id` with this failure.
    pub(super) fn write(&self, line: &mut Vec<u8>, id: &str) {
        line.clear();
        let failure = match self {
            Self::Argument(message) => {
                CallFailure { kind: Some("argument"), ..plain("ArgumentError", shorten(message.clone(), MAX_MESSAGE)) }
            }
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
    CallFailure { name, message, stack: None, kind: None, payload: None }
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
