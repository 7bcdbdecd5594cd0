//! Why arguments do not fit a function, as callers read it.

use std::cell::{Cell, RefCell};

use serde::de;

use crate::wasm_worker::value::position::Position;
use crate::wasm_worker::value::shape::Shape;

/// Why arguments do not fit a function: names the argument, the position in it, the expected type and the JSON found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mismatch(pub(super) String);

/// The state of reading the arguments of one call.
#[derive(Debug)]
pub(super) struct Reading {
    /// The first mismatch. It stands here because serde wraps the text of its own errors in line and column.
    mismatch: RefCell<Option<String>>,
    /// Bytes that all values of the call may take, and those that are left.
    max_bytes: usize,
    left: Cell<usize>,
}

impl Reading {
    /// Starts a reading whose values may take `max_bytes` bytes.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { mismatch: RefCell::default(), max_bytes, left: Cell::new(max_bytes) }
    }

    /// Keeps the message and returns the error that ends the reading.
    pub(super) fn end<E: de::Error>(&self, message: String) -> E {
        self.mismatch.borrow_mut().get_or_insert(message);
        E::custom("mismatch")
    }

    /// The mismatch that ended the reading; the text of `error` if the JSON itself is broken.
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
    /// Counts the memory of a value before it is built: a few bytes of JSON can stand for a value of many fields.
    pub(super) fn reserve<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        let Reading { max_bytes, left, .. } = self.reading;
        match left.get().checked_sub(bytes) {
            Some(rest) => {
                left.set(rest);
                Ok(())
            }
            None => Err(self.reading.end(format!(
                "argument {:?} ({}): it is too large: as values it takes more than {max_bytes} bytes",
                self.name,
                self.shape.wit()
            ))),
        }
    }

    /// The call has no value for this argument.
    pub(super) fn missing<E: de::Error>(&self) -> E {
        self.reading.end(format!("argument {:?} ({}) is missing", self.name, self.shape.wit()))
    }

    /// The JSON at a position of the argument is wrong.
    pub(super) fn wrong<E: de::Error>(&self, at: &Position<'_>, what: &str) -> E {
        let position = if matches!(at, Position::Root) { String::new() } else { format!("at {at} ") };
        self.reading.end(format!("argument {:?} ({}): {position}{what}", self.name, self.shape.wit()))
    }
}
