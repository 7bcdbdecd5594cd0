//! The result of a tool as structured content: an object, because older clients accept nothing else.

use serde_json::{Value, json};

use crate::deployment::Signature;
use crate::describe::Definitions;

/// The result of a tool.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolOutput {
    /// It is declared as an object of this schema.
    Object(Value),
    /// It is declared as something else: structured content has it under `result`, by this schema of the whole.
    Wrapped(Value),
    /// Nothing is declared, or what is no content of its own.
    Undeclared,
}

impl ToolOutput {
    /// The result of a function with this signature.
    #[must_use]
    pub fn of(signature: &Signature) -> Self {
        signature.items.as_ref().map_or_else(|| Self::of_results(&signature.returns), Self::of_stream)
    }

    /// The result of a function whose results have this schema.
    #[must_use]
    pub fn of_results(returns: &Value) -> Self {
        let Some(members) = returns.as_object().filter(|members| !members.is_empty()) else { return Self::Undeclared };
        let is_null = returns["type"] == "null";
        let is_bytes = members.contains_key("contentEncoding");
        let has_type =
            ["type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"].iter().any(|key| members.contains_key(*key));
        if is_null || is_bytes || !has_type {
            return Self::Undeclared;
        }
        let mut definitions = Definitions::in_schema();
        let result = definitions.adopt(returns);
        if result["type"] == "object" {
            return Self::Object(definitions.into_schema(result));
        }
        Self::wrapped(&result, definitions)
    }

    /// The items of a stream, together.
    fn of_stream(items: &Value) -> Self {
        if items.get("contentEncoding").is_some() {
            return Self::Undeclared;
        }
        let mut definitions = Definitions::in_schema();
        let items = definitions.adopt(items);
        Self::wrapped(&json!({"type": "array", "items": items}), definitions)
    }

    fn wrapped(result: &Value, definitions: Definitions) -> Self {
        let whole = json!({"type": "object", "properties": {"result": result}, "required": ["result"]});
        Self::Wrapped(definitions.into_schema(whole))
    }

    /// The schema of structured content, if one is promised.
    #[must_use]
    pub fn schema(&self) -> Option<&Value> {
        match self {
            Self::Object(schema) | Self::Wrapped(schema) => Some(schema),
            Self::Undeclared => None,
        }
    }

    /// The structured content for a result, the text of a JSON value; none if the result has none.
    #[must_use]
    pub fn content(&self, result: &str) -> Option<String> {
        match self {
            Self::Wrapped(_) => Some(format!(r#"{{"result":{result}}}"#)),
            Self::Object(_) | Self::Undeclared => result.starts_with('{').then(|| result.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_content_is_an_object() {
        let object = json!({"type": "object", "properties": {"total": {"type": "number"}}});
        assert_eq!(ToolOutput::of_results(&object), ToolOutput::Object(object.clone()));
        let wrapped = ToolOutput::of_results(&json!({"type": "integer"}));
        assert_eq!(wrapped.schema().unwrap()["properties"]["result"], json!({"type": "integer"}));
        assert_eq!(wrapped.content("7").unwrap(), r#"{"result":7}"#);
        for nothing in [json!({}), json!({"type": "null"}), json!({"type": "string", "contentEncoding": "base64"})] {
            assert_eq!(ToolOutput::of_results(&nothing), ToolOutput::Undeclared, "{nothing}");
        }
        assert_eq!(ToolOutput::Undeclared.content("[1]"), None);
        assert_eq!(ToolOutput::Undeclared.content("{}").unwrap(), "{}");
    }

    #[test]
    fn a_stream_is_the_array_of_its_items() {
        let item = json!({"$ref": "#/$defs/Item", "$defs": {"Item": {"type": "string"}}});
        let stream = json!({"parameters": [], "items": item});
        let ToolOutput::Wrapped(schema) = ToolOutput::of(&serde_json::from_value(stream).unwrap()) else { panic!() };
        let items = json!({"type": "array", "items": {"$ref": "#/$defs/Item"}});
        assert_eq!((&schema["properties"]["result"], &schema["$defs"]["Item"]), (&items, &json!({"type": "string"})));
    }

    #[test]
    fn references_of_a_wrapped_result_lead_to_the_root() {
        let returns =
            json!({"type": "array", "items": {"$ref": "#/$defs/Item"}, "$defs": {"Item": {"type": "string"}}});
        let ToolOutput::Wrapped(schema) = ToolOutput::of_results(&returns) else { panic!() };
        assert_eq!(schema["$defs"]["Item"], json!({"type": "string"}));
        assert_eq!(schema["properties"]["result"]["items"], json!({"$ref": "#/$defs/Item"}));
    }
}
