//! The names in a type, found by their text.

use std::collections::HashMap;

use wasmtime::component::Val;

use crate::wasm_worker::value::quote::quoted;

/// Up to this many names, comparing one by one is faster than hashing.
const FEW: usize = 8;
/// Longest names, in bytes, that are compared to find the nearest one: the time is the product of their lengths.
const COMPARED: usize = 100;

/// The names of parameters, fields, cases or flags, in order.
#[derive(Debug)]
pub(super) struct Names {
    list: Box<[Box<str>]>,
    /// Empty if there are at most [`FEW`] names.
    index: HashMap<Box<str>, usize>,
    size: usize,
}

impl Names {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let list: Box<[Box<str>]> = names.map(Box::from).collect();
        let index = if list.len() <= FEW {
            HashMap::new()
        } else {
            list.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect()
        };
        let size = list.iter().map(|name| size_of::<(String, Val)>() + name.len()).sum();
        Self { list, index, size }
    }

    /// Bytes that a value with all of the names takes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.list.iter().map(|name| &**name)
    }

    /// The index of `name`. Tries `guess` first: JSON mostly keeps the order of the type.
    pub(super) fn find(&self, name: &str, guess: usize) -> Option<usize> {
        if self.list.get(guess).is_some_and(|guessed| **guessed == *name) {
            return Some(guess);
        }
        if self.list.len() <= FEW {
            self.list.iter().position(|known| **known == *name)
        } else {
            self.index.get(name).copied()
        }
    }

    /// Words for a message about an unknown name, such as ` (did you mean "price"?)`; empty if none of the names is
    /// like it.
    pub(super) fn did_you_mean(&self, name: &str) -> String {
        if name.len() > COMPARED {
            return String::new();
        }
        // Of single letters nearly every one is like another.
        let compared = self.iter().filter(|known| (2..=COMPARED).contains(&known.len()) && name.len() > 1);
        let ranked = compared.map(|known| (strsim::damerau_levenshtein(name, known), known));
        match ranked.min_by_key(|(distance, _)| *distance) {
            // Of two names that share no letter, none stands for the other, however short they are.
            Some((distance, near))
                if distance <= (name.chars().count() / 3).max(2) && distance < name.len().max(near.len()) =>
            {
                format!(" (did you mean {}?)", quoted(near))
            }
            _ => String::new(),
        }
    }
}

impl std::ops::Index<usize> for Names {
    type Output = str;

    fn index(&self, at: usize) -> &str {
        &self.list[at]
    }
}
