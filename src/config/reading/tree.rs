//! Routes through a parsed file: find, change and remove the item that an error names.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// One step from a table or list down to an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The entry of a table under this key.
    Key(String),
    /// The item of a list at this index.
    Index(usize),
}

/// The steps from the root to an item; empty for the root itself.
pub(super) type Route = Vec<Step>;

/// The item at the end of the route.
pub(super) fn get<'a, 't>(table: &'a DeTable<'t>, route: &[Step]) -> Option<&'a Spanned<DeValue<'t>>> {
    let (first, rest) = route.split_first()?;
    let Step::Key(key) = first else { return None };
    rest.iter().try_fold(table.get(key.as_str())?, |value, step| match step {
        Step::Key(key) => value.get_ref().get(key.as_str()),
        Step::Index(index) => value.get_ref().get(*index),
    })
}

/// The item at the end of the route, to be changed.
pub(super) fn get_mut<'a, 't>(table: &'a mut DeTable<'t>, route: &[Step]) -> Option<&'a mut Spanned<DeValue<'t>>> {
    let (first, rest) = route.split_first()?;
    let Step::Key(key) = first else { return None };
    rest.iter().try_fold(table.get_mut(key.as_str())?, |value, step| match (step, value.get_mut()) {
        (Step::Key(key), DeValue::Table(table)) => table.get_mut(key.as_str()),
        (Step::Index(index), DeValue::Array(array)) => array.get_mut(*index),
        _ => None,
    })
}

/// The span of the key at the end of the route.
pub(super) fn key_span(table: &DeTable<'_>, route: &[Step]) -> Option<Range<usize>> {
    let (Step::Key(key), parent) = route.split_last()? else { return None };
    let table = if parent.is_empty() { table } else { get(table, parent)?.get_ref().as_table()? };
    table.get_key_value(key.as_str()).map(|(key, _)| key.span())
}

/// Removes the item at the end of the route from the tree.
pub(super) fn remove(table: &mut DeTable<'_>, route: &[Step]) {
    let Some((last, parent)) = route.split_last() else {
        return;
    };
    if let ([], Step::Key(key)) = (parent, last) {
        table.remove(key.as_str());
        return;
    }
    match (last, get_mut(table, parent).map(Spanned::get_mut)) {
        (Step::Key(key), Some(DeValue::Table(table))) => drop(table.remove(key.as_str())),
        (Step::Index(index), Some(DeValue::Array(array))) => {
            let items = mem::replace(array, DeArray::new()).into_iter().enumerate();
            *array = items.filter(|(at, _)| at != index).map(|(_, item)| item).collect();
        }
        _ => {}
    }
}

/// A text value on its visit: the route to it, its span and the text itself.
pub(super) type Visit<'v, 't> = dyn FnMut(&[Step], Range<usize>, &mut Cow<'t, str>) + 'v;

/// Calls `visit` with each text value in the table, at any depth.
pub(super) fn each_text<'t>(table: &mut DeTable<'t>, visit: &mut Visit<'_, 't>) {
    each_text_in(table, &mut Route::new(), visit);
}

fn each_text_in<'t>(table: &mut DeTable<'t>, route: &mut Route, visit: &mut Visit<'_, 't>) {
    for (key, value) in table.iter_mut() {
        route.push(Step::Key(key.get_ref().clone().into_owned()));
        each_text_of(value, route, visit);
        route.pop();
    }
}

fn each_text_of<'t>(value: &mut Spanned<DeValue<'t>>, route: &mut Route, visit: &mut Visit<'_, 't>) {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) => visit(route, span, text),
        DeValue::Array(array) => {
            for (index, item) in array.iter_mut().enumerate() {
                route.push(Step::Index(index));
                each_text_of(item, route, visit);
                route.pop();
            }
        }
        DeValue::Table(table) => each_text_in(table, route, visit),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[deployment]]\nname = \"a\"\n[[deployment]]\ncommand = [1, 2]\n";

    fn key(name: &str) -> Step {
        Step::Key(name.to_owned())
    }

    #[test]
    fn an_item_is_found_by_its_route_and_removed() {
        let mut tree = DeTable::parse(TEXT).unwrap().into_inner();
        let route = [key("deployment"), Step::Index(1), key("command"), Step::Index(0)];
        let at = TEXT.find("1,").unwrap();
        assert_eq!(get(&tree, &route).unwrap().span(), at..at + 1);
        remove(&mut tree, &route);
        let left = get(&tree, &route[..3]).unwrap().get_ref().as_array().unwrap();
        assert_eq!(left.len(), 1);
        let route = [key("deployment"), Step::Index(0), key("name")];
        let at = TEXT.find("name").unwrap();
        assert_eq!(key_span(&tree, &route), Some(at..at + 4));
        remove(&mut tree, &route);
        assert!(get(&tree, &route).is_none() && key_span(&tree, &route).is_none());
    }

    #[test]
    fn each_text_is_visited_with_its_route() {
        let mut tree = DeTable::parse("a = [1, { b = \"x\" }]\nc = \"y\"\n").unwrap().into_inner();
        let mut visited = Vec::new();
        each_text(&mut tree, &mut |route, _, text| visited.push((route.to_vec(), text.to_string())));
        let expected = [(vec![key("a"), Step::Index(1), key("b")], "x".to_owned()), (vec![key("c")], "y".to_owned())];
        assert_eq!(visited, expected);
    }
}
