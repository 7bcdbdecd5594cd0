//! The addresses of a deployment's functions, each as a line to paste into a shell.

use std::io::Write;

use serde_json::{Map, Value};

use crate::cli::client::Client;
use crate::deployment::DeploymentName;

/// How many functions are shown.
const SHOWN: usize = 20;

/// Writes a `curl` line for each function.
pub(super) fn show(client: &Client, name: &DeploymentName, out: &mut impl Write) -> anyhow::Result<()> {
    let deployment = client.deployment(name.as_str())?;
    let count = deployment.functions().count();
    for function in deployment.functions().take(SHOWN) {
        let called = function.function["name"].as_str().unwrap_or_default();
        let called = percent_encoding::utf8_percent_encode(called, percent_encoding::NON_ALPHANUMERIC);
        let called = called.to_string().replace("%5F", "_");
        let address = client.address(&format!("{}{called}", deployment.calls()));
        writeln!(out, "  {}", line(function.function, &address))?;
    }
    if count > SHOWN {
        writeln!(out, "  and {} more: metagate inspect {name}", count - SHOWN)?;
    }
    Ok(())
}

/// `curl -d '{"a":1}' http://…`: one value of the right type for each argument, as far as the language tells it.
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
        _ => Value::from("text"),
    };
    let named: Map<String, Value> = arguments
        .iter()
        .map(|argument| (argument["name"].as_str().unwrap_or_default().to_owned(), value(argument)))
        .collect();
    // Names that are numbers would be taken in another order, a name given twice once.
    let in_order = named.len() == arguments.len() && named.keys().all(|name| name.parse::<u32>().is_err());
    let body = if in_order { Value::Object(named) } else { arguments.iter().map(value).collect() };
    format!("curl -d '{}' {address}", body.to_string().replace('\'', r"'\''"))
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
            {"name": "b", "type": {"name": "int"}}, {"name": "a", "type": {"name": "str"}}, {"name": "c'", "type": {"name": ""}}
        ]);
        assert_eq!(example(&arguments), r#"curl -d '{"b":1,"a":"text","c'\''":"text"}' http://x/f"#);
        assert_eq!(example(&json!([])), "curl http://x/f");
    }

    #[test]
    fn names_that_say_nothing_give_a_list() {
        let arguments = json!([{"name": "", "type": {"name": ""}}, {"name": "", "type": {"name": "bool"}}]);
        assert_eq!(example(&arguments), "curl -d '[\"text\",true]' http://x/f");
    }
}
