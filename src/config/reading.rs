//! From the text of a file to the structs of [`tables`](crate::config::tables): parse, conceal secrets, interpolate,
//! read with every fault. Which structs a file holds, and the rules between their keys, are left to the callers.

mod conceal;
mod deserializer;
pub(super) mod document;
mod explain;
mod fault_collector;
mod interpolate;
pub(super) mod locate;
mod read_error;
pub(super) mod shape;
mod source;
mod syntax;
mod tree;

pub use crate::config::reading::explain::nearest;
