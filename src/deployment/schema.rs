//! JSON Schemas of workers, which may hold what their authors wrote by hand: keywords whose values are no such values
//! are left out. Clients of tools refuse a whole list for one of them, and pages that show schemas stumble over them.
//! Source: JSON Schema 2020-12, core and validation.

use serde_json::{Map, Value, json};

/// What the value of a keyword is.
#[derive(Clone, Copy)]
enum Kind {
    Schema,
    Schemas,
    SchemaByName,
    Text,
    Texts,
    Type,
    Number,
    Count,
    Flag,
    Choices,
}

fn kind_of(keyword: &str) -> Option<Kind> {
    Some(match keyword {
        "items"
        | "additionalProperties"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contains"
        | "propertyNames"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | "additionalItems" => Kind::Schema,
        "anyOf" | "oneOf" | "allOf" | "prefixItems" => Kind::Schemas,
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => Kind::SchemaByName,
        "$ref" | "$schema" | "$id" | "$anchor" | "$comment" | "title" | "description" | "format" | "pattern"
        | "contentEncoding" | "contentMediaType" => Kind::Text,
        "required" => Kind::Texts,
        "type" => Kind::Type,
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => Kind::Number,
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" | "minContains"
        | "maxContains" => Kind::Count,
        "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" => Kind::Flag,
        "enum" => Kind::Choices,
        _ => return None,
    })
}

/// Leaves out of a schema what is none.
pub(super) fn mend(schema: &mut Value) {
    match schema {
        Value::Object(members) => mend_members(members),
        Value::Bool(_) => {}
        _ => *schema = json!({}),
    }
}

fn mend_members(members: &mut Map<String, Value>) {
    members.retain(|keyword, value| kind_of(keyword).is_none_or(|kind| mend_value(kind, value)));
}

/// Mends the value of a keyword; false if it is no such value.
fn mend_value(kind: Kind, value: &mut Value) -> bool {
    match kind {
        Kind::Schema => {
            let is_schema = value.is_object() || value.is_boolean();
            mend(value);
            is_schema
        }
        Kind::Schemas => value.as_array_mut().is_some_and(|schemas| {
            schemas.iter_mut().for_each(mend_to_object);
            !schemas.is_empty()
        }),
        Kind::SchemaByName => value.as_object_mut().is_some_and(|schemas| {
            schemas.retain(|_, schema| schema.is_object() || schema.is_boolean());
            schemas.values_mut().for_each(mend_to_object);
            true
        }),
        Kind::Text => value.is_string(),
        Kind::Texts => are_texts(value),
        Kind::Type => value.is_string() || (are_texts(value) && value != &json!([])),
        Kind::Number => value.is_number(),
        Kind::Count => value.is_u64() || value.as_f64().is_some_and(|count| count >= 0.0 && count.fract() == 0.0),
        Kind::Flag => value.is_boolean(),
        Kind::Choices => value.as_array().is_some_and(|choices| !choices.is_empty()),
    }
}

/// Some readers know no schema but objects.
fn mend_to_object(schema: &mut Value) {
    match schema {
        Value::Bool(true) => *schema = json!({}),
        Value::Bool(false) => *schema = json!({"not": {}}),
        other => mend(other),
    }
}

fn are_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|texts| texts.iter().all(Value::is_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_schema_is_left_out() {
        for (sent, mended) in [
            (json!({"properties": {"x": true, "y": null}}), json!({"properties": {"x": {}}})),
            (json!({"required": "x", "type": []}), json!({})),
            (json!({"enum": null, "anyOf": 5, "$schema": 5}), json!({})),
            (json!({"anyOf": [], "allOf": [null, false]}), json!({"allOf": [{}, {"not": {}}]})),
            (json!({"items": {"type": 1, "minLength": -1}}), json!({"items": {}})),
            (json!(7), json!({})),
        ] {
            let mut schema = sent.clone();
            mend(&mut schema);
            assert_eq!(schema, mended, "{sent}");
        }
    }

    #[test]
    fn a_schema_stays_as_it_is() {
        let schema = json!({
            "type": ["object", "null"], "additionalProperties": false, "required": ["a"], "x-own": [1],
            "properties": {"a": {"enum": [null, 1], "default": {"type": 5}}, "b": {"$ref": "#/$defs/B"}},
            "$defs": {"B": {"type": "array", "items": true, "prefixItems": [{"minimum": 1.5}], "maxItems": 3}},
        });
        let mut mended = schema.clone();
        mend(&mut mended);
        assert_eq!(mended, schema);
    }
}
