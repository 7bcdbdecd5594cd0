//! What is known of a function: parameters, result, description.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most bytes of the signature of one function as JSON. A longer one is made from the ids of types instead.
const LIMIT: usize = 64 * 1024;

/// What is known of a function. As JSON it is the `schema` of a function in MetaData and in `metagate inspect --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// The parameters, in the order of the declaration.
    pub parameters: Vec<Parameter>,
    /// The JSON Schema (2020-12) of results; `{}` if nothing is known.
    #[serde(default = "anything")]
    pub returns: Value,
    /// The JSON Schema of each item, if the results are streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Value>,
    /// What the function does, in its author's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A parameter of a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name; empty for a pattern that has none.
    pub name: String,
    /// How arguments reach it.
    #[serde(default)]
    pub kind: ParameterKind,
    /// Whether a call without it is an error.
    pub required: bool,
    /// The JSON Schema (2020-12) of its values; `{}` if nothing is known.
    #[serde(default = "anything")]
    pub schema: Value,
}

/// How arguments reach a parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterKind {
    /// By order or by name.
    #[default]
    Positional,
    /// By name only.
    KeywordOnly,
    /// All further arguments by order.
    Rest,
    /// All further arguments by name.
    RestByName,
}

fn anything() -> Value {
    json!({})
}

impl Signature {
    /// Reads the signature of a function in MetaData, `{"name","signature","schema"}`. Of a worker that sends no usable
    /// `schema` it is made from MetaCall's `signature`, `{"ret":{"type"},"args":[{"name","type":{"name","id"}}]}`, in
    /// which every parameter counts as required.
    #[must_use]
    pub fn of_metadata(function: &Value) -> Self {
        let sent = function.get("schema").filter(|schema| schema.to_string().len() <= LIMIT);
        sent.and_then(|schema| Self::deserialize(schema).ok())
            .unwrap_or_else(|| Self::of_type_ids(&function["signature"]))
    }

    fn of_type_ids(signature: &Value) -> Self {
        let parameter = |argument: &Value| Parameter {
            name: argument["name"].as_str().unwrap_or_default().to_owned(),
            kind: ParameterKind::Positional,
            required: true,
            schema: schema_of_type_id(&argument["type"]["id"]),
        };
        Self {
            parameters: signature["args"].as_array().into_iter().flatten().map(parameter).collect(),
            returns: schema_of_type_id(&signature["ret"]["type"]["id"]),
            items: None,
            description: None,
        }
    }
}

/// The JSON Schema of values of a type by MetaCall's id of it; the table is in docs/worker-protocol.md.
fn schema_of_type_id(id: &Value) -> Value {
    let name = match id.as_u64() {
        Some(0) => "boolean",
        Some(2..=4) => "integer",
        Some(5 | 6) => "number",
        Some(1 | 7 | 8) => "string",
        Some(9) => "array",
        Some(10) => "object",
        Some(14) => "null",
        _ => return anything(),
    };
    json!({"type": name})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_may_send_the_schema() {
        let sent = json!({"name": "f", "schema": {
            "parameters": [
                {"name": "a", "kind": "keyword-only", "required": false, "schema": {"type": "integer"}},
                {"name": "rest", "kind": "rest", "required": false},
            ],
            "returns": {"type": "string"}, "description": "Does it.", "later": 1,
        }});
        let signature = Signature::of_metadata(&sent);
        assert_eq!(signature.parameters[0].kind, ParameterKind::KeywordOnly);
        assert_eq!(signature.parameters[1].schema, json!({}));
        assert_eq!(signature.description.as_deref(), Some("Does it."));
    }

    #[test]
    fn without_a_schema_the_ids_of_types_say_what_is_known() {
        let signature = json!({"ret": {"type": {"name": "str", "id": 7}}, "args": [
            {"name": "a", "type": {"name": "int", "id": 3}}, {"name": "b", "type": {"name": "", "id": 20}}]});
        let expected = json!({"parameters": [
            {"name": "a", "kind": "positional", "required": true, "schema": {"type": "integer"}},
            {"name": "b", "kind": "positional", "required": true, "schema": {}}],
            "returns": {"type": "string"}});
        let of = |function: &Value| serde_json::to_value(Signature::of_metadata(function)).unwrap();
        assert_eq!(of(&json!({"signature": signature})), expected);
        for odd in [json!(1), json!({"parameters": 1}), json!({"parameters": [], "x": "y".repeat(LIMIT)})] {
            assert_eq!(of(&json!({"signature": signature, "schema": odd})), expected);
        }
        for odd in [json!({}), json!({"signature": 1}), json!({"signature": {"args": {"a": 1}, "ret": []}})] {
            assert_eq!(of(&odd), json!({"parameters": [], "returns": {}}), "{odd}");
        }
    }
}
