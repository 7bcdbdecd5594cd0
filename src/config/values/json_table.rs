//! The table `[plugin.config]`, whose keys the plugin defines: any TOML, as JSON.

use std::borrow::Cow;
use std::fmt;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::DeValue;

const TABLE_WORDS: &str = "a table";
const ITEM_WORDS: &str = "text, a number of at most 64 bits, true or false, a date, a list or a table";

/// Reads a table of any shape. Whole numbers stay whole; numbers that JSON does not have are refused.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    deserializer.deserialize_map(TableVisitor)
}

/// The schema of such a table.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "default": {} })
}

/// Replaces dates by text, in tables and lists at any depth.
pub fn dates_to_text(value: &mut Spanned<DeValue<'_>>) {
    match value.get_mut() {
        DeValue::Table(table) => table.iter_mut().for_each(|(_, item)| dates_to_text(item)),
        DeValue::Array(array) => array.iter_mut().for_each(dates_to_text),
        date @ DeValue::Datetime(_) => {
            if let Some(text) = date.as_datetime().map(ToString::to_string) {
                *date = DeValue::String(Cow::Owned(text));
            }
        }
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {}
    }
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TABLE_WORDS)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Map<String, Value>, A::Error> {
        let mut table = Map::new();
        while let Some((key, Item(value))) = items.next_entry()? {
            table.insert(key, value);
        }
        Ok(table)
    }
}

/// One value in the table, at any depth.
struct Item(Value);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor).map(Self)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ITEM_WORDS)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        let refused = || E::invalid_value(Unexpected::Other("this is not a number in JSON"), &self);
        Number::from_f64(number).map(Value::Number).ok_or_else(refused)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Item(value)) = items.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, items: A) -> Result<Value, A::Error> {
        TableVisitor.visit_map(items).map(Value::Object)
    }
}
