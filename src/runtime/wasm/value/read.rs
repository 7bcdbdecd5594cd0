//! From JSON text to a value of a given type, without a tree in between.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use wasmtime::component::Val;

use crate::runtime::wasm::value::arguments::absent;
use crate::runtime::wasm::value::mismatch::{Argument, quoted, shortened};
use crate::runtime::wasm::value::names::Names;
use crate::runtime::wasm::value::number::{NoNumber, Number};
use crate::runtime::wasm::value::place::Place;
use crate::runtime::wasm::value::shape::Shape;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes that are enough for what a message shows.
const SHOWN_BYTES: usize = 240;

/// Reads a value of one type at one place of an argument.
#[derive(Clone, Copy)]
pub(super) struct Typed<'a> {
    argument: Argument<'a>,
    shape: &'a Shape,
    at: &'a Place<'a>,
}

impl<'a> Typed<'a> {
    /// For a whole argument.
    pub(super) fn new(argument: Argument<'a>, root: &'a Place<'a>) -> Self {
        Self { argument, shape: argument.shape, at: root }
    }

    fn inner<'b>(&self, shape: &'b Shape, at: &'b Place<'b>) -> Typed<'b>
    where
        'a: 'b,
    {
        Typed { argument: self.argument, shape, at }
    }

    fn wrong<E: de::Error>(&self, what: &str) -> E {
        self.argument.wrong(self.at, what)
    }

    fn expected<E: de::Error>(&self, came: &str) -> E {
        self.wrong(&format!("expected {}, got {came}", self.shape.wit()))
    }

    fn no_number<E: de::Error>(&self, why: NoNumber, text: &str) -> E {
        let came = shortened(text);
        match (why, self.at) {
            (NoNumber::Other, _) => self.expected(&came),
            (NoNumber::Range, Place::Root) => self.wrong(&format!("{came} is out of range")),
            (NoNumber::Range, _) => self.wrong(&format!("{came} is out of range of {}", self.shape.wit())),
        }
    }

    fn read_number<E: de::Error>(&self, number: Number, text: &str) -> Result<Val, E> {
        number.read(text).map_err(|why| self.no_number(why, text))
    }

    /// Reads numbers at once. What else the text is, it is read once more for, item by item.
    fn read_numbers<E: de::Error>(self, number: Number, text: &str) -> Result<Val, E> {
        match number.read_all(text) {
            Some(values) => Ok(Val::List(values)),
            None => serde_json::Deserializer::from_str(text).deserialize_any(self).map_err(E::custom),
        }
    }

    /// The value of a case, or `null` for one that has none.
    fn payload<'de, A: MapAccess<'de>>(
        &self,
        payload: Option<&Shape>,
        name: &str,
        entries: &mut A,
    ) -> Result<Option<Box<Val>>, A::Error> {
        let at = Place::Field(self.at, name);
        match payload {
            Some(shape) => entries.next_value_seed(self.inner(shape, &at)).map(|value| Some(Box::new(value))),
            None => self.no_payload(entries.next_value::<&RawValue>()?.get(), &at).map(|()| None),
        }
    }

    fn no_payload<E: de::Error>(&self, text: &str, at: &Place<'_>) -> Result<(), E> {
        if text == "null" {
            return Ok(());
        }
        Err(self.argument.wrong(at, &format!("expected null, got {}", shortened(text))))
    }

    fn no_more_keys<'de, A: MapAccess<'de>>(&self, first: &str, entries: &mut A) -> Result<(), A::Error> {
        match entries.next_key_seed(Key)? {
            None => Ok(()),
            Some(key) => Err(self.expected(&format!("{} beside {}", quoted(&key), quoted(first)))),
        }
    }

    fn read_items<'de, A: SeqAccess<'de>>(&self, shape: &Shape, items: &mut A) -> Result<Vec<Val>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.inner(shape, &Place::Item(self.at, values.len())))? {
            values.push(value);
        }
        Ok(values)
    }

    /// As many items as there are shapes.
    fn read_exactly<'s, 'de, A: SeqAccess<'de>>(
        &self,
        shapes: impl ExactSizeIterator<Item = &'s Shape>,
        items: &mut A,
    ) -> Result<Vec<Val>, A::Error> {
        // A type may be far longer than what came for it.
        let length = shapes.len();
        let mut values = Vec::with_capacity(length.min(64));
        for shape in shapes {
            let at = Place::Item(self.at, values.len());
            match items.next_element_seed(self.inner(shape, &at))? {
                Some(value) => values.push(value),
                None => break,
            }
        }
        let mut came = values.len();
        while items.next_element::<IgnoredAny>()?.is_some() {
            came += 1;
        }
        if came == length {
            return Ok(values);
        }
        let plural = if came == 1 { "" } else { "s" };
        Err(self.expected(&format!("{came} item{plural}")))
    }

    fn read_record<'de, A: MapAccess<'de>>(
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
                return Err(self.wrong(&format!("field {} is unknown", quoted(&key))));
            };
            if values[field].is_some() {
                return Err(self.wrong(&format!("field {} stands twice", quoted(&key))));
            }
            let at = Place::Field(self.at, &names[field]);
            values[field] = Some(entries.next_value_seed(self.inner(&shapes[field], &at))?);
            guess = field + 1;
        }
        let fields = names.iter().zip(shapes).zip(values).map(|((name, shape), value)| {
            let value = value.or_else(|| absent(shape)).ok_or_else(|| {
                self.wrong::<A::Error>(&format!("field {} ({}) is missing", quoted(name), shape.wit()))
            })?;
            Ok((name.to_owned(), value))
        });
        fields.collect::<Result<_, _>>().map(Val::Record)
    }

    fn read_map<'de, A: MapAccess<'de>>(&self, value: &Shape, entries: &mut A) -> Result<Val, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            let value = entries.next_value_seed(self.inner(value, &Place::Key(self.at, &key)))?;
            pairs.push((Val::String(key.into_owned()), value));
        }
        self.without_repetition(pairs)
    }

    fn read_pairs<'de, A: SeqAccess<'de>>(&self, pair: &(Shape, Shape), items: &mut A) -> Result<Val, A::Error> {
        let mut pairs = Vec::new();
        while let Some(entry) = items.next_element_seed(Pair { map: *self, shapes: pair, at: pairs.len() })? {
            pairs.push(entry);
        }
        self.without_repetition(pairs)
    }

    /// Of two entries with one key a function would lose one.
    fn without_repetition<E: de::Error>(&self, pairs: Vec<(Val, Val)>) -> Result<Val, E> {
        let mut keys = HashSet::new();
        let mut texts = pairs.iter().filter_map(|(key, _)| if let Val::String(key) = key { Some(key) } else { None });
        match texts.find(|key| !keys.insert(key.as_str())) {
            Some(key) => Err(self.wrong(&format!("key {} stands twice", quoted(key)))),
            None => Ok(Val::Map(pairs)),
        }
    }

    fn read_result<'de, A: MapAccess<'de>>(
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

    /// `{"some": x}`, where `x` itself may be null.
    fn read_some<'de, A: MapAccess<'de>>(&self, shape: &Shape, entries: &mut A) -> Result<Val, A::Error> {
        let value = match entries.next_key_seed(Key)?.as_deref() {
            Some("some") => self.payload(Some(shape), "some", entries)?,
            Some(other) => return Err(self.expected(&format!("an object with {}", quoted(other)))),
            None => return Err(self.expected("{}")),
        };
        self.no_more_keys("some", entries)?;
        Ok(Val::Option(value))
    }

    fn read_case<E: de::Error>(&self, names: &Names, payloads: &[Option<Shape>], name: &str) -> Result<Val, E> {
        let Some(case) = names.find(name, 0) else { return Err(self.expected(&quoted(name))) };
        match &payloads[case] {
            None => Ok(Val::Variant(name.to_owned(), None)),
            Some(shape) => Err(self.wrong(&format!("case {} needs a value ({})", quoted(name), shape.wit()))),
        }
    }

    fn read_variant<'de, A: MapAccess<'de>>(
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

    /// `{"tag": name, "val": value}`, as jco has it; the key of the first entry is known.
    fn read_tagged<'de, A: MapAccess<'de>>(
        &self,
        names: &Names,
        payloads: &[Option<Shape>],
        first: &str,
        entries: &mut A,
    ) -> Result<Val, A::Error> {
        let mut tag: Option<Cow<'de, str>> = None;
        let mut value: Option<&'de RawValue> = None;
        let mut next = Some(Cow::Borrowed(first));
        while let Some(key) = next {
            match &*key {
                "tag" if tag.is_none() => tag = Some(entries.next_value_seed(Key)?),
                "val" if value.is_none() => value = Some(entries.next_value()?),
                other => return Err(self.expected(&format!("{} beside {}", quoted(other), quoted(first)))),
            }
            next = entries.next_key_seed(Key)?;
        }
        let Some(tag) = tag else { return Err(self.expected("an object with \"val\" and no \"tag\"")) };
        let Some(case) = names.find(&tag, 0) else { return Err(self.expected(&format!("the tag {}", quoted(&tag)))) };
        let at = Place::Field(self.at, "val");
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

    fn read_flags<'de, A: SeqAccess<'de>>(&self, names: &Names, items: &mut A) -> Result<Val, A::Error> {
        let mut set = vec![false; names.len()];
        let mut guess = 0;
        while let Some(text) = items.next_element::<&RawValue>()? {
            let name = Key.deserialize(&mut serde_json::Deserializer::from_str(text.get())).ok();
            let Some(flag) = name.and_then(|name| names.find(&name, guess)) else {
                return Err(self.expected(&format!("an array with {}", shortened(text.get()))));
            };
            set[flag] = true;
            guess = flag + 1;
        }
        Ok(flags(names, &set))
    }

    fn read_flag_object<'de, A: MapAccess<'de>>(&self, names: &Names, entries: &mut A) -> Result<Val, A::Error> {
        let mut set = vec![None; names.len()];
        while let Some(key) = entries.next_key_seed(Key)? {
            let Some(flag) = names.find(&key, 0) else {
                return Err(self.wrong(&format!("flag {} is unknown", quoted(&key))));
            };
            let at = Place::Field(self.at, &names[flag]);
            let Val::Bool(value) = entries.next_value_seed(self.inner(&Shape::Bool, &at))? else { continue };
            if set[flag].replace(value).is_some() {
                return Err(self.wrong(&format!("flag {} stands twice", quoted(&key))));
            }
        }
        let set: Vec<bool> = set.into_iter().map(Option::unwrap_or_default).collect();
        Ok(flags(names, &set))
    }
}

impl<'de> DeserializeSeed<'de> for Typed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        match self.shape {
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
            Shape::Bytes => match BASE64.decode(text) {
                Ok(bytes) => Ok(Val::List(bytes.into_iter().map(Val::U8).collect())),
                Err(_) => Err(self.expected(&format!("{}, which is no base64", quoted(text)))),
            },
            Shape::Enum(names) if names.find(text, 0).is_some() => Ok(Val::Enum(text.to_owned())),
            Shape::Variant(names, payloads) => self.read_case(names, payloads, text),
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
            Shape::Map(pair) => self.read_pairs(pair, &mut items),
            Shape::Flags(names) => self.read_flags(names, &mut items),
            _ => {
                let mut came = String::from("[");
                while came.len() < SHOWN_BYTES
                    && let Some(item) = items.next_element::<&RawValue>()?
                {
                    came.push_str(if came.len() > 1 { "," } else { "" });
                    came.push_str(&shortened(item.get()));
                }
                came.push(']');
                Err(self.expected(&shortened(&came)))
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Val, A::Error> {
        match self.shape {
            Shape::Record(names, shapes) => self.read_record(names, shapes, &mut entries),
            Shape::Map(pair) if matches!(pair.0, Shape::String) => self.read_map(&pair.1, &mut entries),
            Shape::Variant(names, payloads) => self.read_variant(names, payloads, &mut entries),
            Shape::Result(pair) => self.read_result(pair, &mut entries),
            Shape::Option(item) => self.read_some(item, &mut entries),
            Shape::Flags(names) => self.read_flag_object(names, &mut entries),
            _ => {
                let mut came = String::from("{");
                while came.len() < SHOWN_BYTES
                    && let Some(key) = entries.next_key_seed(Key)?
                {
                    came.push_str(if came.len() > 1 { "," } else { "" });
                    came.push_str(&format!("{}:{}", quoted(&key), shortened(entries.next_value::<&RawValue>()?.get())));
                }
                came.push('}');
                Err(self.expected(&shortened(&came)))
            }
        }
    }
}

/// A name or another text, without a copy where none is needed.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Reads an entry of a map that came as an array of pairs.
struct Pair<'a> {
    map: Typed<'a>,
    shapes: &'a (Shape, Shape),
    at: usize,
}

impl<'de> DeserializeSeed<'de> for Pair<'_> {
    type Value = (Val, Val);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(Val, Val), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pair<'_> {
    type Value = (Val, Val);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pair")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(Val, Val), A::Error> {
        let at = Place::Item(self.map.at, self.at);
        let (key_at, value_at) = (Place::Item(&at, 0), Place::Item(&at, 1));
        let key = items.next_element_seed(self.map.inner(&self.shapes.0, &key_at))?;
        let value = items.next_element_seed(self.map.inner(&self.shapes.1, &value_at))?;
        match (key, value, items.next_element::<IgnoredAny>()?) {
            (Some(key), Some(value), None) => Ok((key, value)),
            _ => Err(self.map.argument.wrong(&at, "expected a key and a value")),
        }
    }
}

fn flags(names: &Names, set: &[bool]) -> Val {
    Val::Flags(names.iter().zip(set).filter(|(_, set)| **set).map(|(name, _)| name.to_owned()).collect())
}
