//! Functions as prompts and resources: what lists say about them, and what their arguments may be. Arguments are texts.

use serde_json::{Map, Value, json};

use crate::deployment::{Function, Parameter, ParameterKind};
use crate::describe::declared;

/// Most choices of an argument.
const CHOICES: usize = 100;

/// The members of a prompt in a list, besides its name: `title`, `description`, `arguments`.
#[must_use]
pub fn of_function(function: &Function, name: &str) -> Map<String, Value> {
    let mut members = about(function, name);
    let arguments: Vec<Value> = taken(function).map(argument).collect();
    if !arguments.is_empty() {
        members.insert("arguments".to_owned(), arguments.into());
    }
    members
}

/// What a list says about a function: `title`, if its name is another than `name`, and `description`.
#[must_use]
pub fn about(function: &Function, name: &str) -> Map<String, Value> {
    let mut members = Map::new();
    if *name != *function.name {
        members.insert("title".to_owned(), (*function.name).into());
    }
    let written = function.signature.description.as_deref().filter(|text| !text.trim().is_empty());
    let written = written.map_or_else(|| function.name.to_string(), declared::without_indentation);
    members.insert("description".to_owned(), written.into());
    members
}

/// The names of the arguments that a function takes, in its order.
pub fn names(function: &Function) -> impl Iterator<Item = &str> {
    taken(function).map(|one| one.name.as_str())
}

/// The values that an argument may have and that begin with a text, if its type lists them.
///
/// ```
/// use metagate::deployment::{Function, Takes};
/// use metagate::describe::prompt::choices;
/// use serde_json::json;
///
/// let size = json!({"name": "size", "required": true, "schema": {"enum": ["small", "large", "larger"]}});
/// let signature = serde_json::from_value(json!({"parameters": [size]})).unwrap();
/// let function = Function::new("f", Takes::Arguments, signature);
/// assert_eq!(choices(&function, "size", "la"), ["large", "larger"]);
/// assert!(choices(&function, "other", "").is_empty());
/// ```
#[must_use]
pub fn choices(function: &Function, argument: &str, begun: &str) -> Vec<String> {
    let schema = taken(function).find(|one| one.name == argument).map(|one| &one.schema);
    let mut found = Vec::new();
    schema.into_iter().for_each(|schema| collect(schema, &mut found));
    found.retain(|value| value.starts_with(begun));
    found.dedup();
    found
}

fn collect(schema: &Value, found: &mut Vec<String>) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let listed = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
    found.extend(listed.map(text));
    if schema["type"] == "boolean" {
        found.extend(["true".to_owned(), "false".to_owned()]);
    }
    for choice in schema["anyOf"].as_array().into_iter().flatten() {
        collect(choice, found);
    }
    found.truncate(CHOICES);
}

fn taken(function: &Function) -> impl Iterator<Item = &Parameter> {
    let by_name = |one: &&Parameter| matches!(one.kind, ParameterKind::Positional | ParameterKind::KeywordOnly);
    function.signature.parameters.iter().filter(by_name)
}

fn argument(one: &Parameter) -> Value {
    let mut argument = json!({"name": one.name, "required": one.required});
    if let Some(description) = one.schema.get("description").filter(|text| text.is_string()) {
        argument["description"] = description.clone();
    }
    argument
}
