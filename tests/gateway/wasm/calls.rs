//! Arguments, results and names.

use serde_json::{Value, json};

use super::{NUMBERS, TEXTS, deployment, folder, serving};
use crate::deploys::package;
use crate::support::{Answer, Gateway};

fn assert_result(answer: &Answer, expected: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{answer:?}");
}

#[test]
fn a_module_of_numbers_is_called_by_position_and_by_name() {
    let (gateway, _folder) = serving(NUMBERS, "");
    assert_result(&gateway.call("it", "add", "[1, 2]"), "3");
    assert_result(&gateway.call("it", "add", r#"{"b": -5, "a": 2}"#), "-3");
    // The keys do not name parameters, so the values go by position.
    assert_result(&gateway.call("it", "divide", r#"{"x": 7, "y": 2}"#), "[3,1]");
    assert_result(&gateway.call("it", "halve", "[3]"), "1.5");
    assert_result(&gateway.call("it", "small", "[0.1]"), "0.1");
    assert_result(&gateway.call("it", "wide", "[-9223372036854775808]"), "-9223372036854775808");
    assert_result(&gateway.call("it", "nothing", "[]"), "null");
    let absent = gateway.call("it", "vector", "[1]");
    assert_eq!((absent.status, absent.code()), (404, "function_not_found"));
}

#[test]
fn a_mismatch_names_argument_type_and_value() {
    let (gateway, _folder) = serving(NUMBERS, "");
    for (function, body, words) in [
        ("add", "[1]", &["\"b\"", "s32", "missing"][..]),
        ("add", r#"{"a": 1}"#, &["\"b\"", "s32", "missing"]),
        ("add", "[1, 2, 3]", &["takes 2 arguments, got 3"]),
        ("add", r#"[1, "two"]"#, &["\"b\"", "s32", "\"two\""]),
        ("add", "[1, 2147483648]", &["\"b\"", "s32", "out of range"]),
        ("add", "[1, 1.5]", &["\"b\"", "s32", "1.5"]),
        ("halve", "[null]", &["\"x\"", "f64", "null"]),
        ("wide", "[9223372036854775808]", &["\"p0\"", "s64", "out of range"]),
    ] {
        let refused = gateway.call("it", function, body);
        assert_eq!((refused.status, refused.code()), (422, "bad_argument"), "{function} {body}: {refused:?}");
        let message = refused.message();
        assert!(words.iter().all(|word| message.contains(word)), "{function} {body}: {message}");
    }
}

#[test]
fn functions_of_interfaces_go_by_their_bare_name_if_it_is_unique() {
    let (gateway, _folder) = serving(TEXTS, "");
    assert_result(&gateway.call("it", "twice", "[21]"), "42");
    assert_result(&gateway.call("it", "one/twice", "[21]"), "42");
    assert_result(&gateway.call("it", "test:texts/one@1.0.0/twice", "[21]"), "42");
    assert_result(&gateway.call("it", "one/times", "[5]"), "10");
    assert_result(&gateway.call("it", "two/times", "[5]"), "15");
    let ambiguous = gateway.call("it", "times", "[5]");
    assert_eq!((ambiguous.status, ambiguous.code()), (404, "ambiguous_function"));
    assert!(ambiguous.message().contains("one/times") && ambiguous.message().contains("two/times"), "{ambiguous:?}");
}

#[test]
fn metadata_has_names_parameters_and_types() {
    let (gateway, _folder) = serving(TEXTS, "");
    let inspected = gateway.inspected("it").unwrap();
    let handle = &inspected["packages"]["wasm"][0];
    assert_eq!(handle["name"], "it.wat");
    let functions = handle["scope"]["funcs"].as_array().unwrap();
    let names: Vec<&str> = functions.iter().map(|function| function["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["text", "one/times", "twice", "two/times"]);
    let signature = json!({
        "ret": {"type": {"name": "string", "id": 7}}, "args": [{"name": "length", "type": {"name": "u32", "id": 3}}]
    });
    assert_eq!(functions[0]["signature"], signature);
    assert_eq!(functions[0]["async"], Value::from(false));
}

#[test]
fn several_files_are_one_deployment() {
    let folder = folder(&[("a.wat", NUMBERS.as_bytes()), ("b.wat", NUMBERS.as_bytes()), ("c.wat", TEXTS.as_bytes())]);
    let gateway = Gateway::ready(&deployment("it", folder.path(), ""));
    assert_result(&gateway.call("it", "twice", "[4]"), "8");
    assert_result(&gateway.call("it", "a/add", "[1, 2]"), "3");
    assert_result(&gateway.call("it", "b/add", "[3, 4]"), "7");
    assert_eq!(gateway.call("it", "add", "[1, 2]").code(), "ambiguous_function");
}

#[test]
fn a_package_of_wasm_files_is_deployed_with_and_without_a_metacall_json() {
    let gateway = Gateway::start("");
    // The requirements of its build tools are not installed.
    gateway.ship("bare", &package(&[("math.wat", NUMBERS), ("requirements.txt", "no-such-package-of-metagate==9")]));
    assert_result(&gateway.call("bare", "add", "[1, 2]"), "3");
    let json = r#"{"language_id": "wasm", "path": ".", "scripts": ["lib/math.wat"]}"#;
    gateway.ship("named", &package(&[("metacall.json", json), ("lib/math.wat", NUMBERS), ("notes.wat", "not read")]));
    assert_result(&gateway.call("named", "add", "[1, 2]"), "3");
    assert_eq!(gateway.inspected("named").unwrap()["packages"]["wasm"][0]["name"], "lib/math.wat");
}

#[test]
fn a_plugin_of_a_function_sees_calls_by_every_name_of_it() {
    let (gateway, _folder) = serving(
        TEXTS,
        &format!(
            "[[plugin]]\nname = \"keys\"\npath = \"{}/plugins/api-key/api-key.wasm\"\ndeployments = [\"it\"]\n\
             functions = [\"twice\"]\nconfig = {{ keys = {{ a = \"secret\" }} }}\n",
            env!("CARGO_MANIFEST_DIR")
        ),
    );
    for name in ["twice", "one/twice", "it/one/twice", "test:texts/one@1.0.0/twice"] {
        assert_eq!(gateway.call("it", name, "[1]").status, 401, "{name}");
    }
    assert_result(&gateway.call("it", "one/times", "[5]"), "10");
}

#[test]
fn a_plugin_of_a_function_guards_it_under_each_of_its_names() {
    let (gateway, _folder) = serving(
        TEXTS,
        &format!(
            "[[plugin]]\nname = \"keys\"\npath = \"{}/plugins/api-key/api-key.wasm\"\nfunctions = [\"times\"]\n\
             config = {{ keys = {{ a = \"secret\" }} }}\n",
            env!("CARGO_MANIFEST_DIR")
        ),
    );
    for name in ["one/times", "two/times", "it/one/times", "test:texts/two@1.0.0/times"] {
        assert_eq!(gateway.call("it", name, "[1]").status, 401, "{name}");
    }
    assert_result(&gateway.call("it", "twice", "[5]"), "10");
}
