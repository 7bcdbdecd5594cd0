//! Why arguments do not fit a function, in the caller's words.

use std::cell::{Cell, RefCell};

use serde::de;

use crate::runtime::wasm::value::place::Place;
use crate::runtime::wasm::value::shape::Shape;

/// Characters of what came that a message shows.
const SHOWN: usize = 60;

/// Why arguments do not fit a function: names the argument, the place in it, the type there and what came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mismatch(pub(super) String);

/// What one reading of arguments has met and used up so far.
#[derive(Debug)]
pub(super) struct Reading {
    /// The first mismatch; serde's own errors cannot carry it as it is.
    mismatch: RefCell<Option<String>>,
    /// Bytes that values may take.
    most: usize,
    left: Cell<usize>,
}

impl Reading {
    /// A reading whose values may take that many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { mismatch: RefCell::default(), most, left: Cell::new(most) }
    }

    /// Keeps the message, and gives what ends the reading.
    pub(super) fn end<E: de::Error>(&self, message: String) -> E {
        self.mismatch.borrow_mut().get_or_insert(message);
        E::custom("mismatch")
    }

    /// What went wrong; `error` tells if no mismatch was met.
    pub(super) fn into_mismatch(self, error: &serde_json::Error) -> Mismatch {
        Mismatch(self.mismatch.into_inner().unwrap_or_else(|| format!("arguments: {error}")))
    }
}

/// The argument that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Argument<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a Shape,
    pub(super) reading: &'a Reading,
}

impl Argument<'_> {
    /// Counts what a value is about to take: a few bytes of JSON can stand for a value of many fields.
    pub(super) fn take<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        let Reading { most, left, .. } = self.reading;
        match left.get().checked_sub(bytes) {
            Some(rest) => {
                left.set(rest);
                Ok(())
            }
            None => Err(self.reading.end(format!(
                "argument {:?} ({}): it is too large: as values it takes more than {most} bytes",
                self.name,
                self.shape.wit()
            ))),
        }
    }

    /// Nothing came for it.
    pub(super) fn missing<E: de::Error>(&self) -> E {
        self.reading.end(format!("argument {:?} ({}) is missing", self.name, self.shape.wit()))
    }

    /// Something is wrong at a place in it.
    pub(super) fn wrong<E: de::Error>(&self, at: &Place<'_>, what: &str) -> E {
        let place = if matches!(at, Place::Root) { String::new() } else { format!("at {at} ") };
        self.reading.end(format!("argument {:?} ({}): {place}{what}", self.name, self.shape.wit()))
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
