//! The JSON Schema of the configuration, from the structs that read it, so that editors know every key.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Value, json};

use super::Config;

/// Where a text holds an interpolation, such as `${env:PORT}`.
const EXPRESSION: &str = "\\$\\{";

/// The JSON Schema (draft 7, which TOML editors read) of `metagate.toml`.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Config>();
    RecursiveTransform(as_in_toml).transform(&mut schema);
    schema.to_value()
}

/// TOML has no null, and any text, or a text in place of a number, may be an interpolation.
fn as_in_toml(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| *choice != json!({ "type": "null" }));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
    object.remove("format");
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if object.contains_key("type")
        && let Some(Value::Array(mut names)) = object.remove("enum")
    {
        names.retain(|name| !name.is_null());
        object.remove("type");
        object.insert("anyOf".to_owned(), json!([{ "enum": names }, { "type": "string", "pattern": EXPRESSION }]));
    } else if object.get("type") == Some(&json!("integer")) {
        object.insert("type".to_owned(), json!(["integer", "string"]));
        object.insert("pattern".to_owned(), json!(EXPRESSION));
    } else if let Some(Value::String(pattern)) = object.get_mut("pattern")
        && pattern != EXPRESSION
    {
        *pattern = format!("{pattern}|{EXPRESSION}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeploymentConfig;

    const EXAMPLE: &str = r#"
        [server]
        listen = "127.0.0.1:9000"
        prefix = "local"
        data_dir = ".metagate"
        max_body = "8MiB"
        drain = "30s"
        [admin]
        token = "${env:METAGATE_TOKEN}"
        [[deployment]]
        name = "math"
        path = "functions/math"
        runtime = "node"
        workers = { min = 1, max = 4 }
        concurrency = 64
        queue = 256
        timeout = "30s"
        load_timeout = "60s"
        env = { GREETING = "hello" }
        max_memory = "512MiB"
    "#;

    fn assert_known(value: &toml::Value, schema: &Value, at: &str) {
        match value {
            toml::Value::Table(table) if schema["properties"].is_object() => {
                assert_eq!(schema["additionalProperties"], json!(false), "{at}");
                for (key, value) in table {
                    let inner = &schema["properties"][key];
                    assert!(inner["description"].is_string(), "{at}.{key}");
                    assert_known(value, inner, &format!("{at}.{key}"));
                }
            }
            toml::Value::Array(items) => items.iter().for_each(|item| assert_known(item, &schema["items"], at)),
            _ => {}
        }
    }

    #[test]
    fn the_example_fits_the_schema() {
        assert_known(&toml::Value::Table(EXAMPLE.parse().unwrap()), &schema(), "");
    }

    #[test]
    fn keys_have_types_defaults_and_ranges() {
        let schema = schema();
        assert_eq!(schema["title"], json!("metagate.toml"));
        assert_eq!(schema["properties"]["server"]["properties"]["listen"]["default"], json!("127.0.0.1:9000"));
        let deployment = &schema["properties"]["deployment"]["items"];
        assert_eq!(deployment["required"], json!(DeploymentConfig::REQUIRED));
        let concurrency = &deployment["properties"]["concurrency"];
        assert_eq!(concurrency["type"], json!(["integer", "string"]));
        assert_eq!([&concurrency["minimum"], &concurrency["maximum"]], [&json!(1), &json!(4096)]);
        let runtime = &deployment["properties"]["runtime"];
        assert_eq!(runtime["anyOf"][0]["enum"], json!(["node", "python", "metacall", "command"]));
        assert!(runtime["description"].as_str().unwrap().contains("Default: by the language"));
        assert!(deployment["properties"]["places"].is_null());
        assert!(!schema.to_string().contains("null"));
    }
}
