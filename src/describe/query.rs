//! Arguments in the query of an address, which is text: the functions that take them so, and the parameters that
//! describe them. The workers convert the text by the types of the parameters.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::deployment::{Parameter, ParameterKind, Signature};
use crate::describe::members::of_members;
use crate::describe::{Abilities, Definitions, reference, schema};

/// Most references and choices that lead to the schema of a text.
const DEEPEST: usize = 16;

/// Whether a function can be called with a query as well as with a body: whether the text of a query can carry
/// everything that it requires, each argument by its name.
#[must_use]
pub fn takes_query(signature: &Signature, abilities: Abilities) -> bool {
    if signature.parameters.is_empty() {
        return true;
    }
    abilities.names && schema::has_place_for_names(signature) && !needs_body(signature)
}

/// Whether a function requires what text cannot carry: objects, for example.
#[must_use]
pub fn needs_body(signature: &Signature) -> bool {
    arguments(signature).iter().any(|one| one.required && !is_in_query(one))
}

/// The parameters of the query for a function that takes one.
pub(super) fn parameters(signature: &Signature, definitions: &mut Definitions) -> Vec<Value> {
    let arguments = arguments(signature);
    let described = |one: &Parameter| {
        let mut schema = definitions.adopt(&in_query(one)?);
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let (name, required) = (one.name.as_str().into(), one.required.into());
        let mut parameter =
            of_members([("name", name), ("in", "query".into()), ("required", required), ("schema", schema)]);
        if let Some(description) = description {
            parameter["description"] = description;
        }
        Some(parameter)
    };
    arguments.iter().filter_map(described).collect()
}

/// What has a name in the query: the parameters, or the fields of the only one if it is the object of a call itself.
fn arguments(signature: &Signature) -> Cow<'_, [Parameter]> {
    let Some(object) = schema::itself(signature) else { return Cow::Borrowed(&signature.parameters) };
    let empty = Map::new();
    let fields = object.schema["properties"].as_object().unwrap_or(&empty);
    let required = object.schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    let field = |(name, schema): (&String, &Value)| Parameter {
        name: name.clone(),
        kind: ParameterKind::Positional,
        required: required.iter().any(|one| one == name),
        schema: with_definitions(schema, &object.schema),
    };
    fields.iter().map(field).collect::<Vec<_>>().into()
}

/// Whether text can carry an argument: itself, or each item of a list.
fn is_in_query(parameter: &Parameter) -> bool {
    let schema = &parameter.schema;
    match parameter.kind {
        ParameterKind::Positional | ParameterKind::KeywordOnly => {
            is_text(schema, schema, 0) || is_list(schema) && is_text(&schema["items"], schema, 0)
        }
        ParameterKind::Rest => is_text(schema, schema, 0),
        // Its names are the caller's.
        ParameterKind::RestByName => false,
    }
}

/// The schema of an argument as text; `None` if text cannot carry it.
fn in_query(parameter: &Parameter) -> Option<Value> {
    let schema = &parameter.schema;
    match parameter.kind {
        _ if !is_in_query(parameter) => None,
        ParameterKind::Rest => list(schema, schema),
        _ => as_text(schema).or_else(|| list(&schema["items"], schema)),
    }
}

/// The schema of a list of which each item is a parameter of the query: it has one item at least.
fn list(items: &Value, whole: &Value) -> Option<Value> {
    let items = as_text(&with_definitions(items, whole))?;
    let mut list = whole.as_object().filter(|_| is_list(whole)).cloned().unwrap_or_default();
    list.retain(|keyword, _| matches!(keyword.as_str(), "description" | "minItems" | "maxItems" | "uniqueItems"));
    list.insert("type".to_owned(), "array".into());
    list.entry("minItems").or_insert_with(|| 1.into());
    if let Some(definitions) = items.get("$defs") {
        list.insert("$defs".to_owned(), definitions.clone());
    }
    list.insert("items".to_owned(), items);
    Some(list.into())
}

fn is_list(schema: &Value) -> bool {
    schema["type"] == "array" && schema.get("prefixItems").is_none()
}

/// Whether values of a schema can be text: text, numbers or truth values, never null alone. Its references are to the
/// definitions of this whole.
fn is_text(schema: &Value, whole: &Value, depth: usize) -> bool {
    let Some(object) = schema.as_object().filter(|_| depth < DEEPEST) else { return false };
    if let Some(Value::String(reference)) = object.get("$ref") {
        let definition = reference::definition(reference).and_then(|name| whole.get("$defs")?.get(name));
        // One that refers to another, as a recursive one does, is no text.
        return definition.is_some_and(|one| one.get("$ref").is_none() && is_text(one, whole, depth + 1));
    }
    if has_no_type(object) {
        return true;
    }
    if let Some(choice) = object.get("anyOf") {
        return only_choice(choice).is_some_and(|only| is_text(only, whole, depth + 1));
    }
    if let Some(values) = object.get("enum").and_then(Value::as_array) {
        return values.iter().all(|one| !(one.is_null() || one.is_object() || one.is_array()));
    }
    let is_scalar = |kind: &str| matches!(kind, "string" | "integer" | "number" | "boolean");
    object.get("type").and_then(Value::as_str).is_some_and(is_scalar) && !schema::is_file(object)
}

/// The schema of a value that text can be, as text; `None` if it cannot. Text is a value without a type as it is.
fn as_text(schema: &Value) -> Option<Value> {
    let object = schema.as_object().filter(|_| is_text(schema, schema, 0))?;
    if has_no_type(object) {
        let mut text = object.clone();
        // A default of another type is none that the query can have.
        text.retain(|keyword, value| keyword != "default" || value.is_string());
        text.insert("type".to_owned(), "string".into());
        return Some(text.into());
    }
    match object.get("anyOf").filter(|_| !object.contains_key("$ref")) {
        Some(choice) => as_text(&with_definitions(only_choice(choice)?, schema)),
        None => Some(schema.clone()),
    }
}

fn has_no_type(schema: &Map<String, Value>) -> bool {
    schema.keys().all(|keyword| matches!(keyword.as_str(), "description" | "title" | "default" | "$defs"))
}

/// The only one of several schemas that is not for null.
fn only_choice(choices: &Value) -> Option<&Value> {
    let mut others = choices.as_array()?.iter().filter(|one| one["type"] != "null");
    others.next().filter(|_| others.next().is_none())
}

/// A part of a schema as one of its own.
fn with_definitions(part: &Value, whole: &Value) -> Value {
    let mut part = part.clone();
    if let (Some(part), Some(definitions)) = (part.as_object_mut(), whole.get("$defs")) {
        part.insert("$defs".to_owned(), definitions.clone());
    }
    part
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: Abilities = Abilities { names: true, files: true, deferred: true };

    fn described(parameters: &Value) -> Option<Vec<Value>> {
        let signature: Signature = serde_json::from_value(json!({"parameters": parameters})).unwrap();
        takes_query(&signature, ALL).then(|| super::parameters(&signature, &mut Definitions::in_components()))
    }

    fn schemas(parameters: &Value) -> Option<Vec<Value>> {
        described(parameters).map(|all| all.into_iter().map(|mut one| one["schema"].take()).collect())
    }

    #[test]
    fn text_carries_scalars_lists_of_them_and_what_has_no_type() {
        let found = schemas(&json!([
            {"name": "a", "required": true, "schema": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
            {"name": "b", "required": true, "schema": {"type": "array", "items": {"type": "boolean"}}},
            {"name": "c", "required": true, "schema": {}},
            {"name": "d", "required": false, "schema": {"type": "object"}},
            {"name": "e", "required": false, "kind": "rest", "schema": {"type": "number"}},
        ]));
        let list = |kind: &str| json!({"type": "array", "minItems": 1, "items": {"type": kind}});
        let expected = vec![json!({"type": "integer"}), list("boolean"), json!({"type": "string"}), list("number")];
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn functions_that_require_an_object_have_no_query() {
        for schema in [
            json!({"type": "object"}),
            json!({"type": "array", "items": {"type": "object"}}),
            json!({"$ref": "#/$defs/Tree", "$defs": {"Tree": {"type": "object"}}}),
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}),
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}}}),
            json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ] {
            assert_eq!(schemas(&json!([{"name": "a", "required": true, "schema": schema}])), None, "{schema}");
        }
    }

    #[test]
    fn the_fields_of_a_destructured_object_are_parameters() {
        let schema = json!({"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "object"}},
            "required": ["x"]});
        let found = described(&json!([{"name": "{ x, y }", "required": true, "schema": schema}]));
        let expected = json!([{"name": "x", "in": "query", "required": true, "schema": {"type": "number"}}]);
        assert_eq!(found.map(Value::from), Some(expected));
    }
}
