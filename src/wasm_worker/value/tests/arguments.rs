//! Arguments of a call: by position, by name, and what is refused.

use std::borrow::Cow;

use serde_json::json;
use wasmtime::component::Val;

use super::{arguments, in_order, signature, some, text};
use crate::wasm_worker::value::{Given, Mismatch};

#[test]
fn arguments_go_by_position() {
    assert_eq!(arguments(&["u8", "string"], "[1,\"x\"]"), Ok(vec![Val::U8(1), text("x")]));
    assert_eq!(arguments(&[], "[]"), Ok(Vec::new()));
    assert_eq!(arguments(&["u8", "option<u8>"], "[1]"), Ok(vec![Val::U8(1), Val::Option(None)]));
    let wrong = |parameters: &[&str], args| arguments(parameters, args).unwrap_err();
    assert_eq!(wrong(&["option<u8>", "u32"], "[1]"), "argument \"b\" (u32) is missing: f(a: option<u8>, b: u32)");
    assert_eq!(wrong(&["u8", "u8"], "[]"), "argument \"a\" (u8) is missing: f(a: u8, b: u8)");
    assert_eq!(wrong(&["u8"], "[1,2,[3]]"), "takes 1 argument, got 3: f(a: u8)");
    assert_eq!(wrong(&["u8", "u8"], "[1,2,3]"), "takes 2 arguments, got 3: f(a: u8, b: u8)");
    assert_eq!(wrong(&[], "[1]"), "takes 0 arguments, got 1: f()");
    assert_eq!(wrong(&["u8", "u8"], "[1,null]"), "argument \"b\" (u8): expected u8, got null");
    assert_eq!(
        wrong(&["record { x: u32, y: u32 }"], "[{\"x\":1,\"y\":\"abc\"}]"),
        "argument \"a\" (record { x: u32, y: u32 }): at .y expected u32, got \"abc\""
    );
}

/// Reads arguments with names.
fn named(parameters: &[&str], names: &[&str], args: &str) -> Result<Vec<Val>, Mismatch> {
    let names: Vec<Cow<'_, str>> = names.iter().copied().map(Cow::Borrowed).collect();
    let given = Given { args, names: Some(&names), are_text: false };
    signature(parameters, None).arguments(given, usize::MAX)
}

#[test]
fn arguments_go_by_name_if_all_names_are_parameters() {
    let named = |names: &[&str], args: &str| {
        named(&["u8", "option<string>", "u8"], names, args).map_err(|mismatch| mismatch.message)
    };
    let values = |first, second, third| Ok(vec![Val::U8(first), second, Val::U8(third)]);
    assert_eq!(named(&["c", "b", "a"], "[3,\"x\",1]"), values(1, some(text("x")), 3));
    assert_eq!(named(&["c", "a"], "[3,1]"), values(1, Val::Option(None), 3));
    // No name is a parameter: arguments go by position.
    assert_eq!(named(&["x", "y", "z"], "[1,null,3]"), values(1, Val::Option(None), 3));
    let wrong = |names: &[&str], args: &str| named(names, args).unwrap_err();
    let signature = "f(a: u8, b: option<string>, c: u8)";
    assert_eq!(wrong(&["c", "x", "a"], "[1,null,3]"), format!("no parameter \"x\": {signature}"));
    assert_eq!(wrong(&["a", "longer"], "[1,2]"), format!("no parameter \"longer\": {signature}"));
    assert_eq!(wrong(&["c"], "[1]"), format!("argument \"a\" (u8) is missing: {signature}"));
    assert_eq!(wrong(&[], "[]"), format!("argument \"a\" (u8) is missing: {signature}"));
    assert_eq!(wrong(&["c", "a"], "[300,1]"), "argument \"c\" (u8): 300 is out of range");
    // Fewer names than arguments, and more.
    assert_eq!(wrong(&["c", "a"], "[3]"), format!("argument \"a\" (u8) is missing: {signature}"));
    assert_eq!(wrong(&["c", "a"], "[3,1,2]"), format!("takes 3 arguments, got 3: {signature}"));
}

#[test]
fn an_object_is_the_only_parameter_if_that_is_a_record_or_a_map() {
    const POINT: &str = "record { x: u8, y: option<u8> }";
    let point = |x, y| Val::Record(vec![("x".into(), Val::U8(x)), ("y".into(), y)]);
    let read = |ty: &str, names: &[&str], args: &str| {
        named(&[ty], names, args).map(|mut values| values.remove(0)).map_err(|mismatch| mismatch.message)
    };
    assert_eq!(read(POINT, &["y", "x"], "[2,1]"), Ok(point(1, some(Val::U8(2)))));
    assert_eq!(read(POINT, &["a"], "[{\"x\":1}]"), Ok(point(1, Val::Option(None))));
    assert_eq!(read(&format!("option<{POINT}>"), &["x"], "[1]"), Ok(some(point(1, Val::Option(None)))));
    assert_eq!(read(&format!("option<{POINT}>"), &[], "[]"), Ok(Val::Option(None)));
    assert_eq!(read("record { y: option<u8> }", &[], "[]"), Ok(Val::Record(vec![("y".into(), Val::Option(None))])));
    assert_eq!(
        read("map<string, u8>", &["a", "k"], "[1,2]"),
        Ok(Val::Map(vec![(text("a"), Val::U8(1)), (text("k"), Val::U8(2))]))
    );
    let wrong = |names: &[&str], args| read(POINT, names, args).unwrap_err();
    assert_eq!(wrong(&["a", "x"], "[{},1]"), format!("argument \"a\" ({POINT}): field \"a\" is unknown"));
    assert_eq!(wrong(&[], "[]"), format!("argument \"a\" ({POINT}): field \"x\" (u8) is missing"));
    assert_eq!(wrong(&["x", "y"], "[1]"), "arguments: fewer values than names at line 1 column 3");
    const SHAPE: &str = "variant { circle(u8), empty }";
    let circle = Val::Variant("circle".into(), Some(Box::new(Val::U8(3))));
    assert_eq!(read(SHAPE, &["circle"], "[3]"), Ok(circle.clone()));
    assert_eq!(read(SHAPE, &["a"], "[{\"circle\":3}]"), Ok(circle.clone()));
    assert_eq!(read(SHAPE, &["x"], "[{\"circle\":3}]"), Ok(circle));
    assert_eq!(read("list<u8>", &["x"], "[[1]]"), Ok(Val::List(vec![Val::U8(1)])));
}

#[test]
fn a_field_of_the_only_parameters_name_is_the_objects_own() {
    let read = |ty: &str, args: &str| named(&[ty], &["a"], args);
    let record = Val::Record(vec![("a".into(), Val::U8(1))]);
    assert_eq!(read("record { a: u8 }", "[1]").unwrap(), [record]);
    assert!(read("record { a: u8 }", "[{\"a\":1}]").is_err());
    let case = Val::Variant("a".into(), Some(Box::new(Val::U8(1))));
    assert_eq!(read("variant { a(u8), b }", "[1]").unwrap(), [case]);
    let map = |value: u8| Val::Map(vec![(text("a"), Val::U8(value))]);
    assert_eq!(read("map<string, u8>", "[1]").unwrap(), [map(1)]);
    assert_eq!(read("map<string, u8>", "[ {\"a\":2}]").unwrap(), [map(2)]);
}

#[test]
fn a_mismatch_has_its_parts() {
    const ITEMS: &str = "record { items: list<record { price: f64 }> }";
    let fault = |parameters: &[&str], args: &str| {
        let mismatch = signature(parameters, None).arguments(in_order(args), usize::MAX).unwrap_err();
        serde_json::to_value(mismatch.fault).unwrap()
    };
    let inside = |path: &str, expected: &str| json!({"argument": "a", "path": path, "expected": expected});
    assert_eq!(fault(&["u8"], "[\"1\"]"), inside("", "u8"));
    assert_eq!(fault(&["u8"], "[256]"), inside("", "u8"));
    assert_eq!(fault(&[ITEMS], "[{\"items\":[{\"price\":1},{\"price\":\"x\"}]}]"), inside(".items[1].price", "f64"));
    assert_eq!(fault(&[ITEMS], "[{\"items\":[{}]}]"), inside(".items[0].price", "f64"));
    assert_eq!(fault(&[ITEMS], "[{\"item\":[]}]"), inside(".item", ITEMS));
    assert_eq!(fault(&["list<variant { none, x(u8) }>"], "[[{\"x\":true}]]"), inside("[0].x", "u8"));
    assert_eq!(fault(&["map<string, u8>"], "[{\"a b\":null}]"), inside("[\"a b\"]", "u8"));
    assert_eq!(fault(&["u8", "u8"], "[1]"), json!({"argument": "b"}));
    assert_eq!(fault(&["u8", "u8"], "[1,2,3]"), json!({"argument": 3}));
    let unknown = named(&["u8", "u8"], &["a", "bb"], "[1,2]").unwrap_err();
    assert_eq!(serde_json::to_value(unknown.fault).unwrap(), json!({"argument": "bb"}));
}

#[test]
fn text_of_a_query_is_converted_to_every_type() {
    let read = |ty: &str, args: &str| {
        let given = Given { args: &format!("[{args}]"), names: Some(&["a".into()]), are_text: true };
        let read = signature(&[ty], None).arguments(given, usize::MAX);
        read.map(|mut values| values.remove(0)).map_err(|mismatch| mismatch.message)
    };
    let alike = |ty: &str, args: &str, json: &str| assert_eq!(read(ty, args), super::read(ty, json), "{ty}: {args}");
    for number in ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"] {
        alike(number, "\"7\"", "7");
        alike(number, "\" +7 \"", "7");
        assert!(read(number, "\"\"").is_err() && read(number, "\"x\"").is_err() && read(number, "\"nan\"").is_err());
    }
    alike("u64", "\"18446744073709551615\"", "18446744073709551615");
    alike("f64", "\"-.5\"", "-0.5");
    alike("bool", "\"true\"", "true");
    alike("bool", "\"off\"", "false");
    alike("char", "\"7\"", "\"7\"");
    alike("string", "\"7\"", "\"7\"");
    alike("option<u32>", "\"7\"", "7");
    alike("option<option<u32>>", "\"7\"", "{\"some\":7}");
    alike("list<u32>", "[\"1\",\"2\"]", "[1,2]");
    alike("list<u32>", "\"1\"", "[1]");
    alike("list<record { x: u8 }>", "{\"x\":\"1\"}", "[{\"x\":1}]");
    alike("list<u8>", "\"AQI=\"", "\"AQI=\"");
    alike("list<u8>", "[\"1\",\"2\"]", "[1,2]");
    alike("tuple<u8, string>", "[\"1\",\"2\"]", "[1,\"2\"]");
    alike("record { x: u8, y: option<bool> }", "{\"x\":\"1\",\"y\":\"no\"}", "{\"x\":1,\"y\":false}");
    alike("enum { red, blue }", "\"red\"", "\"red\"");
    alike("flags { read, run }", "\"run\"", "[\"run\"]");
    alike("variant { circle(f64), empty }", "{\"circle\":\"1.5\"}", "{\"circle\":1.5}");
    alike("variant { circle(f64), empty }", "{\"empty\":\"\"}", "\"empty\"");
    assert_eq!(read("u8", "\"256\"").unwrap_err(), "argument \"a\" (u8): \"256\" is out of range");
    assert_eq!(read("bool", "\"maybe\"").unwrap_err(), "argument \"a\" (bool): expected bool, got \"maybe\"");
    assert_eq!(read("list<u8>", "[\"x\"]").unwrap_err(), "argument \"a\" (list<u8>): at [0] expected u8, got \"x\"");
}

#[test]
fn arguments_that_are_not_an_array_are_refused() {
    for text in ["", "[", "[1", "{}", "7", "[1]]", "[01]", "[1,]", "[\"\u{1}\"]"] {
        let error = arguments(&["string"], text).unwrap_err();
        assert!(error.starts_with("argument"), "{text}: {error}");
    }
    let deep = format!("[{}{}]", "[".repeat(1000), "]".repeat(1000));
    assert!(arguments(&["list<string>"], &deep).is_err());
}
