//! The definitions of one document. Each schema of a signature has its own `$defs`; those of one document stand in one
//! place and each under a name of its own.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::describe::reference::definition;

/// Deepest schemas, in levels; what is deeper allows anything.
const DEEPEST: usize = 64;
/// Definitions of one name that another one of this name is compared with. One that differs from so many stands for
/// itself.
const MOST_ALIKE: usize = 64;
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
    /// The definitions as their authors wrote them, by the names that they had there.
    known: HashMap<String, Vec<Known>>,
}

/// A definition that a document has.
#[derive(Debug)]
struct Known {
    /// What it was, and all that it refers to, by the names of its author; `None` where a reference led nowhere.
    origin: HashMap<String, Option<Value>>,
    /// Its name in the document.
    name: String,
}

impl Known {
    /// Whether it is what these definitions have under its name: everything that it refers to is the same there.
    fn is_of(&self, own: &Map<String, Value>) -> bool {
        self.origin.iter().all(|(name, definition)| own.get(name) == definition.as_ref())
    }
}

impl Definitions {
    /// Definitions in the `$defs` of a schema.
    #[must_use]
    pub fn in_schema() -> Self {
        Self { place: "#/$defs/", all: Map::new(), known: HashMap::new() }
    }

    /// Definitions in the components of an OpenAPI document.
    #[must_use]
    pub fn in_components() -> Self {
        Self { place: "#/components/schemas/", ..Self::in_schema() }
    }

    /// Adds a definition of the document's own, before any others.
    pub fn add(&mut self, name: &str, schema: Value) {
        self.all.insert(name.to_owned(), schema);
    }

    /// A schema whose references are to these definitions, which get those of its own `$defs`. What it cannot refer to
    /// from here allows anything.
    #[must_use]
    pub fn adopt(&mut self, schema: &Value) -> Value {
        let Some(own) = schema.get("$defs").and_then(Value::as_object) else { return moved(schema, &|_| None, 0) };
        let mut names = HashMap::new();
        let mut added = Vec::new();
        for (name, definition) in own {
            let alike = self.known.get(name).map(Vec::as_slice).unwrap_or_default();
            let name_here = match alike.iter().take(MOST_ALIKE).find(|known| known.is_of(own)) {
                Some(known) => known.name.clone(),
                None => {
                    let free = self.free_name(name);
                    self.all.insert(free.clone(), Value::Null);
                    let known = Known { origin: reached_from(name, own), name: free.clone() };
                    self.known.entry(name.clone()).or_default().push(known);
                    added.push((free.clone(), definition));
                    free
                }
            };
            names.insert(name.as_str(), format!("{}{name_here}", self.place));
        }
        let place = |reference: &str| names.get(definition(reference)?.as_str()).cloned();
        for (name, definition) in added {
            self.all.insert(name, moved(definition, &place, 0));
        }
        moved(schema, &place, 0)
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

    fn free_name(&self, name: &str) -> String {
        let mut count = self.known.get(name).map_or(1, Vec::len);
        let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
        let mut name: String = name.chars().map(fits).collect();
        if name.is_empty() {
            name.push('_');
        }
        let mut free = name.clone();
        while self.all.contains_key(&free) {
            count += 1;
            free = format!("{name}_{count}");
        }
        free
    }
}

/// A definition and all those that it refers to, of these.
fn reached_from(name: &str, own: &Map<String, Value>) -> HashMap<String, Option<Value>> {
    let mut reached = HashMap::new();
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        if reached.contains_key(&name) {
            continue;
        }
        let definition = own.get(&name);
        definition.into_iter().for_each(|one| add_references(one, &mut open));
        reached.insert(name, definition.cloned());
    }
    reached
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
