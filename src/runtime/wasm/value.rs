//! JSON and the values of the component model, each made of the other by type; finding and calling functions is left to
//! others. `docs/wasm-values.md` has the rules with examples, in short they are:
//!
//! | type | JSON | read as well |
//! |---|---|---|
//! | bool, string | the same | |
//! | u8 … s64 | an integer, exact | `-0` |
//! | f32, f64 | a number, the shortest that comes back | integers |
//! | char | a string of one scalar value | |
//! | `list<u8>` | base64, or an array by configuration | the other one, base64 without padding |
//! | list, tuple, list of fixed length | an array | |
//! | `map<string, V>` | an object | an array of pairs |
//! | other maps | an array of pairs | |
//! | record | an object with its fields | options left out |
//! | variant | `"name"`, `{"name": value}` | `{"name": null}`, `{"tag": "name", "val": value}` |
//! | enum | `"name"` | |
//! | flags | an array of names | an object of booleans |
//! | `option<T>` | `null` or that of `T`; `{"some": value}` where that may be `null` | |
//! | result | `{"ok": value}`, `{"err": value}`, `null` for no value | |
//! | a function's result itself | the value of its ok; an err is the call's failure | |

mod arguments;
mod mismatch;
mod names;
mod number;
mod place;
mod read;
mod shape;
mod type_id;
mod wit;
mod write;

use std::borrow::Cow;

use wasmtime::component::{Type, Val};

use crate::config::BytesRule;
use crate::runtime::wasm::value::names::Names;
use crate::runtime::wasm::value::shape::Shape;
use crate::runtime::wasm::value::write::Writer;

pub use mismatch::Mismatch;
pub use type_id::type_id;
pub use wit::wit;
pub use write::Unwritable;

/// One function's parameters and result.
#[derive(Debug)]
pub struct Signature {
    /// The parameters by name, in order.
    pub parameters: Vec<(Box<str>, Type)>,
    /// What the function gives back, if anything.
    pub result: Option<Type>,
    names: Names,
    shapes: Box<[Shape]>,
    result_shape: Option<Shape>,
}

/// What was appended by [`Signature::result`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// What the function gave; `null` if it has no result, or its result is an `ok` without a value.
    Value,
    /// The value of the `err` that the function's result is; `null` if it has none.
    Err,
}

impl Signature {
    /// Reads the types once, for all calls. Types that [`check`] refuses fit no JSON.
    #[must_use]
    pub fn new(parameters: Vec<(Box<str>, Type)>, result: Option<Type>) -> Self {
        let names = Names::new(parameters.iter().map(|(name, _)| &**name));
        let shapes = parameters.iter().map(|(_, ty)| Shape::new(ty)).collect();
        let result_shape = result.as_ref().map(Shape::new);
        Self { parameters, result, names, shapes, result_shape }
    }

    /// The arguments of a call: `args` is the text of a JSON array, `names` the keys of the caller's object in the order of
    /// `args`, if it sent one. The names count if each is a parameter's, none stands twice, and each parameter without one is
    /// an option; otherwise the order counts. The values may take `most` bytes.
    pub fn arguments(&self, args: &str, names: Option<&[Cow<'_, str>]>, most: usize) -> Result<Vec<Val>, Mismatch> {
        arguments::read(self, args, names, most)
    }

    /// Appends the JSON of what the function gave back, `limit` bytes at most. Nothing is appended in case of an error.
    pub fn result(
        &self,
        given: Option<&Val>,
        bytes: BytesRule,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<Given, Unwritable> {
        let start = out.len();
        let written = Writer::new(out, limit, bytes).result(self.result_shape.as_ref(), given);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }
}

/// Whether values of a type can be JSON: resources, streams, futures and error contexts cannot, however deep. The error is
/// the first such part in WIT's words.
pub fn check(ty: &Type) -> Result<(), String> {
    Shape::new(ty).foreign().map_or(Ok(()), |part| Err(part.to_owned()))
}

#[cfg(test)]
mod tests;
