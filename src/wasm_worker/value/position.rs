//! Positions in a value, as messages name them: `.points[3].x`.

use std::fmt::{self, Display};

use crate::wasm_worker::value::quote;

/// The last step to a value. It borrows the step before it from the stack of the walk, so that a walk without mismatch
/// allocates nothing for positions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Position<'a> {
    /// The whole argument or result.
    Root,
    /// An item of an array.
    Item(&'a Self, usize),
    /// A field, a case with a value, `some`, `ok` or `err`.
    Field(&'a Self, &'a str),
    /// A key of a map.
    Key(&'a Self, &'a str),
}

impl Display for Position<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Item(outer, index) => write!(f, "{outer}[{index}]"),
            Self::Field(outer, name) => write!(f, "{outer}.{name}"),
            Self::Key(outer, key) => write!(f, "{outer}[{}]", quote::quoted(key)),
        }
    }
}
