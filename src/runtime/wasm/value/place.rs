//! Places in a value, as messages name them: `.points[3].x`.

use std::fmt::{self, Display};

use crate::runtime::wasm::value::mismatch;

/// A step from the value around it, which lives on the stack of the walk.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// The whole argument or result.
    Root,
    /// An item of an array.
    Item(&'a Self, usize),
    /// A field, a case with a value, `some`, `ok` or `err`.
    Field(&'a Self, &'a str),
    /// A key of a map.
    Key(&'a Self, &'a str),
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Item(outer, at) => write!(f, "{outer}[{at}]"),
            Self::Field(outer, name) => write!(f, "{outer}.{name}"),
            Self::Key(outer, key) => write!(f, "{outer}[{}]", mismatch::quoted(key)),
        }
    }
}
