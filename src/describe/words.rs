//! Schemas in words, for people.

use serde_json::Value;

/// Most characters of a schema in words.
const LONGEST: usize = 60;
/// Most levels of a schema that are read.
const DEEPEST: usize = 3;

/// `integer`, `string[]`, `"a" | "b"`; empty for a schema that allows anything.
///
/// ```
/// use metagate::describe::words::of_schema;
/// use serde_json::json;
///
/// let nested = json!({"anyOf": [{"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "null"}]});
/// assert_eq!(of_schema(&nested), "string | null");
/// assert_eq!(of_schema(&json!({"type": "array", "items": {"$ref": "#/$defs/Order"}})), "Order[]");
/// ```
#[must_use]
pub fn of_schema(schema: &Value) -> String {
    shortened(&schema_text(schema, DEEPEST))
}

/// A text, with an ellipsis in place of its end if it is long.
#[must_use]
pub fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST - 1).chain(['…']).collect()
    }
}

fn schema_text(schema: &Value, depth: usize) -> String {
    let joined = |parts: &[Value], one: &dyn Fn(&Value) -> String| {
        let mut texts: Vec<String> = Vec::new();
        let mut length = 0;
        for text in parts.iter().map(one).filter(|text| !text.is_empty()) {
            if length > LONGEST {
                break;
            }
            if !texts.contains(&text) {
                length += text.len();
                texts.push(text);
            }
        }
        texts.join(" | ")
    };
    let inner = |schema: &Value| if depth == 0 { String::new() } else { schema_text(schema, depth - 1) };
    if let Some(values) = schema["enum"].as_array() {
        return joined(values, &Value::to_string);
    }
    if let Some(choices) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
        // A choice within a choice is one of its parts.
        let parts = |choice: &Value| choice["anyOf"].as_array().cloned().unwrap_or_else(|| vec![choice.clone()]);
        return joined(&choices.iter().take(LONGEST).flat_map(parts).collect::<Vec<_>>(), &inner);
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap_or_default().to_owned();
    }
    match (&schema["type"], inner(&schema["items"])) {
        (Value::String(kind), item) if kind == "array" && !item.is_empty() => {
            if item.contains(' ') {
                format!("({item})[]")
            } else {
                format!("{item}[]")
            }
        }
        (Value::String(kind), _) => schema["title"].as_str().filter(|_| kind == "object").unwrap_or(kind).to_owned(),
        (Value::Array(kinds), _) => joined(kinds, &|kind| text(kind).to_owned()),
        _ => schema.get("const").map(Value::to_string).unwrap_or_default(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
