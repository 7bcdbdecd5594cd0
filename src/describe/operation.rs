//! The operations of an OpenAPI document that call one function: at its own address, and at those of routes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::deployment::{Function, Signature};
use crate::describe::{Abilities, Definitions, declared, query, responses, schema};

/// What a part of an address may have as it is.
const IN_ADDRESS: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// A part of a path that is text: no slash, no control character, and neither `.` nor `..`.
const PART: &str = r"^(?!\.{1,2}$)[^/\\\u0000-\u001f\u007f-\u009f]+$";
const IN_ORDER: &str = "The arguments may also be given in order, as a JSON array.";

/// A way to a function.
#[derive(Debug)]
pub struct Way<'a> {
    /// The id of the operation.
    pub id: String,
    /// The parameters that the path gives.
    pub path: &'a [String],
}

/// The address of a function below that of its deployment.
#[must_use]
pub fn address(function: &str) -> String {
    format!("/call/{}", utf8_percent_encode(function, &IN_ADDRESS))
}

/// The operation that calls a function with a body, or with a query.
pub fn operation(
    function: &Function,
    way: &Way<'_>,
    method: &str,
    abilities: Abilities,
    definitions: &mut Definitions,
) -> Value {
    let has_body = !matches!(method, "get" | "delete" | "head");
    let signature = &function.signature;
    let mut operation = Map::new();
    operation.insert("operationId".to_owned(), way.id.as_str().into());
    let (declared, description) = declared::of_description(signature.description.as_deref().unwrap_or_default());
    operation.insert("summary".to_owned(), summary(function, &description).into());
    if !description.is_empty() {
        operation.insert("description".to_owned(), description.into());
    }
    let mut parameters: Vec<Value> = way.path.iter().map(|name| path_parameter(name, signature, definitions)).collect();
    let rest = without(signature, way.path);
    if has_body {
        if !rest.parameters.is_empty() || signature.parameters.is_empty() && way.path.is_empty() {
            operation.insert("requestBody".to_owned(), body(&rest, way, abilities, definitions));
        }
    } else if query::takes_query(&rest, abilities) {
        parameters.extend(query::parameters(&rest, definitions));
    }
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), parameters.into());
    }
    let mut answers = answers(signature, abilities, definitions);
    for one in &declared {
        responses::declare(&mut answers, one);
    }
    operation.insert("responses".to_owned(), answers.into());
    operation.into()
}

fn summary(function: &Function, description: &str) -> String {
    let line = description.lines().map(str::trim).find(|line| !line.is_empty());
    line.map_or_else(|| format!("Calls {}", function.name), |line| line.chars().take(120).collect())
}

/// A signature without the parameters that the path gives.
fn without(signature: &Signature, path: &[String]) -> Signature {
    let mut rest = signature.clone();
    rest.parameters.retain(|one| !path.contains(&one.name));
    rest
}

fn path_parameter(name: &str, signature: &Signature, definitions: &mut Definitions) -> Value {
    let own = signature.parameters.iter().find(|one| one.name == name);
    let mut schema = own.map_or_else(|| json!({}), |own| definitions.adopt(&own.schema));
    let is_free = schema.get("type").is_none_or(|kind| kind == "string") && schema.get("enum").is_none();
    if is_free && schema.get("pattern").is_none() && schema.get("$ref").is_none() && schema.get("format").is_none() {
        schema["type"] = "string".into();
        schema["pattern"] = PART.into();
    }
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn body(signature: &Signature, way: &Way<'_>, abilities: Abilities, definitions: &mut Definitions) -> Value {
    let by_name = if abilities.names { schema::object(signature, definitions) } else { None };
    let is_named = by_name.is_some();
    let schema = by_name.unwrap_or_else(|| schema::array(signature, definitions));
    let mut content = Map::new();
    content.insert("application/json".to_owned(), json!({"schema": schema}));
    let others_optional = signature.parameters.iter().skip(1).all(|one| !one.required);
    let first = signature.parameters.first().filter(|_| abilities.files && others_optional);
    if first.is_some_and(|first| first.schema["contentEncoding"] == "base64") {
        // An empty body is none.
        let schema = json!({"type": "string", "format": "binary", "minLength": 1});
        content.insert("application/octet-stream".to_owned(), json!({"schema": schema}));
    }
    if abilities.files && is_named && signature.parameters.iter().any(|one| schema::has_files(&one.schema)) {
        // No JSON is a file.
        content = Map::from_iter([("multipart/form-data".to_owned(), json!({"schema": schema}))]);
    }
    let mut body = json!({"required": signature.parameters.iter().any(|one| one.required), "content": content});
    if is_named && way.path.is_empty() && !signature.parameters.is_empty() {
        body["description"] = IN_ORDER.into();
    }
    body
}

fn answers(signature: &Signature, abilities: Abilities, definitions: &mut Definitions) -> Map<String, Value> {
    let mut answers = responses::of_call();
    let content = match &signature.items {
        Some(items) => stream(&definitions.adopt(items)),
        None => result(&definitions.adopt(&signature.returns), abilities),
    };
    let description = if signature.items.is_some() { "A stream of results." } else { "The function's result." };
    answers.insert("200".to_owned(), json!({"description": description, "content": content}));
    if abilities.files || abilities.plugins {
        let description = "An error with a status of the function's own, or of a plugin.";
        answers.insert("default".to_owned(), json!({"description": description}));
    }
    answers
}

/// The forms of a result.
fn result(schema: &Value, abilities: Abilities) -> Value {
    let mut content = json!({"application/json": {"schema": schema}});
    if *schema == json!({}) && abilities.files {
        // A response of the function's own, bytes, or a stream.
        content["*/*"] = json!({});
    }
    content
}

/// The forms of a stream, of which the caller's `Accept` chooses one. OpenAPI 3.1 has no schema for the items of a
/// stream; `x-item-schema` is what `itemSchema` is in OpenAPI 3.2.
fn stream(items: &Value) -> Value {
    let lines = |what: &str| json!({"schema": {"type": "string", "description": what}, "x-item-schema": items});
    json!({
        "application/json": {"schema": {"type": "array", "items": items}, "x-item-schema": items},
        "text/event-stream": lines("An event for each item, with the item as JSON in its `data`."),
        "application/x-ndjson": lines("A line of JSON for each item."),
    })
}
