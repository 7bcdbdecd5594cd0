//! The arguments of a call: which argument belongs to which parameter, and the value of a parameter without argument.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use wasmtime::component::Val;

use crate::wasm_worker::value::mismatch::{Argument, Mismatch, Reading};
use crate::wasm_worker::value::names::Names;
use crate::wasm_worker::value::position::Position;
use crate::wasm_worker::value::read::Typed;
use crate::wasm_worker::value::shape::Shape;

/// Reads the text of a JSON array as values that take at most `max_bytes` bytes. `parameters` are names and types, in
/// order.
pub(super) fn read(
    parameters: (&Names, &[Shape]),
    args: &str,
    names: Option<&[Cow<'_, str>]>,
    max_bytes: usize,
) -> Result<Vec<Val>, Mismatch> {
    let reading = Reading::new(max_bytes);
    let order = names.and_then(|names| order_by_name(parameters, names));
    let mut deserializer = serde_json::Deserializer::from_str(args);
    let arguments = Arguments { names: parameters.0, shapes: parameters.1, order, reading: &reading };
    match deserializer.deserialize_seq(arguments).and_then(|values| deserializer.end().map(|()| values)) {
        Ok(values) => Ok(values),
        Err(error) => Err(reading.into_mismatch(&error)),
    }
}

/// The parameter that each name stands for; `None` if the arguments go by position.
fn order_by_name((parameters, shapes): (&Names, &[Shape]), names: &[Cow<'_, str>]) -> Option<Vec<usize>> {
    let mut named = vec![false; shapes.len()];
    let mut order = Vec::with_capacity(names.len().min(named.len()));
    for (guess, name) in names.iter().enumerate() {
        let parameter = parameters.find(name, guess)?;
        if std::mem::replace(&mut named[parameter], true) {
            return None;
        }
        order.push(parameter);
    }
    let mut unnamed = shapes.iter().zip(&named).filter(|(_, named)| !**named);
    unnamed.all(|(shape, _)| matches!(shape, Shape::Option(_))).then_some(order)
}

struct Arguments<'a> {
    names: &'a Names,
    shapes: &'a [Shape],
    /// The parameter of each argument; `None` if they go by position.
    order: Option<Vec<usize>>,
    reading: &'a Reading,
}

impl<'a> Arguments<'a> {
    fn parameter(&self, index: usize) -> Option<usize> {
        match &self.order {
            Some(order) => order.get(index).copied(),
            None => (index < self.shapes.len()).then_some(index),
        }
    }

    fn argument(&self, parameter: usize) -> Argument<'a> {
        Argument { name: &self.names[parameter], shape: &self.shapes[parameter], reading: self.reading }
    }
}

impl<'de> Visitor<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Val>, A::Error> {
        let mut values: Vec<Option<Val>> = Vec::new();
        values.resize_with(self.shapes.len(), || None);
        let mut count = 0;
        while let Some(parameter) = self.parameter(count) {
            let argument = self.argument(parameter);
            let Some(value) = items.next_element_seed(Typed::new(argument, &Position::Root))? else { break };
            values[parameter] = Some(value);
            count += 1;
        }
        // Surplus arguments are counted, so that the message can say how many there are.
        let read = count;
        while items.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        if count > read {
            let parameters = values.len();
            let plural = if parameters == 1 { "" } else { "s" };
            return Err(self.reading.end(format!("takes {parameters} argument{plural}, got {count}")));
        }
        let filled = values.into_iter().enumerate().map(|(parameter, value)| {
            let argument = self.argument(parameter);
            value.or_else(|| argument.shape.default_value()).ok_or_else(|| argument.missing::<A::Error>())
        });
        filled.collect()
    }
}
