//! The rules of `docs/wasm-values.md`, one by one, with the message of each mismatch.

mod arguments;
mod cases;
mod kind;
mod properties;
mod schemas;
mod types;
mod values;

use wasmtime::component::Val;

use crate::config::BytesRule;
use crate::wasm_worker::value::{Given, Signature, Unwritable, Written};
use kind::Kind;

/// A signature whose parameters are named `a`, `b` and so on. Types are given as WIT writes them.
fn signature(parameters: &[&str], result: Option<&str>) -> Signature {
    let kinds: Vec<Kind> = parameters.iter().map(|text| Kind::parse(text)).collect();
    let types = kind::types(&kinds);
    let named = ["a", "b", "c", "d"].map(Box::from).into_iter().zip(types).collect();
    Signature::new("f", named, result.map(|text| Kind::parse(text).ty()))
}

fn in_order(args: &str) -> Given<'_> {
    Given { args, names: None, are_text: false }
}

fn arguments(parameters: &[&str], args: &str) -> Result<Vec<Val>, String> {
    signature(parameters, None).arguments(in_order(args), usize::MAX).map_err(|mismatch| mismatch.message)
}

/// Reads one argument. Of an error, returns what follows the argument's name and type.
fn read(ty: &str, json: &str) -> Result<Val, String> {
    match arguments(&[ty], &format!("[{json}]")) {
        Ok(mut values) => Ok(values.remove(0)),
        Err(message) => match message.split_once(&format!("argument \"a\" ({ty}): ")) {
            Some(("", rest)) => Err(rest.to_owned()),
            _ => Err(message),
        },
    }
}

fn wrong(ty: &str, json: &str) -> String {
    read(ty, json).expect_err("a mismatch")
}

fn write_as(ty: &str, value: &Val, bytes: BytesRule) -> Result<String, Unwritable> {
    let mut out = Vec::new();
    signature(&[], Some(ty)).result(Some(value), bytes, usize::MAX, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn write(ty: &str, value: &Val) -> Result<String, Unwritable> {
    write_as(ty, value, BytesRule::Base64)
}

/// Asserts that the JSON is read as the value, and the value is written as the JSON.
#[track_caller]
fn both(ty: &str, json: &str, value: &Val) {
    assert_eq!(read(ty, json).as_ref(), Ok(value), "{ty}: {json}");
    assert_eq!(write(ty, value).as_deref(), Ok(json), "{ty}: {value:?}");
}

/// Asserts that the JSON is read as the same value as its canonical form.
#[track_caller]
fn also(ty: &str, json: &str, canonical: &str) {
    let value = read(ty, json).unwrap();
    assert_eq!(write(ty, &value).as_deref(), Ok(canonical), "{ty}: {json}");
}

fn text(text: &str) -> Val {
    Val::String(text.to_owned())
}

fn some(value: Val) -> Val {
    Val::Option(Some(Box::new(value)))
}

#[test]
fn integers_are_exact() {
    both("u8", "255", &Val::U8(255));
    both("s8", "-128", &Val::S8(-128));
    both("u16", "65535", &Val::U16(u16::MAX));
    both("s16", "-32768", &Val::S16(i16::MIN));
    both("u32", "4294967295", &Val::U32(u32::MAX));
    both("s32", "-2147483648", &Val::S32(i32::MIN));
    both("u64", "18446744073709551615", &Val::U64(u64::MAX));
    both("u64", "9007199254740993", &Val::U64((1 << 53) + 1));
    both("s64", "-9223372036854775808", &Val::S64(i64::MIN));
    also("u8", "-0", "0");
    also("s64", "-0", "0");
    assert_eq!(wrong("u8", "256"), "256 is out of range");
    assert_eq!(wrong("u8", "-1"), "-1 is out of range");
    assert_eq!(wrong("u64", "18446744073709551616"), "18446744073709551616 is out of range");
    assert_eq!(wrong("s64", "-9223372036854775809"), "-9223372036854775809 is out of range");
    // What JSON Schema counts as an integer.
    for (whole, value) in
        [("1.0", "1"), ("1e2", "100"), ("-0.0", "0"), ("0e99", "0"), ("1200E-2", "12"), ("42.00e0", "42")]
    {
        also("u32", whole, value);
    }
    also("u64", "1.8446744073709551615e19", "18446744073709551615");
    also("s64", "-9.223372036854775808E+18", "-9223372036854775808");
    for other in ["1.5", "1e-1", "1.01e1"] {
        assert_eq!(wrong("u32", other), format!("expected u32, got {other}"));
    }
    assert_eq!(wrong("u32", "-1e-999"), "expected u32, got -1e-999");
    assert_eq!(wrong("u32", "\"1\""), "expected u32, got \"1\"");
    assert_eq!(wrong("u32", "null"), "expected u32, got null");
    assert_eq!(wrong("u32", "[1]"), "expected u32, got [1]");
    assert_eq!(wrong("u32", &"9".repeat(300)), format!("{}… is out of range", "9".repeat(60)));
}

#[test]
fn floats_are_any_finite_number() {
    both("f64", "1.0", &Val::Float64(1.0));
    both("f64", "-0.0", &Val::Float64(-0.0));
    both("f64", "5e-324", &Val::Float64(5e-324));
    both("f64", "1.7976931348623157e+308", &Val::Float64(f64::MAX));
    both("f32", "0.1", &Val::Float32(0.1));
    both("f32", "3.4028235e+38", &Val::Float32(f32::MAX));
    also("f64", "1", "1.0");
    also("f64", "-0", "-0.0");
    also("f64", "1e-999", "0.0");
    // Parsed as f64 first, it would become 1.0.
    also("f32", "1.00000005960464484", "1.0000001");
    assert_eq!(wrong("f64", "1e999"), "1e999 is out of range");
    assert_eq!(wrong("f32", "1e39"), "1e39 is out of range");
    assert_eq!(wrong("f64", "\"NaN\""), "expected f64, got \"NaN\"");
}

#[test]
fn a_float_that_is_not_finite_is_not_written() {
    let point = |y: f64| Val::Record(vec![("x".into(), Val::List(vec![Val::Float64(0.0), Val::Float64(y)]))]);
    let written = |y: f64| write("record { x: list<f64> }", &point(y)).unwrap_err().to_string();
    assert_eq!(written(f64::NAN), "result.x[1] is NaN: JSON has no such number");
    assert_eq!(written(f64::INFINITY), "result.x[1] is inf: JSON has no such number");
    let written = write("f32", &Val::Float32(f32::NEG_INFINITY)).unwrap_err().to_string();
    assert_eq!(written, "result is -inf: JSON has no such number");
}

#[test]
fn booleans_characters_and_strings() {
    both("bool", "true", &Val::Bool(true));
    both("char", "\"ß\"", &Val::Char('ß'));
    both("char", "\"😀\"", &Val::Char('😀'));
    both("char", "\"\\n\"", &Val::Char('\n'));
    both("string", "\"a\\\"b\\\\\\u0000 é\"", &text("a\"b\\\0 é"));
    both("string", "\"\"", &text(""));
    also("char", "\"\\ud83d\\ude00\"", "\"😀\"");
    assert_eq!(wrong("bool", "0"), "expected bool, got 0");
    assert_eq!(wrong("char", "\"\""), "expected char, got \"\"");
    assert_eq!(wrong("char", "\"ab\""), "expected char, got \"ab\"");
    // A letter and an accent are two.
    assert_eq!(wrong("char", "\"e\u{301}\""), "expected char, got \"e\u{301}\"");
    assert_eq!(wrong("string", "1.50"), "expected string, got 1.5");
    assert_eq!(wrong("string", "true"), "expected string, got true");
}

#[test]
fn quoted_json_is_shortened_between_characters() {
    let long = "ü".repeat(100);
    assert_eq!(wrong("bool", &format!("\"{long}\"")), format!("expected bool, got \"{}…\"", "ü".repeat(60)));
    let many = vec!["1"; 1000].join(",");
    assert_eq!(wrong("bool", &format!("[{many}]")), format!("expected bool, got [{}1…", "1,".repeat(29)));
    assert_eq!(wrong("bool", "{\"k\": [1, 2]}"), "expected bool, got {\"k\":[1, 2]}");
    assert_eq!(wrong("bool", "{}"), "expected bool, got {}");
    assert_eq!(wrong("bool", "[]"), "expected bool, got []");
}

#[test]
fn arrays_are_lists_and_tuples() {
    both("list<string>", "[\"a\",\"b\"]", &Val::List(vec![text("a"), text("b")]));
    both("list<s16>", "[-1,2]", &Val::List(vec![Val::S16(-1), Val::S16(2)]));
    both("list<f32>", "[]", &Val::List(Vec::new()));
    both("tuple<u32, string>", "[1,\"x\"]", &Val::Tuple(vec![Val::U32(1), text("x")]));
    both("list<u8, 2>", "[1,2]", &Val::FixedLengthList(vec![Val::U8(1), Val::U8(2)]));
    also("list<u32>", " [ 1 ,\n-0 ] ", "[1,0]");
    also("list<u32>", "[ ]", "[]");
    assert_eq!(wrong("list<u32>", "[1,2,\"x\"]"), "at [2] expected u32, got \"x\"");
    assert_eq!(wrong("list<u32>", "[1,[2,3]]"), "at [1] expected u32, got [2,3]");
    assert_eq!(wrong("list<u16>", "[1,65536]"), "at [1] 65536 is out of range of u16");
    assert_eq!(wrong("list<u32>", "{\"a\":1}"), "expected list<u32>, got {\"a\":1}");
    assert_eq!(wrong("list<u32>", "\"1,2\""), "expected list<u32>, got \"1,2\"");
    assert_eq!(wrong("tuple<u32, string>", "[1]"), "expected tuple<u32, string>, got 1 item");
    assert_eq!(wrong("tuple<u32, string>", "[1,\"x\",2]"), "expected tuple<u32, string>, got 3 items");
    assert_eq!(wrong("tuple<u32, string>", "[1,2]"), "at [1] expected string, got 2");
    assert_eq!(wrong("list<u8, 2>", "[]"), "expected list<u8, 2>, got 0 items");
}

#[test]
fn bytes_are_base64_or_an_array() {
    let bytes = Val::List([0, 255, 254].map(Val::U8).to_vec());
    both("list<u8>", "\"AP/+\"", &bytes);
    both("list<u8>", "\"\"", &Val::List(Vec::new()));
    both("list<list<u8>>", "[\"AA==\"]", &Val::List(vec![Val::List(vec![Val::U8(0)])]));
    assert_eq!(write_as("list<u8>", &bytes, BytesRule::Array).as_deref(), Ok("[0,255,254]"));
    also("list<u8>", "[0,255,254]", "\"AP/+\"");
    also("list<u8>", "\"AP\\/+\"", "\"AP/+\"");
    also("list<u8>", "\"AA\"", "\"AA==\"");
    also("list<u8>", "[]", "\"\"");
    assert_eq!(wrong("list<u8>", "\"a*b\""), "expected list<u8>, got \"a*b\", which is no base64");
    assert_eq!(wrong("list<u8>", "\"AP_-\""), "expected list<u8>, got \"AP_-\", which is no base64");
    assert_eq!(wrong("list<u8>", "[1,256]"), "at [1] 256 is out of range of u8");
    assert_eq!(wrong("list<u8>", "7"), "expected list<u8>, got 7");
    let long = Val::List((0..20_000_u32).map(|at| Val::U8(at.to_le_bytes()[0])).collect());
    assert_eq!(read("list<u8>", &write("list<u8>", &long).unwrap()), Ok(long));
}

#[test]
fn maps_are_objects_where_keys_are_strings() {
    let entry = |key: &str, value| (text(key), Val::U32(value));
    both("map<string, u32>", "{\"b\":1,\"a\":2}", &Val::Map(vec![entry("b", 1), entry("a", 2)]));
    both("map<u32, bool>", "[[1,true]]", &Val::Map(vec![(Val::U32(1), Val::Bool(true))]));
    both("map<string, u32>", "{}", &Val::Map(Vec::new()));
    both("map<char, u32>", "[]", &Val::Map(Vec::new()));
    also("map<string, u32>", "[[\"b\",1]]", "{\"b\":1}");
    assert_eq!(wrong("map<string, u32>", "{\"a b\":null}"), "at [\"a b\"] expected u32, got null");
    assert_eq!(wrong("map<string, u32>", "{\"a\":1,\"a\":1}"), "key \"a\" is repeated");
    assert_eq!(wrong("map<string, u32>", "[[\"a\",1],[\"a\",1]]"), "key \"a\" is repeated");
    assert_eq!(wrong("map<u32, bool>", "{\"1\":true}"), "expected map<u32, bool>, got {\"1\":true}");
    assert_eq!(wrong("map<u32, bool>", "[[1]]"), "at [0] expected tuple<u32, bool>, got 1 item");
    assert_eq!(wrong("map<u32, bool>", "[1]"), "at [0] expected tuple<u32, bool>, got 1");
    assert_eq!(wrong("map<u32, bool>", "[[1,true,2]]"), "at [0] expected tuple<u32, bool>, got 3 items");
    assert_eq!(wrong("map<u32, bool>", "[[1,true],[2,3]]"), "at [1][1] expected bool, got 3");
    let twice = Val::Map(vec![entry("a", 1), entry("b", 2), entry("a", 3)]);
    assert_eq!(write("map<string, u32>", &twice).as_deref(), Ok("{\"b\":2,\"a\":3}"));
}

#[test]
fn records_are_objects_with_their_fields() {
    const POINT: &str = "record { x: u32, y: option<u32> }";
    let point = |x, y| Val::Record(vec![("x".into(), Val::U32(x)), ("y".into(), y)]);
    both(POINT, "{\"x\":1,\"y\":2}", &point(1, some(Val::U32(2))));
    both(POINT, "{\"x\":1,\"y\":null}", &point(1, Val::Option(None)));
    also(POINT, "{\"y\":2,\"x\":1}", "{\"x\":1,\"y\":2}");
    also(POINT, "{\"\\u0078\":1}", "{\"x\":1,\"y\":null}");
    assert_eq!(wrong(POINT, "{}"), "field \"x\" (u32) is missing");
    assert_eq!(wrong(POINT, "{\"x\":1,\"z\":2}"), "field \"z\" is unknown");
    assert_eq!(wrong("record { price: u32 }", "{\"prize\":1}"), "field \"prize\" is unknown (did you mean \"price\"?)");
    assert_eq!(wrong("record { x: u32 }", "{\"xy\":1}"), "field \"xy\" is unknown");
    assert_eq!(wrong(POINT, "{\"x\":1,\"x\":1}"), "field \"x\" is repeated");
    assert_eq!(wrong(POINT, "{\"x\":\"abc\"}"), "at .x expected u32, got \"abc\"");
    assert_eq!(wrong(POINT, "[1]"), format!("expected {POINT}, got [1]"));
    assert_eq!(wrong("list<record { x: u32 }>", "[{\"x\":1},{}]"), "at [1] field \"x\" (u32) is missing");
    let wide = "record { a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8 }";
    let backwards = "{\"i\":9,\"h\":8,\"g\":7,\"f\":6,\"e\":5,\"d\":4,\"c\":3,\"b\":2,\"a\":1}";
    also(wide, backwards, "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9}");
}

#[test]
fn the_result_of_a_function_is_its_ok_or_its_err() {
    let given = |ty: Option<&str>, value: Option<&Val>| {
        let mut out = b"before ".to_vec();
        let given = signature(&[], ty).result(value, BytesRule::Base64, 100, &mut out).unwrap();
        (given, String::from_utf8(out.split_off(7)).unwrap())
    };
    let boxed = |value| Some(Box::new(value));
    assert_eq!(given(None, None), (Written::Value, "null".to_owned()));
    let result = Some("result<u32, record { code: u8 }>");
    assert_eq!(given(result, Some(&Val::Result(Ok(boxed(Val::U32(5)))))), (Written::Value, "5".to_owned()));
    let error = Val::Record(vec![("code".into(), Val::U8(7))]);
    assert_eq!(given(result, Some(&Val::Result(Err(boxed(error))))), (Written::Err, "{\"code\":7}".to_owned()));
    assert_eq!(given(Some("result"), Some(&Val::Result(Ok(None)))), (Written::Value, "null".to_owned()));
    assert_eq!(given(Some("result"), Some(&Val::Result(Err(None)))), (Written::Err, "null".to_owned()));
}

#[test]
fn a_result_ends_at_its_limit() {
    let value = Val::List(vec![text("ab"), text("cd")]);
    let signature = signature(&[], Some("list<string>"));
    let mut out = b"kept".to_vec();
    assert_eq!(signature.result(Some(&value), BytesRule::Base64, 11, &mut out), Ok(Written::Value));
    assert_eq!(out, b"kept[\"ab\",\"cd\"]");
    let error = signature.result(Some(&value), BytesRule::Base64, 10, &mut out).unwrap_err();
    assert_eq!(error.to_string(), "a result of more than 10 bytes");
    assert_eq!(out, b"kept[\"ab\",\"cd\"]");
}

#[test]
fn a_result_of_another_type_is_not_written() {
    let error = write("list<u32>", &Val::List(vec![text("a")])).unwrap_err();
    assert_eq!(error.to_string(), "result[0] is no u32");
    assert_eq!(write("u8", &Val::U16(1)).unwrap_err().to_string(), "result is no u8");
    assert!(signature(&[], Some("u8")).result(None, BytesRule::Array, 9, &mut Vec::new()).is_err());
}
