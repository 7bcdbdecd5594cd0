//! Finds and removes items of a parsed file by the span they were written at, which is how errors name them.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// One step from a table or array down to an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the root to an item; never empty.
pub(super) type Route = Vec<Step>;

/// The way to the item whose key stands at `span`.
pub(super) fn find_key(table: &DeTable<'_>, span: &Range<usize>) -> Option<Route> {
    find(table, &|key, _| key.is_some_and(|key| key.span() == *span))
}

/// The way to the item whose value stands at `span` and is `wanted`; the innermost if several do, since the table of
/// the first `[[deployment]]` has the span of the whole list.
pub(super) fn find_value(table: &DeTable<'_>, span: &Range<usize>, wanted: fn(&DeValue<'_>) -> bool) -> Option<Route> {
    find(table, &|_, value| value.span() == *span && wanted(value.get_ref()))
}

/// The item at the end of the way.
pub(super) fn get<'a, 't>(table: &'a DeTable<'t>, route: &[Step]) -> Option<&'a Spanned<DeValue<'t>>> {
    let (first, rest) = route.split_first()?;
    let Step::Key(key) = first else { return None };
    rest.iter().try_fold(table.get(key.as_str())?, |value, step| match step {
        Step::Key(key) => value.get_ref().get(key.as_str()),
        Step::Index(index) => value.get_ref().get(*index),
    })
}

/// The same as [`get`], to be changed.
pub(super) fn get_mut<'a, 't>(table: &'a mut DeTable<'t>, route: &[Step]) -> Option<&'a mut Spanned<DeValue<'t>>> {
    let (first, rest) = route.split_first()?;
    let Step::Key(key) = first else { return None };
    rest.iter().try_fold(table.get_mut(key.as_str())?, |value, step| match (step, value.get_mut()) {
        (Step::Key(key), DeValue::Table(table)) => table.get_mut(key.as_str()),
        (Step::Index(index), DeValue::Array(array)) => array.get_mut(*index),
        _ => None,
    })
}

/// Takes the item at the end of the way out of the tree.
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

/// Calls `visit` with each text value of the table and of what is beneath it.
pub(super) fn each_text<'t>(table: &mut DeTable<'t>, visit: &mut dyn FnMut(Range<usize>, &mut Cow<'t, str>)) {
    for (_, value) in table.iter_mut() {
        each_text_of(value, visit);
    }
}

fn each_text_of<'t>(value: &mut Spanned<DeValue<'t>>, visit: &mut dyn FnMut(Range<usize>, &mut Cow<'t, str>)) {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) => visit(span, text),
        DeValue::Array(array) => array.iter_mut().for_each(|item| each_text_of(item, visit)),
        DeValue::Table(table) => each_text(table, visit),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

type Matches<'m> = &'m dyn Fn(Option<&Spanned<Cow<'_, str>>>, &Spanned<DeValue<'_>>) -> bool;

fn find(table: &DeTable<'_>, matches: Matches<'_>) -> Option<Route> {
    table.iter().find_map(|(key, value)| {
        let step = || Step::Key(key.get_ref().clone().into_owned());
        find_in(value, matches)
            .map(|route| prepend(step(), route))
            .or_else(|| matches(Some(key), value).then(|| vec![step()]))
    })
}

fn find_in(value: &Spanned<DeValue<'_>>, matches: Matches<'_>) -> Option<Route> {
    match value.get_ref() {
        DeValue::Table(table) => find(table, matches),
        DeValue::Array(array) => array.iter().enumerate().find_map(|(index, item)| {
            let inner = find_in(item, matches).map(|route| prepend(Step::Index(index), route));
            inner.or_else(|| matches(None, item).then(|| vec![Step::Index(index)]))
        }),
        _ => None,
    }
}

fn prepend(step: Step, route: Route) -> Route {
    std::iter::once(step).chain(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[deployment]]\nname = \"a\"\n[[deployment]]\ncommand = [1, 2]\n";

    fn key(name: &str) -> Step {
        Step::Key(name.to_owned())
    }

    #[test]
    fn an_item_is_found_by_its_span_and_removed() {
        let mut tree = DeTable::parse(TEXT).unwrap().into_inner();
        let at = TEXT.find("1,").unwrap();
        let route = find_value(&tree, &(at..at + 1), |_| true).unwrap();
        assert_eq!(route, [key("deployment"), Step::Index(1), key("command"), Step::Index(0)]);
        remove(&mut tree, &route);
        let left = get(&tree, &route[..3]).unwrap().get_ref().as_array().unwrap();
        assert_eq!(left.len(), 1);
        let at = TEXT.find("name").unwrap();
        let route = find_key(&tree, &(at..at + 4)).unwrap();
        remove(&mut tree, &route);
        assert!(get(&tree, &route).is_none());
    }

    #[test]
    fn a_header_means_the_table_and_not_the_list() {
        let tree = DeTable::parse(TEXT).unwrap().into_inner();
        let route = find_value(&tree, &(0..14), |value| value.is_table()).unwrap();
        assert_eq!(route, [key("deployment"), Step::Index(0)]);
    }
}
