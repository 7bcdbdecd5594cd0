//! The arguments of a call: which one belongs to which parameter, and what stands for those that did not come.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use wasmtime::component::Val;

use crate::runtime::wasm::value::Signature;
use crate::runtime::wasm::value::mismatch::{Argument, Mismatch, Reading};
use crate::runtime::wasm::value::place::Place;
use crate::runtime::wasm::value::read::Typed;
use crate::runtime::wasm::value::shape::Shape;

/// Reads the text of a JSON array to values that take `most` bytes.
pub(super) fn read(
    signature: &Signature,
    args: &str,
    names: Option<&[Cow<'_, str>]>,
    most: usize,
) -> Result<Vec<Val>, Mismatch> {
    let reading = Reading::new(most);
    let order = names.and_then(|names| by_name(signature, names));
    let mut deserializer = serde_json::Deserializer::from_str(args);
    let arguments = Arguments { signature, order, reading: &reading };
    match deserializer.deserialize_seq(arguments).and_then(|values| deserializer.end().map(|()| values)) {
        Ok(values) => Ok(values),
        Err(error) => Err(reading.into_mismatch(&error)),
    }
}

/// The parameter of each name; `None` if the order counts.
fn by_name(signature: &Signature, names: &[Cow<'_, str>]) -> Option<Vec<usize>> {
    let mut named = vec![false; signature.shapes.len()];
    let mut order = Vec::with_capacity(names.len().min(named.len()));
    for (guess, name) in names.iter().enumerate() {
        let parameter = signature.names.find(name, guess)?;
        if std::mem::replace(&mut named[parameter], true) {
            return None;
        }
        order.push(parameter);
    }
    let mut missing = signature.shapes.iter().zip(&named).filter(|(_, named)| !**named);
    missing.all(|(shape, _)| matches!(shape, Shape::Option(_))).then_some(order)
}

struct Arguments<'a> {
    signature: &'a Signature,
    /// The parameter of each argument; none if that is its place.
    order: Option<Vec<usize>>,
    reading: &'a Reading,
}

impl<'a> Arguments<'a> {
    fn parameter(&self, at: usize) -> Option<usize> {
        match &self.order {
            Some(order) => order.get(at).copied(),
            None => (at < self.signature.shapes.len()).then_some(at),
        }
    }

    fn argument(&self, parameter: usize) -> Argument<'a> {
        let Self { signature, reading, .. } = self;
        Argument { name: &signature.names[parameter], shape: &signature.shapes[parameter], reading }
    }
}

impl<'de> Visitor<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Val>, A::Error> {
        let mut values: Vec<Option<Val>> = Vec::new();
        values.resize_with(self.signature.shapes.len(), || None);
        let mut came = 0;
        while let Some(parameter) = self.parameter(came) {
            let argument = self.argument(parameter);
            let Some(value) = items.next_element_seed(Typed::new(argument, &Place::Root))? else { break };
            values[parameter] = Some(value);
            came += 1;
        }
        let taken = came;
        while items.next_element::<IgnoredAny>()?.is_some() {
            came += 1;
        }
        if came > taken {
            let parameters = values.len();
            let plural = if parameters == 1 { "" } else { "s" };
            return Err(self.reading.end(format!("takes {parameters} argument{plural}, got {came}")));
        }
        let filled = values.into_iter().enumerate().map(|(parameter, value)| {
            let argument = self.argument(parameter);
            value.or_else(|| absent(argument.shape)).ok_or_else(|| argument.missing::<A::Error>())
        });
        filled.collect()
    }
}

/// What stands for a parameter or a field that did not come.
pub(super) fn absent(shape: &Shape) -> Option<Val> {
    matches!(shape, Shape::Option(_)).then_some(Val::Option(None))
}
