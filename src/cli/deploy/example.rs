//! The addresses of a deployment's functions, each as a line to paste into a shell.

use std::io::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use serde_json::{Map, Value};

use crate::cli::client::Client;
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
        if function.function["http"] == Value::Bool(true) {
            writeln!(out, "  curl {}", client.address(&deployment.requests()))?;
            continue;
        }
        let parts = called.split('/').map(|part| percent_encoding::utf8_percent_encode(part, ENCODED).to_string());
        let address = client.address(&format!("{}{}", deployment.calls(), parts.collect::<Vec<_>>().join("/")));
        writeln!(out, "  {}", line(function.function, &address))?;
    }
    if count > SHOWN {
        writeln!(out, "  and {} more: metagate inspect {name}", count - SHOWN)?;
    }
    Ok(())
}

/// `curl -d '{"a":1}' http://…`: one value per argument, of its declared type where the language has one.
fn line(function: &Value, address: &str) -> String {
    let arguments = function["signature"]["args"].as_array().map(Vec::as_slice).unwrap_or_default();
    if arguments.is_empty() {
        return format!("curl {address}");
    }
    let value = |argument: &Value| match argument["type"]["name"].as_str().unwrap_or_default() {
        "bool" | "Boolean" => Value::from(true),
        "float" | "Number" => Value::from(1.5),
        "list" | "Array" => Value::Array(Vec::new()),
        "dict" | "Map" | "Object" => Value::Object(Map::new()),
        "int" | "Integer" => Value::from(1),
        name => of_wit(name).unwrap_or_else(|| Value::from("text")),
    };
    let named: Map<String, Value> = arguments
        .iter()
        .map(|argument| (argument["name"].as_str().unwrap_or_default().to_owned(), value(argument)))
        .collect();
    // An object cannot carry the arguments if two have the same name, or if a name is a number: JavaScript would move
    // it to the front.
    let in_order = named.len() == arguments.len() && named.keys().all(|name| name.parse::<u32>().is_err());
    let body = if in_order { Value::Object(named) } else { arguments.iter().map(value).collect() };
    format!("curl -d '{}' {address}", body.to_string().replace('\'', r"'\''"))
}

/// An example value of a WIT type; a placeholder for records and similar types, whose fields are not known here.
fn of_wit(name: &str) -> Option<Value> {
    let first_case = |name: &str| name.split(['{', ',', '}']).nth(1).map(|case| Value::from(case.trim()));
    match name.split(['<', ' ']).next()? {
        "s8" | "u8" | "s16" | "u16" | "s32" | "u32" | "s64" | "u64" => Some(Value::from(1)),
        "f32" | "f64" => Some(Value::from(1.5)),
        "char" => Some(Value::from("a")),
        "list" if name == "list<u8>" => Some(Value::from("dGV4dA==")),
        "list" | "flags" => Some(Value::Array(Vec::new())),
        "option" => Some(Value::Null),
        "enum" => first_case(name),
        "record" | "variant" | "tuple" | "result" => Some(Value::from("…")),
        _ => None,
    }
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
}
