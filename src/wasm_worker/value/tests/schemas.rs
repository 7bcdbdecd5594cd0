//! JSON Schemas of types.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::kind::Kind;
use super::signature;
use super::values::{Form, json, typed_value};
use crate::config::BytesRule;
use crate::wasm_worker::value::Signature;

fn parameter(ty: &str) -> Value {
    signature(&[ty], None).describe(BytesRule::Base64).parameters.remove(0).schema
}

#[test]
fn types_have_schemas_of_their_json() {
    let closed = json!({"type": "object", "additionalProperties": false});
    let object = |properties: Value, required: Value| {
        let mut schema = closed.clone();
        schema["properties"] = properties;
        schema["required"] = required;
        schema
    };
    let byte = json!({"type": "integer", "minimum": 0, "maximum": 255});
    for (ty, schema) in [
        ("bool", json!({"type": "boolean"})),
        ("u8", byte.clone()),
        ("s32", json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX})),
        ("u64", json!({"type": "integer", "minimum": 0, "maximum": u64::MAX})),
        ("s64", json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX})),
        ("f32", json!({"type": "number"})),
        ("char", json!({"type": "string", "minLength": 1, "maxLength": 1})),
        ("string", json!({"type": "string"})),
        ("list<u8>", json!({"type": "string", "contentEncoding": "base64"})),
        ("list<string>", json!({"type": "array", "items": {"type": "string"}})),
        ("list<bool, 2>", json!({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2})),
        (
            "tuple<u8, string>",
            json!({"type": "array", "prefixItems": [byte, {"type": "string"}], "minItems": 2, "maxItems": 2}),
        ),
        ("map<string, bool>", json!({"type": "object", "additionalProperties": {"type": "boolean"}})),
        (
            "record { x: u8, note: option<string> }",
            object(json!({"x": byte, "note": {"anyOf": [{"type": "string"}, {"type": "null"}]}}), json!(["x"])),
        ),
        (
            "variant { byte(u8), empty }",
            json!({"anyOf": [object(json!({"byte": byte}), json!(["byte"])), {"const": "empty"}]}),
        ),
        ("enum { red, deep-blue }", json!({"enum": ["red", "deep-blue"]})),
        ("flags { r, w }", json!({"type": "array", "items": {"enum": ["r", "w"]}})),
        (
            "option<option<u8>>",
            json!({"anyOf": [
                object(json!({"some": {"anyOf": [byte, {"type": "null"}]}}), json!(["some"])), {"type": "null"}]}),
        ),
        (
            "result<_, u8>",
            json!({"anyOf": [
                object(json!({"ok": {"type": "null"}}), json!(["ok"])), object(json!({"err": byte}), json!(["err"]))]}),
        ),
    ] {
        assert_eq!(parameter(ty), schema, "{ty}");
    }
}

#[test]
fn a_function_is_described_by_its_parameters_and_its_result() {
    let described = |result, bytes| {
        let function = signature(&["bool", "option<bool>"], result);
        serde_json::to_value(function.describe(bytes)).unwrap()
    };
    let whole = json!({
        "parameters": [
            {"name": "a", "kind": "positional", "required": true, "schema": {"type": "boolean"}},
            {"name": "b", "kind": "positional", "required": false,
                "schema": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}}],
        "returns": {"type": "string"},
    });
    assert_eq!(described(Some("string"), BytesRule::Base64), whole);
    // An `err` is the call's failure.
    assert_eq!(described(Some("result<string, u8>"), BytesRule::Base64), whole);
    assert_eq!(described(Some("result"), BytesRule::Base64)["returns"], json!({"type": "null"}));
    assert_eq!(described(None, BytesRule::Base64)["returns"], json!({"type": "null"}));
    let bytes = json!({"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}});
    assert_eq!(described(Some("list<u8>"), BytesRule::Array)["returns"], bytes);
}

#[test]
fn schemas_have_a_limit() {
    let wide = format!("tuple<{}>", vec!["string"; 1000].join(", "));
    let described = signature(&["bool", &wide], Some("u8")).describe(BytesRule::Base64);
    assert_eq!((&described.parameters[0].schema, &described.returns), (&json!({}), &json!({})));
    let deep = format!("{}u8{}", "variant { x(".repeat(40), ") }".repeat(40));
    let text = json!({"schema": parameter(&deep)}).to_string();
    assert!(text.len() < 8000 && serde_json::from_str::<Value>(&text).is_ok(), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_json_of_a_value_fits_the_schema_of_its_type((kind, value) in typed_value()) {
        // A result at the top would be unwrapped.
        let ty = Kind::Tuple(vec![kind.clone()]).ty();
        let signature = Signature::new("f", vec![("x".into(), ty.clone())], Some(ty));
        for rule in [BytesRule::Base64, BytesRule::Array] {
            let schema = signature.describe(rule).returns;
            let json: Value = serde_json::from_str(&json(&kind, &value, Form::Canonical(rule))).unwrap();
            let is_valid = |value: Value| {
                let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
                compiler.add_resource("metagate:///schema", schema.clone()).unwrap();
                let compiled = compiler.compile("metagate:///schema", &mut schemas).unwrap();
                schemas.validate(&value, compiled).is_ok()
            };
            prop_assert!(is_valid(json!([json])), "{json}: {schema}");
            prop_assert!(schema == json!({}) || !is_valid(json!([json, json])), "{schema}");
        }
    }
}
