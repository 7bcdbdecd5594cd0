//! The signature of one function: reads its arguments and writes its result.

use std::borrow::Cow;

use wasmtime::component::{Type, Val};

use crate::config::BytesRule;
use crate::wasm_worker::value::arguments;
use crate::wasm_worker::value::mismatch::Mismatch;
use crate::wasm_worker::value::names::Names;
use crate::wasm_worker::value::shape::Shape;
use crate::wasm_worker::value::write::{Unwritable, Writer, Written};

/// The parameters and the result of one function.
#[derive(Debug)]
pub struct Signature {
    /// The parameters by name, in order.
    pub parameters: Vec<(Box<str>, Type)>,
    /// The type of the result; `None` for a function without one.
    pub result: Option<Type>,
    names: Names,
    shapes: Box<[Shape]>,
    result_shape: Option<Shape>,
}

impl Signature {
    /// Resolves the types once, for all calls. No JSON fits a type that [`check`](super::check) refuses.
    #[must_use]
    pub fn new(parameters: Vec<(Box<str>, Type)>, result: Option<Type>) -> Self {
        let names = Names::new(parameters.iter().map(|(name, _)| &**name));
        let shapes = parameters.iter().map(|(_, ty)| Shape::new(ty)).collect();
        let result_shape = result.as_ref().map(Shape::new);
        Self { parameters, result, names, shapes, result_shape }
    }

    /// Reads the arguments of a call from the text of a JSON array. `names` are the keys of the caller's object in the
    /// order of `args`, if the caller sent an object. Arguments go by name if each name is a parameter's, none occurs
    /// twice, and each parameter without an argument is an option; otherwise they go by position. The values take at
    /// most `max_bytes` bytes of memory.
    pub fn arguments(
        &self,
        args: &str,
        names: Option<&[Cow<'_, str>]>,
        max_bytes: usize,
    ) -> Result<Vec<Val>, Mismatch> {
        arguments::read((&self.names, &self.shapes), args, names, max_bytes)
    }

    /// Appends the JSON of the function's result, at most `limit` bytes. Appends nothing if it fails.
    pub fn result(
        &self,
        result: Option<&Val>,
        bytes: BytesRule,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<Written, Unwritable> {
        let start = out.len();
        let written = Writer::new(out, limit, bytes).result(self.result_shape.as_ref(), result);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }
}
