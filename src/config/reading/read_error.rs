//! Why an item of a file was refused, with the route to it. serde reports errors through [`de::Error`]; this type keeps
//! what it is given, so that nothing has to be recovered from the text of a message.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use crate::config::reading::tree::{Route, Step};

/// An item that does not fit its struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadError {
    /// The route to the item; for a missing key, to the table that lacks it.
    pub(super) route: Route,
    /// Why it was refused.
    pub(super) reason: Reason,
}

/// Why an item was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// The struct has no such key; these are its keys.
    UnknownKey(&'static [&'static str]),
    /// The table lacks this key.
    MissingKey(&'static str),
    /// The value is of another type than `expected`.
    WrongType {
        /// The values that the key takes.
        expected: String,
    },
    /// The value is of the right type and still refused.
    WrongValue {
        /// The reason in words, where the key's type has one.
        why: Option<String>,
        /// The values that the key takes.
        expected: String,
    },
    /// Any other error, in serde's words. They may hold the value itself and are not shown.
    Other(String),
}

impl ReadError {
    /// The value is of another type than `expected`.
    pub(super) fn wrong_type(expected: impl Display) -> Self {
        Self::new(Reason::WrongType { expected: expected.to_string() })
    }

    /// The error as seen one step closer to the root.
    pub(super) fn beneath(mut self, step: Step) -> Self {
        self.route.insert(0, step);
        self
    }

    const fn new(reason: Reason) -> Self {
        Self { route: Vec::new(), reason }
    }
}

impl de::Error for ReadError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(Reason::Other(message.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong_type(expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let why = if let Unexpected::Other(why) = found { Some(why.to_owned()) } else { None };
        Self::new(Reason::WrongValue { why, expected: expected.to_string() })
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(Reason::UnknownKey(known))
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(Reason::MissingKey(key))
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}", self.reason, self.route)
    }
}

impl std::error::Error for ReadError {}
