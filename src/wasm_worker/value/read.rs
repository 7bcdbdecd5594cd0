//! Reads JSON text as a value of a given type, without building a tree of JSON values first.

mod array;
mod key;
mod object;
mod text;
mod variant;

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use wasmtime::component::Val;

use crate::wasm_worker::value::mismatch::Argument;
use crate::wasm_worker::value::number::{NoNumber, Number};
use crate::wasm_worker::value::position::Position;
use crate::wasm_worker::value::quote::{quoted, shortened};
use crate::wasm_worker::value::read::key::Key;
use crate::wasm_worker::value::shape::Shape;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of an array or object that are read for a message: enough for the characters that it shows.
const SHOWN_BYTES: usize = 240;

/// Reads a value of one type at one position of an argument.
#[derive(Clone, Copy)]
pub(super) struct Typed<'a> {
    argument: Argument<'a>,
    shape: &'a Shape,
    at: &'a Position<'a>,
}

impl<'a> Typed<'a> {
    /// Reads a whole argument.
    pub(super) fn new(argument: Argument<'a>, root: &'a Position<'a>) -> Self {
        Self { argument, shape: argument.shape, at: root }
    }

    fn inner<'b>(&self, shape: &'b Shape, at: &'b Position<'b>) -> Typed<'b>
    where
        'a: 'b,
    {
        Typed { argument: self.argument, shape, at }
    }

    /// Reads an object whose entries are already known to be one.
    pub(super) fn read_object<'de, A: MapAccess<'de>>(self, object: A) -> Result<Val, A::Error> {
        match self.shape {
            Shape::Option(item) => {
                let value = self.inner(item, self.at).deserialize(MapAccessDeserializer::new(object))?;
                Ok(Val::Option(Some(Box::new(value))))
            }
            _ => self.deserialize(MapAccessDeserializer::new(object)),
        }
    }

    fn wrong<E: de::Error>(&self, what: &str) -> E {
        self.argument.wrong(self.at, what, self.shape.wit())
    }

    /// A part of the value is missing or must not be there.
    fn wrong_part<E: de::Error>(&self, what: &str, part: &Position<'_>, expected: String) -> E {
        self.argument.wrong_part(self.at, what, part, expected)
    }

    fn expected<E: de::Error>(&self, found: &str) -> E {
        self.wrong(&format!("expected {}, got {found}", self.shape.wit()))
    }

    /// `found` is the JSON as messages show it.
    fn no_number<E: de::Error>(&self, why: NoNumber, found: &str) -> E {
        match (why, self.at) {
            (NoNumber::Other, _) => self.expected(found),
            (NoNumber::Range, Position::Root) => self.wrong(&format!("{found} is out of range")),
            (NoNumber::Range, _) => self.wrong(&format!("{found} is out of range of {}", self.shape.wit())),
        }
    }

    fn read_number<E: de::Error>(&self, number: Number, text: &str) -> Result<Val, E> {
        number.read(text).map_err(|why| self.no_number(why, &shortened(text)))
    }

    /// Reads an array of numbers in one pass. If that fails, reads the text again item by item, to find what is wrong
    /// or to accept another form.
    fn read_numbers<E: de::Error>(self, number: Number, text: &str) -> Result<Val, E> {
        if text.starts_with('[') {
            let items = 1 + memchr::memchr_iter(b',', text.as_bytes()).count();
            self.argument.reserve(items.saturating_mul(size_of::<Val>()))?;
        }
        match number.read_all(text) {
            Some(values) => Ok(Val::List(values)),
            None => serde_json::Deserializer::from_str(text).deserialize_any(self).map_err(E::custom),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Typed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        self.argument.reserve(size_of::<Val>() + self.shape.names_size())?;
        match self.shape {
            Shape::Number(_) | Shape::Bytes | Shape::List(_) if self.converts_text() => {
                deserializer.deserialize_any(self)
            }
            Shape::Number(number) => self.read_number(*number, <&RawValue>::deserialize(deserializer)?.get()),
            Shape::Bytes => self.read_numbers(Number::U8, <&RawValue>::deserialize(deserializer)?.get()),
            Shape::List(item) => match **item {
                Shape::Number(number) => self.read_numbers(number, <&RawValue>::deserialize(deserializer)?.get()),
                _ => deserializer.deserialize_any(self),
            },
            Shape::Option(_) => deserializer.deserialize_option(self),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Typed<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shape)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Val, E> {
        if matches!(self.shape, Shape::Bool) { Ok(Val::Bool(value)) } else { Err(self.expected(&value.to_string())) }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Val, E> {
        Err(self.expected(&value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Val, E> {
        Err(self.expected(&value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Val, E> {
        Err(self.expected(&serde_json::Value::from(value).to_string()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Val, E> {
        Err(self.expected("null"))
    }

    fn visit_none<E: de::Error>(self) -> Result<Val, E> {
        Ok(Val::Option(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        match self.shape {
            Shape::Option(item) if !item.is_nullable() => {
                let value = self.inner(item, self.at).deserialize(deserializer)?;
                Ok(Val::Option(Some(Box::new(value))))
            }
            _ => deserializer.deserialize_any(self),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Val, E> {
        match self.shape {
            Shape::String => Ok(Val::String(text.to_owned())),
            Shape::Char => {
                let mut characters = text.chars();
                match (characters.next(), characters.next()) {
                    (Some(character), None) => Ok(Val::Char(character)),
                    _ => Err(self.expected(&quoted(text))),
                }
            }
            Shape::Bytes => {
                self.argument.reserve((text.len() / 4 * 3).saturating_mul(size_of::<Val>()))?;
                match BASE64.decode(text) {
                    Ok(bytes) => Ok(Val::List(bytes.into_iter().map(Val::U8).collect())),
                    Err(_) => Err(self.expected(&format!("{}, which is no base64", quoted(text)))),
                }
            }
            Shape::Enum(names) if names.find(text, 0).is_some() => Ok(Val::Enum(text.to_owned())),
            Shape::Variant(names, payloads) => self.read_case(names, payloads, text),
            _ if self.converts_text() => self.convert_text(text),
            _ => Err(self.expected(&quoted(text))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Val, A::Error> {
        match self.shape {
            Shape::Bytes => self.read_items(&Shape::Number(Number::U8), &mut items).map(Val::List),
            Shape::List(item) => self.read_items(item, &mut items).map(Val::List),
            Shape::FixedLengthList(item, length) => {
                let shapes = std::iter::repeat_n(&**item, *length);
                self.read_exactly(shapes, &mut items).map(Val::FixedLengthList)
            }
            Shape::Tuple(shapes) => self.read_exactly(shapes.iter(), &mut items).map(Val::Tuple),
            Shape::Map(entry) => self.read_entries(entry, &mut items),
            Shape::Flags(names) => self.read_flags(names, &mut items),
            _ => {
                let mut found = String::from("[");
                while found.len() < SHOWN_BYTES
                    && let Some(item) = items.next_element::<&RawValue>()?
                {
                    found.push_str(if found.len() > 1 { "," } else { "" });
                    found.push_str(&shortened(item.get()));
                }
                found.push(']');
                Err(self.expected(&shortened(&found)))
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Val, A::Error> {
        match self.shape {
            Shape::Record(names, shapes) => self.read_record(names, shapes, &mut entries),
            Shape::Map(entry) if let Some(value) = entry.value_by_string() => self.read_map(value, &mut entries),
            Shape::Variant(names, payloads) => self.read_variant(names, payloads, &mut entries),
            Shape::Result(pair) => self.read_result(pair, &mut entries),
            Shape::Option(item) => self.read_some(item, &mut entries),
            Shape::Flags(names) => self.read_flag_object(names, &mut entries),
            // A key that comes once.
            Shape::List(item) if self.converts_text() => {
                let item = self.inner(item, &Position::Item(self.at, 0)).visit_map(entries)?;
                Ok(Val::List(vec![item]))
            }
            _ => {
                let mut found = String::from("{");
                while found.len() < SHOWN_BYTES
                    && let Some(key) = entries.next_key_seed(Key)?
                {
                    found.push_str(if found.len() > 1 { "," } else { "" });
                    found.push_str(&format!(
                        "{}:{}",
                        quoted(&key),
                        shortened(entries.next_value::<&RawValue>()?.get())
                    ));
                }
                found.push('}');
                Err(self.expected(&shortened(&found)))
            }
        }
    }
}
