//! The JSON Schema (2020-12) of the JSON that values of a type have. It describes the form that is written; other forms
//! that are read too are not in it.

use serde_json::{Map, Value, json};

use crate::config::BytesRule;
use crate::wasm_worker::value::names::Names;
use crate::wasm_worker::value::number::Number;
use crate::wasm_worker::value::shape::Shape;

/// Longest schemas of one function, in bytes of JSON, about.
const LONGEST: usize = 8 << 10;
/// Bytes of a schema apart from the names in it, about.
const PART: usize = 24;
/// Deepest types, in levels: what reads the schemas may refuse JSON of more than 128 levels, and a variant has four.
const DEEPEST: usize = 24;

/// Writes the schemas of one function.
pub(super) struct SchemaWriter {
    bytes: BytesRule,
    left: usize,
}

impl SchemaWriter {
    /// `bytes` is the form of `list<u8>`.
    pub(super) fn new(bytes: BytesRule) -> Self {
        Self { bytes, left: LONGEST }
    }

    /// The schema of a type; `None` if those of the function become too long.
    pub(super) fn schema(&mut self, shape: &Shape) -> Option<Value> {
        self.part(shape, 0)
    }

    /// The schema of a function's result: of a `result` that of its `ok`, because an `err` is the call's failure.
    pub(super) fn returned(&mut self, result: Option<&Shape>) -> Option<Value> {
        match result {
            Some(Shape::Result(pair)) => self.payload(pair.0.as_ref(), 0),
            result => self.payload(result, 0),
        }
    }

    fn payload(&mut self, shape: Option<&Shape>, depth: usize) -> Option<Value> {
        shape.map_or_else(|| Some(json!({"type": "null"})), |shape| self.part(shape, depth))
    }

    fn part(&mut self, shape: &Shape, depth: usize) -> Option<Value> {
        self.take(PART)?;
        if depth > DEEPEST {
            return Some(json!({}));
        }
        let inner = depth + 1;
        Some(match shape {
            Shape::Bool => json!({"type": "boolean"}),
            Shape::Number(number) => number_schema(*number),
            Shape::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
            Shape::String => json!({"type": "string"}),
            Shape::Bytes if self.bytes == BytesRule::Base64 => json!({"type": "string", "contentEncoding": "base64"}),
            Shape::Bytes => json!({"type": "array", "items": number_schema(Number::U8)}),
            Shape::List(item) => json!({"type": "array", "items": self.part(item, inner)?}),
            Shape::FixedLengthList(item, length) => {
                json!({"type": "array", "items": self.part(item, inner)?, "minItems": length, "maxItems": length})
            }
            Shape::Tuple(items) => self.tuple(items, inner)?,
            Shape::Map(entry) => match entry.value_by_string() {
                Some(value) => json!({"type": "object", "additionalProperties": self.part(value, inner)?}),
                None => json!({"type": "array", "items": self.tuple(entry.items(), inner + 1)?}),
            },
            Shape::Record(names, items) => self.record(names, items, inner)?,
            Shape::Variant(names, payloads) => {
                let cases = names.iter().zip(payloads).map(|(name, payload)| match payload {
                    Some(payload) => self.case(name, Some(payload), inner),
                    None => self.take(PART + name.len()).map(|()| json!({"const": name})),
                });
                json!({"anyOf": cases.collect::<Option<Vec<_>>>()?})
            }
            Shape::Enum(names) => json!({"enum": self.names(names)?}),
            Shape::Flags(names) => {
                json!({"type": "array", "items": {"enum": self.names(names)?}})
            }
            Shape::Option(item) => {
                let some =
                    if item.is_nullable() { self.case("some", Some(item), inner)? } else { self.part(item, inner)? };
                json!({"anyOf": [some, {"type": "null"}]})
            }
            Shape::Result(pair) => {
                json!({"anyOf": [self.case("ok", pair.0.as_ref(), inner)?, self.case("err", pair.1.as_ref(), inner)?]})
            }
            Shape::NoJson(_) => json!({}),
        })
    }

    fn tuple(&mut self, items: &[Shape], depth: usize) -> Option<Value> {
        let schemas: Vec<Value> = items.iter().map(|item| self.part(item, depth)).collect::<Option<_>>()?;
        Some(array_of(&schemas))
    }

    fn record(&mut self, names: &Names, items: &[Shape], depth: usize) -> Option<Value> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (name, item) in names.iter().zip(items) {
            self.take(2 * name.len())?;
            properties.insert(name.to_owned(), self.part(item, depth)?);
            if item.default_value().is_none() {
                required.push(name);
            }
        }
        Some(json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false}))
    }

    /// An object with one key.
    fn case(&mut self, name: &str, payload: Option<&Shape>, depth: usize) -> Option<Value> {
        self.take(PART + 2 * name.len())?;
        let properties = Map::from_iter([(name.to_owned(), self.payload(payload, depth)?)]);
        Some(json!({"type": "object", "properties": properties, "required": [name], "additionalProperties": false}))
    }

    fn names(&mut self, names: &Names) -> Option<Vec<Value>> {
        names.iter().map(|name| self.take(name.len()).map(|()| Value::from(name))).collect()
    }

    fn take(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }
}

/// The schema of arrays with one item for each schema.
pub(super) fn array_of(items: &[Value]) -> Value {
    let length = items.len();
    json!({"type": "array", "prefixItems": items, "minItems": length, "maxItems": length})
}

fn number_schema(number: Number) -> Value {
    let integer = |minimum: i64, maximum: u64| json!({"type": "integer", "minimum": minimum, "maximum": maximum});
    match number {
        Number::U8 => integer(0, u8::MAX.into()),
        Number::S8 => integer(i8::MIN.into(), 0x7f),
        Number::U16 => integer(0, u16::MAX.into()),
        Number::S16 => integer(i16::MIN.into(), 0x7fff),
        Number::U32 => integer(0, u32::MAX.into()),
        Number::S32 => integer(i32::MIN.into(), 0x7fff_ffff),
        Number::U64 => integer(0, u64::MAX),
        Number::S64 => integer(i64::MIN, 0x7fff_ffff_ffff_ffff),
        Number::F32 | Number::F64 => json!({"type": "number"}),
    }
}
