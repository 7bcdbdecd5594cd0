//! Reads JSON arrays: lists, tuples, maps as pairs, sets of flags.

use std::collections::HashSet;

use serde::de::{self, IgnoredAny, SeqAccess};
use serde_json::value::RawValue;
use wasmtime::component::Val;

use crate::wasm_worker::value::names::Names;
use crate::wasm_worker::value::position::Position;
use crate::wasm_worker::value::quote::{quoted, shortened};
use crate::wasm_worker::value::read::Typed;
use crate::wasm_worker::value::read::key;
use crate::wasm_worker::value::shape::Shape;

impl Typed<'_> {
    pub(super) fn read_items<'de, A: SeqAccess<'de>>(
        &self,
        shape: &Shape,
        items: &mut A,
    ) -> Result<Vec<Val>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.inner(shape, &Position::Item(self.at, values.len())))? {
            values.push(value);
        }
        Ok(values)
    }

    /// Reads exactly one item for each shape.
    pub(super) fn read_exactly<'s, 'de, A: SeqAccess<'de>>(
        &self,
        shapes: impl ExactSizeIterator<Item = &'s Shape>,
        items: &mut A,
    ) -> Result<Vec<Val>, A::Error> {
        // The length comes from the type, which may promise far more items than the JSON has.
        let length = shapes.len();
        let mut values = Vec::with_capacity(length.min(64));
        for shape in shapes {
            let at = Position::Item(self.at, values.len());
            match items.next_element_seed(self.inner(shape, &at))? {
                Some(value) => values.push(value),
                None => break,
            }
        }
        let mut count = values.len();
        while items.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        if count == length {
            return Ok(values);
        }
        let plural = if count == 1 { "" } else { "s" };
        Err(self.expected(&format!("{count} item{plural}")))
    }

    /// Reads the entries of a map, each a pair.
    pub(super) fn read_entries<'de, A: SeqAccess<'de>>(&self, entry: &Shape, items: &mut A) -> Result<Val, A::Error> {
        let mut pairs = Vec::new();
        while let Some(read) = items.next_element_seed(self.inner(entry, &Position::Item(self.at, pairs.len())))? {
            if let Val::Tuple(pair) = read
                && let Ok([key, value]) = <[Val; 2]>::try_from(pair)
            {
                pairs.push((key, value));
            }
        }
        self.without_repetition(pairs)
    }

    /// Makes a map of the entries. Refuses a repeated key: the function would lose one of the two values.
    pub(super) fn without_repetition<E: de::Error>(&self, pairs: Vec<(Val, Val)>) -> Result<Val, E> {
        let mut keys = HashSet::new();
        let mut texts = pairs.iter().filter_map(|(key, _)| if let Val::String(key) = key { Some(key) } else { None });
        match texts.find(|key| !keys.insert(key.as_str())) {
            Some(key) => {
                let what = format!("key {} is repeated", quoted(key));
                Err(self.wrong_part(&what, &Position::Key(self.at, key), self.shape.wit()))
            }
            None => Ok(Val::Map(pairs)),
        }
    }

    pub(super) fn read_flags<'de, A: SeqAccess<'de>>(&self, names: &Names, items: &mut A) -> Result<Val, A::Error> {
        let mut set = vec![false; names.len()];
        let mut guess = 0;
        while let Some(text) = items.next_element::<&RawValue>()? {
            let Some(flag) = key::string(text).and_then(|name| names.find(&name, guess)) else {
                return Err(self.expected(&format!("an array with {}", shortened(text.get()))));
            };
            set[flag] = true;
            guess = flag + 1;
        }
        Ok(flags(names, &set))
    }
}

/// The flags that are set, in the order of their type.
pub(super) fn flags(names: &Names, set: &[bool]) -> Val {
    Val::Flags(names.iter().zip(set).filter(|(_, set)| **set).map(|(name, _)| name.to_owned()).collect())
}
