//! What is known of a function: parameters, result, description.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::deployment::schema;

/// Most bytes of the signature of one function as JSON. A longer one is made from the ids of types instead.
const LIMIT: usize = 128 * 1024;

/// The `$comment` of a schema that allows anything in place of one that is not known, because it was too long.
const LEFT_OUT: &str = "left out: the schemas of the function are too long";

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
        let Some(sent) = function.get("schema") else { return Self::of_type_ids(&function["signature"]) };
        let fits = sent.to_string().len() <= LIMIT;
        if let Some(mut signature) = Self::deserialize(sent).ok().filter(|_| fits) {
            let parameters = signature.parameters.iter_mut().map(|parameter| &mut parameter.schema);
            parameters.chain([&mut signature.returns]).chain(&mut signature.items).for_each(schema::mend);
            return signature;
        }
        let mut signature = Self::of_type_ids(&function["signature"]);
        if fits {
            return signature;
        }
        for schema in signature.parameters.iter_mut().map(|one| &mut one.schema).chain([&mut signature.returns]) {
            if schema == &anything() {
                *schema = left_out();
            }
        }
        signature
    }

    /// The parameters whose types are not known because they were too long, by name, and the result.
    #[must_use]
    pub fn left_out(&self) -> Vec<&str> {
        let parameters = self.parameters.iter().map(|one| (one.name.as_str(), &one.schema));
        let all =
            parameters.chain([("the result", &self.returns)]).chain(self.items.iter().map(|one| ("the items", one)));
        all.filter(|(_, schema)| is_left_out(schema)).map(|(name, _)| name).collect()
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

fn left_out() -> Value {
    json!({"$comment": LEFT_OUT})
}

/// Whether a schema stands for one that was too long to be sent.
#[must_use]
pub fn is_left_out(schema: &Value) -> bool {
    schema.get("$comment").is_some_and(|comment| comment == LEFT_OUT)
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
        for odd in [json!(1), json!({"parameters": 1})] {
            assert_eq!(of(&json!({"signature": signature, "schema": odd})), expected);
        }
        let long = json!({"signature": signature, "schema": {"parameters": [], "x": "y".repeat(LIMIT)}});
        assert_eq!(of(&long)["parameters"][0]["schema"], json!({"type": "integer"}));
        assert_eq!(of(&long)["parameters"][1]["schema"], left_out());
        assert_eq!(Signature::of_metadata(&long).left_out(), ["b"]);
        for odd in [json!({}), json!({"signature": 1}), json!({"signature": {"args": {"a": 1}, "ret": []}})] {
            assert_eq!(of(&odd), json!({"parameters": [], "returns": {}}), "{odd}");
        }
    }
}
