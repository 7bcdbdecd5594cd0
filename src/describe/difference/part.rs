//! A schema, and what can be read of it.

use serde_json::Value;

use crate::deployment::is_left_out;
use crate::describe::reference::definition;
use crate::describe::words;

/// Most references that are followed from one to the next.
const MOST_REFERENCES: usize = 64;
/// Keywords that say nothing about which values are valid.
const NOTES: [&str; 13] = [
    "title",
    "description",
    "default",
    "examples",
    "example",
    "deprecated",
    "readOnly",
    "writeOnly",
    "discriminator",
    "$comment",
    "$schema",
    "$id",
    "$defs",
];

/// A schema within a larger one, whose definitions it refers to.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) schema: &'a Value,
    pub(super) root: &'a Value,
}

impl<'a> Part<'a> {
    /// A schema of its own.
    pub(super) fn whole(schema: &'a Value) -> Self {
        Self { schema, root: schema }
    }

    pub(super) fn at(self, schema: &'a Value) -> Self {
        Self { schema, ..self }
    }

    pub(super) fn get(self, keyword: &str) -> Option<&'a Value> {
        self.schema.get(keyword)
    }

    /// The schema that a reference is to, through any number of them. `None` for one that leads nowhere, or has
    /// keywords beside it that count.
    pub(super) fn resolved(mut self) -> Option<Self> {
        for _ in 0..MOST_REFERENCES {
            let Some(reference) = self.get("$ref").and_then(Value::as_str) else { return Some(self) };
            if self.keywords().any(|keyword| keyword != "$ref") {
                return None;
            }
            self.schema = match reference {
                "#" => self.root,
                _ => self.root.get("$defs")?.get(definition(reference)?)?,
            };
        }
        None
    }

    /// The keywords that count.
    pub(super) fn keywords(self) -> impl Iterator<Item = &'a str> {
        self.schema.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).filter(|key| !NOTES.contains(key))
    }

    pub(super) fn says_nothing(self) -> bool {
        self.schema == &Value::Bool(true) || self.schema.is_object() && self.keywords().next().is_none()
    }

    /// Whether it is not known, because it was too long to be sent.
    pub(super) fn is_left_out(self) -> bool {
        is_left_out(self.schema)
    }

    pub(super) fn is_never(self) -> bool {
        self.schema == &Value::Bool(false)
    }

    /// The alternatives of which a value is one, if there are some.
    pub(super) fn choices(self) -> Option<&'a Vec<Value>> {
        self.get("anyOf").or_else(|| self.get("oneOf"))?.as_array()
    }

    /// The values that it lists, if it does.
    pub(super) fn values(self) -> Option<Vec<&'a Value>> {
        match self.get("const") {
            Some(value) => Some(vec![value]),
            None => Some(self.get("enum")?.as_array()?.iter().collect()),
        }
    }

    pub(super) fn words(self) -> String {
        if self.is_left_out() {
            return "too long to be described".to_owned();
        }
        if self.is_never() {
            return "not allowed".to_owned();
        }
        let text = words::of_schema(self.schema);
        if text.is_empty() { "anything".to_owned() } else { text }
    }
}

/// Whether two schemas are equal, with all that they may refer to.
pub(super) fn is_same(one: Part<'_>, other: Part<'_>) -> bool {
    one.schema == other.schema && refer_alike(one.schema, one.root, other.root)
}

/// Whether a keyword says the same in both.
pub(super) fn has_same(one: Part<'_>, other: Part<'_>, keyword: &str) -> bool {
    let value = one.get(keyword);
    value == other.get(keyword) && value.is_none_or(|value| refer_alike(value, one.root, other.root))
}

/// Whether the references in a schema lead to the same in both roots.
fn refer_alike(schema: &Value, one: &Value, other: &Value) -> bool {
    let elsewhere = |reference: &str| !reference.starts_with("#/$defs/");
    let has_same_definitions = || {
        let definitions = one.get("$defs");
        let leave = |schema| refers(schema, &elsewhere);
        definitions == other.get("$defs") && !leave(schema) && !definitions.is_some_and(leave)
    };
    one == other || !refers(schema, &|_| true) || has_same_definitions()
}

/// Whether there is a reference of a kind in a schema.
fn refers(schema: &Value, is_meant: &dyn Fn(&str) -> bool) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(key, value)| match value {
            Value::String(reference) => matches!(key.as_str(), "$ref" | "$dynamicRef") && is_meant(reference),
            _ => refers(value, is_meant),
        }),
        Value::Array(items) => items.iter().any(|item| refers(item, is_meant)),
        _ => false,
    }
}
