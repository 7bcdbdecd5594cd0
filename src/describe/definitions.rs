//! The definitions of one document. Each schema of a signature has its own `$defs`; those of one document stand in one
//! place and each under a name of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::describe::reference::definition;

/// Deepest schemas, in levels; what is deeper allows anything.
const DEEPEST: usize = 64;
/// Base64 as workers read it: padded, without bits that mean nothing. `contentEncoding` alone refuses no text.
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
/// Keywords whose values are data, not schemas.
const DATA: [&str; 5] = ["const", "enum", "default", "examples", "example"];
/// Keywords whose values are schemas by name.
const NAMED: [&str; 3] = ["properties", "patternProperties", "dependentSchemas"];
/// Keywords that say where a schema stands or how to read it. Moved schemas would say it wrongly.
const PLACES: [&str; 8] =
    ["$id", "$schema", "$anchor", "$dynamicAnchor", "$dynamicRef", "$defs", "definitions", "$vocabulary"];

/// The definitions that the schemas of a document refer to.
#[derive(Debug)]
pub struct Definitions {
    place: &'static str,
    all: Map<String, Value>,
    /// The names of definitions here, by the digest of what they were where their authors wrote them.
    known: HashMap<[u8; 32], String>,
    /// How many definitions have had a name.
    counts: HashMap<String, usize>,
    /// The names here of the named types within schemas, by the digest of what they are; `None` if they stay where they
    /// are.
    shared: Option<HashMap<[u8; 32], String>>,
}

impl Definitions {
    /// Definitions in the `$defs` of a schema.
    #[must_use]
    pub fn in_schema() -> Self {
        Self { place: "#/$defs/", all: Map::new(), known: HashMap::new(), counts: HashMap::new(), shared: None }
    }

    /// Definitions in the components of an OpenAPI document, which has each named type there once.
    #[must_use]
    pub fn in_components() -> Self {
        Self { place: "#/components/schemas/", shared: Some(HashMap::new()), ..Self::in_schema() }
    }

    /// Adds a definition of the document's own, before any others.
    pub fn add(&mut self, name: &str, schema: Value) {
        self.all.insert(name.to_owned(), schema);
    }

    /// A schema whose references are to these definitions, which get those of its own `$defs`. What it cannot refer to
    /// from here allows anything.
    #[must_use]
    pub fn adopt(&mut self, schema: &Value) -> Value {
        let Some(own) = schema.get("$defs").and_then(Value::as_object) else {
            let schema = moved(schema, &|_| None, 0);
            return self.share(schema);
        };
        let mut names = HashMap::new();
        let mut added = Vec::new();
        let digests = Digests::new(own);
        for (name, definition) in own {
            let digest = digests.of(name);
            let name_here = match self.known.get(&digest) {
                Some(known) => known.clone(),
                None => {
                    let free = self.free_name(name);
                    self.all.insert(free.clone(), Value::Null);
                    self.known.insert(digest, free.clone());
                    added.push((free.clone(), definition));
                    free
                }
            };
            names.insert(name.as_str(), format!("{}{name_here}", self.place));
        }
        let place = |reference: &str| names.get(definition(reference)?.as_str()).cloned();
        for (name, definition) in added {
            let definition = moved(definition, &place, 0);
            let definition = self.share_parts(definition);
            self.all.insert(name, definition);
        }
        let schema = moved(schema, &place, 0);
        self.share(schema)
    }

    /// The schema with references in place of the named types in it, and of itself if it is one.
    fn share(&mut self, schema: Value) -> Value {
        let shared = self.share_parts(schema);
        let is_named = shared["type"] == "object" && shared["properties"].is_object() && shared["title"].is_string();
        match shared {
            Value::Object(object) if is_named && self.shared.is_some() => self.reference_to(object),
            shared => shared,
        }
    }

    fn share_parts(&mut self, schema: Value) -> Value {
        let Value::Object(object) = schema else { return schema };
        if self.shared.is_none() {
            return object.into();
        }
        let mut share = |(key, value): (String, Value)| {
            let value = match value {
                value if DATA.contains(&key.as_str()) => value,
                Value::Object(named) if NAMED.contains(&key.as_str()) => {
                    Value::Object(named.into_iter().map(|(name, one)| (name, self.share(one))).collect())
                }
                Value::Array(items) => items.into_iter().map(|one| self.share(one)).collect(),
                value => self.share(value),
            };
            (key, value)
        };
        Value::Object(object.into_iter().map(&mut share).collect())
    }

    /// A reference to a named type, which becomes a definition unless there is one that is the same. What is said of
    /// the value in this place stays here.
    fn reference_to(&mut self, mut object: Map<String, Value>) -> Value {
        let mut reference = Map::new();
        for key in ["description", "default"] {
            reference.extend(object.shift_remove_entry(key));
        }
        let title = object.get("title").and_then(Value::as_str).unwrap_or_default().to_owned();
        let digest: [u8; 32] = Sha256::digest(serde_json::to_string(&object).unwrap_or_default()).into();
        let known = self.shared.as_ref().and_then(|shared| shared.get(&digest)).cloned();
        let name = known.unwrap_or_else(|| {
            let of_author = self.all.get(&title).and_then(Value::as_object);
            let name = if of_author.is_some_and(|there| is_same_type(there, &object)) {
                title
            } else {
                let free = self.free_name(&title);
                self.all.insert(free.clone(), object.into());
                free
            };
            self.shared.get_or_insert_default().insert(digest, name.clone());
            name
        });
        reference.insert("$ref".to_owned(), format!("{}{name}", self.place).into());
        reference.into()
    }

    /// The definitions by name.
    #[must_use]
    pub fn into_map(self) -> Map<String, Value> {
        self.all
    }

    /// A schema of its own, with these definitions in it.
    #[must_use]
    pub fn into_schema(self, mut schema: Value) -> Value {
        if !self.all.is_empty() {
            schema["$defs"] = self.all.into();
        }
        schema
    }

    fn free_name(&mut self, name: &str) -> String {
        let count = self.counts.entry(name.to_owned()).or_default();
        let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
        let mut name: String = name.chars().map(fits).collect();
        if name.is_empty() {
            name.push('_');
        }
        loop {
            *count += 1;
            let free = if *count == 1 { name.clone() } else { format!("{name}_{count}") };
            if !self.all.contains_key(&free) {
                return free;
            }
        }
    }
}

/// Whether a definition has the members of a type, apart from what is said of it.
fn is_same_type(definition: &Map<String, Value>, object: &Map<String, Value>) -> bool {
    let said = definition.keys().filter(|key| matches!(key.as_str(), "description" | "default")).count();
    definition.len() - said == object.len() && object.iter().all(|(key, value)| definition.get(key) == Some(value))
}

/// Digests of the definitions of one schema: two that have the same mean the same, with all that they refer to.
struct Digests<'a> {
    /// The text of each definition, and the names that it refers to.
    all: BTreeMap<&'a str, (String, Vec<String>)>,
}

impl<'a> Digests<'a> {
    fn new(own: &'a Map<String, Value>) -> Self {
        let described = |definition: &Value| {
            let mut references = Vec::new();
            add_references(definition, &mut references);
            (definition.to_string(), references)
        };
        Self { all: own.iter().map(|(name, definition)| (name.as_str(), described(definition))).collect() }
    }

    /// The digest of a definition: its name, and everything that it reaches, by name, in the order of the names.
    fn of(&self, name: &str) -> [u8; 32] {
        let mut reached = BTreeSet::new();
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            if reached.insert(name)
                && let Some((_, references)) = self.all.get(name)
            {
                open.extend(references.iter().map(String::as_str));
            }
        }
        let mut digest = Sha256::new();
        let mut add = |text: &str| {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        };
        add(name);
        for name in reached {
            add(name);
            // A reference that leads nowhere has no text.
            add(self.all.get(name).map_or("", |(text, _)| text));
        }
        digest.finalize().into()
    }
}

fn add_references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|one| add_references(one, found)),
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).and_then(definition));
            object.values().for_each(|one| add_references(one, found));
        }
        _ => {}
    }
}

/// A copy of a schema, with references to where `place` says they are now.
fn moved(schema: &Value, place: &impl Fn(&str) -> Option<String>, depth: usize) -> Value {
    if depth > DEEPEST {
        return json!({});
    }
    let all = |schemas: &[Value]| schemas.iter().map(|one| moved(one, place, depth + 1)).collect::<Vec<_>>();
    let object = match schema {
        Value::Object(object) => object,
        Value::Bool(_) => return schema.clone(),
        _ => return json!({}),
    };
    let mut copy = Map::new();
    for (key, value) in object {
        let value = match (key.as_str(), value) {
            ("$ref", Value::String(reference)) => match place(reference) {
                Some(here) => here.into(),
                None => continue,
            },
            (keyword, _) if PLACES.contains(&keyword) => continue,
            (keyword, _) if DATA.contains(&keyword) => value.clone(),
            (keyword, Value::Object(named)) if NAMED.contains(&keyword) => {
                let schemas = named.iter().map(|(name, one)| (name.clone(), moved(one, place, depth + 1)));
                Value::Object(schemas.collect())
            }
            (_, Value::Object(_)) => moved(value, place, depth + 1),
            (_, Value::Array(items)) if items.iter().any(Value::is_object) => all(items).into(),
            _ => value.clone(),
        };
        copy.insert(key.clone(), value);
    }
    if copy.get("contentEncoding").is_some_and(|encoding| encoding == "base64") && !copy.contains_key("pattern") {
        copy.insert("pattern".to_owned(), BASE64.into());
    }
    copy.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_types_stand_in_one_place_of_a_document() {
        let item = json!({"type": "object", "title": "Item", "properties": {"id": {"type": "string"}}});
        let order = |about: &str| {
            let items = json!({"type": "array", "items": item});
            let properties = json!({"items": items, "default": {"type": "object", "title": "x"}});
            json!({"type": "object", "title": "Order<1>", "description": about, "properties": properties})
        };
        let mut definitions = Definitions::in_components();
        for about in ["one", "another"] {
            let expected = json!({"description": about, "$ref": "#/components/schemas/Order_1_"});
            assert_eq!(definitions.adopt(&order(about)), expected);
        }
        let other = json!({"type": "object", "title": "Item", "properties": {"id": {"type": "integer"}}});
        for _ in 1..=2 {
            assert_eq!(definitions.adopt(&other), json!({"$ref": "#/components/schemas/Item_2"}));
        }
        let all = definitions.into_map();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["Item", "Order_1_", "Item_2"]);
        assert_eq!(all["Order_1_"]["properties"]["items"]["items"], json!({"$ref": "#/components/schemas/Item"}));
        assert_eq!(Definitions::in_schema().adopt(&item), item);
    }

    #[test]
    fn a_type_that_contains_itself_is_the_definition_that_it_refers_to() {
        let tree = json!({"type": "object", "title": "Tree", "properties": {"below": {"$ref": "#/$defs/Tree"}}});
        let mut whole = tree.clone();
        whole["$defs"] = json!({"Tree": tree});
        let mut definitions = Definitions::in_components();
        assert_eq!(definitions.adopt(&whole), json!({"$ref": "#/components/schemas/Tree"}));
        assert_eq!(definitions.into_map().len(), 1);
    }
}
