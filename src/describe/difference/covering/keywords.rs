//! The keywords of schemas, compared one by one for the values of one type.

use serde_json::{Number, Value};

use crate::describe::difference::covered::{Covered, Mismatch, Of};
use crate::describe::difference::covering::Comparison;
use crate::describe::difference::covering::kinds::{self, Kind};
use crate::describe::difference::part::Part;

/// Keywords that are read, here or with the alternatives.
const READ: [&str; 20] = [
    "type",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "allOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "additionalProperties",
    "minProperties",
];
/// Keywords that restrict, and of which two are the same or not.
const WHOLE: [&str; 7] =
    ["pattern", "format", "contentEncoding", "contentMediaType", "multipleOf", "uniqueItems", "propertyNames"];
/// Keywords that restrict the values of the narrow schema in a way that is not read.
const UNREAD: [&str; 9] = [
    "allOf",
    "not",
    "if",
    "dependentSchemas",
    "dependentRequired",
    "patternProperties",
    "contains",
    "unevaluatedItems",
    "unevaluatedProperties",
];

impl Comparison {
    /// What the wide schema itself says about values of a type, besides its alternatives.
    pub(super) fn own_keywords(&mut self, wide: Part<'_>, narrow: Part<'_>, kind: Kind, path: &str) -> Covered {
        let whole = || Mismatch::new(path, narrow.words(), wide.words());
        if wide.is_never() || !kinds::named(wide).into_iter().any(|there| there.admits(kind)) {
            return Covered::No(whole());
        }
        if let Some(listed) = narrow.values() {
            return of_values(wide, narrow, &listed, kind, path);
        }
        let mut covered = match (wide.values(), kind) {
            (None, _) => Covered::Yes,
            (Some(allowed), Kind::Null) => Covered::unless(allowed.contains(&&Value::Null), whole),
            (Some(allowed), Kind::Boolean) => {
                let has = |one| allowed.contains(&&Value::Bool(one));
                Covered::unless(has(true) && has(false), whole)
            }
            (Some(_), _) => Covered::No(whole()),
        };
        covered = covered.and(|| of_bounds(wide, narrow, kind, path)).and(|| of_whole(wide, narrow, kind, path));
        covered = match kind {
            Kind::Array => covered.and(|| self.of_items(wide, narrow, path)),
            Kind::Object => covered.and(|| self.of_properties(wide, narrow, path)),
            _ => covered,
        };
        let is_read = |keyword: &str| READ.contains(&keyword) || WHOLE.contains(&keyword);
        if wide.keywords().any(|keyword| !is_read(keyword) && wide.get(keyword) != narrow.get(keyword)) {
            covered = covered.and(|| Covered::Unclear(whole()));
        }
        if narrow.keywords().any(|keyword| UNREAD.contains(&keyword)) { covered.weakened() } else { covered }
    }

    fn of_items(&mut self, wide: Part<'_>, narrow: Part<'_>, path: &str) -> Covered {
        let first = |part: Part<'_>| part.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
        let path = format!("{path}[]");
        let mut covered = Covered::Yes;
        for at in 0..=first(wide).max(first(narrow)) {
            let (wide_item, narrow_item) = (item(wide, at), item(narrow, at));
            covered = covered.and(|| self.parts(wide_item, narrow_item, &path));
            // A named tuple, such as a point (x, y): what stands at a place may be something else now.
            if let (Some(there), Some(here)) = (name_of(wide, wide_item), name_of(narrow, narrow_item))
                && there != here
            {
                covered = covered.and(|| Covered::Unclear(Mismatch::new(&path, here.to_owned(), there.to_owned())));
            }
        }
        covered
    }

    fn of_properties(&mut self, wide: Part<'_>, narrow: Part<'_>, path: &str) -> Covered {
        let mut covered = Covered::Yes;
        for name in required(wide) {
            if !required(narrow).any(|there| there == name) {
                let says = if declared(narrow, name).is_some() { "optional" } else { "absent" };
                covered =
                    covered.and(|| Covered::No(Mismatch::new(&member(path, name), says.into(), "required".into())));
            }
        }
        for (name, schema) in properties(narrow) {
            let path = member(path, name);
            covered = covered.and(|| match declared(wide, name).or_else(|| others(wide)) {
                None => Covered::Yes,
                // A member that was not there before.
                Some(Value::Bool(false)) if self.of == Of::Results => Covered::Yes,
                Some(Value::Bool(false)) => Covered::No(Mismatch::new(&path, "allowed".into(), "not allowed".into())),
                Some(there) => self.parts(wide.at(there), narrow.at(schema), &path),
            });
        }
        covered.and(|| self.of_others(wide, narrow, path))
    }

    /// Members without a name of their own in the narrow schema.
    fn of_others(&mut self, wide: Part<'_>, narrow: Part<'_>, path: &str) -> Covered {
        let Some(there) = others(wide) else { return Covered::Yes };
        let path = member(path, "*");
        match others(narrow) {
            Some(Value::Bool(false)) => Covered::Yes,
            _ if there == &Value::Bool(false) && self.of == Of::Results => Covered::Yes,
            Some(others) => self.parts(wide.at(there), narrow.at(others), &path),
            // An object that names its members has no others, even if it may.
            None if properties(narrow).next().is_some() => Covered::Yes,
            None => Covered::No(Mismatch::new(&path, "anything".into(), wide.at(there).words())),
        }
    }
}

/// Whether each listed value of a type is admitted, as far as that is told without reading all that the wide schema
/// says.
fn of_values(wide: Part<'_>, narrow: Part<'_>, listed: &[&Value], kind: Kind, path: &str) -> Covered {
    let allowed = wide.values();
    for value in listed.iter().filter(|value| Kind::of_value(value) == kind) {
        if allowed.as_ref().is_some_and(|allowed| !allowed.contains(value)) {
            return Covered::No(Mismatch::new(path, value.to_string(), wide.words()));
        }
    }
    let is_choice = |keyword: &str| matches!(keyword, "type" | "enum" | "const" | "anyOf" | "oneOf" | "allOf");
    let says_more = wide.keywords().any(|keyword| !is_choice(keyword) && wide.get(keyword) != narrow.get(keyword));
    if allowed.is_none() && says_more {
        return Covered::Unclear(Mismatch::new(path, narrow.words(), wide.words()));
    }
    Covered::Yes
}

/// Lower and upper bounds of a type's values.
fn of_bounds(wide: Part<'_>, narrow: Part<'_>, kind: Kind, path: &str) -> Covered {
    let (lower, upper): (&[&str], &[&str]) = match kind {
        Kind::Integer | Kind::Number => (&["minimum", "exclusiveMinimum"], &["maximum", "exclusiveMaximum"]),
        Kind::String => (&["minLength"], &["maxLength"]),
        Kind::Array => (&["minItems"], &["maxItems"]),
        Kind::Object => (&["minProperties"], &["maxProperties"]),
        Kind::Null | Kind::Boolean => (&[], &[]),
    };
    let mut covered = Covered::Yes;
    for (keywords, is_lower) in [(lower, true), (upper, false)] {
        for keyword in keywords {
            let Some(bound) = number(wide, keyword).filter(|bound| !is_natural(keyword, *bound)) else { continue };
            let is_within = |there: &&str| {
                let Some(value) = number(narrow, there) else { return false };
                // An inclusive bound equal to an exclusive one lets one value more through.
                let touches = keyword.starts_with("exclusive") && !there.starts_with("exclusive");
                let is_inside = if is_lower { value > bound } else { value < bound };
                is_inside || value.to_bits() == bound.to_bits() && !touches
            };
            covered = covered.and(|| {
                Covered::unless(keywords.iter().any(is_within), || {
                    Mismatch::new(path, said(narrow, keyword), said(wide, keyword))
                })
            });
        }
    }
    covered
}

fn number(part: Part<'_>, keyword: &str) -> Option<f64> {
    part.get(keyword).and_then(Value::as_number).and_then(Number::as_f64)
}

/// Whether a bound holds for every value anyway.
fn is_natural(keyword: &str, bound: f64) -> bool {
    bound <= 0.0 && matches!(keyword, "minLength" | "minItems" | "minProperties")
}

/// Keywords that restrict, and of which two that differ are not compared.
fn of_whole(wide: Part<'_>, narrow: Part<'_>, kind: Kind, path: &str) -> Covered {
    let mut covered = Covered::Yes;
    for keyword in WHOLE.iter().filter(|keyword| applies(keyword, kind)) {
        let there = narrow.get(keyword);
        if wide.get(keyword).is_none_or(|value| value == &Value::Bool(false) || there == Some(value)) {
            continue;
        }
        let found = Mismatch::new(path, said(narrow, keyword), said(wide, keyword));
        let is_unclear = there.is_some() && matches!(*keyword, "pattern" | "multipleOf" | "propertyNames");
        covered = covered.and(|| if is_unclear { Covered::Unclear(found) } else { Covered::No(found) });
    }
    covered
}

fn said(part: Part<'_>, keyword: &str) -> String {
    match (part.get(keyword), keyword) {
        (None, "minItems" | "maxItems") => "an array of any length".to_owned(),
        (None, _) => format!("without {keyword}"),
        (Some(value), "minItems") => format!("an array of {value} or more"),
        (Some(value), "maxItems") => format!("an array of at most {value}"),
        (Some(value), _) => format!("{keyword} {value}"),
    }
}

/// The name of an item of a named tuple.
fn name_of<'a>(array: Part<'a>, item: Part<'a>) -> Option<&'a str> {
    array.get("title").filter(|_| array.get("prefixItems").is_some())?;
    item.get("title").and_then(Value::as_str)
}

fn applies(keyword: &str, kind: Kind) -> bool {
    match keyword {
        "multipleOf" => matches!(kind, Kind::Integer | Kind::Number),
        "uniqueItems" => kind == Kind::Array,
        "propertyNames" => kind == Kind::Object,
        _ => kind == Kind::String,
    }
}

/// The schema of the item at a place of an array.
fn item(part: Part<'_>, at: usize) -> Part<'_> {
    let first = part.get("prefixItems").and_then(Value::as_array).and_then(|first| first.get(at));
    part.at(first.or_else(|| part.get("items")).unwrap_or(&Value::Bool(true)))
}

fn required(part: Part<'_>) -> impl Iterator<Item = &str> {
    part.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn properties(part: Part<'_>) -> impl Iterator<Item = (&String, &Value)> {
    part.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn declared<'a>(part: Part<'a>, name: &str) -> Option<&'a Value> {
    part.get("properties")?.get(name)
}

/// The schema of members that are not named, if it says something.
fn others(part: Part<'_>) -> Option<&Value> {
    part.get("additionalProperties").filter(|others| !part.at(others).says_nothing())
}

fn member(path: &str, name: &str) -> String {
    format!("{path}.{name}")
}
