//! JSON Schemas as types: each object gets a name, and what a type system cannot say allows anything.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::describe::Definitions;
use crate::describe::client::types::{Field, Named, Shape, Side, Type, literals, union};
use crate::describe::client::words::{self, Names};
use crate::describe::reference;
use crate::describe::schema::is_file;

/// Deepest schemas.
const DEEPEST: usize = 48;
/// Formats of texts that arguments may be given as values of the language.
const TIMES: [(&str, Type); 3] = [("date-time", Type::DateTime), ("date", Type::Date), ("time", Type::Time)];

/// The named types of a module.
#[derive(Debug)]
pub(super) struct Types {
    definitions: Map<String, Value>,
    names: Names,
    known: HashMap<(String, String, Side), usize>,
    all: Vec<Named>,
}

/// A schema with what its type is called if it needs a name: the path that leads to it, such as `place order items`.
struct Place<'a> {
    schema: &'a Value,
    path: String,
    side: Side,
    depth: usize,
}

impl Place<'_> {
    fn at<'a>(&self, schema: &'a Value, step: &str) -> Place<'a> {
        let path = if step.is_empty() { self.path.clone() } else { format!("{} {step}", self.path) };
        Place { schema, path, side: self.side, depth: self.depth + 1 }
    }
}

impl Types {
    /// Types of schemas that these definitions have adopted.
    #[must_use]
    pub(super) fn new(definitions: Definitions, names: Names) -> Self {
        Self { definitions: definitions.into_map(), names, known: HashMap::new(), all: Vec::new() }
    }

    /// The type of a schema. `path` becomes its name if it needs one and has no other.
    pub(super) fn of(&mut self, schema: &Value, side: Side, path: String) -> Type {
        self.kind(&Place { schema, path, side, depth: 0 })
    }

    /// The named types in the order in which they were met.
    #[must_use]
    pub(super) fn into_named(mut self) -> Vec<Named> {
        self.break_circles();
        self.all
    }

    fn kind(&mut self, place: &Place<'_>) -> Type {
        let object = match place.schema {
            Value::Bool(false) => return Type::Never,
            Value::Object(object) if place.depth < DEEPEST => object,
            _ => return Type::Any,
        };
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            return self.reference(reference, place);
        }
        if let Some(value) = object.get("const") {
            return literals(std::slice::from_ref(value));
        }
        if let Some(values) = object.get("enum").and_then(Value::as_array) {
            return literals(values);
        }
        let choices = ["anyOf", "oneOf"].iter().find_map(|key| object.get(*key)).and_then(Value::as_array);
        if let Some(choices) = choices {
            return union(choices.iter().map(|one| self.kind(&place.at(one, ""))).collect());
        }
        if let Some([only]) = object.get("allOf").and_then(Value::as_array).map(Vec::as_slice)
            && !object.contains_key("properties")
        {
            return self.kind(&place.at(only, ""));
        }
        match object.get("type") {
            Some(Value::String(kind)) => self.of_type(kind, object, place),
            Some(Value::Array(kinds)) => {
                let kinds = kinds.iter().filter_map(Value::as_str);
                union(kinds.map(|kind| self.of_type(kind, object, place)).collect())
            }
            _ if object.contains_key("properties") => self.object(object, place),
            _ => Type::Any,
        }
    }

    fn of_type(&mut self, kind: &str, object: &Map<String, Value>, place: &Place<'_>) -> Type {
        match kind {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "string" => text(object, place.side),
            "array" => self.array(object, place),
            "object" => self.object(object, place),
            _ => Type::Any,
        }
    }

    fn array(&mut self, object: &Map<String, Value>, place: &Place<'_>) -> Type {
        let items = object.get("items");
        if let Some(first) = object.get("prefixItems").and_then(Value::as_array).filter(|first| !first.is_empty()) {
            let number = |key: &str| object.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
            let kinds: Vec<Type> = first.iter().map(|one| self.kind(&place.at(one, "item"))).collect();
            if items == Some(&Value::Bool(false)) || number("maxItems") == Some(kinds.len()) {
                let fewest = number("minItems").unwrap_or(0).min(kinds.len());
                return Type::Tuple(kinds, fewest);
            }
            return Type::List(Box::new(Type::Any));
        }
        let item = items.map_or(Type::Any, |items| self.kind(&place.at(items, "item")));
        Type::List(Box::new(item))
    }

    fn object(&mut self, object: &Map<String, Value>, place: &Place<'_>) -> Type {
        let has_fields = object.get("properties").and_then(Value::as_object).is_some_and(|fields| !fields.is_empty());
        if has_fields {
            let title = object.get("title").and_then(Value::as_str).map(words::capitalized);
            return match title.filter(|title| !title.is_empty()) {
                Some(title) => self.named(&title, place, false),
                // Without a title, equal texts at several places need not mean the same.
                None => self.named(&place.path, place, true),
            };
        }
        let of = match object.get("additionalProperties") {
            Some(Value::Bool(_)) | None => Type::Any,
            Some(schema) => self.kind(&place.at(schema, "value")),
        };
        Type::Map(Box::new(of))
    }

    fn reference(&mut self, reference: &str, place: &Place<'_>) -> Type {
        let Some(name) = reference::definition(reference) else { return Type::Any };
        let Some(definition) = self.definitions.get(&name).cloned() else { return Type::Any };
        let title = definition["title"].as_str().filter(|title| name.starts_with(title)).unwrap_or(&name);
        let title = words::capitalized(title);
        let place = Place { schema: &definition, path: title.clone(), side: place.side, depth: 0 };
        self.named(&title, &place, false)
    }

    /// The type of a schema under a name of its own: that of before, if it is known.
    fn named(&mut self, name: &str, place: &Place<'_>, is_anonymous: bool) -> Type {
        let side = if self.depends_on_side(place.schema) { place.side } else { Side::Result };
        let path = if is_anonymous { &place.path } else { "" };
        let key = (name.to_owned(), format!("{path} {}", place.schema), side);
        if let Some(at) = self.known.get(&key) {
            return Type::Named(self.all[*at].name.clone());
        }
        let name = words::capitalized(name);
        let for_arguments = format!("{name}Argument");
        let is_second = side == Side::Argument && !self.names.is_free(&name) && self.names.is_free(&for_arguments);
        let name = self.names.take(if is_second { &for_arguments } else { &name });
        let at = self.all.len();
        self.known.insert(key, at);
        let description = described(place.schema);
        self.all.push(Named { name: name.clone(), description, shape: Shape::Alias(Type::Any) });
        let fields = place.schema.get("properties").and_then(Value::as_object).filter(|fields| !fields.is_empty());
        self.all[at].shape = match fields {
            Some(fields) => self.fields(fields, place),
            None => Shape::Alias(self.kind(place)),
        };
        Type::Named(name)
    }

    fn fields(&mut self, fields: &Map<String, Value>, place: &Place<'_>) -> Shape {
        let required: BTreeSet<&str> =
            place.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let field = |(key, schema): (&String, &Value)| Field {
            key: key.clone(),
            required: required.contains(key.as_str()),
            kind: self.kind(&place.at(schema, key)),
            description: described(schema),
        };
        let fields = fields.iter().map(field).collect();
        Shape::Object { fields, is_open: place.schema.get("additionalProperties").is_some_and(Value::is_object) }
    }

    /// Whether arguments of a schema have other types than results, in it or in a definition that it refers to.
    fn depends_on_side(&self, schema: &Value) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![schema];
        while let Some(one) = open.pop() {
            match one {
                Value::Array(items) => open.extend(items),
                Value::Object(object) => {
                    if text(object, Side::Argument) != Type::Text {
                        return true;
                    }
                    if let Some(name) = object.get("$ref").and_then(Value::as_str).and_then(reference::definition) {
                        let named = self.definitions.get(&name);
                        if seen.insert(name) {
                            open.extend(named);
                        }
                    }
                    open.extend(object.values());
                }
                _ => {}
            }
        }
        false
    }

    /// Lets names that mean nothing but themselves, directly or by way of others, mean anything.
    fn break_circles(&mut self) {
        let mut direct: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for named in &self.all {
            if let Shape::Alias(kind) = &named.shape {
                direct.insert(named.name.clone(), meant(kind));
            }
        }
        for named in &mut self.all {
            let (mut seen, mut open) = (BTreeSet::new(), direct.get(&named.name).cloned().unwrap_or_default());
            while let Some(name) = open.pop() {
                if name == named.name {
                    named.shape = Shape::Alias(Type::Any);
                    direct.remove(&name);
                    break;
                }
                if seen.insert(name.clone()) {
                    open.extend(direct.get(&name).cloned().unwrap_or_default());
                }
            }
        }
    }
}

/// The names that a type consists of, without those inside arrays and objects.
fn meant(kind: &Type) -> Vec<String> {
    match kind {
        Type::Named(name) => vec![name.clone()],
        Type::Union(kinds) => kinds.iter().flat_map(meant).collect(),
        _ => Vec::new(),
    }
}

/// What the author says of a schema.
#[must_use]
pub(super) fn described(schema: &Value) -> Option<String> {
    schema.get("description").and_then(Value::as_str).filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

fn text(object: &Map<String, Value>, side: Side) -> Type {
    let format = object.get("format").and_then(Value::as_str);
    if side == Side::Result {
        return Type::Text;
    }
    if object.get("contentEncoding").is_some_and(|encoding| encoding == "base64") {
        return Type::Bytes;
    }
    if is_file(object) {
        return Type::File;
    }
    TIMES.into_iter().find(|(name, _)| format == Some(*name)).map_or(Type::Text, |(_, kind)| kind)
}
