//! Why arguments do not fit a function, in the caller's words.

use std::cell::RefCell;

use serde::de;

use crate::runtime::wasm::value::place::Place;
use crate::runtime::wasm::value::shape::Shape;

/// Characters of what came that a message shows.
const SHOWN: usize = 60;

/// Why arguments do not fit a function: names the argument, the place in it, the type there and what came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mismatch(pub(super) String);

/// The first mismatch that a reading has met; serde's own errors cannot carry it as it is.
#[derive(Debug, Default)]
pub(super) struct Failure(RefCell<Option<String>>);

impl Failure {
    /// Keeps the message, and gives what ends the reading.
    pub(super) fn end<E: de::Error>(&self, message: String) -> E {
        self.0.borrow_mut().get_or_insert(message);
        E::custom("mismatch")
    }

    /// What went wrong; `error` tells if no mismatch was met.
    pub(super) fn into_mismatch(self, error: &serde_json::Error) -> Mismatch {
        Mismatch(self.0.into_inner().unwrap_or_else(|| format!("arguments: {error}")))
    }
}

/// The argument that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Argument<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a Shape,
    pub(super) failure: &'a Failure,
}

impl Argument<'_> {
    /// Nothing came for it.
    pub(super) fn missing<E: de::Error>(&self) -> E {
        self.failure.end(format!("argument {:?} ({}) is missing", self.name, self.shape.wit()))
    }

    /// Something is wrong at a place in it.
    pub(super) fn wrong<E: de::Error>(&self, at: &Place<'_>, what: &str) -> E {
        let place = if matches!(at, Place::Root) { String::new() } else { format!("at {at} ") };
        self.failure.end(format!("argument {:?} ({}): {place}{what}", self.name, self.shape.wit()))
    }
}

/// The beginning of a text, for messages.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text as JSON writes it, shortened.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(shortened(text)).to_string()
}
