//! Typed calls of functions in WebAssembly: by name, by type, text of a query or a form, faults with their place.

use serde_json::{Value, json};

use super::{NUMBERS, serving};
use crate::faulty::assert_error;
use crate::support::{Answer, Gateway};

/// A component with functions of several types. Each returns a number that depends on its arguments.
pub(crate) const TYPED: &str = r#"(component
    (core module $module
        (memory (export "memory") 64)
        (global $next (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local i32)
            (local.set 4 (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
            (global.set $next (i32.add (local.get 4) (local.get 3)))
            (local.get 4))
        (func (export "transfer") (param i32 i32 i32 i32 i32 i32) (result i32) (local.get 1))
        (func (export "move") (param $x i32) (param $has_y i32) (param $y i32) (param $by i32) (result i32)
            (i32.add (i32.mul (local.get $x) (i32.const 10)) (local.get $by)))
        (func (export "place") (param $items i32) (param $count i32) (param $level i32) (result i32)
            (i32.add (i32.mul (local.get $count) (i32.const 10)) (local.get $level)))
        (func (export "plain") (param i64 i32 i32 i32 i32 i32) (result i32) (local.get 1))
        (func (export "cases") (param i32 f64 i32 i32 i32) (result i32) (local.get 0))
        (func (export "many") (param i32 i32 i32 i32) (result i32) (i32.add (local.get 1) (local.get 3))))
    (core instance $core (instantiate $module))
    (type $point' (record (field "x" u32) (field "y" (option u32))))
    (export $point "point" (type $point'))
    (type $item' (record (field "name" string) (field "price" f64)))
    (export $item "item" (type $item'))
    (type $level' (enum "low" "high"))
    (export $level "level" (type $level'))
    (type $order' (record (field "items" (list $item)) (field "level" $level)))
    (export $order "order" (type $order'))
    (type $shape' (variant (case "circle" f64) (case "empty")))
    (export $shape "shape" (type $shape'))
    (type $rights' (flags "read" "write"))
    (export $rights "rights" (type $rights'))
    (func $transfer (param "source" string) (param "target" string) (param "amount" u8) (param "tip" u8) (result u32)
        (canon lift (core func $core "transfer") (memory (core memory $core "memory"))
            (realloc (core func $core "realloc"))))
    (func $move (param "p" $point) (param "by" s32) (result u32) (canon lift (core func $core "move")))
    (func $place (param "order" $order) (result u32)
        (canon lift (core func $core "place") (memory (core memory $core "memory"))
            (realloc (core func $core "realloc"))))
    (func $plain (param "n" u64) (param "on" bool) (param "c" char) (param "level" $level) (param "o" (option u8))
        (result u32) (canon lift (core func $core "plain")))
    (func $cases (param "shape" $shape) (param "rights" $rights) (param "either" (result)) (param "b" bool)
        (result u32) (canon lift (core func $core "cases")))
    (func $many (param "names" (list string)) (param "bytes" (list u8)) (result u32)
        (canon lift (core func $core "many") (memory (core memory $core "memory"))
            (realloc (core func $core "realloc"))))
    (export "transfer" (func $transfer))
    (export "move" (func $move))
    (export "place" (func $place))
    (export "plain" (func $plain))
    (export "cases" (func $cases))
    (export "many" (func $many)))"#;

const FORM: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded")];

#[track_caller]
fn assert_result(answer: &Answer, expected: u32) {
    assert_eq!((answer.status, answer.json()), (200, json!(expected)), "{answer:?}");
}

/// The error of a 422.
#[track_caller]
fn fault(answer: &Answer) -> Value {
    assert_error(answer, 422, "bad_argument");
    answer.json()["error"].take()
}

fn get(gateway: &Gateway, call: &str) -> Answer {
    gateway.get(&format!("/local/it/v1/call/{call}"))
}

#[test]
fn keys_that_are_parameters_are_bound_by_name() {
    let (gateway, _folder) = serving(TYPED, "");
    // The function returns the length of its source.
    let by_name = r#"{"tip": 1, "target": "A", "amount": 5, "source": "BBB"}"#;
    assert_result(&gateway.call("it", "transfer", by_name), 3);
    assert_result(&gateway.call("it", "transfer", r#"{"w": "BBB", "x": "A", "y": 5, "z": 1}"#), 3);
    assert_result(&gateway.call("it", "move", r#"{"by": 5, "p": {"x": 1}}"#), 15);
    assert_result(&gateway.call("it", "plain", r#"{"c": "x", "on": true, "level": "low", "n": 1}"#), 1);
    let unknown = fault(&gateway.call("it", "transfer", r#"{"source": "B", "tarrget": "A", "amount": 5, "tip": 1}"#));
    let signature = "transfer(source: string, target: string, amount: u8, tip: u8)";
    let message = format!("no parameter \"tarrget\" (did you mean \"target\"?): {signature}");
    assert_eq!((&unknown["message"], &unknown["argument"]), (&json!(message), &json!("tarrget")));
    let missing = fault(&gateway.call("it", "transfer", r#"{"source": "B", "amount": 5, "tip": 1}"#));
    let message = format!("argument \"target\" (string) is missing: {signature}");
    assert_eq!((&missing["message"], &missing["argument"]), (&json!(message), &json!("target")));
    assert_eq!(fault(&gateway.call("it", "transfer", "[\"a\", \"b\", 3, 4, 5]"))["argument"], 5);
}

#[test]
fn a_record_that_is_the_only_parameter_is_the_object_itself() {
    let (gateway, _folder) = serving(TYPED, "");
    let items = r#"{"items": [{"name": "a", "price": 1}, {"price": 2.5, "name": "b"}], "level": "high"}"#;
    assert_result(&gateway.call("it", "place", items), 21);
    assert_result(&gateway.call("it", "place", &format!("[{items}]")), 21);
    assert_result(&gateway.call("it", "place", &format!(r#"{{"order": {items}}}"#)), 21);
    let absent = fault(&gateway.call("it", "place", r#"{"items": [], "lavel": "low"}"#));
    assert_eq!((&absent["argument"], &absent["path"]), (&json!("order"), &json!(".lavel")));
    assert!(absent["message"].as_str().unwrap().contains("did you mean \"level\"?"), "{absent}");
}

#[test]
fn arguments_in_order_are_as_metacall_has_them() {
    let (gateway, _folder) = serving(TYPED, "arguments = \"order\"");
    let by_order = r#"{"target": "A", "source": "BBB", "amount": 5, "tip": 1}"#;
    assert_result(&gateway.call("it", "transfer", by_order), 1);
    assert_error(&gateway.call("it", "place", r#"{"items": [], "level": "low"}"#), 422, "bad_argument");
}

#[test]
fn a_fault_has_the_argument_the_place_in_it_and_the_type() {
    let (gateway, _folder) = serving(TYPED, "");
    for (function, body, argument, path, expected) in [
        ("place", r#"[{"items": [{"name": "a", "price": "x"}], "level": "low"}]"#, "order", ".items[0].price", "f64"),
        ("place", r#"{"items": [{"name": "a"}], "level": "low"}"#, "order", ".items[0].price", "f64"),
        ("place", r#"{"items": [], "level": "middle"}"#, "order", ".level", "enum { low, high }"),
        ("plain", r#"["1", true, "c", "low"]"#, "n", "", "u64"),
        ("plain", r#"{"n": 1, "on": true, "c": "c", "level": "low", "o": 256}"#, "o", "", "u8"),
        ("cases", r#"[{"circle": "x"}, [], {"ok": null}, true]"#, "shape", ".circle", "f64"),
        ("many", r#"[["a", 1], ""]"#, "names", "[1]", "string"),
    ] {
        let found = fault(&gateway.call("it", function, body));
        let parts = (&found["argument"], &found["path"], &found["expected"]);
        assert_eq!(parts, (&json!(argument), &json!(path), &json!(expected)), "{function} {body}");
    }
}

#[test]
fn text_of_a_query_or_a_form_is_converted_to_the_types() {
    let (gateway, _folder) = serving(TYPED, "");
    assert_result(&get(&gateway, "plain?on=true&n=18446744073709551615&c=7&level=high&o=7"), 1);
    assert_result(&get(&gateway, "transfer?source=BBB&target=7&tip=2&amount=5"), 3);
    assert_result(&get(&gateway, "many?names=a&names=b&bytes=AQI%3D"), 4);
    assert_result(&get(&gateway, "many?names=a&bytes="), 1);
    let form = "items[0][name]=a&items[0][price]=1.5&level=high";
    assert_result(&gateway.post("/local/it/v1/call/place", &FORM, form), 11);
    assert_result(&gateway.post("/local/it/v1/call/move", &FORM, "by=-3&p[x]=2"), 17);
    let found = fault(&get(&gateway, "plain?on=maybe&n=1&c=7&level=high"));
    assert_eq!((&found["argument"], &found["expected"]), (&json!("on"), &json!("bool")));
    assert_error(&get(&gateway, "plain?on=true&n=x&c=7&level=high"), 422, "bad_argument");
    // JSON text is never a number.
    assert_error(&gateway.call("it", "transfer", r#"["a", "b", "5", 1]"#), 422, "bad_argument");
    let (numbers, _folder) = serving(NUMBERS, "");
    assert_result(&get(&numbers, "add?b=2&a=1"), 3);
    assert_error(&get(&numbers, "add?a=1.5&b=2"), 422, "bad_argument");
}

#[test]
fn every_function_has_a_schema() {
    let (gateway, _folder) = serving(TYPED, "");
    let functions = gateway.inspected("it").unwrap()["packages"]["wasm"][0]["scope"]["funcs"].take();
    let schema = |name: &str| {
        let function = functions.as_array().unwrap().iter().find(|function| function["name"] == name).unwrap();
        function["schema"].clone()
    };
    let integer = |minimum: i64, maximum: u64| json!({"type": "integer", "minimum": minimum, "maximum": maximum});
    let closed = json!({"type": "object", "additionalProperties": false});
    let object = |properties: Value, required: Value| {
        let mut schema = closed.clone();
        schema["properties"] = properties;
        schema["required"] = required;
        schema
    };
    let unsigned = integer(0, u32::MAX.into());
    let item = object(json!({"name": {"type": "string"}, "price": {"type": "number"}}), json!(["name", "price"]));
    let order = json!({"items": {"type": "array", "items": item}, "level": {"enum": ["low", "high"]}});
    let order = object(order, json!(["items", "level"]));
    let expected = json!({
        "parameters": [{"name": "order", "kind": "positional", "required": true, "schema": order}],
        "returns": unsigned,
    });
    assert_eq!(schema("place"), expected);
    let last = &schema("plain")["parameters"][4];
    let optional = json!({"anyOf": [integer(0, 255), {"type": "null"}]});
    assert_eq!(*last, json!({"name": "o", "kind": "positional", "required": false, "schema": optional}));

    let (numbers, _folder) = serving(NUMBERS, "");
    let functions = numbers.inspected("it").unwrap()["packages"]["wasm"][0]["scope"]["funcs"].take();
    let divide = functions.as_array().unwrap().iter().find(|function| function["name"] == "divide").unwrap();
    let signed = integer(i32::MIN.into(), 0x7fff_ffff);
    let both = json!({"type": "array", "prefixItems": [signed, signed], "minItems": 2, "maxItems": 2});
    assert_eq!(divide["schema"]["returns"], both);
    assert_eq!(divide["schema"]["parameters"][1]["name"], "p1");
}
