//! The JSON Schema of the configuration, from the structs that read it, so that editors know every key.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Value, json};

use crate::config::tables::config::Config;

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
    } else if let Some(kind @ ("integer" | "number" | "boolean")) = object.get("type").and_then(Value::as_str) {
        let kinds = json!([kind, "string"]);
        object.insert("type".to_owned(), kinds);
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
    use crate::config::tables::deployment::DeploymentConfig;
    use crate::config::tables::plugin::PluginConfig;

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
        [plugins]
        dir = "plugins"
        max_memory = "1GiB"
        [[plugin]]
        name = "api-key"
        path = "plugins/api-key.wasm"
        sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        hooks = ["before-invoke"]
        deployments = ["math", "report-*"]
        functions = ["*"]
        exclude = ["math/health"]
        on_error = "reject"
        timeout = "50ms"
        max_memory = "64MiB"
        instances = "warm"
        max_uses = 10000
        isolation = "process"
        max_instances = 64
        mode = "enforce"
        record = "calls.jsonl"
        grants.store = true
        grants.http = ["https://auth.example.com"]
        grants.env = ["REGION"]
        grants.secrets = { key = "${env:KEY}" }
        grants.metrics = true
        grants.invoke = ["auth/check"]
        [plugin.config]
        keys_file = "${file:/run/secrets/keys}"
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
    fn the_example_has_every_key_of_a_plugin() {
        let example: toml::Table = EXAMPLE.parse().unwrap();
        let plugin = &schema()["properties"]["plugin"]["items"]["properties"];
        let sorted = |keys: Vec<&String>| keys.into_iter().cloned().collect::<std::collections::BTreeSet<_>>();
        let of_schema = |table: &Value| sorted(table.as_object().unwrap().keys().collect());
        let written = example["plugin"][0].as_table().unwrap();
        assert_eq!(sorted(written.keys().collect()), of_schema(plugin));
        let grants = written["grants"].as_table().unwrap();
        assert_eq!(sorted(grants.keys().collect()), of_schema(&plugin["grants"]["properties"]));
    }

    #[test]
    fn keys_of_a_plugin_have_types_defaults_and_ranges() {
        let schema = schema();
        let plugin = &schema["properties"]["plugin"]["items"];
        assert_eq!(plugin["required"], json!(PluginConfig::REQUIRED));
        let keys = &plugin["properties"];
        assert_eq!(keys["hooks"]["minItems"], json!(1));
        let hooks = json!(["before-load", "after-load", "before-invoke", "after-invoke"]);
        assert_eq!(keys["hooks"]["items"]["anyOf"][0]["enum"], hooks);
        assert_eq!((&keys["deployments"]["default"], &keys["deployments"]["minItems"]), (&json!(["*"]), &json!(1)));
        assert_eq!(keys["deployments"]["items"]["pattern"], json!("^[ -.0-~]{1,128}$|\\$\\{"));
        assert_eq!((&keys["timeout"]["default"], &keys["max_memory"]["default"]), (&json!("50ms"), &json!("64MiB")));
        assert_eq!(
            [&keys["max_memory"]["minimum"], &keys["max_memory"]["maximum"]],
            [&json!(65_536), &json!(1_u64 << 32)]
        );
        assert_eq!([&keys["max_instances"]["minimum"], &keys["max_instances"]["maximum"]], [&json!(1), &json!(256)]);
        assert_eq!(keys["mode"]["default"], json!("enforce"));
        assert_eq!(keys["mode"]["anyOf"][0]["enum"], json!(["enforce", "observe"]));
        assert_eq!((&keys["config"]["type"], &keys["config"]["default"]), (&json!("object"), &json!({})));
        let store = &keys["grants"]["properties"]["store"];
        assert_eq!((&store["type"], &store["default"]), (&json!(["boolean", "string"]), &json!(false)));
        assert_eq!(keys["grants"]["properties"]["secrets"]["additionalProperties"]["type"], json!("string"));
        assert!(keys["locations"].is_null());
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
        assert_eq!(runtime["anyOf"][0]["enum"], json!(["node", "python", "wasm", "metacall", "command"]));
        assert!(runtime["description"].as_str().unwrap().contains("Default: by the language"));
        assert!(deployment["properties"]["locations"].is_null());
        assert!(!schema.to_string().contains("null"));
    }
}
