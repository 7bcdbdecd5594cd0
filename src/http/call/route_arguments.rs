//! The arguments of a call by a route: the parameters of its path, those of the query, and the keys of the body, each
//! by name. Of equal names the path's counts before the query's, and that before the body's: a caller cannot replace
//! what the address says.

use std::collections::HashSet;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::deployment::Signature;
use crate::http::call::arguments::Keys;
use crate::http::call::form;
use crate::http::problem::{Code, Problem};
use crate::invocation::{Arguments, BodyForm};

/// What the address of a request gives.
#[derive(Debug)]
pub struct Given<'a> {
    /// The parameters of the path.
    pub path: Vec<(String, String)>,
    /// The query.
    pub query: Option<&'a str>,
    /// What is known of the function, where a body may come with them: text of the address then becomes numbers where
    /// only these fit, as a worker would do if all arguments were text.
    pub signature: Option<&'a Signature>,
}

/// Makes the arguments of a call, of those of its body with their names.
///
/// # Errors
///
/// `bad_request` for a body that has no names although the path has parameters; `bad_request` for a query that cannot
/// be read.
pub fn arguments(given: Given<'_>, from_body: Arguments, keys: Keys) -> Result<Arguments, Problem> {
    let Given { path, query, signature } = given;
    let is_nothing = from_body == Arguments::none();
    if from_body.names().is_none() && !is_nothing {
        // An array: as at the function's own address, the query is not read.
        return if path.is_empty() { Ok(from_body) } else { Err(no_names(&path)) };
    }
    let (names, values) = parts(&from_body);
    let are_text = is_nothing || from_body.are_text() || values.is_empty();
    let mut all = Merged::default();
    for (name, text) in path {
        let json = if are_text { quoted(&text) } else { json_of(&text, &name, signature) };
        all.add(name, json);
    }
    let pairs = form::parse(query.unwrap_or_default().as_bytes());
    for (name, value) in pairs.map_err(|error| Problem::new(Code::BadRequest, error.to_string()))? {
        if from_body.body() == Some(BodyForm::Multipart) && has_object(&value) {
            // The worker takes objects for files.
            let message = format!("the query has keys in brackets for {name:?}, which a form with files cannot have");
            return Err(Problem::new(Code::BadRequest, message));
        }
        let json = match &value {
            Value::String(text) if !are_text => json_of(text, &name, signature),
            value => value.to_string(),
        };
        all.add(name, json);
    }
    for (name, value) in names.into_iter().zip(values) {
        all.add(name, value.get().to_owned());
    }
    let merged = all.into_arguments(keys);
    let merged = if are_text { merged.of_text() } else { merged };
    let merged = merged.with_uploads(from_body.uploads().cloned());
    Ok(match from_body.body() {
        Some(form) => merged.of_body(form),
        None => merged,
    })
}

/// Arguments by name, in order; the first of a name counts.
#[derive(Default)]
struct Merged {
    names: Vec<String>,
    values: Vec<String>,
    known: HashSet<String>,
}

impl Merged {
    fn add(&mut self, name: String, value: String) {
        if self.known.insert(name.clone()) {
            self.names.push(name);
            self.values.push(value);
        }
    }

    fn into_arguments(self, keys: Keys) -> Arguments {
        let arguments = Arguments::from_checked(format!("[{}]", self.values.join(",")).into());
        match keys {
            Keys::Keep => arguments.named(&self.names.iter().map(String::as_str).collect::<Vec<_>>()),
            Keys::Drop => arguments,
        }
    }
}

/// The names and values of arguments that were made here.
fn parts(arguments: &Arguments) -> (Vec<String>, Vec<&RawValue>) {
    let names = arguments.names().map(serde_json::from_str).transpose();
    let values = serde_json::from_slice(arguments.as_json());
    (names.ok().flatten().unwrap_or_default(), values.unwrap_or_default())
}

fn has_object(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(has_object),
        _ => false,
    }
}

/// Text of an address as JSON for a parameter that does not take text.
fn json_of(text: &str, name: &str, signature: Option<&Signature>) -> String {
    let mut parameters = signature.iter().flat_map(|signature| &signature.parameters);
    let fits = parameters.find(|own| own.name == name).is_some_and(|own| match text {
        "true" | "false" => admits(&own.schema, &["boolean"]),
        _ => admits(&own.schema, &["integer", "number"]) && is_number(text),
    });
    if fits { text.to_owned() } else { quoted(text) }
}

/// Whether values of one of these types fit a schema, and text does not.
fn admits(schema: &Value, types: &[&str]) -> bool {
    let choices = ["anyOf", "oneOf"].into_iter().flat_map(|key| schema[key].as_array().into_iter().flatten());
    let mut found: Vec<&str> = Vec::new();
    for form in choices.chain([schema]) {
        match &form["type"] {
            Value::String(name) => found.push(name),
            Value::Array(names) => found.extend(names.iter().filter_map(Value::as_str)),
            _ => {}
        }
    }
    !found.contains(&"string") && found.iter().any(|name| types.contains(name))
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '-') && serde_json::from_str::<&RawValue>(text).is_ok()
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn no_names(path: &[(String, String)]) -> Problem {
    let names: Vec<String> = path.iter().map(|(name, _)| format!("{name:?}")).collect();
    let names = names.join(", ");
    let message = format!(
        "the path gives {names} by name, so the body has to give the other arguments by name as well: as a JSON object \
         or a form, not an array, text or bytes"
    );
    Problem::new(Code::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::http::call::arguments::from_body;
    use crate::http::call::body_kind::BodyKind;

    fn merged(path: &[(&str, &str)], query: &str, body: &'static str, kind: &BodyKind) -> Result<String, Code> {
        let parameter = |name: &str, schema: Value| json!({"name": name, "required": true, "schema": schema});
        let signature: Signature = serde_json::from_value(json!({"parameters": [
            parameter("id", json!({"type": "integer"})),
            parameter("flag", json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]})),
            parameter("code", json!({"type": ["string", "integer"]})),
        ]}))
        .unwrap();
        let path = path.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let given = Given { path, query: Some(query), signature: Some(&signature) };
        let from_body = from_body(&Bytes::from_static(body.as_bytes()), kind, Keys::Keep);
        let arguments = from_body.and_then(|from_body| arguments(given, from_body, Keys::Keep));
        let arguments = arguments.map_err(|problem| problem.code())?;
        let text = if arguments.are_text() { " text" } else { "" };
        let values = std::str::from_utf8(arguments.as_json()).unwrap();
        Ok(format!("{} {values}{text}", arguments.names().unwrap_or("-")))
    }

    #[test]
    fn path_query_and_body_are_arguments_by_name_and_the_address_counts_first() {
        let id = &[("id", "7")][..];
        for (path, query, body, kind, expected) in [
            (id, "", "", BodyKind::Other, r#"["id"] ["7"] text"#),
            (id, "id=8&q=a%20b&q=c", "", BodyKind::Other, r#"["id","q"] ["7",["a b","c"]] text"#),
            (id, "flag=true", r#"{"id":9,"x":[1, 2]}"#, BodyKind::Json, r#"["id","flag","x"] [7,true,[1, 2]]"#),
            (
                &[("id", "007")],
                "flag=1&code=5",
                r#"{"x":0}"#,
                BodyKind::Json,
                r#"["id","flag","code","x"] ["007","1","5",0]"#,
            ),
            (&[("id", "\"]")], "", r#"{"x":"a"}"#, BodyKind::Json, r#"["id","x"] ["\"]","a"]"#),
            (id, "", "{}", BodyKind::Json, r#"["id"] ["7"] text"#),
            (id, "q=1", "x=2&id=3", BodyKind::Form, r#"["id","q","x"] ["7","1","2"] text"#),
            (&[], "q=1", "[1,2]", BodyKind::Json, "- [1,2]"),
            (&[], "", "", BodyKind::Json, "[] [] text"),
        ] {
            assert_eq!(merged(path, query, body, &kind).as_deref(), Ok(expected), "{path:?} {query} {body}");
        }
        let files = BodyKind::Multipart("b".into());
        let form = "--b\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b--\r\n";
        let expected = r#"["id","q","x"] ["7",["1","2"],"1"] text"#;
        assert_eq!(merged(id, "q=1&q=2", form, &files).as_deref(), Ok(expected));
        for forged in ["f[base64]=YQ==&f[filename]=a", "f[][base64]=YQ=="] {
            assert_eq!(merged(id, forged, form, &files), Err(Code::BadRequest), "{forged}");
        }
        assert_eq!(merged(id, "", "[1]", &BodyKind::Json), Err(Code::BadRequest));
        assert_eq!(merged(id, "", "{", &BodyKind::Json), Err(Code::InvalidJson));
        assert_eq!(merged(id, "", "x", &BodyKind::Other), Err(Code::UnsupportedMediaType));
    }
}
