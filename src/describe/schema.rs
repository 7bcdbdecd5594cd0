//! The JSON Schema (2020-12) of all arguments of a function together: of the object that has them by name, or of the
//! array that has them in order.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::deployment::{Parameter, ParameterKind, Signature};
use crate::describe::Definitions;
use crate::describe::members::of_members;

/// Whether an object can carry the arguments of a function by name: every parameter has a name of its own.
#[must_use]
pub fn has_names(signature: &Signature) -> bool {
    let mut seen = HashSet::new();
    signature.parameters.iter().all(|one| is_name(&one.name) && seen.insert(&one.name))
}

/// Whether an object can carry the arguments of a function, because they have names or are that object.
pub(super) fn has_place_for_names(signature: &Signature) -> bool {
    itself(signature).is_some() || has_names(signature)
}

/// The schema of the object with the arguments of a function, with the definitions that it refers to in its `$defs`;
/// `None` if names cannot carry them.
///
/// ```
/// use metagate::deployment::Signature;
/// use metagate::describe::schema::by_name;
/// use serde_json::json;
///
/// let signature = serde_json::from_value::<Signature>(json!({"parameters": [
///     {"name": "a", "required": true, "schema": {"type": "integer"}},
///     {"name": "b", "required": false, "schema": {"type": "string"}}]}));
/// let expected = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
///     "required": ["a"], "additionalProperties": false});
/// assert_eq!(by_name(&signature.unwrap()), Some(expected));
/// ```
#[must_use]
pub fn by_name(signature: &Signature) -> Option<Value> {
    let mut definitions = Definitions::in_schema();
    let schema = object(signature, &mut definitions)?;
    Some(definitions.into_schema(schema))
}

/// The schema of the array with the arguments of a function in order, with the definitions that it refers to.
#[must_use]
pub fn in_order(signature: &Signature) -> Value {
    let mut definitions = Definitions::in_schema();
    let schema = array(signature, &mut definitions);
    definitions.into_schema(schema)
}

/// Whether some values of a schema are files, or lists of them: no JSON is one.
///
/// ```
/// use metagate::describe::schema::has_files;
/// use serde_json::json;
///
/// let of_node = json!({"type": "string", "format": "binary"});
/// let of_python = json!({"type": "string", "contentMediaType": "application/octet-stream"});
/// assert!(has_files(&of_node) && has_files(&json!({"type": "array", "items": of_python})));
/// assert!(has_files(&json!({"anyOf": [of_python, {"type": "null"}]})));
/// assert!(!has_files(&json!({"type": "string", "contentMediaType": "application/json"})));
/// ```
#[must_use]
pub fn has_files(schema: &Value) -> bool {
    let choices = schema["anyOf"].as_array().is_some_and(|all| all.iter().any(has_files));
    choices || schema.as_object().is_some_and(is_file) || schema.get("items").is_some_and(has_files)
}

/// Whether the values of a schema are files, as the workers describe them.
#[must_use]
pub fn is_file(schema: &Map<String, Value>) -> bool {
    let has = |keyword: &str, value: &str| schema.get(keyword).is_some_and(|there| there == value);
    let is_raw = has("contentMediaType", "application/octet-stream") && !schema.contains_key("contentEncoding");
    has("format", "binary") || is_raw
}

/// As [`by_name`], with the definitions elsewhere.
pub fn object(signature: &Signature, definitions: &mut Definitions) -> Option<Value> {
    if let Some(object) = itself(signature) {
        return Some(definitions.adopt(&object.schema));
    }
    if !has_names(signature) {
        return None;
    }
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut others = Value::Bool(false);
    for one in &signature.parameters {
        let schema = definitions.adopt(&one.schema);
        match one.kind {
            ParameterKind::RestByName => {
                others = schema;
                continue;
            }
            ParameterKind::Rest => {
                let list = of_members([("type", "array".into()), ("items", schema)]);
                properties.insert(one.name.clone(), list)
            }
            ParameterKind::Positional | ParameterKind::KeywordOnly => properties.insert(one.name.clone(), schema),
        };
        if one.required {
            required.push(one.name.as_str());
        }
    }
    let mut object = of_members([("type", "object".into()), ("properties", properties.into())]);
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    // Where further names are arguments, `true` says no more than nothing does.
    if others != json!({}) {
        object["additionalProperties"] = others;
    }
    Some(object)
}

/// As [`in_order`], with the definitions elsewhere.
pub fn array(signature: &Signature, definitions: &mut Definitions) -> Value {
    let ordered = signature.parameters.iter().filter(|one| one.kind == ParameterKind::Positional);
    let (mut items, mut fewest) = (Vec::new(), 0);
    for (at, one) in ordered.enumerate() {
        items.push(definitions.adopt(&one.schema));
        if one.required {
            fewest = at + 1;
        }
    }
    let rest = signature.parameters.iter().find(|one| one.kind == ParameterKind::Rest);
    let rest = rest.map(|one| definitions.adopt(&one.schema));
    let most = items.len();
    let mut array = json!({"type": "array", "minItems": fewest});
    if !items.is_empty() {
        array["prefixItems"] = items.into();
    }
    match rest {
        Some(schema) => array["items"] = schema,
        None => array["maxItems"] = most.into(),
    }
    array
}

/// The only parameter of a function that gets the object of a call itself: a destructured one, or one with a field of
/// its own name, by which it is not reached.
pub(super) fn itself(signature: &Signature) -> Option<&Parameter> {
    let [only] = signature.parameters.as_slice() else { return None };
    let is_object = only.kind == ParameterKind::Positional && only.schema["type"] == "object";
    let has_own_name = only.schema["properties"].get(&only.name).is_some();
    (is_object && (!is_name(&only.name) || has_own_name)).then_some(only)
}

/// Whether this is a name, not the pattern of a destructured parameter.
#[must_use]
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(['{', '['])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(parameters: &Value) -> Signature {
        serde_json::from_value(json!({"parameters": parameters})).unwrap()
    }

    #[test]
    fn further_arguments_have_a_place_in_both_forms() {
        let signature = signature(&json!([
            {"name": "a", "required": true, "schema": {"type": "integer"}},
            {"name": "rest", "kind": "rest", "required": false, "schema": {"type": "number"}},
            {"name": "flag", "kind": "keyword-only", "required": true, "schema": {"type": "boolean"}},
            {"name": "more", "kind": "rest-by-name", "required": false, "schema": {}},
        ]));
        let expected = json!({"type": "object", "properties": {"a": {"type": "integer"},
            "rest": {"type": "array", "items": {"type": "number"}}, "flag": {"type": "boolean"}},
            "required": ["a", "flag"]});
        assert_eq!(by_name(&signature), Some(expected));
        let expected = json!({"type": "array", "minItems": 1, "prefixItems": [{"type": "integer"}],
            "items": {"type": "number"}});
        assert_eq!(in_order(&signature), expected);
    }

    #[test]
    fn an_object_that_is_not_reached_by_name_is_the_body_itself() {
        let point = json!({"type": "object", "properties": {"x": {"type": "number"}}});
        let destructured = signature(&json!([{"name": "{ x }", "required": true, "schema": point}]));
        assert_eq!(by_name(&destructured), Some(point.clone()));
        let named = signature(&json!([{"name": "x", "required": true, "schema": point}]));
        assert_eq!(by_name(&named), Some(point.clone()));
        let other = signature(&json!([{"name": "point", "required": true, "schema": point}]));
        assert_eq!(by_name(&other).unwrap()["properties"]["point"], point);
    }

    #[test]
    fn patterns_and_equal_names_are_given_in_order() {
        for names in [["[a]", "b"], ["", "b"], ["a", "a"]] {
            let parameters = names.map(|name| json!({"name": name, "required": true}));
            let signature = signature(&json!(parameters));
            assert_eq!(by_name(&signature), None, "{names:?}");
            assert_eq!(in_order(&signature)["minItems"], 2);
        }
    }

    #[test]
    fn definitions_are_at_the_root() {
        let schema = |fields: Value| json!({"$ref": "#/$defs/Tree", "$defs": {"Tree": fields}});
        let tree = json!({"type": "object", "properties": {"below": {"$ref": "#/$defs/Tree"}}});
        let signature = signature(&json!([
            {"name": "a", "required": true, "schema": schema(tree.clone())},
            {"name": "b", "required": true, "schema": schema(tree.clone())},
            {"name": "c", "required": true, "schema": schema(json!({"type": "string"}))},
        ]));
        let found = by_name(&signature).unwrap();
        assert_eq!(found["properties"]["b"], json!({"$ref": "#/$defs/Tree"}));
        assert_eq!(found["properties"]["c"], json!({"$ref": "#/$defs/Tree_2"}));
        assert_eq!(found["$defs"], json!({"Tree": tree, "Tree_2": {"type": "string"}}));
    }
}
