//! Writes a value of a given type as JSON text, up to a limit.

use std::collections::HashMap;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wasmtime::component::Val;

use crate::config::BytesRule;
use crate::wasm_worker::value::number::Number;
use crate::wasm_worker::value::position::Position;
use crate::wasm_worker::value::shape::Shape;

/// Bytes that are encoded at once; a multiple of three, so that base64 pads the last chunk only.
const ENCODED: usize = 3 << 10;

/// The part of a function's result that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The result; `null` if the function has none, or if it is an `ok` without a value.
    Value,
    /// The value of the result's `err`; `null` if the `err` has none.
    Err,
}

/// Why the result of a function cannot be JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// The JSON is longer than this limit, in bytes.
    #[error("a result of more than {0} bytes")]
    TooLong(usize),
    /// A float that is not finite.
    #[error("result{position} is {value}: JSON has no such number")]
    NotFinite {
        /// The position in the result, such as `.points[3].x`; empty for the result itself.
        position: String,
        /// `NaN`, `inf` or `-inf`.
        value: String,
    },
    /// A value that is not of the function's type, or whose type has no JSON.
    #[error("result{position} is no {wit}")]
    WrongType {
        /// The position in the result.
        position: String,
        /// The expected type.
        wit: String,
    },
}

/// Appends JSON to a text, up to a limit.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    end: usize,
    limit: usize,
    bytes: BytesRule,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, limit: usize, bytes: BytesRule) -> Self {
        let end = out.len().saturating_add(limit);
        Self { out, end, limit, bytes }
    }

    /// Writes a function's result. If the whole result is an `ok` or `err`, only its value is written.
    pub(super) fn result(&mut self, shape: Option<&Shape>, result: Option<&Val>) -> Result<Written, Unwritable> {
        match (shape, result) {
            (None, _) => self.push(b"null").map(|()| Written::Value),
            (Some(Shape::Result(pair)), Some(Val::Result(Ok(value)))) => {
                self.payload(pair.0.as_ref(), value.as_deref(), &Position::Root).map(|()| Written::Value)
            }
            (Some(Shape::Result(pair)), Some(Val::Result(Err(value)))) => {
                self.payload(pair.1.as_ref(), value.as_deref(), &Position::Root).map(|()| Written::Err)
            }
            (Some(shape), Some(value)) => self.value(shape, value, &Position::Root).map(|()| Written::Value),
            (Some(shape), None) => Err(wrong_type(shape, &Position::Root)),
        }
    }

    fn push(&mut self, text: &[u8]) -> Result<(), Unwritable> {
        if text.len() > self.end - self.out.len() {
            return Err(Unwritable::TooLong(self.limit));
        }
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn value(&mut self, shape: &Shape, value: &Val, at: &Position<'_>) -> Result<(), Unwritable> {
        match (shape, value) {
            (Shape::Bool, Val::Bool(value)) => self.push(if *value { b"true" } else { b"false" }),
            (Shape::Number(number), value) => self.number(*number, value, at),
            (Shape::Char, Val::Char(value)) => self.text(value.encode_utf8(&mut [0; 4])),
            (Shape::String, Val::String(text)) => self.text(text),
            (Shape::Bytes, Val::List(items)) => self.byte_list(shape, items, at),
            (Shape::List(item), Val::List(items)) => self.items(items.iter().map(|value| (&**item, value)), at),
            (Shape::FixedLengthList(item, length), Val::FixedLengthList(items)) if items.len() == *length => {
                self.items(items.iter().map(|value| (&**item, value)), at)
            }
            (Shape::Tuple(shapes), Val::Tuple(items)) if items.len() == shapes.len() => {
                self.items(shapes.iter().zip(items), at)
            }
            (Shape::Map(entry), Val::Map(entries)) => match entry.value_by_string() {
                Some(shape) => self.object(shape, entries, at),
                None => self.pairs(entry.items(), entries, at),
            },
            (Shape::Record(names, shapes), Val::Record(fields)) if fields.len() == names.len() => {
                for (index, ((name, shape), (_, value))) in names.iter().zip(shapes).zip(fields).enumerate() {
                    self.push(if index == 0 { b"{" } else { b"," })?;
                    self.key(name)?;
                    self.value(shape, value, &Position::Field(at, name))?;
                }
                self.push(if fields.is_empty() { b"{}" } else { b"}" })
            }
            (Shape::Variant(names, payloads), Val::Variant(name, payload)) => {
                match (names.find(name, 0).map(|case| &payloads[case]), payload) {
                    (Some(None), None) => self.text(name),
                    (Some(Some(shape)), Some(value)) => self.case(name, Some(shape), Some(value), at),
                    _ => Err(wrong_type(shape, at)),
                }
            }
            (Shape::Enum(_), Val::Enum(name)) => self.text(name),
            (Shape::Flags(_), Val::Flags(names)) => {
                self.push(b"[")?;
                for (index, name) in names.iter().enumerate() {
                    self.push(if index == 0 { b"" } else { b"," })?;
                    self.text(name)?;
                }
                self.push(b"]")
            }
            (Shape::Option(_), Val::Option(None)) => self.push(b"null"),
            (Shape::Option(item), Val::Option(Some(value))) if item.is_nullable() => {
                self.case("some", Some(item), Some(value), at)
            }
            (Shape::Option(item), Val::Option(Some(value))) => self.value(item, value, at),
            (Shape::Result(pair), Val::Result(Ok(value))) => self.case("ok", pair.0.as_ref(), value.as_deref(), at),
            (Shape::Result(pair), Val::Result(Err(value))) => self.case("err", pair.1.as_ref(), value.as_deref(), at),
            _ => Err(wrong_type(shape, at)),
        }
    }

    fn number(&mut self, number: Number, value: &Val, at: &Position<'_>) -> Result<(), Unwritable> {
        let mut integer = itoa::Buffer::new();
        let text = match (number, value) {
            (Number::U8, Val::U8(value)) => integer.format(*value),
            (Number::S8, Val::S8(value)) => integer.format(*value),
            (Number::U16, Val::U16(value)) => integer.format(*value),
            (Number::S16, Val::S16(value)) => integer.format(*value),
            (Number::U32, Val::U32(value)) => integer.format(*value),
            (Number::S32, Val::S32(value)) => integer.format(*value),
            (Number::U64, Val::U64(value)) => integer.format(*value),
            (Number::S64, Val::S64(value)) => integer.format(*value),
            (Number::F32, Val::Float32(value)) if value.is_finite() => return self.json(value),
            (Number::F64, Val::Float64(value)) if value.is_finite() => return self.json(value),
            (Number::F32, Val::Float32(value)) => return Err(not_finite(value, at)),
            (Number::F64, Val::Float64(value)) => return Err(not_finite(value, at)),
            _ => return Err(wrong_type(&Shape::Number(number), at)),
        };
        self.push(text.as_bytes())
    }

    fn text(&mut self, text: &str) -> Result<(), Unwritable> {
        self.json(&text)
    }

    /// Writes a string or a float with serde_json, which fails only when [`Self::push`] does.
    fn json(&mut self, value: &impl serde::Serialize) -> Result<(), Unwritable> {
        let limit = self.limit;
        serde_json::to_writer(self, value).map_err(|_| Unwritable::TooLong(limit))
    }

    fn key(&mut self, name: &str) -> Result<(), Unwritable> {
        self.text(name)?;
        self.push(b":")
    }

    /// Writes an object with one key.
    fn case(
        &mut self,
        name: &str,
        shape: Option<&Shape>,
        value: Option<&Val>,
        at: &Position<'_>,
    ) -> Result<(), Unwritable> {
        self.push(b"{")?;
        self.key(name)?;
        self.payload(shape, value, &Position::Field(at, name))?;
        self.push(b"}")
    }

    fn payload(&mut self, shape: Option<&Shape>, value: Option<&Val>, at: &Position<'_>) -> Result<(), Unwritable> {
        match (shape, value) {
            (Some(shape), Some(value)) => self.value(shape, value, at),
            (None, None) => self.push(b"null"),
            (Some(shape), None) => Err(wrong_type(shape, at)),
            (None, Some(_)) => Err(Unwritable::WrongType { position: at.to_string(), wit: "null".to_owned() }),
        }
    }

    fn items<'v>(
        &mut self,
        items: impl Iterator<Item = (&'v Shape, &'v Val)>,
        at: &Position<'_>,
    ) -> Result<(), Unwritable> {
        self.push(b"[")?;
        for (index, (shape, value)) in items.enumerate() {
            if index > 0 {
                self.push(b",")?;
            }
            self.value(shape, value, &Position::Item(at, index))?;
        }
        self.push(b"]")
    }

    fn byte_list(&mut self, shape: &Shape, items: &[Val], at: &Position<'_>) -> Result<(), Unwritable> {
        let byte = |item: &Val| if let Val::U8(byte) = item { Ok(*byte) } else { Err(wrong_type(shape, at)) };
        if self.bytes == BytesRule::Base64 {
            self.push(b"\"")?;
            for chunk in items.chunks(ENCODED) {
                let bytes = chunk.iter().map(byte).collect::<Result<Vec<u8>, _>>()?;
                self.push(STANDARD.encode(bytes).as_bytes())?;
            }
            return self.push(b"\"");
        }
        self.push(b"[")?;
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.push(b",")?;
            }
            self.push(itoa::Buffer::new().format(byte(item)?).as_bytes())?;
        }
        self.push(b"]")
    }

    /// Writes a map with string keys. Of several entries with the same key the last one counts, as in the component
    /// model.
    fn object(&mut self, shape: &Shape, entries: &[(Val, Val)], at: &Position<'_>) -> Result<(), Unwritable> {
        let mut last = HashMap::new();
        for (index, (key, _)) in entries.iter().enumerate() {
            let Val::String(key) = key else { return Err(wrong_type(&Shape::String, at)) };
            last.insert(key.as_str(), index);
        }
        self.push(b"{")?;
        let mut first = true;
        for (index, (key, value)) in entries.iter().enumerate() {
            let Val::String(key) = key else { continue };
            if last.get(key.as_str()) != Some(&index) {
                continue;
            }
            self.push(if first { b"" } else { b"," })?;
            first = false;
            self.key(key)?;
            self.value(shape, value, &Position::Key(at, key))?;
        }
        self.push(b"}")
    }

    fn pairs(&mut self, shapes: &[Shape], entries: &[(Val, Val)], at: &Position<'_>) -> Result<(), Unwritable> {
        self.push(b"[")?;
        for (index, (key, value)) in entries.iter().enumerate() {
            if index > 0 {
                self.push(b",")?;
            }
            self.items(shapes.iter().zip([key, value]), &Position::Item(at, index))?;
        }
        self.push(b"]")
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.write_all(text).map(|()| text.len())
    }

    fn write_all(&mut self, text: &[u8]) -> io::Result<()> {
        self.push(text).map_err(|_| io::ErrorKind::FileTooLarge.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn not_finite(value: &dyn ToString, at: &Position<'_>) -> Unwritable {
    Unwritable::NotFinite { position: at.to_string(), value: value.to_string() }
}

fn wrong_type(shape: &Shape, at: &Position<'_>) -> Unwritable {
    Unwritable::WrongType { position: at.to_string(), wit: shape.wit() }
}
