//! The signature of one function: reads its arguments and writes its result.

use wasmtime::component::{Type, Val};

use crate::config::BytesRule;
use crate::wasm_worker::value::arguments::{self, Given};
use crate::wasm_worker::value::mismatch::Mismatch;
use crate::wasm_worker::value::parameters::Parameters;
use crate::wasm_worker::value::shape::Shape;
use crate::wasm_worker::value::write::{Unwritable, Writer, Written};

/// The parameters and the result of one function.
#[derive(Debug)]
pub struct Signature {
    /// The parameters by name, in order.
    pub parameters: Vec<(Box<str>, Type)>,
    /// The type of the result; `None` for a function without one.
    pub result: Option<Type>,
    resolved: Parameters,
    result_shape: Option<Shape>,
}

impl Signature {
    /// Resolves the types of a function once, for all calls; messages name it. No JSON fits a type that
    /// [`check`](super::check) refuses.
    #[must_use]
    pub fn new(function: &str, parameters: Vec<(Box<str>, Type)>, result: Option<Type>) -> Self {
        let resolved = Parameters::new(function, &parameters);
        let result_shape = result.as_ref().map(Shape::new);
        Self { parameters, result, resolved, result_shape }
    }

    /// Reads the arguments of a call. They go by name if each name is a parameter's, and by position if none is. If
    /// the only parameter is a record or a map, it gets an object whose keys do not name it. The values take at most
    /// `max_bytes` bytes of memory.
    ///
    /// # Errors
    ///
    /// An argument does not fit or is missing, there are too many, or some names are parameters and others are not.
    pub fn arguments(&self, given: Given<'_>, max_bytes: usize) -> Result<Vec<Val>, Mismatch> {
        arguments::read(&self.resolved, given, max_bytes)
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
