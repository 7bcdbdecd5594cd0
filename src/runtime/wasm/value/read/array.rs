//! What JSON arrays stand for: lists, tuples, maps as pairs, sets of flags.

use std::collections::HashSet;

use serde::de::{self, IgnoredAny, SeqAccess};
use serde_json::value::RawValue;
use wasmtime::component::Val;

use crate::runtime::wasm::value::mismatch::{quoted, shortened};
use crate::runtime::wasm::value::names::Names;
use crate::runtime::wasm::value::place::Place;
use crate::runtime::wasm::value::read::Typed;
use crate::runtime::wasm::value::read::key;
use crate::runtime::wasm::value::shape::Shape;

impl Typed<'_> {
    pub(super) fn read_items<'de, A: SeqAccess<'de>>(
        &self,
        shape: &Shape,
        items: &mut A,
    ) -> Result<Vec<Val>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.inner(shape, &Place::Item(self.at, values.len())))? {
            values.push(value);
        }
        Ok(values)
    }

    /// As many items as there are shapes.
    pub(super) fn read_exactly<'s, 'de, A: SeqAccess<'de>>(
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

    /// The entries of a map, each of which came as a tuple.
    pub(super) fn read_entries<'de, A: SeqAccess<'de>>(&self, entry: &Shape, items: &mut A) -> Result<Val, A::Error> {
        let mut pairs = Vec::new();
        while let Some(read) = items.next_element_seed(self.inner(entry, &Place::Item(self.at, pairs.len())))? {
            if let Val::Tuple(pair) = read
                && let Ok([key, value]) = <[Val; 2]>::try_from(pair)
            {
                pairs.push((key, value));
            }
        }
        self.without_repetition(pairs)
    }

    /// Of two entries with one key a function would lose one.
    pub(super) fn without_repetition<E: de::Error>(&self, pairs: Vec<(Val, Val)>) -> Result<Val, E> {
        let mut keys = HashSet::new();
        let mut texts = pairs.iter().filter_map(|(key, _)| if let Val::String(key) = key { Some(key) } else { None });
        match texts.find(|key| !keys.insert(key.as_str())) {
            Some(key) => Err(self.wrong(&format!("key {} stands twice", quoted(key)))),
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

/// Flags in the order of their type.
pub(super) fn flags(names: &Names, set: &[bool]) -> Val {
    Val::Flags(names.iter().zip(set).filter(|(_, set)| **set).map(|(name, _)| name.to_owned()).collect())
}
