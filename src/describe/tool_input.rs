//! The arguments of a tool: an object by the names of the parameters, and how it becomes the arguments of a call.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::deployment::{ParameterKind, Signature};
use crate::describe::schema;

/// The arguments that a tool takes.
#[derive(Debug)]
pub struct ToolInput {
    /// Their schema, of an object.
    pub schema: Value,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// The only parameter gets the object itself.
    Whole,
    /// Each under its name.
    Named {
        parameters: Vec<NamedParameter>,
        /// Whether further names are taken.
        takes_others: bool,
        /// Whether the function cannot be called with this object as it is: a parameter has no name of its own, or the
        /// only one could be taken for the object.
        by_order: bool,
    },
}

#[derive(Debug)]
struct NamedParameter {
    name: String,
    kind: ParameterKind,
}

/// Why arguments do not become those of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnfitArguments {
    /// There is no such parameter.
    #[error("no parameter {0:?}")]
    Unknown(String),
    /// The function takes its arguments by order, and one is missing before another.
    #[error("argument {0:?} is needed, because {1:?} follows it")]
    Gap(String, String),
    /// Further arguments are an array.
    #[error("argument {0:?}: expected array")]
    NotArray(String),
    /// The function takes its arguments by order, and this one has no place in it.
    #[error("argument {0:?} can be given by name only, and the runtime takes arguments by order")]
    NameOnly(String),
}

impl ToolInput {
    /// The arguments of a function with this signature.
    #[must_use]
    pub fn of(signature: &Signature) -> Self {
        if let Some(only) = schema::itself(signature) {
            // As its author wrote it, with `$schema`, anchors and conditions: it is the root here as it was there.
            return Self { schema: only.schema.clone(), form: Form::Whole };
        }
        let named = with_names(signature);
        let (own, all) = (&signature.parameters, &named.parameters);
        let has_made_up = own.iter().zip(all).any(|(own, named)| own.name != named.name);
        let is_single = matches!(all.as_slice(), [only] if only.kind == ParameterKind::Positional);
        let form = Form::Named {
            takes_others: all.iter().any(|one| one.kind == ParameterKind::RestByName),
            by_order: has_made_up || is_single,
            parameters: all.iter().map(|one| NamedParameter { name: one.name.clone(), kind: one.kind }).collect(),
        };
        let mut schema = schema::by_name(&named).unwrap_or_default();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            // What takes a file and may be missing is missing: no JSON is a file.
            properties.retain(|_, property| !schema::has_files(property));
        }
        Self { schema, form }
    }

    /// The body of a call with these arguments, the text of an object: an object by names, or an array. `by_names`:
    /// whether the runtime takes names.
    ///
    /// # Errors
    ///
    /// No call of the function has such arguments.
    pub fn body_of(&self, given: &str, by_names: bool) -> Result<String, UnfitArguments> {
        let Form::Named { parameters, takes_others, by_order } = &self.form else {
            return Ok(format!("[{given}]"));
        };
        let values: HashMap<String, &RawValue> = serde_json::from_str(given).unwrap_or_default();
        let is_known = |name: &str| parameters.iter().any(|one| one.name == name);
        if let Some(unknown) = values.keys().filter(|name| !takes_others && !is_known(name)).min() {
            return Err(UnfitArguments::Unknown(unknown.clone()));
        }
        if by_names && !by_order {
            return Ok(given.to_owned());
        }
        let others = values.keys().find(|name| !is_known(name));
        match others {
            Some(other) => Err(UnfitArguments::NameOnly(other.clone())),
            None => ordered(parameters, &values),
        }
    }
}

/// The values in the order of the parameters, as an array.
fn ordered(parameters: &[NamedParameter], values: &HashMap<String, &RawValue>) -> Result<String, UnfitArguments> {
    let mut items: Vec<&str> = Vec::new();
    let mut missing: Option<&str> = None;
    for NamedParameter { name, kind } in parameters {
        let Some(value) = values.get(name) else {
            missing = missing.or((*kind == ParameterKind::Positional).then_some(name));
            continue;
        };
        let further: Vec<&RawValue> = match kind {
            ParameterKind::Positional => vec![value],
            ParameterKind::Rest => {
                serde_json::from_str(value.get()).map_err(|_| UnfitArguments::NotArray(name.clone()))?
            }
            ParameterKind::KeywordOnly | ParameterKind::RestByName => {
                return Err(UnfitArguments::NameOnly(name.clone()));
            }
        };
        match missing {
            Some(missing) if !further.is_empty() => {
                return Err(UnfitArguments::Gap(missing.to_owned(), name.clone()));
            }
            _ => items.extend(further.into_iter().map(RawValue::get)),
        }
    }
    Ok(format!("[{}]", items.join(",")))
}

/// A signature whose parameters all have names of their own: `argument2` is the second one, if it has none.
fn with_names(signature: &Signature) -> Signature {
    let mut named = signature.clone();
    let mut seen = HashSet::new();
    for (at, one) in named.parameters.iter_mut().enumerate() {
        if !schema::is_name(&one.name) || seen.contains(&one.name) {
            one.name = format!("argument{}", at + 1);
            while seen.contains(&one.name) || signature.parameters.iter().any(|other| other.name == one.name) {
                one.name.push('_');
            }
        }
        seen.insert(one.name.clone());
    }
    named
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(parameters: &Value) -> ToolInput {
        let signature = json!({"parameters": parameters, "returns": {}});
        ToolInput::of(&serde_json::from_value(signature).unwrap())
    }

    fn two() -> ToolInput {
        input(
            &json!([{"name": "a", "required": true}, {"name": "b", "required": false, "schema": {"type": "integer"}}]),
        )
    }

    #[test]
    fn arguments_go_by_name_where_the_runtime_takes_names() {
        let two = two();
        let properties = json!({"a": {}, "b": {"type": "integer"}});
        let expected =
            json!({"type": "object", "properties": properties, "required": ["a"], "additionalProperties": false});
        assert_eq!(two.schema, expected);
        assert_eq!(two.body_of(r#"{"b":1.0,"a":2}"#, true).unwrap(), r#"{"b":1.0,"a":2}"#);
        assert_eq!(two.body_of(r#"{"b":1.0,"a":2}"#, false).unwrap(), "[2,1.0]");
        assert_eq!(two.body_of("{}", false).unwrap(), "[]");
        assert_eq!(two.body_of(r#"{"b":1}"#, false), Err(UnfitArguments::Gap("a".into(), "b".into())));
        assert_eq!(two.body_of(r#"{"c":1}"#, true), Err(UnfitArguments::Unknown("c".into())));
    }

    #[test]
    fn further_arguments_are_an_array_and_further_names_are_free() {
        let rest = input(&json!([{"name": "a", "required": true},
            {"name": "more", "kind": "rest", "required": false, "schema": {"type": "string"}}]));
        assert_eq!(rest.schema["properties"]["more"], json!({"type": "array", "items": {"type": "string"}}));
        assert_eq!(rest.body_of(r#"{"a":1,"more":["x","y"]}"#, false).unwrap(), r#"[1,"x","y"]"#);
        assert_eq!(rest.body_of(r#"{"a":1,"more":2}"#, false), Err(UnfitArguments::NotArray("more".into())));
        let names = input(&json!([{"name": "more", "kind": "rest-by-name", "required": false}]));
        assert_eq!(names.schema, json!({"type": "object", "properties": {}}));
        assert_eq!(names.body_of(r#"{"x":1}"#, true).unwrap(), r#"{"x":1}"#);
        assert_eq!(names.body_of(r#"{"x":1}"#, false), Err(UnfitArguments::NameOnly("x".into())));
    }

    #[test]
    fn a_parameter_without_a_name_gets_the_object_or_a_number() {
        let object = json!({"type": "object", "properties": {"id": {}}});
        let whole = input(&json!([{"name": "{ id }", "required": true, "schema": object}]));
        assert_eq!(whole.schema, object);
        assert_eq!(whole.body_of(r#"{"id":1}"#, true).unwrap(), r#"[{"id":1}]"#);
        let second = input(&json!([{"name": "argument2", "required": true}, {"name": "[a]", "required": true},
            {"name": "argument2", "required": false}]));
        let names: Vec<&String> = second.schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["argument2", "argument2_", "argument3"]);
        assert_eq!(second.body_of(r#"{"argument2_":2,"argument2":1}"#, true).unwrap(), "[1,2]");
    }

    #[test]
    fn files_are_no_arguments_of_tools() {
        let file = json!({"anyOf": [{"type": "string", "format": "binary"}, {"type": "null"}]});
        let titled = input(&json!([{"name": "title", "required": true}, {"name": "cover", "required": false,
            "schema": file}]));
        assert_eq!(titled.schema["properties"], json!({"title": {}}));
        assert_eq!(titled.body_of(r#"{"title":"a"}"#, true).unwrap(), r#"{"title":"a"}"#);
    }

    #[test]
    fn the_only_argument_is_never_taken_for_the_object() {
        let one = input(&json!([{"name": "order", "required": true, "schema": {"type": "object"}}]));
        assert_eq!(one.body_of(r#"{"order":{"order":1}}"#, true).unwrap(), r#"[{"order":1}]"#);
    }
}
