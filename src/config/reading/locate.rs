//! Records the locations of the keys of a parsed table.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::locations::{Entry, Locations};
use crate::config::reading::interpolate::Origins;
use crate::config::reading::source::Source;

/// The locations of a table's keys, and of the items of its lists. `header` is the span where the table begins. Without
/// one the table is a whole file, and its outermost lists, such as `[[deployment]]`, are left out: each of their tables
/// has locations of its own.
pub(super) fn locate(
    table: &DeTable<'_>,
    header: Option<&Range<usize>>,
    source: &Source<'_>,
    origins: &Origins,
) -> Locations {
    let mut locations = Locations::new(header.map(|span| source.location(span)));
    add_keys(&mut locations, table, "", source, origins);
    locations
}

fn add_keys(locations: &mut Locations, table: &DeTable<'_>, prefix: &str, source: &Source<'_>, origins: &Origins) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => add_keys(locations, inner, &format!("{name}."), source, origins),
            DeValue::Array(items) if locations.has_header() || !prefix.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    let name = format!("{name}.{index}");
                    if let DeValue::Table(inner) = item.get_ref() {
                        add_keys(locations, inner, &format!("{name}."), source, origins);
                    }
                    locations.insert(name, entry(&key.span(), item, source, origins));
                }
            }
            _ => {}
        }
        locations.insert(name, entry(&key.span(), value, source, origins));
    }
}

fn entry(key: &Range<usize>, value: &Spanned<DeValue<'_>>, source: &Source<'_>, origins: &Origins) -> Entry {
    // An interpolated text may have become a number by now; a later value at the same start is not interpolated.
    let origin = origins.get(&value.span().start).filter(|_| value.get_ref().is_str());
    Entry {
        key: source.location(key),
        value: source.location(&value.span()),
        origin: origin.map(|origin| origin.expressions.clone()),
    }
}

/// The tables of the list `[[<name>]]` with the spans of their headers, in file order.
pub(crate) fn tables<'a, 't>(
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
    use crate::config::locations::Location;

    #[test]
    fn a_key_without_a_location_has_that_of_the_nearest_outer_one() {
        let text = "[[deployment]]\nname = \"a\"\nworkers = { min = 1 }\nlist = [{ a = 1 }, 2, { b = 3 }]\n";
        let source = Source::new(Path::new("m"), text);
        let tree = DeTable::parse(text).unwrap().into_inner();
        let (span, table) = tables(&tree, "deployment").next().unwrap();
        let locations = locate(table, Some(&span), &source, &Origins::new());
        let at = |location: Option<Location>| location.map(|location| (location.line, location.column)).unwrap();
        assert_eq!(at(locations.of("name")), (2, 8));
        assert_eq!(at(locations.of_key("name")), (2, 1));
        assert_eq!(at(locations.of("workers.min")), (3, 19));
        assert_eq!(at(locations.of("list.2.b")), (4, 29));
        assert_eq!([at(locations.of("list.1")), at(locations.of_key("list.1"))], [(4, 20), (4, 1)]);
        assert_eq!([at(locations.of("workers.max")), at(locations.of_key("list.1.x.y"))], [(3, 11), (4, 1)]);
        assert_eq!(at(locations.of("path")), (1, 1));
        assert_eq!(Locations::default().of("path"), None);
    }
}
