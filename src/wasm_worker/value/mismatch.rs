//! Why arguments do not fit a function, as callers read it.

use std::cell::{Cell, RefCell};

use serde::de;

use crate::invocation::{ArgumentFault, ArgumentName};
use crate::wasm_worker::value::position::Position;
use crate::wasm_worker::value::shape::Shape;

/// Why arguments do not fit a function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Mismatch {
    /// Names the argument, the position in it, the expected type and the JSON found.
    pub message: String,
    /// The same, each part by itself.
    pub fault: ArgumentFault,
}

impl Mismatch {
    /// All arguments together are not what is expected.
    pub fn of_whole(message: String) -> Self {
        Self { message, fault: ArgumentFault::default() }
    }
}

/// The state of reading the arguments of one call.
#[derive(Debug)]
pub(super) struct Reading {
    /// The first mismatch. It stands here because serde wraps the text of its own errors in line and column.
    mismatch: RefCell<Option<Mismatch>>,
    /// Bytes that all values of the call may take, and those that are left.
    max_bytes: usize,
    left: Cell<usize>,
    /// Whether text is converted to other types, as that of a query or a form.
    pub(super) converts_text: bool,
}

impl Reading {
    /// Starts a reading whose values may take `max_bytes` bytes.
    pub(super) fn new(max_bytes: usize, converts_text: bool) -> Self {
        Self { mismatch: RefCell::default(), max_bytes, left: Cell::new(max_bytes), converts_text }
    }

    /// Keeps the mismatch and returns the error that ends the reading.
    pub(super) fn end<E: de::Error>(&self, message: String, fault: ArgumentFault) -> E {
        self.mismatch.borrow_mut().get_or_insert(Mismatch { message, fault });
        E::custom("mismatch")
    }

    /// The mismatch that ended the reading; the text of `error` if the JSON itself is broken.
    pub(super) fn into_mismatch(self, error: &serde_json::Error) -> Mismatch {
        self.mismatch.into_inner().unwrap_or_else(|| Mismatch::of_whole(format!("arguments: {error}")))
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
    /// Counts the memory of a value before it is built: a few bytes of JSON can stand for a value of many fields.
    pub(super) fn reserve<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        let Reading { max_bytes, left, .. } = self.reading;
        match left.get().checked_sub(bytes) {
            Some(rest) => {
                left.set(rest);
                Ok(())
            }
            None => Err(self.wrong(
                &Position::Root,
                &format!("it is too large: as values it takes more than {max_bytes} bytes"),
                self.shape.wit(),
            )),
        }
    }

    /// The JSON at a position of the argument is not of the type that is expected there.
    pub(super) fn wrong<E: de::Error>(&self, at: &Position<'_>, what: &str, expected: String) -> E {
        self.wrong_part(at, what, at, expected)
    }

    /// A part of the JSON at a position is missing or must not be there; `part` is its own position.
    pub(super) fn wrong_part<E: de::Error>(
        &self,
        at: &Position<'_>,
        what: &str,
        part: &Position<'_>,
        expected: String,
    ) -> E {
        let position = if matches!(at, Position::Root) { String::new() } else { format!("at {at} ") };
        let message = format!("argument {:?} ({}): {position}{what}", self.name, self.shape.wit());
        let argument = Some(ArgumentName::Name(self.name.to_owned()));
        self.reading.end(message, ArgumentFault { argument, path: Some(part.to_string()), expected: Some(expected) })
    }
}
