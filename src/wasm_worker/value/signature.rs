//! The signature of one function: reads its arguments and writes its result.

use serde_json::Value;
use wasmtime::component::{Type, Val};

use crate::config::BytesRule;
use crate::deployment::{self, Parameter, ParameterKind};
use crate::wasm_worker::value::arguments::{self, Given};
use crate::wasm_worker::value::mismatch::Mismatch;
use crate::wasm_worker::value::parameters::Parameters;
use crate::wasm_worker::value::schema::{self, SchemaWriter};
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

    /// The function as MetaData describes it. `bytes` is the form of `list<u8>` in results. If the schemas become too
    /// long, they allow anything.
    #[must_use]
    pub fn describe(&self, bytes: BytesRule) -> deployment::Signature {
        let shapes = &self.resolved.shapes;
        let mut writer = SchemaWriter::new(BytesRule::Base64);
        let schemas: Option<Vec<Value>> = shapes.iter().map(|shape| writer.schema(shape)).collect();
        let mut writer = SchemaWriter::new(bytes);
        let (schemas, returns) = match (schemas, writer.returned(self.result_shape.as_ref())) {
            (Some(schemas), Some(returns)) => (schemas, returns),
            _ => (vec![anything(); shapes.len()], anything()),
        };
        let described = self.resolved.names.iter().zip(shapes).zip(schemas).map(|((name, shape), schema)| Parameter {
            name: name.to_owned(),
            kind: ParameterKind::Positional,
            required: shape.default_value().is_none(),
            schema,
        });
        deployment::Signature { parameters: described.collect(), returns, items: None, description: None }
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

/// The schema of the results of a function with several results.
pub fn several_results(results: &[Signature], bytes: BytesRule) -> Value {
    let schemas: Vec<Value> = results.iter().map(|result| result.describe(bytes).returns).collect();
    schema::array_of(&schemas)
}

fn anything() -> Value {
    Value::Object(serde_json::Map::new())
}
