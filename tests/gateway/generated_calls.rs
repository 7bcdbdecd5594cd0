//! Generated calls of typed functions: fitting ones, and ones with wrong counts, names, types and depths, made by the
//! schemas that the gateway shows. Each is answered with a result or a 422, one that is no JSON with a 400, and no
//! worker ends.
//! `METAGATE_GENERATED_CALLS=100000` makes more of them.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::support::{Gateway, fixture};

/// Calls of one test in CI.
const CALLS: usize = 1000;
/// Deepest nesting of arrays and objects in JSON that the gateway takes.
const DEEPEST: usize = 100;

/// Bytes of a query; what is longer nests too deeply for one.
const LONGEST_QUERY: usize = 500;

/// What a generated call must be answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Result,
    Refusal,
    Either,
    /// Any of these, or a 400: the body may be no JSON.
    NoFault,
}

/// What becomes of arguments beyond the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Superfluous {
    Refused,
    Ignored,
}

/// A request, and what is expected of it.
struct Generated {
    query: String,
    body: String,
    is_form: bool,
    expected: Expected,
}

/// Calls every function of a deployment many times. Functions must not fail by themselves.
pub(crate) fn assert_no_call_ends_a_worker(gateway: &Gateway, deployment: &str, superfluous: Superfluous) {
    let calls = std::env::var("METAGATE_GENERATED_CALLS").map_or(CALLS, |calls| calls.parse().unwrap());
    let functions = functions(gateway, deployment);
    let workers = gateway.worker_pids();
    let mut rng = Rng::with_seed(calls as u64);
    let (mut results, mut refusals) = (0, 0);
    for _ in 0..calls {
        let (name, parameters) = rng.choice(&functions).unwrap();
        let Generated { query, body, is_form, expected } = generate(&mut rng, parameters, superfluous);
        let path = format!("/local/{deployment}/v1/call/{name}?{query}");
        let kind = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
        let answer = gateway.post(&path, &[("content-type", kind)], &body);
        let case = format!("{path} {body}: {answer:?}");
        match answer.status {
            200 => results += 1,
            422 => refusals += 1,
            400 if expected == Expected::NoFault => refusals += 1,
            _ => panic!("neither a result nor a refusal: {case}"),
        }
        match expected {
            Expected::Result => assert_eq!(answer.status, 200, "{case}"),
            Expected::Refusal => assert_eq!((answer.status, answer.code()), (422, "bad_argument"), "{case}"),
            Expected::Either | Expected::NoFault => {}
        }
    }
    assert!(results > calls / 5 && refusals > calls / 5, "{results} results, {refusals} refusals");
    assert_eq!((gateway.worker_pids(), &gateway.readiness(deployment)["restarts"]), (workers, &json!(0)));
}

/// The functions of a deployment with their parameters, as its schemas have them.
fn functions(gateway: &Gateway, deployment: &str) -> Vec<(String, Vec<Value>)> {
    let mut packages = gateway.inspected(deployment).unwrap()["packages"].take();
    let handles = packages.as_object_mut().unwrap().values_mut().flat_map(|handles| handles.as_array_mut().unwrap());
    let listed = handles.flat_map(|handle| handle["scope"]["funcs"].as_array_mut().unwrap());
    let described = listed.map(|function| {
        let Value::Array(parameters) = function["schema"]["parameters"].take() else { panic!("{function}") };
        (function["name"].as_str().unwrap().to_owned(), parameters)
    });
    described.collect()
}

fn generate(rng: &mut Rng, parameters: &[Value], superfluous: Superfluous) -> Generated {
    let mut named = by_name(rng, parameters);
    let itself = given_itself(parameters, &named);
    let is_itself = itself.is_some();
    named = itself.unwrap_or(named);
    let in_order: Vec<Value> = parameters.iter().flat_map(|parameter| arguments(rng, parameter)).collect();
    let takes_more = parameters.iter().any(|one| one["kind"] == "rest");
    let json =
        |value: Value, expected| Generated { query: String::new(), body: value.to_string(), is_form: false, expected };
    match rng.u8(..10) {
        0 | 1 => json(Value::Object(shuffled(rng, named)), Expected::Result),
        2 => json(Value::Array(in_order), Expected::Result),
        3 => {
            let more = rng.usize(1..5);
            let more = (0..more).map(|_| intruder(rng));
            let expected = match superfluous {
                _ if takes_more => Expected::Either,
                Superfluous::Refused => Expected::Refusal,
                Superfluous::Ignored => Expected::Result,
            };
            json(Value::Array(in_order.into_iter().chain(more).collect()), expected)
        }
        4 => {
            let required = parameters.iter().rposition(|one| one["required"] == true).map_or(0, |last| last + 1);
            let count = rng.usize(..=required);
            let expected = if count < required { Expected::Refusal } else { Expected::Result };
            json(Value::Array(in_order.into_iter().take(count).collect()), expected)
        }
        5 => {
            let several = named.len() > 1 && !is_itself;
            let name = named.keys().next().cloned().unwrap_or_default();
            let value = named.remove(&name).unwrap_or_default();
            named.insert(format!("{name}e"), value);
            json(Value::Object(named), if several { Expected::Refusal } else { Expected::Either })
        }
        6 | 7 => {
            let mut value = if rng.bool() { Value::Object(named) } else { Value::Array(in_order) };
            let at = rng.usize(1..count(&value).max(2));
            replace(&mut value, &mut { at }, &intruder(rng));
            json(value, Expected::Either)
        }
        8 => {
            let value = if rng.bool() { Value::Object(named) } else { Value::Array(in_order) };
            let body = spoilt(rng, &value.to_string());
            Generated { query: String::new(), body, is_form: false, expected: Expected::NoFault }
        }
        _ => {
            let pairs: Vec<String> = named.iter().flat_map(|(name, value)| pairs(name, value)).collect();
            let (text, is_form) = (pairs.join("&"), rng.bool());
            if text.len() > LONGEST_QUERY {
                return json(Value::Object(named), Expected::Result);
            }
            let (query, body) = if is_form { (String::new(), text) } else { (text, String::new()) };
            Generated { query, body, is_form, expected: Expected::Either }
        }
    }
}

/// Arguments for the parameters, or for those of them that are required, by their names.
fn by_name(rng: &mut Rng, parameters: &[Value]) -> Map<String, Value> {
    let given: Vec<&Value> = parameters.iter().filter(|one| one["required"] == true || rng.bool()).collect();
    let mut named = Map::new();
    for parameter in given {
        let mut values = arguments(rng, parameter);
        let value = if parameter["kind"] == "rest" { Value::Array(values) } else { values.remove(0) };
        named.insert(parameter["name"].as_str().unwrap().to_owned(), value);
    }
    named
}

/// The object for an only parameter that takes it apart, and so has no name by which it could be given.
fn given_itself(parameters: &[Value], named: &Map<String, Value>) -> Option<Map<String, Value>> {
    let ([only], (name, Value::Object(itself))) = (parameters, named.iter().next()?) else { return None };
    (only["kind"] != "rest" && name.starts_with('{')).then(|| itself.clone())
}

/// Arguments for a parameter: one, or any number for a rest.
fn arguments(rng: &mut Rng, parameter: &Value) -> Vec<Value> {
    let schema = &parameter["schema"];
    let count = if parameter["kind"] == "rest" { rng.usize(..4) } else { 1 };
    (0..count).map(|_| fitting(rng, schema, &schema["$defs"])).collect()
}

fn shuffled(rng: &mut Rng, object: Map<String, Value>) -> Map<String, Value> {
    let mut entries: Vec<(String, Value)> = object.into_iter().collect();
    rng.shuffle(&mut entries);
    entries.into_iter().collect()
}

/// A value that fits a schema.
fn fitting(rng: &mut Rng, schema: &Value, defs: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|place| place.strip_prefix("#/$defs/")) {
        return fitting(rng, &defs[name], defs);
    }
    if let Some(choices) = schema["anyOf"].as_array().filter(|choices| !choices.is_empty()) {
        let choice = rng.choice(choices).unwrap();
        return fitting(rng, choice, defs);
    }
    if let Some(values) = schema["enum"].as_array() {
        return rng.choice(values).unwrap().clone();
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    match schema["type"].as_str() {
        Some("boolean") => Value::Bool(rng.bool()),
        Some("integer") => integer(rng, schema),
        Some("number") => rng.choice(&[json!(0), json!(-1.5), json!(1e30), json!(7)]).unwrap().clone(),
        Some("string") if schema["maxLength"] == 1 => json!(rng.char('a'..'é').to_string()),
        Some("string") if schema["contentEncoding"] == "base64" => json!(rng.choice(["", "AQ==", "AQIDBA=="])),
        Some("string") if schema["format"].is_string() => formatted(&schema["format"]),
        Some("string") => json!(rng.choice(["", "a", "7", "true", "ä\n\"\\", "\u{1f600}"])),
        Some("array") => array(rng, schema, defs),
        Some("object") => {
            let is_given =
                |name: &String| schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
            let properties = schema["properties"].as_object().into_iter().flatten();
            let given: Vec<_> = properties.filter(|(name, _)| is_given(name) || rng.bool()).collect();
            given.into_iter().map(|(name, schema)| (name.clone(), fitting(rng, schema, defs))).collect()
        }
        _ => Value::Null,
    }
}

/// Text of a format.
fn formatted(format: &Value) -> Value {
    match format.as_str() {
        Some("date") => json!("2026-02-28"),
        Some("date-time") => json!("2026-02-28T23:59:59.5Z"),
        Some("time") => json!("23:59:59"),
        Some("uri") => json!("http://example.com/a?b=c"),
        Some("uuid") => json!("12345678-1234-5678-1234-567812345678"),
        _ => panic!("a format without an example: {format}"),
    }
}

fn integer(rng: &mut Rng, schema: &Value) -> Value {
    let bound = |key: &str, default: i128| schema[key].to_string().parse().unwrap_or(default);
    let (least, most) = (bound("minimum", -1 << 40), bound("maximum", 1 << 40));
    let value = match rng.u8(..4) {
        0 => least,
        1 => most,
        _ => rng.i128(least..=most),
    };
    i64::try_from(value).map_or_else(|_| json!(u64::try_from(value).unwrap()), |value| json!(value))
}

fn array(rng: &mut Rng, schema: &Value, defs: &Value) -> Value {
    if let Some(items) = schema["prefixItems"].as_array() {
        return items.iter().map(|item| fitting(rng, item, defs)).collect();
    }
    let most = if schema["uniqueItems"] == true { 1 } else { 3 };
    (0..rng.usize(..=most)).map(|_| fitting(rng, &schema["items"], defs)).collect()
}

/// JSON that fits few types.
fn intruder(rng: &mut Rng) -> Value {
    let deep = |depth| (0..depth).fold(json!([]), |inner, _| json!([inner]));
    match rng.u8(..14) {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(1.5),
        3 => json!(u64::MAX),
        4 => json!(1e300),
        5 => json!("7"),
        6 => json!("\u{0}"),
        7 => json!("x".repeat(rng.usize(..5000))),
        8 => json!([]),
        9 => json!({}),
        10 => json!({"a": 1, "tag": "x", "val": null}),
        11 => deep(rng.usize(1..DEEPEST)),
        12 => (0..rng.usize(1..DEEPEST)).fold(json!({}), |inner, _| json!({"p": inner})),
        _ => json!(vec![json!({"x": [null, true]}); rng.usize(..50)]),
    }
}

/// A body that may be no JSON, nest too deeply, or have keys that objects of some languages have of their own.
fn spoilt(rng: &mut Rng, body: &str) -> String {
    let key = *rng.choice(&["__proto__", "constructor", "toString", "self", ""]).unwrap();
    match rng.u8(..8) {
        0 => body.chars().take(rng.usize(..body.len())).collect(),
        1 => body.repeat(2),
        2 => body.replace('1', "1e999"),
        3 => body.replace('"', "'"),
        4 => format!("{}1{}", "[".repeat(400), "]".repeat(400)),
        5 => format!("{{{key:?}:{body}}}"),
        6 => body.replacen('{', &format!("{{{key:?}:{{}},"), 3),
        _ => (*rng.choice(&["NaN", "null", "7", "\"a\"", "[[]]", "[{}]", "{}", "[]", "\u{0}"]).unwrap()).to_owned(),
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(entries) => entries.values().map(count).sum(),
        _ => 0,
    }
}

/// Replaces the value after `skip` others.
fn replace(value: &mut Value, skip: &mut usize, by: &Value) {
    if *skip == 0 {
        *value = by.clone();
    }
    *skip = skip.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, skip, by)),
        Value::Object(entries) => entries.values_mut().for_each(|item| replace(item, skip, by)),
        _ => {}
    }
}

/// A value as pairs of a form.
fn pairs(key: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| pairs(&format!("{key}[]"), item)).collect(),
        Value::Object(entries) => {
            entries.iter().flat_map(|(name, value)| pairs(&format!("{key}[{name}]"), value)).collect()
        }
        Value::Null => Vec::new(),
        Value::String(text) => vec![encoded(key, text)],
        other => vec![encoded(key, &other.to_string())],
    }
}

fn encoded(key: &str, value: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair(key, value).finish()
}

#[test]
fn generated_calls_of_wasm_functions_are_answered_and_end_no_worker() {
    let (gateway, _folder) = crate::wasm::serving(crate::wasm::typed::TYPED, "");
    assert_no_call_ends_a_worker(&gateway, "it", Superfluous::Refused);
    let (gateway, _folder) = crate::wasm::serving(TOTAL, "");
    assert_no_call_ends_a_worker(&gateway, "it", Superfluous::Refused);
}

#[test]
fn generated_calls_of_python_functions_are_answered_and_end_no_worker() {
    let table = format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", fixture("generated-python"));
    assert_no_call_ends_a_worker(&Gateway::ready(&table), "it", Superfluous::Refused);
}

#[test]
fn generated_calls_of_node_functions_are_answered_and_end_no_worker() {
    let table = format!("[[deployment]]\nname = \"it\"\npath = {:?}\n", fixture("generated-node"));
    assert_no_call_ends_a_worker(&Gateway::ready(&table), "it", Superfluous::Ignored);
}

/// A module of numbers whose functions never trap.
const TOTAL: &str = r#"(module
    (func (export "add") (param $a i32) (param $b i32) (result i32) (i32.add (local.get $a) (local.get $b)))
    (func (export "wide") (param i64) (result i64 i64) (local.get 0) (local.get 0))
    (func (export "small") (param f32 f64) (result f64) (local.get 1)))"#;
