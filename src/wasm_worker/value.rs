//! Converts between JSON text and values of the component model, by type. Finding and calling functions is left to
//! `component` and `module`. `docs/wasm-values.md` has the rules with examples; in short:
//!
//! | type | JSON written | also read |
//! |---|---|---|
//! | bool, string | the same | |
//! | u8 … s64 | an integer, exact | `-0` |
//! | f32, f64 | the shortest number that reads back as the same value | integers |
//! | char | a string of one scalar value | |
//! | `list<u8>` | base64, or an array by configuration | the other form, base64 without padding |
//! | list, tuple, list of fixed length | an array | |
//! | `map<string, V>` | an object | an array of pairs |
//! | other maps | an array of pairs | |
//! | record | an object with its fields | options left out |
//! | variant | `"name"`, `{"name": value}` | `{"name": null}`, `{"tag": "name", "val": value}` |
//! | enum | `"name"` | |
//! | flags | an array of names | an object of booleans |
//! | `option<T>` | `null` or the JSON of `T`; `{"some": value}` where that may be `null` | |
//! | result | `{"ok": value}`, `{"err": value}`, `null` for no value | |
//! | a function's result itself | the value of its ok; an err is the call's failure | |

mod arguments;
mod mismatch;
mod names;
mod number;
mod order;
mod parameters;
mod position;
mod quote;
mod read;
mod schema;
mod shape;
mod signature;
mod type_id;
mod wit;
mod write;

use wasmtime::component::Type;

use crate::wasm_worker::value::shape::Shape;

pub use arguments::Given;
pub use mismatch::Mismatch;
pub use signature::{Signature, several_results};
pub use type_id::type_id;
pub use wit::wit;
pub use write::{Unwritable, Written};

/// Checks that values of a type can be JSON: resources, streams, futures and error contexts cannot, at any depth.
///
/// # Errors
///
/// The first part of the type that has no JSON, as WIT writes it.
pub fn check(ty: &Type) -> Result<(), String> {
    Shape::new(ty).without_json().map_or(Ok(()), |part| Err(part.to_owned()))
}

#[cfg(test)]
mod tests;
