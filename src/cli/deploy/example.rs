//! The addresses of a deployment's functions, each as a line to paste into a shell, with arguments that fit.

mod value;

use std::io::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use serde_json::{Map, Value};

use crate::cli::client::Client;
use crate::cli::deploy::example::value::{of_schema, of_type};
use crate::deployment::DeploymentName;

/// Characters that are percent-encoded in an address.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.').remove(b'~');
/// Maximum number of functions that are shown.
const SHOWN: usize = 20;

/// Writes a `curl` line for each function.
pub(super) fn show(client: &Client, name: &DeploymentName, out: &mut impl Write) -> anyhow::Result<()> {
    let deployment = client.deployment(name.as_str())?;
    let count = deployment.functions().count();
    for function in deployment.functions().take(SHOWN) {
        let called = function.function["name"].as_str().unwrap_or_default();
        if function.takes_requests() {
            writeln!(out, "  curl {}", client.curl_arguments(&deployment.requests()))?;
            continue;
        }
        let parts = called.split('/').map(|part| percent_encoding::utf8_percent_encode(part, ENCODED).to_string());
        let address = client.curl_arguments(&format!("{}{}", deployment.calls(), parts.collect::<Vec<_>>().join("/")));
        writeln!(out, "  {}", line(function.function, &address))?;
    }
    if count > SHOWN {
        writeln!(out, "  and {} more: metagate inspect {name}", count - SHOWN)?;
    }
    Ok(())
}

/// An argument of an example.
struct Example {
    name: String,
    value: Value,
    is_required: bool,
    /// Whether it can only be given by name.
    is_keyword: bool,
}

/// `curl -d '{"a":1}' http://…`: a value of the declared type for each argument that must be given.
fn line(function: &Value, address: &str) -> String {
    let examples = match function["schema"]["parameters"].as_array() {
        Some(parameters) => of_parameters(parameters, &function["signature"]["args"]),
        None => of_signature(&function["signature"]["args"]),
    };
    if examples.iter().all(|example| !example.is_required) {
        return format!("curl {address}");
    }
    format!("curl -d '{}' {address}", body(examples).to_string().replace('\'', r"'\''"))
}

/// The arguments of a function with schemas. One without a schema has its type's name at most.
fn of_parameters(parameters: &[Value], arguments: &Value) -> Vec<Example> {
    let is_one = |parameter: &&Value| matches!(parameter["kind"].as_str(), Some("positional" | "keyword-only"));
    let example = |(at, parameter): (usize, &Value)| Example {
        name: text(&parameter["name"]).to_owned(),
        value: of_schema(&parameter["schema"]).unwrap_or_else(|| of_type(text(&arguments[at]["type"]["name"]))),
        is_required: parameter["required"] == true,
        is_keyword: parameter["kind"] == "keyword-only",
    };
    parameters.iter().filter(is_one).enumerate().map(example).collect()
}

/// The arguments of a function whose language has types at most.
fn of_signature(arguments: &Value) -> Vec<Example> {
    let example = |argument: &Value| Example {
        name: text(&argument["name"]).to_owned(),
        value: of_type(text(&argument["type"]["name"])),
        is_required: true,
        is_keyword: false,
    };
    arguments.as_array().into_iter().flatten().map(example).collect()
}

/// The required arguments by name, or all up to the last required one in order, where names would not do.
fn body(examples: Vec<Example>) -> Value {
    let required = || examples.iter().filter(|example| example.is_required);
    let named: Map<String, Value> = required().map(|one| (one.name.clone(), one.value.clone())).collect();
    // An object would be taken for the argument itself.
    let is_whole = examples.len() == 1 && examples[0].value.is_object();
    let has_names = named.len() == required().count() && named.keys().all(|name| is_name(name)) && !is_whole;
    if has_names || examples.iter().any(|example| example.is_required && example.is_keyword) {
        return Value::Object(named);
    }
    let last = examples.iter().rposition(|example| example.is_required);
    examples.into_iter().take(last.map_or(0, |last| last + 1)).map(|example| example.value).collect()
}

/// Whether an argument can be given by this name. A pattern of JavaScript has none; a number would change the order.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| !first.is_ascii_digit()) && !name.contains(['{', '['])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example(arguments: &Value) -> String {
        line(&json!({ "signature": { "args": arguments } }), "http://x/f")
    }

    #[test]
    fn each_argument_gets_a_value_of_its_type() {
        let arguments = json!([
            {"name": "b", "type": {"name": "int"}}, {"name": "a", "type": {"name": "str"}},
            {"name": "c'", "type": {"name": ""}}
        ]);
        assert_eq!(example(&arguments), r#"curl -d '{"b":1,"a":"text","c'\''":"text"}' http://x/f"#);
        assert_eq!(example(&json!([])), "curl http://x/f");
    }

    #[test]
    fn types_of_wit_have_values_too() {
        let kinds = ["u8", "f64", "list<u8>", "list<string>", "option<u32>", "enum { red, blue }", "string"];
        let arguments: Vec<Value> = kinds.iter().map(|kind| json!({"name": "", "type": {"name": kind}})).collect();
        let expected = r#"curl -d '[1,1.5,"dGV4dA==",[],null,"red","text"]' http://x/f"#;
        assert_eq!(example(&Value::from(arguments)), expected);
    }

    #[test]
    fn empty_names_give_a_list() {
        let arguments = json!([{"name": "", "type": {"name": ""}}, {"name": "", "type": {"name": "bool"}}]);
        assert_eq!(example(&arguments), "curl -d '[\"text\",true]' http://x/f");
    }

    #[test]
    fn schemas_decide_which_arguments_are_given_and_how() {
        let of = |parameters: &Value| line(&json!({ "schema": { "parameters": parameters } }), "http://x/f");
        let one = |name: &str, kind: &str, is_required: bool, schema: Value| {
            let mut parameter = json!({"name": name, "kind": kind, "required": is_required});
            parameter["schema"] = schema;
            parameter
        };
        let day = json!({"type": "string", "format": "date"});
        let (int, object) = (json!({"type": "integer", "minimum": 7}), json!({"type": "object"}));
        let parameters = json!([
            one("a", "positional", true, day.clone()),
            one("b", "positional", false, int.clone()),
            one("more", "rest", false, json!({})),
            one("c", "keyword-only", true, json!({"enum": ["x"]}))
        ]);
        assert_eq!(of(&parameters), r#"curl -d '{"a":"2026-01-31","c":"x"}' http://x/f"#);
        assert_eq!(of(&json!([one("a", "positional", false, day)])), "curl http://x/f");
        assert_eq!(of(&json!([one("a", "positional", true, object.clone())])), "curl -d '[{}]' http://x/f");
        let pattern = json!([one("n", "positional", false, int), one("{b}", "positional", true, object)]);
        assert_eq!(of(&pattern), "curl -d '[7,{}]' http://x/f");
    }
}
