//! Remembers where each key of a table was written, so that faults found after reading can point at it.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Place;
use super::interpolate::Origins;
use super::source::Source;

/// Where a table and its keys stand. Keys of inner tables are joined with dots: `"workers.min"`, `"env.GREETING"`; those of
/// tables in a list too, by their number from 0: `"config.rules.0.function"`.
#[derive(Debug, Clone, Default)]
pub struct Places {
    table: Option<Place>,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: Place,
    value: Place,
    origin: Option<String>,
}

// Where a key stands is no part of what it says: a configuration that was only moved is the same.
impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Places {
    /// Where the value of a key stands; if the key is not written, where the value of the nearest outer one does, or else
    /// where the table begins; nowhere if the table is not from a file.
    #[must_use]
    pub fn of(&self, key: &str) -> Option<Place> {
        self.nearest(key).map(|entry| entry.value.clone()).or_else(|| self.table.clone())
    }

    /// Where the key itself stands, otherwise as [`Places::of`].
    #[must_use]
    pub fn of_key(&self, key: &str) -> Option<Place> {
        self.nearest(key).map(|entry| entry.key.clone()).or_else(|| self.table.clone())
    }

    /// Whether the key is written, be its value right or wrong.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// What a value came from, such as `${env:TOKEN}`. Messages about a value that has an origin must not print it.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&str> {
        self.entries.get(key)?.origin.as_deref()
    }

    fn nearest(&self, key: &str) -> Option<&Entry> {
        let mut outward = iter::successors(Some(key), |key| key.rsplit_once('.').map(|(outer, _)| outer));
        outward.find_map(|key| self.entries.get(key))
    }

    /// The places of a table. `header` is where it begins; without one it is the whole file, whose lists of tables have
    /// places of their own.
    pub(super) fn new(
        table: &DeTable<'_>,
        header: Option<&Range<usize>>,
        source: &Source<'_>,
        origins: &Origins,
    ) -> Self {
        let mut places = Self { table: header.map(|span| source.place(span)), entries: BTreeMap::new() };
        places.add(table, "", source, origins);
        places
    }

    fn add(&mut self, table: &DeTable<'_>, prefix: &str, source: &Source<'_>, origins: &Origins) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) => self.add(inner, &format!("{name}."), source, origins),
                DeValue::Array(items) if self.table.is_some() => {
                    for (number, item) in items.iter().enumerate() {
                        if let DeValue::Table(inner) = item.get_ref() {
                            self.add(inner, &format!("{name}.{number}."), source, origins);
                        }
                    }
                }
                _ => {}
            }
            let entry = Entry {
                key: source.place(&key.span()),
                value: source.place(&value.span()),
                origin: origins
                    .get(&value.span().start)
                    .filter(|_| value.get_ref().is_str())
                    .map(|origin| origin.expressions.clone()),
            };
            self.entries.insert(name, entry);
        }
    }
}

/// The items of `[[<name>]]` that are tables, in file order.
pub(super) fn tables<'a, 't>(
    table: &'a DeTable<'t>,
    name: &str,
) -> impl Iterator<Item = (Range<usize>, &'a DeTable<'t>)> {
    let items = table.get(name).and_then(|value| value.get_ref().as_array());
    let tables = |item: &'a Spanned<DeValue<'t>>| Some((item.span(), item.get_ref().as_table()?));
    items.into_iter().flat_map(|items| items.iter()).filter_map(tables)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_place_is_that_of_the_value_or_else_of_the_table() {
        let text = "[[deployment]]\nname = \"a\"\nworkers = { min = 1 }\nlist = [{ a = 1 }, 2, { b = 3 }]\n";
        let source = Source::new(Path::new("m"), text);
        let tree = DeTable::parse(text).unwrap().into_inner();
        let (span, table) = tables(&tree, "deployment").next().unwrap();
        let places = Places::new(table, Some(&span), &source, &Origins::new());
        let at = |place: Option<Place>| place.map(|place| (place.line, place.column)).unwrap();
        assert_eq!(at(places.of("name")), (2, 8));
        assert_eq!(at(places.of_key("name")), (2, 1));
        assert_eq!(at(places.of("workers.min")), (3, 19));
        assert_eq!(at(places.of("list.2.b")), (4, 29));
        assert_eq!([at(places.of("workers.max")), at(places.of_key("list.1.x.y"))], [(3, 11), (4, 1)]);
        assert_eq!(at(places.of("path")), (1, 1));
        assert_eq!(Places::default().of("path"), None);
    }
}
