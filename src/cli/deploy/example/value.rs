//! An example value of a type: by its JSON Schema, or by the type's name in a language.

use serde_json::{Map, Value, json};

/// Levels of a value: types may contain themselves.
const DEEPEST: usize = 6;

/// A value that a JSON Schema allows; none if it says nothing about the value.
pub(super) fn of_schema(schema: &Value) -> Option<Value> {
    Schemas { definitions: &schema["$defs"] }.value(schema, DEEPEST)
}

/// A value of a type by its name in Python, JavaScript, Ruby or WIT; text if the name says nothing.
pub(super) fn of_type(name: &str) -> Value {
    match name {
        "bool" | "Boolean" | "boolean" => Value::from(true),
        "float" | "Number" | "number" => Value::from(1.5),
        "list" | "Array" => json!([]),
        "dict" | "Map" | "Object" => json!({}),
        "int" | "Integer" => Value::from(1),
        name => of_wit(name).unwrap_or_else(|| Value::from("text")),
    }
}

/// An example value of a WIT type; a placeholder for records and similar types, whose fields are not known here.
fn of_wit(name: &str) -> Option<Value> {
    let first_case = |name: &str| name.split(['{', ',', '}']).nth(1).map(|case| Value::from(case.trim()));
    match name.split(['<', ' ']).next()? {
        "s8" | "u8" | "s16" | "u16" | "s32" | "u32" | "s64" | "u64" => Some(Value::from(1)),
        "f32" | "f64" => Some(Value::from(1.5)),
        "char" => Some(Value::from("a")),
        "list" if name == "list<u8>" => Some(Value::from("dGV4dA==")),
        "list" | "flags" => Some(json!([])),
        "option" => Some(Value::Null),
        "enum" => first_case(name),
        "record" | "variant" | "tuple" | "result" => Some(Value::from("…")),
        _ => None,
    }
}

/// The schemas that references lead to.
struct Schemas<'a> {
    definitions: &'a Value,
}

impl Schemas<'_> {
    fn value(&self, schema: &Value, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        if let Some(reference) = schema["$ref"].as_str() {
            return self.value(self.definition(reference)?, depth);
        }
        for key in ["default", "const"] {
            if let Some(value) = schema.get(key) {
                return Some(value.clone());
            }
        }
        for key in ["examples", "enum"] {
            if let Some(value) = schema[key].as_array().and_then(|values| values.first()) {
                return Some(value.clone());
            }
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            let Some(choices) = schema[key].as_array() else { continue };
            // A type that contains itself ends with `null`.
            let null = choices.iter().any(|choice| choice["type"] == "null").then_some(Value::Null);
            return choices.iter().find_map(|choice| self.value(choice, depth)).or(null);
        }
        match kind(&schema["type"])? {
            "integer" => Some(format!("{:.0}", number(schema, 1.0)).parse::<i64>().map_or(Value::from(1), Value::from)),
            "number" => Some(Value::from(number(schema, 1.5))),
            "boolean" => Some(Value::from(true)),
            "string" => Some(string(schema)),
            "array" => self.array(schema, depth),
            "object" => self.object(schema, depth),
            _ => Some(Value::Null),
        }
    }

    fn definition(&self, reference: &str) -> Option<&Value> {
        let name = reference.rsplit('/').next()?;
        let name = percent_encoding::percent_decode_str(name).decode_utf8().ok()?;
        self.definitions.get(name.replace("~1", "/").replace("~0", "~"))
    }

    /// The items that must be there; of a list of any length one, where its type can be told.
    fn array(&self, schema: &Value, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        let least = schema["minItems"].as_u64().unwrap_or(1).clamp(1, 100);
        if let Some(prefix) = schema["prefixItems"].as_array() {
            for item in prefix.iter().take(usize::try_from(least).unwrap_or(usize::MAX)) {
                items.push(self.value(item, depth).unwrap_or_else(|| Value::from("text")));
            }
        } else if schema["maxItems"] != 0 {
            match self.value(&schema["items"], depth) {
                Some(item) => items.resize(usize::try_from(least).unwrap_or(1), item),
                None if schema["minItems"].is_u64() && depth > 0 => items.resize(1, Value::from("text")),
                None => {}
            }
        }
        Some(Value::Array(items))
    }

    /// The fields that must be there.
    fn object(&self, schema: &Value, depth: usize) -> Option<Value> {
        let mut fields = Map::new();
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let property = &schema["properties"][name];
            let value = self.value(property, depth);
            if value.is_none() && !is_empty(property) {
                return None; // it contains itself
            }
            fields.insert(name.to_owned(), value.unwrap_or_else(|| Value::from("text")));
        }
        Some(Value::Object(fields))
    }
}

/// Whether a schema says nothing about the value.
fn is_empty(schema: &Value) -> bool {
    !["type", "$ref", "const", "enum", "anyOf", "oneOf", "allOf"].iter().any(|key| schema.get(key).is_some())
}

/// The type of a schema; of several, a number rather than text, which might have to be that of a number.
fn kind(kind: &Value) -> Option<&str> {
    let Value::Array(kinds) = kind else { return kind.as_str() };
    let is_number = |kind: &&Value| matches!(kind.as_str(), Some("integer" | "number"));
    kinds.iter().find(is_number).or(kinds.first())?.as_str()
}

/// The number nearest to `wanted` within the bounds.
fn number(schema: &Value, wanted: f64) -> f64 {
    let bound = |key: &str| schema[key].as_f64();
    let step = bound("multipleOf").filter(|step| *step > 0.0);
    let mut number = wanted;
    if let Some(least) = bound("minimum") {
        number = number.max(least);
    }
    if let Some(below) = bound("exclusiveMinimum")
        && number <= below
    {
        number = below + 1.0;
    }
    if let Some(step) = step {
        number = (number / step).ceil() * step;
    }
    if let Some(most) = bound("maximum") {
        number = number.min(step.map_or(most, |step| (most / step).floor() * step));
    }
    if let Some(above) = bound("exclusiveMaximum")
        && number >= above
    {
        let least = bound("minimum").or(bound("exclusiveMinimum")).unwrap_or(above - 2.0);
        number = if schema["type"] == "integer" { above - 1.0 } else { f64::midpoint(least, above) };
    }
    number
}

fn string(schema: &Value) -> Value {
    if schema["contentEncoding"] == "base64" {
        return Value::from("dGV4dA==");
    }
    let text = match schema["format"].as_str().unwrap_or_default() {
        "date" => "2026-01-31",
        "date-time" => "2026-01-31T12:00:00Z",
        "time" => "12:00:00",
        "duration" => "PT1M",
        "uuid" => "12345678-1234-4678-9234-567812345678",
        "uri" => "https://example.com/",
        "email" => "name@example.com",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        "json-string" => "{}",
        _ => "text",
    };
    let length = |key: &str| schema[key].as_u64().and_then(|length| usize::try_from(length).ok());
    let least = length("minLength").unwrap_or(0).min(1_000);
    let most = length("maxLength").unwrap_or(usize::MAX);
    Value::from(text.chars().cycle().take(text.len().max(least).min(most)).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(schema: &Value) -> Value {
        of_schema(schema).unwrap()
    }

    #[test]
    fn values_keep_the_rules_of_their_schemas() {
        assert_eq!(example(&json!({"type": "integer", "exclusiveMinimum": 10, "multipleOf": 4})), json!(12));
        assert_eq!(example(&json!({"type": "number", "minimum": 0, "exclusiveMaximum": 1})), json!(0.5));
        assert_eq!(example(&json!({"type": "number", "maximum": 1})), json!(1.0));
        assert_eq!(example(&json!({"type": ["string", "number"]})), json!(1.5));
        assert_eq!(example(&json!({"type": "string", "maxLength": 1})), json!("t"));
        assert_eq!(example(&json!({"type": "string", "minLength": 6})), json!("textte"));
        assert_eq!(
            example(&json!({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]})).as_str().map(str::len),
            Some(36)
        );
        assert_eq!(
            example(&json!({"type": "array", "items": {"type": "boolean"}, "minItems": 2})),
            json!([true, true])
        );
        assert_eq!(example(&json!({"type": "array"})), json!([]));
        let pair = json!({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "minItems": 2});
        assert_eq!(example(&pair), json!([1, null]));
        assert_eq!(of_schema(&json!({})), None);
    }

    #[test]
    fn types_that_contain_themselves_end() {
        let order = json!({"type": "object", "required": ["id", "next"], "properties": {
            "id": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/Or~1der"}, {"type": "null"}]}}});
        let value = example(&json!({"$ref": "#/$defs/Or~1der", "$defs": {"Or/der": order}}));
        assert_eq!(value["next"]["id"], 1);
        assert!(value.to_string().ends_with("null}}}") || value.to_string().contains("\"next\":null"), "{value}");
        let endless = json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}});
        assert_eq!(of_schema(&endless), None);
    }
}
