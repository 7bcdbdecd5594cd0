//! The locations of the keys of a table in their file, for faults that are found after the file was read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::{fmt, iter};

/// A part of one line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file, by the path that the user gave.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: usize,
    /// The first character within the line, from 1.
    pub column: usize,
    /// The whole line of the file, with each character of a secret replaced by `*`.
    pub text: String,
    /// The number of characters, at least 1.
    pub width: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// The locations of a table and its keys.
///
/// Keys of inner tables are joined with dots: `"workers.min"`, `"env.GREETING"`. An item of a list is named by its
/// index from 0: `"config.rules.0.function"`, `"server.listen.1"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locations {
    table: Option<Location>,
    entries: BTreeMap<String, Entry>,
}

/// The location of one key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The location of the key.
    pub(crate) key: Location,
    /// The location of its value.
    pub(crate) value: Location,
    /// The expressions that the value was made of, such as `${env:TOKEN}`.
    pub(crate) origin: Option<String>,
}

impl Locations {
    /// Locations of a table that begins at `table`, without keys; `None` for a whole file.
    pub(crate) const fn new(table: Option<Location>) -> Self {
        Self { table, entries: BTreeMap::new() }
    }

    /// Records the location of a key.
    pub(crate) fn insert(&mut self, key: String, entry: Entry) {
        self.entries.insert(key, entry);
    }

    /// Whether these belong to a table with a header, and not to a whole file.
    pub(crate) const fn has_header(&self) -> bool {
        self.table.is_some()
    }

    /// The location of a key's value. For a key that is not written, the value of the nearest outer key or else the
    /// start of the table; `None` if the table is not from a file.
    #[must_use]
    pub fn of(&self, key: &str) -> Option<Location> {
        self.nearest(key).map(|entry| entry.value.clone()).or_else(|| self.table.clone())
    }

    /// The location of the key itself; for a key that is not written, as [`Locations::of`].
    #[must_use]
    pub fn of_key(&self, key: &str) -> Option<Location> {
        self.nearest(key).map(|entry| entry.key.clone()).or_else(|| self.table.clone())
    }

    /// Whether the file has the key, even if its value was refused.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The expressions that a value was made of, such as `${env:TOKEN}`. A message about a value that has an origin
    /// must not print the value.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.entries.get(key)?.origin.as_deref()
    }

    fn nearest(&self, key: &str) -> Option<&Entry> {
        let mut outward = iter::successors(Some(key), |key| key.rsplit_once('.').map(|(outer, _)| outer));
        outward.find_map(|key| self.entries.get(key))
    }
}
