//! Reads the cases of variants: by name alone, as an object with a value, and in the form of jco.

use std::borrow::Cow;

use serde::de::{self, DeserializeSeed, MapAccess};
use serde_json::value::RawValue;
use wasmtime::component::Val;

use crate::wasm_worker::value::names::Names;
use crate::wasm_worker::value::position::Position;
use crate::wasm_worker::value::quote::{quoted, shortened};
use crate::wasm_worker::value::read::Typed;
use crate::wasm_worker::value::read::key::{self, Key};
use crate::wasm_worker::value::shape::Shape;

impl Typed<'_> {
    pub(super) fn read_case<E: de::Error>(
        &self,
        names: &Names,
        payloads: &[Option<Shape>],
        name: &str,
    ) -> Result<Val, E> {
        let Some(case) = names.find(name, 0) else { return Err(self.expected(&quoted(name))) };
        match &payloads[case] {
            None => Ok(Val::Variant(name.to_owned(), None)),
            Some(shape) => Err(self.wrong(&format!("case {} needs a value ({})", quoted(name), shape.wit()))),
        }
    }

    pub(super) fn read_variant<'de, A: MapAccess<'de>>(
        &self,
        names: &Names,
        payloads: &[Option<Shape>],
        entries: &mut A,
    ) -> Result<Val, A::Error> {
        let Some(key) = entries.next_key_seed(Key)? else { return Err(self.expected("{}")) };
        if let Some(case) = names.find(&key, 0) {
            let value = self.payload(payloads[case].as_ref(), &key, entries)?;
            self.no_more_keys(&key, entries)?;
            return Ok(Val::Variant(key.into_owned(), value));
        }
        let ambiguous = names.find("tag", 0).is_some() || names.find("val", 0).is_some();
        match &*key {
            "tag" | "val" if !ambiguous => self.read_tagged(names, payloads, &key, entries),
            other => Err(self.expected(&format!("an object with {}", quoted(other)))),
        }
    }

    /// Reads `{"tag": name, "val": value}`, the form of jco. `first` is the key of the first entry, already read.
    pub(super) fn read_tagged<'de, A: MapAccess<'de>>(
        &self,
        names: &Names,
        payloads: &[Option<Shape>],
        first: &str,
        entries: &mut A,
    ) -> Result<Val, A::Error> {
        let mut tag: Option<&'de RawValue> = None;
        let mut value: Option<&'de RawValue> = None;
        let mut next = Some(Cow::Borrowed(first));
        while let Some(key) = next {
            match &*key {
                "tag" if tag.is_none() => tag = Some(entries.next_value()?),
                "val" if value.is_none() => value = Some(entries.next_value()?),
                other => return Err(self.expected(&format!("{} as well as {}", quoted(other), quoted(first)))),
            }
            next = entries.next_key_seed(Key)?;
        }
        let Some(tag) = tag else { return Err(self.expected("an object with \"val\" and no \"tag\"")) };
        let Some((tag, case)) = key::string(tag).and_then(|tag| names.find(&tag, 0).map(|case| (tag, case))) else {
            return Err(self.expected(&format!("the tag {}", shortened(tag.get()))));
        };
        let at = Position::Field(self.at, "val");
        let value = match (&payloads[case], value) {
            (None, None) => None,
            (None, Some(value)) => self.no_payload(value.get(), &at).map(|()| None)?,
            (Some(_), None) => return self.read_case(names, payloads, &tag),
            (Some(shape), Some(value)) => {
                let read = self.inner(shape, &at).deserialize(&mut serde_json::Deserializer::from_str(value.get()));
                Some(Box::new(read.map_err(de::Error::custom)?))
            }
        };
        Ok(Val::Variant(tag.into_owned(), value))
    }
}
