//! Reads JSON objects: records, maps, results, options of options, sets of flags.

use serde::de::{self, MapAccess};
use serde_json::value::RawValue;
use wasmtime::component::Val;

use crate::wasm_worker::value::names::Names;
use crate::wasm_worker::value::position::Position;
use crate::wasm_worker::value::quote::{quoted, shortened};
use crate::wasm_worker::value::read::Typed;
use crate::wasm_worker::value::read::array::flags;
use crate::wasm_worker::value::read::key::Key;
use crate::wasm_worker::value::shape::Shape;

impl Typed<'_> {
    /// Reads the value of a case; of a case without a value, `null`.
    pub(super) fn payload<'de, A: MapAccess<'de>>(
        &self,
        payload: Option<&Shape>,
        name: &str,
        entries: &mut A,
    ) -> Result<Option<Box<Val>>, A::Error> {
        let at = Position::Field(self.at, name);
        match payload {
            Some(shape) => entries.next_value_seed(self.inner(shape, &at)).map(|value| Some(Box::new(value))),
            None => self.no_payload(entries.next_value::<&RawValue>()?.get(), &at).map(|()| None),
        }
    }

    pub(super) fn no_payload<E: de::Error>(&self, text: &str, at: &Position<'_>) -> Result<(), E> {
        if text == "null" || self.converts_text() && text == "\"\"" {
            return Ok(());
        }
        Err(self.argument.wrong(at, &format!("expected null, got {}", shortened(text)), "null".to_owned()))
    }

    pub(super) fn no_more_keys<'de, A: MapAccess<'de>>(&self, first: &str, entries: &mut A) -> Result<(), A::Error> {
        match entries.next_key_seed(Key)? {
            None => Ok(()),
            Some(key) => Err(self.expected(&format!("{} as well as {}", quoted(&key), quoted(first)))),
        }
    }

    pub(super) fn read_record<'de, A: MapAccess<'de>>(
        &self,
        names: &Names,
        shapes: &[Shape],
        entries: &mut A,
    ) -> Result<Val, A::Error> {
        let mut values: Vec<Option<Val>> = Vec::new();
        values.resize_with(names.len(), || None);
        let mut guess = 0;
        while let Some(key) = entries.next_key_seed(Key)? {
            let Some(field) = names.find(&key, guess) else {
                let what = format!("field {} is unknown{}", quoted(&key), names.did_you_mean(&key));
                return Err(self.wrong_part(&what, &Position::Field(self.at, &shortened(&key)), self.shape.wit()));
            };
            let at = Position::Field(self.at, &names[field]);
            if values[field].is_some() {
                return Err(self.wrong_part(&format!("field {} is repeated", quoted(&key)), &at, shapes[field].wit()));
            }
            values[field] = Some(entries.next_value_seed(self.inner(&shapes[field], &at))?);
            guess = field + 1;
        }
        let fields = names.iter().zip(shapes).zip(values).map(|((name, shape), value)| {
            let value = value.or_else(|| shape.default_value()).ok_or_else(|| {
                let what = format!("field {} ({}) is missing", quoted(name), shape.wit());
                self.wrong_part::<A::Error>(&what, &Position::Field(self.at, name), shape.wit())
            })?;
            Ok((name.to_owned(), value))
        });
        fields.collect::<Result<_, _>>().map(Val::Record)
    }

    pub(super) fn read_map<'de, A: MapAccess<'de>>(&self, value: &Shape, entries: &mut A) -> Result<Val, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            let value = entries.next_value_seed(self.inner(value, &Position::Key(self.at, &key)))?;
            pairs.push((Val::String(key.into_owned()), value));
        }
        self.without_repetition(pairs)
    }

    pub(super) fn read_result<'de, A: MapAccess<'de>>(
        &self,
        pair: &(Option<Shape>, Option<Shape>),
        entries: &mut A,
    ) -> Result<Val, A::Error> {
        let result = match entries.next_key_seed(Key)?.as_deref() {
            Some("ok") => Ok(self.payload(pair.0.as_ref(), "ok", entries)?),
            Some("err") => Err(self.payload(pair.1.as_ref(), "err", entries)?),
            Some(other) => return Err(self.expected(&format!("an object with {}", quoted(other)))),
            None => return Err(self.expected("{}")),
        };
        self.no_more_keys(if result.is_ok() { "ok" } else { "err" }, entries)?;
        Ok(Val::Result(result))
    }

    /// Reads `{"some": x}`, where `x` itself may be `null`.
    pub(super) fn read_some<'de, A: MapAccess<'de>>(&self, shape: &Shape, entries: &mut A) -> Result<Val, A::Error> {
        let value = match entries.next_key_seed(Key)?.as_deref() {
            Some("some") => self.payload(Some(shape), "some", entries)?,
            Some(other) => return Err(self.expected(&format!("an object with {}", quoted(other)))),
            None => return Err(self.expected("{}")),
        };
        self.no_more_keys("some", entries)?;
        Ok(Val::Option(value))
    }

    pub(super) fn read_flag_object<'de, A: MapAccess<'de>>(
        &self,
        names: &Names,
        entries: &mut A,
    ) -> Result<Val, A::Error> {
        let mut set = vec![None; names.len()];
        while let Some(key) = entries.next_key_seed(Key)? {
            let Some(flag) = names.find(&key, 0) else {
                let what = format!("flag {} is unknown{}", quoted(&key), names.did_you_mean(&key));
                return Err(self.wrong_part(&what, &Position::Field(self.at, &shortened(&key)), self.shape.wit()));
            };
            let at = Position::Field(self.at, &names[flag]);
            let Val::Bool(value) = entries.next_value_seed(self.inner(&Shape::Bool, &at))? else { continue };
            if set[flag].replace(value).is_some() {
                return Err(self.wrong_part(&format!("flag {} is repeated", quoted(&key)), &at, "bool".to_owned()));
            }
        }
        let set: Vec<bool> = set.into_iter().map(Option::unwrap_or_default).collect();
        Ok(flags(names, &set))
    }
}
