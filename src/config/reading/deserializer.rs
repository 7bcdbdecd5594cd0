//! A serde deserializer over a parsed tree. In contrast to that of the `toml` crate its errors are typed and name the
//! item by its route, which does not depend on how the crate words them or which spans it attaches.

use std::borrow::Cow;
use std::iter::Enumerate;
use std::slice;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeArray, DeFloat, DeInteger, DeTable, DeValue};
use toml::map::Iter;

use crate::config::reading::read_error::ReadError;
use crate::config::reading::tree::Step;

/// Reads a whole tree.
pub(super) struct Tree<'a, 't>(pub(super) &'a DeTable<'t>);

impl<'de> Deserializer<'de> for Tree<'_, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_map(Entries::new(self.0))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Reads one value.
struct Item<'a, 't>(&'a DeValue<'t>);

impl<'de> Deserializer<'de> for Item<'_, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(number) => visit_integer(number, visitor),
            DeValue::Float(number) => visit_float(number, visitor),
            DeValue::Boolean(truth) => visitor.visit_bool(*truth),
            DeValue::Datetime(_) => Err(ReadError::invalid_type(Unexpected::Other("date"), &visitor)),
            DeValue::Array(items) => visitor.visit_seq(Items::new(items)),
            DeValue::Table(table) => visitor.visit_map(Entries::new(table)),
        }
    }

    // The next three name the expected type themselves: the visitors of the standard library name it in Rust's terms.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            DeValue::Boolean(truth) => visitor.visit_bool(*truth),
            _ => Err(ReadError::wrong_type("true or false")),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            DeValue::Array(items) => visitor.visit_seq(Items::new(items)),
            _ => Err(ReadError::wrong_type("a list in [ ]")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            DeValue::Table(table) => visitor.visit_map(Entries::new(table)),
            _ => Err(ReadError::wrong_type("a table")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self) // TOML has no null
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct struct enum identifier ignored_any
    }
}

fn visit_integer<'de, V: Visitor<'de>>(number: &DeInteger<'_>, visitor: V) -> Result<V::Value, ReadError> {
    let (digits, radix) = (number.as_str(), number.radix());
    match (i64::from_str_radix(digits, radix), u64::from_str_radix(digits, radix)) {
        (Ok(number), _) => visitor.visit_i64(number),
        (_, Ok(number)) => visitor.visit_u64(number),
        _ => Err(ReadError::invalid_type(Unexpected::Other("integer of more than 64 bits"), &visitor)),
    }
}

fn visit_float<'de, V: Visitor<'de>>(number: &DeFloat<'_>, visitor: V) -> Result<V::Value, ReadError> {
    match number.as_str().parse::<f64>() {
        // `inf` may be written; digits that overflow to it may not.
        Ok(float) if float.is_finite() || !number.as_str().contains(|c: char| c.is_ascii_digit()) => {
            visitor.visit_f64(float)
        }
        _ => Err(ReadError::custom("floating-point number overflows")),
    }
}

/// The entries of a table.
struct Entries<'a, 't> {
    rest: Iter<'a, Spanned<Cow<'t, str>>, Spanned<DeValue<'t>>>,
    value: Option<(&'a str, &'a DeValue<'t>)>,
}

impl<'a, 't> Entries<'a, 't> {
    fn new(table: &'a DeTable<'t>) -> Self {
        Self { rest: table.iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        let key = key.get_ref().as_ref();
        self.value = Some((key, value.get_ref()));
        let text: StrDeserializer<'_, ReadError> = key.into_deserializer();
        seed.deserialize(text).map(Some).map_err(|error| error.beneath(Step::Key(key.to_owned())))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let (key, value) = self.value.take().expect("serde asks for a value only after its key");
        seed.deserialize(Item(value)).map_err(|error| error.beneath(Step::Key(key.to_owned())))
    }
}

/// The items of a list.
struct Items<'a, 't> {
    rest: Enumerate<slice::Iter<'a, Spanned<DeValue<'t>>>>,
}

impl<'a, 't> Items<'a, 't> {
    fn new(items: &'a DeArray<'t>) -> Self {
        Self { rest: items.iter().enumerate() }
    }
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        let Some((index, item)) = self.rest.next() else { return Ok(None) };
        seed.deserialize(Item(item.get_ref())).map(Some).map_err(|error| error.beneath(Step::Index(index)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::config::reading::read_error::Reason;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, expecting = "a table")]
    #[expect(dead_code, reason = "only its errors are read")]
    struct Sample {
        number: u8,
        #[serde(default)]
        texts: BTreeMap<String, Vec<String>>,
        #[serde(default)]
        switch: Option<bool>,
    }

    fn error(text: &str) -> ReadError {
        let tree = DeTable::parse(text).unwrap().into_inner();
        Sample::deserialize(Tree(&tree)).unwrap_err()
    }

    fn key(name: &str) -> Step {
        Step::Key(name.to_owned())
    }

    #[test]
    fn errors_are_typed_and_name_the_route_to_their_item() {
        let wrong_type = |expected: &str| Reason::WrongType { expected: expected.to_owned() };
        let wrong_item = error("number = 1\ntexts = { a = [\"x\", 2] }");
        assert_eq!(wrong_item.route, [key("texts"), key("a"), Step::Index(1)]);
        assert_eq!(wrong_item.reason, wrong_type("a string"));
        for (text, route, reason) in [
            ("number = 1\ncolour = 2", vec![key("colour")], Reason::UnknownKey(&["number", "texts", "switch"])),
            ("switch = true", vec![], Reason::MissingKey("number")),
            ("number = 1\ntexts = { a = 2 }", vec![key("texts"), key("a")], wrong_type("a list in [ ]")),
            ("number = 1\ntexts = [1]", vec![key("texts")], wrong_type("a table")),
            ("number = 1\nswitch = 2020-01-01", vec![key("switch")], wrong_type("true or false")),
            ("number = 99999999999999999999", vec![key("number")], wrong_type("u8")),
            ("number = 256", vec![key("number")], Reason::WrongValue { why: None, expected: "u8".to_owned() }),
        ] {
            assert_eq!(error(text), ReadError { route, reason }, "{text}");
        }
    }
}
