//! The arguments of a call: which argument belongs to which parameter, and the value of a parameter without argument.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use wasmtime::component::Val;

use crate::invocation::{ArgumentFault, ArgumentName};
use crate::wasm_worker::value::mismatch::{Argument, Mismatch, Reading};
use crate::wasm_worker::value::order::Order;
use crate::wasm_worker::value::parameters::Parameters;
use crate::wasm_worker::value::position::Position;
use crate::wasm_worker::value::read::Typed;

/// The arguments of a call as the gateway sends them.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The text of a JSON array.
    pub args: &'a str,
    /// The keys of the caller's object in the order of `args`, if the caller sent an object.
    pub names: Option<&'a [Cow<'a, str>]>,
    /// Whether they come from a query or a form, where every value is text.
    pub are_text: bool,
}

/// Reads arguments as values that take at most `max_bytes` bytes.
pub(super) fn read(parameters: &Parameters, given: Given<'_>, max_bytes: usize) -> Result<Vec<Val>, Mismatch> {
    let reading = Reading::new(max_bytes, given.are_text);
    let names = given.names.unwrap_or_default();
    let order = given.names.map_or(Ok(Order::ByPosition), |names| Order::of_names(parameters, names, given.args))?;
    let mut deserializer = serde_json::Deserializer::from_str(given.args);
    let arguments = Arguments { parameters, names, order, reading: &reading };
    match deserializer.deserialize_seq(arguments).and_then(|values| deserializer.end().map(|()| values)) {
        Ok(values) => Ok(values),
        Err(error) => Err(reading.into_mismatch(&error)),
    }
}

struct Arguments<'a> {
    parameters: &'a Parameters,
    names: &'a [Cow<'a, str>],
    order: Order,
    reading: &'a Reading,
}

impl<'a> Arguments<'a> {
    fn parameter(&self, index: usize) -> Option<usize> {
        match &self.order {
            Order::ByName(order) => order.get(index).copied(),
            Order::ByPosition => (index < self.parameters.shapes.len()).then_some(index),
            Order::Whole => None,
        }
    }

    fn argument(&self, parameter: usize) -> Argument<'a> {
        let Parameters { names, shapes, .. } = self.parameters;
        Argument { name: &names[parameter], shape: &shapes[parameter], reading: self.reading }
    }

    fn too_many<E: Error>(&self, count: usize) -> E {
        let most = self.parameters.shapes.len();
        let plural = if most == 1 { "" } else { "s" };
        let message = format!("takes {most} argument{plural}, got {count}: {}", self.parameters.signature());
        let first = Some(ArgumentName::Position(most as u64 + 1));
        self.reading.end(message, ArgumentFault { argument: first, ..ArgumentFault::default() })
    }

    /// The call has no value for this parameter.
    fn missing<E: Error>(&self, parameter: usize) -> E {
        let Argument { name, shape, .. } = self.argument(parameter);
        let message = format!("argument {name:?} ({}) is missing: {}", shape.wit(), self.parameters.signature());
        let argument = Some(ArgumentName::Name(name.to_owned()));
        self.reading.end(message, ArgumentFault { argument, ..ArgumentFault::default() })
    }
}

impl<'de> Visitor<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Val>, A::Error> {
        if self.order == Order::Whole {
            let object = Whole { names: self.names.iter(), items };
            return Typed::new(self.argument(0), &Position::Root).read_object(object).map(|value| vec![value]);
        }
        let mut values: Vec<Option<Val>> = Vec::new();
        values.resize_with(self.parameters.shapes.len(), || None);
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
            return Err(self.too_many(count));
        }
        let filled = values.into_iter().enumerate().map(|(parameter, value)| {
            let shape = &self.parameters.shapes[parameter];
            value.or_else(|| shape.default_value()).ok_or_else(|| self.missing::<A::Error>(parameter))
        });
        filled.collect()
    }
}

/// The object that the caller sent, made again of its keys and values.
struct Whole<'n, A> {
    names: std::slice::Iter<'n, Cow<'n, str>>,
    items: A,
}

impl<'de, A: SeqAccess<'de>> MapAccess<'de> for Whole<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.names.next().map(|name| seed.deserialize(StrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let value = self.items.next_element_seed(seed)?;
        value.ok_or_else(|| Error::custom("fewer values than names"))
    }
}
