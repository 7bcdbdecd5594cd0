//! A schema, and what can be read of it.

use serde_json::Value;

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
        let text = words::of_schema(self.schema);
        if text.is_empty() { "anything".to_owned() } else { text }
    }
}
