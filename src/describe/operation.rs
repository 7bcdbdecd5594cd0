//! The operations of an OpenAPI document that call one function: at its own address, and at those of routes.

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::deployment::{Function, Signature};
use crate::describe::declared::{self, Declared};
use crate::describe::deferred::{self, Waits};
use crate::describe::guarded::Guarded;
use crate::describe::members::of_members;
use crate::describe::responses::{Answers, Responses};
use crate::describe::{Abilities, Definitions, query, schema};

/// What a part of an address may have as it is.
const IN_ADDRESS: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// A part of a path that is text: no slash, no control character, and neither `.` nor `..`.
const PART: &str = r"^(?!\.{1,2}$)[^/\\\u0000-\u001f\u007f-\u009f]+$";
const IN_ORDER: &str = "The arguments may also be given in order, as a JSON array.";

/// What every operation of a function says of it.
#[derive(Debug)]
pub struct Described<'a> {
    function: &'a Function,
    summary: String,
    description: String,
    answers: Answers,
}

impl<'a> Described<'a> {
    /// What is said of a function whose schemas refer to these definitions, and what its plugins add.
    pub(super) fn new(
        function: &'a Function,
        guarded: Arc<Guarded>,
        abilities: Abilities,
        definitions: &mut Definitions,
    ) -> Self {
        let text = function.signature.description.as_deref().unwrap_or_default();
        let (declared, description) = declared::of_description(text);
        let summary = summary(function, &description);
        let answers = answers(function, &declared, guarded, abilities, definitions);
        Self { function, summary, description, answers }
    }

    /// The function.
    #[must_use]
    pub fn function(&self) -> &'a Function {
        self.function
    }
}

/// A way to a function.
#[derive(Debug)]
pub struct Way<'a> {
    /// The id of the operation.
    pub id: String,
    /// The parameters that the path gives.
    pub path: &'a [String],
    /// Whether callers wait.
    pub waits: Waits,
}

/// An operation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation<'a> {
    operation_id: String,
    summary: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parameters: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<&'a Value>,
    responses: Responses<'a>,
}

/// The address of a function below that of its deployment.
#[must_use]
pub fn address(function: &str) -> String {
    format!("/call/{}", utf8_percent_encode(function, &IN_ADDRESS))
}

impl<'a> Operation<'a> {
    /// The operation that calls a function with a body, or with a query.
    #[must_use]
    pub fn new(
        described: &'a Described<'a>,
        way: Way<'_>,
        method: &str,
        abilities: Abilities,
        definitions: &mut Definitions,
    ) -> Self {
        let has_body = !matches!(method, "get" | "delete" | "head");
        let signature = &described.function.signature;
        let mut parameters: Vec<Value> =
            way.path.iter().map(|name| path_parameter(name, signature, definitions)).collect();
        let rest = without(signature, way.path);
        let mut request_body = None;
        if has_body {
            if !rest.parameters.is_empty() || signature.parameters.is_empty() && way.path.is_empty() {
                request_body = Some(body(&rest, &way, abilities, definitions));
            }
        } else if query::takes_query(&rest, abilities) {
            parameters.extend(query::parameters(&rest, definitions));
        }
        if !matches!(method, "options" | "trace") {
            parameters.extend(deferred::parameters(way.waits));
        }
        let Described { summary, description, answers, .. } = described;
        let security = answers.security();
        let responses = Responses { answers, waits: way.waits };
        Self { operation_id: way.id, summary, description, request_body, parameters, security, responses }
    }
}

fn summary(function: &Function, description: &str) -> String {
    let line = description.lines().map(str::trim).find(|line| !line.is_empty());
    line.map_or_else(|| format!("Calls {}", function.name), |line| line.chars().take(120).collect())
}

/// A signature without the parameters that the path gives.
fn without<'a>(signature: &'a Signature, path: &[String]) -> Cow<'a, Signature> {
    if path.is_empty() {
        return Cow::Borrowed(signature);
    }
    let mut rest = signature.clone();
    rest.parameters.retain(|one| !path.contains(&one.name));
    Cow::Owned(rest)
}

fn path_parameter(name: &str, signature: &Signature, definitions: &mut Definitions) -> Value {
    let own = signature.parameters.iter().find(|one| one.name == name);
    let mut schema = own.map_or_else(|| json!({}), |own| definitions.adopt(&own.schema));
    if let Some(schema) = schema.as_object_mut() {
        schema.shift_remove("default"); // a path always has a value
    }
    let is_free = schema.get("type").is_none_or(|kind| kind == "string") && schema.get("enum").is_none();
    if is_free && schema.get("pattern").is_none() && schema.get("$ref").is_none() && schema.get("format").is_none() {
        schema["type"] = "string".into();
        schema["pattern"] = PART.into();
    }
    of_members([("name", name.into()), ("in", "path".into()), ("required", true.into()), ("schema", schema)])
}

fn body(signature: &Signature, way: &Way<'_>, abilities: Abilities, definitions: &mut Definitions) -> Value {
    let by_name = if abilities.names { schema::object(signature, definitions) } else { None };
    let is_named = by_name.is_some();
    let schema = by_name.unwrap_or_else(|| schema::array(signature, definitions));
    // No JSON is a file.
    let is_form = abilities.files && is_named && signature.parameters.iter().any(|one| schema::has_files(&one.schema));
    let kind = if is_form { "multipart/form-data" } else { "application/json" };
    let mut content = of_members([(kind, of_members([("schema", schema)]))]);
    let others_optional = signature.parameters.iter().skip(1).all(|one| !one.required);
    let first = signature.parameters.first().filter(|_| abilities.files && others_optional && !is_form);
    if first.is_some_and(|first| first.schema["contentEncoding"] == "base64") {
        // An empty body is none.
        content["application/octet-stream"] = json!({"schema": {"type": "string", "format": "binary", "minLength": 1}});
    }
    let required = signature.parameters.iter().any(|one| one.required);
    let mut body = of_members([("required", required.into()), ("content", content)]);
    if is_named && !is_form && way.path.is_empty() && !signature.parameters.is_empty() {
        body["description"] = IN_ORDER.into();
    }
    body
}

fn answers(
    function: &Function,
    declared: &[Declared],
    guarded: Arc<Guarded>,
    abilities: Abilities,
    definitions: &mut Definitions,
) -> Answers {
    let signature = &function.signature;
    let result = match &signature.items {
        Some(items) => success("A stream of results.", stream(&definitions.adopt(items))),
        None if signature.returns == json!({"not": {}}) => json!({"description": "Nothing: there is no body."}),
        None => success("The function's result.", result(definitions.adopt(&signature.returns), abilities)),
    };
    let others = match (abilities.files, guarded.is_open) {
        (true, true) => Some("An answer with a status of the function's own, or an error of a plugin."),
        (true, false) => Some("An answer with a status of the function's own: a result, such as 201, or an error."),
        (false, true) => Some("An error with a status of a plugin's own."),
        (false, false) => None,
    };
    let mut answers = Answers::new(result, declared, guarded);
    if let Some(others) = others {
        answers.set_others(others);
    }
    answers
}

fn success(description: &str, content: Value) -> Value {
    of_members([("description", description.into()), ("content", content)])
}

/// The forms of a result.
fn result(schema: Value, abilities: Abilities) -> Value {
    let is_any = schema.as_object().is_some_and(Map::is_empty);
    let mut content = of_members([("application/json", of_members([("schema", schema)]))]);
    if is_any && abilities.files {
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
