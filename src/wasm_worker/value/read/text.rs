//! Converts text of a query or a form, where every value is text, to the type that is expected. Text of JSON is never
//! converted.

use serde::de::{self, Visitor};
use wasmtime::component::Val;

use crate::wasm_worker::value::position::Position;
use crate::wasm_worker::value::quote::quoted;
use crate::wasm_worker::value::read::Typed;
use crate::wasm_worker::value::shape::Shape;

/// The words for a bool, in lower case: those of programs, and those of HTML forms.
const TRUE: [&str; 4] = ["true", "1", "yes", "on"];
const FALSE: [&str; 4] = ["false", "0", "no", "off"];

impl Typed<'_> {
    /// Whether text stands for values of all types.
    pub(super) fn converts_text(&self) -> bool {
        self.argument.reading.converts_text
    }

    /// Reads text as a value of a type that has no text in JSON.
    pub(super) fn convert_text<E: de::Error>(self, text: &str) -> Result<Val, E> {
        match self.shape {
            Shape::Number(number) => number.read_text(text).map_err(|why| self.no_number(why, &quoted(text))),
            Shape::Bool => {
                let is = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text.trim()));
                match (is(TRUE), is(FALSE)) {
                    (true, _) => Ok(Val::Bool(true)),
                    (_, true) => Ok(Val::Bool(false)),
                    _ => Err(self.expected(&quoted(text))),
                }
            }
            // A key that comes once.
            Shape::List(item) => {
                self.argument.reserve(size_of::<Val>())?;
                let item = self.inner(item, &Position::Item(self.at, 0)).visit_str(text)?;
                Ok(Val::List(vec![item]))
            }
            Shape::Flags(names) if names.find(text, 0).is_some() => Ok(Val::Flags(vec![text.to_owned()])),
            // Options of options only: the outer ones of others are read before.
            Shape::Option(item) => {
                let value = self.inner(item, self.at).visit_str(text)?;
                Ok(Val::Option(Some(Box::new(value))))
            }
            _ => Err(self.expected(&quoted(text))),
        }
    }
}
