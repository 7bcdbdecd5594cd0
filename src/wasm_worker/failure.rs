//! Why a call gave no result, in the words that callers and the log get.

use serde_json::value::RawValue;
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use crate::wasm_worker::host::Overtime;
use crate::wasm_worker::messages::{CallFailure, write_error};

/// Bytes of a message and of a stack: names in them are the function's own.
const TOLD_WORDS: usize = 1 << 10;
const TOLD_STACK: usize = 16 << 10;

/// Why a call gave no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments do not fit.
    Argument(String),
    /// The function returned an `err`: its payload's JSON.
    Err(Box<RawValue>),
    /// What it gave cannot be told.
    Unwritable(String),
    /// It trapped, or wasmtime gave it up. With the instance's memory limit in bytes, where it wanted more.
    Trapped(wasmtime::Error, Option<usize>),
    /// There is no such function.
    Unknown,
    /// The worker itself failed; its log says how.
    Panicked,
}

impl Failure {
    /// Makes `line` the one that answers the call with it.
    pub(super) fn write(&self, line: &mut Vec<u8>, id: &str) {
        line.clear();
        let failure = match self {
            Self::Argument(message) => {
                CallFailure { kind: Some("argument"), ..plain("ArgumentError", cut(message.clone(), TOLD_WORDS)) }
            }
            Self::Unwritable(message) => plain("ResultError", cut(message.clone(), TOLD_WORDS)),
            Self::Panicked => plain("Error", "the worker failed in this call; its log says how".to_owned()),
            Self::Unknown => plain("Error", "there is no such function".to_owned()),
            Self::Err(payload) => CallFailure { payload: Some(payload), ..plain("Error", words(payload)) },
            Self::Trapped(error, limit) => CallFailure {
                stack: Some(cut(format!("{error:?}"), TOLD_STACK)),
                ..plain("Trap", cut(trapped(error, *limit), TOLD_WORDS))
            },
        };
        write_error(line, id, &failure);
    }
}

fn plain(name: &str, message: String) -> CallFailure<'_> {
    CallFailure { name, message, stack: None, kind: None, payload: None }
}

/// A payload that is text is the message, of another its JSON; of a long one its beginning.
fn words(payload: &RawValue) -> String {
    cut(serde_json::from_str(payload.get()).unwrap_or_else(|_| payload.get().to_owned()), TOLD_WORDS)
}

fn cut(mut words: String, most: usize) -> String {
    if words.len() > most {
        words.truncate(words.floor_char_boundary(most));
        words.push('…');
    }
    words
}

fn trapped(error: &wasmtime::Error, limit: Option<usize>) -> String {
    let mut words = if error.is::<Overtime>() {
        "it took longer than a call may take".to_owned()
    } else if let Some(exit) = error.downcast_ref::<I32Exit>() {
        format!("it exited with code {}", exit.0)
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        trap.to_string()
    } else {
        error.root_cause().to_string()
    };
    if let Some(limit) = limit {
        words.push_str(&format!("; it wanted more memory than the {limit} bytes that an instance may have"));
    }
    words
}
