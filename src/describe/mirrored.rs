//! Parameters of tools that clients repeat in headers, so that proxies can route by them without reading bodies:
//! `x-mcp-header` in the schema of a property. Rules:
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#schema-extension>.

use std::collections::HashSet;

use http::HeaderName;
use serde_json::{Map, Value};

/// The keyword in schemas.
const KEYWORD: &str = "x-mcp-header";
/// What the name of such a header begins with.
const PREFIX: &str = "mcp-param-";
/// The types that a header can carry.
const TYPES: [&str; 3] = ["string", "integer", "boolean"];
/// Keywords whose values are schemas by name.
const NAMED: [&str; 5] = ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];
/// Keywords whose values are data, not schemas.
const DATA: [&str; 5] = ["const", "enum", "default", "examples", "example"];

/// A parameter, or a part of one, that clients repeat in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirroredParameter {
    /// The header.
    pub header: HeaderName,
    /// The way to the value in the arguments.
    pub path: Vec<String>,
    /// Whether it is declared as a whole number: those are compared as numbers.
    pub is_integer: bool,
}

/// The parameters that a schema of arguments wants repeated, and those of these names, which get the keyword. Clients
/// leave out tools with such a keyword in a place where it is not allowed: there it is taken out of the schema.
///
/// ```
/// use metagate::describe::mirrored::mirror;
/// use serde_json::json;
///
/// let mut schema = json!({"type": "object", "properties": {"region": {"type": "string"}, "n": {"type": "number"}}});
/// let mirrored = mirror(&mut schema, &["region".to_owned(), "n".to_owned()]);
/// assert_eq!((mirrored.len(), mirrored[0].header.as_str()), (1, "mcp-param-region"));
/// assert_eq!(schema["properties"]["region"]["x-mcp-header"], "region");
/// ```
#[must_use]
pub fn mirror(schema: &mut Value, names: &[String]) -> Vec<MirroredParameter> {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties.iter_mut().filter(|(name, _)| names.contains(name)) {
            if let Some(property) = property.as_object_mut().filter(|property| is_carried(property)) {
                property.entry(KEYWORD).or_insert_with(|| name.as_str().into());
            }
        }
    }
    let mut found = Vec::new();
    collect(schema, &mut Vec::new(), &mut found);
    let mut seen = HashSet::new();
    let are_unique = found.iter().all(|one| seen.insert(one.header.clone()));
    if !are_unique || count(schema) != found.len() {
        take_out(schema);
        found.clear();
    }
    found
}

fn is_carried(property: &Map<String, Value>) -> bool {
    property.get("type").and_then(Value::as_str).is_some_and(|name| TYPES.contains(&name))
}

/// The keywords that are reached through `properties` alone and follow the rules.
fn collect(schema: &Value, path: &mut Vec<String>, found: &mut Vec<MirroredParameter>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, property) in properties {
        path.push(name.clone());
        if let Some(of) = property.as_object().filter(|of| is_carried(of))
            && let Some(header) = of.get(KEYWORD).and_then(Value::as_str).filter(|header| !header.is_empty())
            && let Ok(header) = HeaderName::from_bytes(format!("{PREFIX}{header}").as_bytes())
        {
            let is_integer = of["type"] == "integer";
            found.push(MirroredParameter { header, path: path.clone(), is_integer });
        }
        collect(property, path, found);
        path.pop();
    }
}

/// The number of keywords in a schema, wherever they are.
fn count(schema: &Value) -> usize {
    match schema {
        Value::Object(members) => {
            let inner = members.iter().map(|(key, value)| match value {
                Value::Object(named) if NAMED.contains(&key.as_str()) => named.values().map(count).sum(),
                _ if DATA.contains(&key.as_str()) => 0,
                _ => count(value),
            });
            inner.sum::<usize>() + usize::from(members.contains_key(KEYWORD))
        }
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

fn take_out(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.shift_remove(KEYWORD);
            for (key, value) in members.iter_mut().filter(|(key, _)| !DATA.contains(&key.as_str())) {
                match value {
                    Value::Object(named) if NAMED.contains(&key.as_str()) => named.values_mut().for_each(take_out),
                    value => take_out(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(take_out),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_of_an_object_may_be_repeated() {
        let place = json!({"type": "object", "properties": {"zone": {"type": "integer", "x-mcp-header": "Zone"}}});
        let mut schema = json!({"properties": {"place": place, "x-mcp-header": {"type": "string"}}});
        let before = schema.clone();
        let path = vec!["place".to_owned(), "zone".to_owned()];
        let header = HeaderName::from_static("mcp-param-zone");
        let expected = vec![MirroredParameter { header, path, is_integer: true }];
        assert_eq!((mirror(&mut schema, &[]), &schema), (expected, &before));
    }

    #[test]
    fn a_keyword_where_it_is_not_allowed_is_taken_out() {
        let of = |kind: &str, header: &str| json!({"type": kind, "x-mcp-header": header});
        for properties in [
            json!({"a": of("number", "A")}),
            json!({"a": of("string", "a b")}),
            json!({"a": of("string", "A"), "b": of("string", "a")}),
            json!({"a": {"type": "array", "items": of("string", "A")}}),
            json!({"a": {"anyOf": [of("string", "A"), {"type": "null"}]}, "b": of("string", "B")}),
        ] {
            let mut schema = json!({"type": "object", "properties": properties, "default": {"x-mcp-header": 1}});
            assert_eq!(mirror(&mut schema, &[]), Vec::new(), "{schema}");
            assert_eq!(schema.to_string().matches("x-mcp-header").count(), 1, "{schema}");
        }
        let mut nullable = json!({"properties": {"a": {"type": ["string", "null"]}, "b": {"type": "array"}}});
        assert_eq!(mirror(&mut nullable, &["a".to_owned(), "b".to_owned()]), Vec::new());
    }
}
