//! The keywords of schemas, compared one by one for the values of one type.

use std::cmp::Ordering;

use serde_json::{Number, Value, json};

use crate::describe::difference::covered::{Covered, Mismatch, Of};
use crate::describe::difference::covering::Comparison;
use crate::describe::difference::covering::kinds::{self, Kind};
use crate::describe::difference::part::{Part, has_same, is_same};

/// Keywords that are read, here or with the alternatives.
const READ: [&str; 22] = [
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
    "maxProperties",
    "propertyNames",
];
/// Keywords that restrict, and of which two are the same or not.
const WHOLE: [&str; 6] = ["pattern", "format", "contentEncoding", "contentMediaType", "multipleOf", "uniqueItems"];
/// Those of them that say how a value is sent: without them it is sent in another way.
const FORMS: [&str; 2] = ["contentEncoding", "contentMediaType"];
/// A format that says so, too.
const FILE: &str = "binary";
/// Keywords for numbers.
const BOUNDS: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
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
        let has_both = wide.get("anyOf").is_some() && wide.get("oneOf").is_some();
        if has_both || wide.keywords().any(|keyword| !is_read(keyword) && !has_same(wide, narrow, keyword)) {
            covered = covered.and(|| Covered::Unclear(whole()));
        }
        if narrow.keywords().any(|keyword| UNREAD.contains(&keyword)) { covered.weakened() } else { covered }
    }

    fn of_items(&mut self, wide: Part<'_>, narrow: Part<'_>, path: &str) -> Covered {
        let first = |part: Part<'_>| part.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
        let path = format!("{path}[]");
        let most = narrow.get("maxItems").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let exists = |at: &usize| u64::try_from(*at).is_ok_and(|at| at < most);
        let mut covered = Covered::Yes;
        for at in (0..=first(wide).max(first(narrow))).take_while(exists) {
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
        for (name, schema) in properties(wide).filter(|(name, _)| declared(narrow, name).is_none()) {
            covered = covered.and(|| self.of_further(wide.at(schema), narrow, &member(path, name)));
        }
        if let Some(there) = others(wide) {
            covered = covered.and(|| self.of_further(wide.at(there), narrow, &member(path, "*")));
        }
        covered.and(|| self.of_names(wide, narrow, path))
    }

    /// Whether what the narrow schema admits for members that it does not name is covered. `wide` is the schema of such
    /// a member.
    fn of_further(&mut self, wide: Part<'_>, narrow: Part<'_>, path: &str) -> Covered {
        let anything = Value::Bool(true);
        let schema = narrow.get("additionalProperties");
        let has_patterns = narrow.get("patternProperties").is_some();
        if schema == Some(&Value::Bool(false)) && !has_patterns || wide.is_never() && self.of == Of::Results {
            return Covered::Yes;
        }
        // An object that names its members is rarely sent with others, even if it may be.
        let is_rare = schema.is_none() && properties(narrow).next().is_some();
        let schema = schema.filter(|_| !has_patterns).unwrap_or(&anything);
        let covered = self.parts(wide, narrow.at(schema), path);
        let says_nothing = narrow.at(schema).says_nothing() && self.of == Of::Results;
        let is_unclear = is_rare || says_nothing || narrow.get("propertyNames").is_some();
        if is_unclear { covered.weakened() } else { covered }
    }

    /// Whether the names of members are covered.
    fn of_names(&mut self, wide: Part<'_>, narrow: Part<'_>, path: &str) -> Covered {
        let Some(there) = wide.get("propertyNames") else { return Covered::Yes };
        let text = json!({"type": "string"});
        let wide = wide.at(there);
        let narrow = narrow.at(narrow.get("propertyNames").unwrap_or(&text));
        let path = format!("{path} (names)");
        if is_same(wide, narrow) {
            return Covered::Yes;
        }
        let covered = match narrow.resolved() {
            // A name is a text, even where its schema does not say so.
            Some(names) if names.choices().is_none() && names.values().is_none() => {
                self.of_kind(wide, names, Kind::String, &path)
            }
            _ => self.parts(wide, narrow, &path),
        };
        // Of names that stand for numbers, workers send what must hold for these.
        let is_other = |keyword: &str| BOUNDS.contains(&keyword) && wide.get(keyword) != narrow.get(keyword);
        let unclear = || Covered::Unclear(Mismatch::new(&path, narrow.words(), wide.words()));
        covered.and(|| if wide.keywords().any(is_other) { unclear() } else { Covered::Yes })
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
    let says_more = wide.keywords().any(|keyword| !is_choice(keyword) && !has_same(wide, narrow, keyword));
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
            let Some(bound) = wide.get(keyword).filter(|bound| !is_natural(keyword, bound)) else { continue };
            let found = || Mismatch::new(path, said(narrow, keyword), said(wide, keyword));
            let Some(bound) = bound.as_number() else { return Covered::Unclear(found()) };
            // Whether a bound of the narrow schema is within this one; `None` where that is not known.
            let is_within = |there: &&str| {
                let Some(value) = narrow.get(there) else { return Some(false) };
                // An inclusive bound equal to an exclusive one lets one value more through.
                let touches = keyword.starts_with("exclusive") && !there.starts_with("exclusive");
                let inside = if is_lower { Ordering::Greater } else { Ordering::Less };
                let order = compared(value.as_number()?, bound)?;
                Some(order == inside || order == Ordering::Equal && !touches)
            };
            let within: Vec<_> = keywords.iter().map(is_within).collect();
            covered = covered.and(|| match within.contains(&Some(true)) {
                true => Covered::Yes,
                false if within.contains(&None) => Covered::Unclear(found()),
                false => Covered::No(found()),
            });
        }
    }
    covered
}

/// The order of two numbers; `None` if they may differ in digits that were lost when they were read.
fn compared(one: &Number, other: &Number) -> Option<Ordering> {
    /// From here on a float stands for several whole numbers.
    const INEXACT: f64 = 9_007_199_254_740_992.0;
    if let (Some(one), Some(other)) = (one.as_i128(), other.as_i128()) {
        return Some(one.cmp(&other));
    }
    let (one, other) = (one.as_f64()?, other.as_f64()?);
    one.partial_cmp(&other).filter(|order| *order != Ordering::Equal || one.abs() < INEXACT)
}

/// Whether a bound holds for every value anyway.
fn is_natural(keyword: &str, bound: &Value) -> bool {
    bound.as_f64().is_some_and(|bound| bound <= 0.0) && matches!(keyword, "minLength" | "minItems" | "minProperties")
}

/// Keywords that restrict, and of which two that differ are not compared.
fn of_whole(wide: Part<'_>, narrow: Part<'_>, kind: Kind, path: &str) -> Covered {
    let mut covered = Covered::Yes;
    for keyword in WHOLE.iter().filter(|keyword| applies(keyword, kind)) {
        let (here, there) = (wide.get(keyword), narrow.get(keyword));
        let is_lost = || FORMS.contains(keyword) || there.is_some_and(|form| form == FILE);
        let holds = here.is_none_or(|value| value == &Value::Bool(false)) && !(there.is_some() && is_lost());
        if holds || here == there {
            continue;
        }
        let found = Mismatch::new(path, said(narrow, keyword), said(wide, keyword));
        let is_unclear = there.is_some() && matches!(*keyword, "pattern" | "multipleOf");
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
