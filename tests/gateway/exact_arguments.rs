//! Arguments whose conversion could lose something: digits, dates, texts, levels, the place of a fault.

use serde_json::json;

use crate::arguments::{assert_misfits, assert_results, result, serving};
use crate::faulty::assert_error;
use crate::python_apps;
use crate::support::Gateway;

#[test]
fn numbers_of_python_are_what_the_caller_wrote_or_refused() {
    let gateway = serving("exact-python", "");
    let long = "1234567890123456.789012345678901234567890";
    assert_results(
        &gateway,
        &[
            ("total", &format!("[{long}]"), json!([long, "float", 1.0])),
            ("total", r#"["12.30",2]"#, json!(["12.30", "float", 2.0])),
            ("total", "[1.50,1.50]", json!(["1.50", "float", 1.5])),
            ("total", "[100.00]", json!(["100.00", "float", 1.0])),
            ("total", "[0.1,0.12345678901234567]", json!(["0.1", "float", 0.123_456_789_012_345_67])),
            ("anything", "[0.12345678901234567]", json!(0.123_456_789_012_345_67)),
            ("by_number", r#"[{"2":"b","1":"a"}]"#, json!([[1, "a"], [2, "b"]])),
        ],
    );
    assert_misfits(
        &gateway,
        &[
            ("total", r#"["1_000"]"#, "argument 1 (price): expected decimal number, found \"1_000\""),
            (
                "by_number",
                r#"[{"1":"a","+1":"b"}]"#,
                "argument 1 (names), at [\"+1\"]: expected a key that is not there already, found \"+1\"",
            ),
        ],
    );
    let too_large = format!("[1,1{}]", "0".repeat(400));
    assert_error(&gateway.call("it", "count", &too_large), 422, "bad_argument");
    for query in ["n=1_000", "n=%D9%A3", "n=1e3", "n=1&ratio=1_0.5", "n=0x10", "n="] {
        assert_error(&gateway.get(&format!("/local/it/v1/call/count?{query}")), 422, "bad_argument");
    }
    assert_eq!(result(&gateway.get("/local/it/v1/call/count?n=-7&ratio=%201e3")), json!([-7, 1000.0]));
}

#[test]
fn marks_of_typed_dicts_count_in_annotations_that_are_text() {
    let gateway = serving("exact-python", "");
    assert_results(&gateway, &[("order", r#"[{"id":1},{"size":2}]"#, json!([{"id": 1}, {"size": 2}]))]);
    assert_misfits(
        &gateway,
        &[
            ("order", "[{},{\"size\":2}]", "argument 1 (one), at .id: field \"id\" of Order is missing"),
            ("order", "[{\"id\":1},{}]", "argument 2 (options), at .size: field \"size\" of Options is missing"),
        ],
    );
}

#[test]
fn a_union_names_a_place_only_where_one_member_was_meant() {
    let gateway = serving("exact-python", "");
    assert_results(&gateway, &[("pet", r#"[{"name":"Rex","breed":"x"}]"#, json!("Dog"))]);
    assert_misfits(
        &gateway,
        &[
            (
                "pet",
                r#"[{"name":"Rex"}]"#,
                "argument 1 (animal): expected object (Cat) or object (Dog), found {\"name\": \"Rex\"}",
            ),
            ("maybe", r#"[{"name":"Tom"}]"#, "argument 1 (animal), at .lives: field \"lives\" of Cat is missing"),
        ],
    );
}

#[test]
fn the_schema_of_a_class_that_holds_itself_refers_to_a_definition() {
    let gateway = serving("generated-python", "");
    let packages = gateway.inspected("it").unwrap()["packages"].take();
    let functions = packages["py"][0]["scope"]["funcs"].as_array().unwrap();
    let place = functions.iter().find(|function| function["name"] == "place").unwrap();
    let order = &place["schema"]["parameters"][0]["schema"];
    let inner = json!({"anyOf": [{"$ref": "#/$defs/Order"}, {"type": "null"}]});
    assert_eq!(order["properties"]["parent"], inner);
    assert_eq!(order["$defs"]["Order"]["properties"]["parent"], inner);
    assert_eq!(order["$defs"]["Order"]["required"], json!(["items"]));
}

#[test]
fn a_number_is_whole_if_its_digits_are() {
    let python = serving("exact-python", "");
    assert_results(
        &python,
        &[
            ("kinds_of", "[5.0,[]]", json!([5, []])),
            (
                "kinds_of",
                "[1.50e1,[9007199254740993.0,1e23,0.12345678901234567]]",
                json!([15, ["float", "float", "float"]]),
            ),
            ("kind_of", "[0.12345678901234567]", json!(["float", 0.123_456_789_012_345_67])),
        ],
    );
    for (number, whole) in [
        ("9007199254740993.0", "9007199254740993"),
        ("1e23", "100000000000000000000000"),
        ("-12345678901234567.890e3", "-12345678901234567890"),
    ] {
        let answer = python.call("it", "kinds_of", &format!("[{number},[]]"));
        assert_eq!(answer.body, format!("[{whole},[]]"));
        let answer = python.call("it", "kinds_of", &format!("{{\"values\":[],\"n\":{number}}}"));
        assert_eq!(answer.body, format!("[{whole},[]]"));
    }
    let node = serving("exact-node", "");
    assert_results(
        &node,
        &[
            (
                "whole",
                "[9007199254740993,[9007199254740993]]",
                json!(["9007199254740993", [9_007_199_254_740_992_u64]]),
            ),
            ("whole", r#"{"other":{"a":1e5},"n":9007199254740993.0}"#, json!(["9007199254740993", {"a": 100_000}])),
            ("whole", "[-1e23]", json!(["-100000000000000000000000", null])),
            ("whole", r#"["12345678901234567890"]"#, json!(["12345678901234567890", null])),
            ("whole", r#"{"n":7}"#, json!(["7", null])),
            ("count", "[9007199254740991]", json!(9_007_199_254_740_991_u64)),
            ("number", "[9007199254740993]", json!(9_007_199_254_740_992_u64)),
        ],
    );
    for number in ["1.5", "5.00000000000000000001", "4503599627370497.3"] {
        for (gateway, function, rest) in [(&python, "kinds_of", ",[]"), (&node, "whole", ""), (&node, "count", "")] {
            assert_error(&gateway.call("it", function, &format!("[{number}{rest}]")), 422, "bad_argument");
        }
    }
    for number in ["9007199254740993", "9007199254740992", "1e23"] {
        assert_error(&node.call("it", "count", &format!("[{number}]")), 422, "bad_argument");
    }
}

#[test]
fn a_number_has_as_many_digits_as_a_worker_reads_at_once() {
    let python = serving("exact-python", "");
    let nested = |digits| format!("[{{\"a\":[{}]}}]", "9".repeat(digits));
    assert_eq!(python.call("it", "anything", &nested(4_300)).status, 200);
    for digits in [4_301, 900_000] {
        assert_error(&python.call("it", "anything", &nested(digits)), 400, "invalid_json");
    }
}

#[test]
fn dates_of_node_that_do_not_exist_are_refused() {
    let node = serving("exact-node", "");
    let day = |text: &str| node.call("it", "day", &json!([text]).to_string());
    assert_eq!(result(&day("2024-02-29")), json!("2024-02-29T00:00:00.000Z"));
    assert_eq!(result(&day("2026-11-28 10:00+0530")), json!("2026-11-28T04:30:00.000Z"));
    for text in
        ["2026-02-31", "2023-02-29", "2026-04-31T10:00:00Z", "-002026-01-01", "+012026-01-01", "2026-11-28T24:00:00Z"]
    {
        assert_error(&day(text), 422, "bad_argument");
    }
}

#[test]
fn text_stays_text_where_a_text_is_one_of_the_types() {
    let python = serving("exact-python", "");
    let node = serving("exact-node", "");
    let get = |gateway: &Gateway, query: &str| result(&gateway.get(&format!("/local/it/v1/call/{query}")));
    assert_eq!(get(&python, "of_text?a=007&b=abcd"), json!(["007", "abcd", true, true]));
    assert_eq!(get(&python, "of_text?a=a&b=1&b=2&c=true&d=yes"), json!(["a", ["1", "2"], true, true]));
    assert_eq!(get(&python, "of_text?a=&b=&c=3&d=other"), json!(["", "", "3", "other"]));
    assert_eq!(get(&node, "ofText?a=007&b=abcd&c=true"), json!(["007", "abcd", true]));
    assert_eq!(get(&node, "ofText?a=a&b=1&b=2&c=3"), json!(["a", ["1", "2"], 3]));
}

#[test]
fn an_object_is_the_only_parameter_unless_it_names_it() {
    let (python, node) = (serving("exact-python", ""), serving("exact-node", ""));
    for (gateway, count_keys) in [(&python, "count_keys"), (&node, "countKeys")] {
        assert_results(
            gateway,
            &[
                ("book", r#"{"booking":7}"#, json!([7, 1])),
                ("book", r#"{"nights":2,"booking":7}"#, json!([7, 2])),
                ("book", r#"[{"booking":7}]"#, json!([7, 1])),
                ("change", r#"{"other":{"nights":2}}"#, json!([0, 2])),
                ("change", r#"{"booking":7}"#, json!([7, 1])),
                ("change", r#"{"other":null}"#, json!(null)),
                (count_keys, r#"{"data":{"a":1}}"#, json!(["a"])),
                (count_keys, r#"{"data":5}"#, json!(["data"])),
                (count_keys, r#"{"data":{},"b":2}"#, json!(["b", "data"])),
            ],
        );
        assert_error(&gateway.call("it", "book", r#"{"booking":{"booking":7}}"#), 422, "bad_argument");
    }
}

#[test]
fn what_a_constructor_refuses_is_the_callers_fault_and_what_fails_in_it_is_its_own() {
    let python = serving("exact-python", "");
    assert_misfits(&python, &[("book", r#"{"nights":0}"#, "argument 1 (booking): Booking: a booking has a night")]);
    assert_error(&python.call("it", "book", r#"{"nights":31}"#), 500, "function_error");
}

#[test]
fn arrays_and_lengths_of_time_are_what_the_documentation_says() {
    let python = serving("exact-python", "");
    assert_results(
        &python,
        &[
            ("names", r#"[["a"],["b"]]"#, json!([["a"], ["b"]])),
            ("names_of", r#"[["a"],[1],"c"]"#, json!([["a"], [1], ["c"]])),
            ("wait", "[1.5]", json!(1.5)),
        ],
    );
    assert_eq!(result(&python.get("/local/it/v1/call/wait?time=90")), json!(90.0));
    assert_misfits(
        &python,
        &[
            ("names", r#"[{"a":1}]"#, "argument 1 (all): expected array, found {\"a\": 1}"),
            ("names", r#"[[],{"a":1}]"#, "argument 2 (more): expected array, found {\"a\": 1}"),
            // A text is a sequence of texts in Python only.
            ("names", r#"["ab"]"#, "argument 1 (all): expected array, found \"ab\""),
            ("names", r#"{"all":[],"more":"ab"}"#, "argument \"more\": expected array, found \"ab\""),
            ("names_of", r#"["ab"]"#, "argument 1 (all): expected array, found \"ab\""),
            ("names_of", r#"[[],"ab"]"#, "argument 2 (more): expected array, found \"ab\""),
            ("wait", r#"["90"]"#, "argument 1 (time): expected duration in seconds, found \"90\""),
            ("wait", r#"["PT90S"]"#, "argument 1 (time): expected duration in seconds, found \"PT90S\""),
        ],
    );
}

#[test]
fn several_faults_of_a_model_are_named_with_their_places() {
    let message = "argument 1 (one), at [0].rows[0].n: 0 is wrong; at [0].rows[1].n: 1 is wrong; \
                   at [0].rows[2].n: 2 is wrong; 2 more";
    assert_misfits(&serving("exact-python", ""), &[("model", "[[{}]]", message)]);
}

#[test]
fn names_in_comments_change_no_prototype() {
    let node = serving("exact-node", "");
    assert_results(&node, &[("polluted", r#"[{"__proto__":{"polluted":1}}]"#, json!([true, true, true]))]);
    assert_error(&node.call("it", "polluted", "[{}]"), 422, "bad_argument");
}

#[test]
fn arguments_fit_one_of_several_overloads_of_comments() {
    let node = serving("exact-node", "");
    assert_results(
        &node,
        &[
            ("repeated", "[2]", json!(4)),
            ("repeated", r#"["ab"]"#, json!("abab")),
            ("repeated", r#"{"times":3,"value":"ab"}"#, json!("ababab")),
            ("moment", r#"["2026-11-28"]"#, json!(2026)),
            ("moment", r#"[5,"UTC"]"#, json!("5 UTC")),
            ("anyNumber", r#"[1,"b"]"#, json!([1, "b"])),
            ("plainly", "[1]", json!(1)),
        ],
    );
    assert_misfits(
        &node,
        &[
            ("repeated", "[true]", "argument 1 (value): expected number or string, found true"),
            ("repeated", r#"["ab","3"]"#, "argument 2 (times): expected number, found \"3\""),
            ("repeated", "[]", "argument \"value\" is missing: repeated(value, times)"),
            ("moment", r#"["noon"]"#, "argument 1 (at): expected date and time (ISO 8601) or number, found \"noon\""),
            ("moment", "[1,2]", "argument 2 (zone): expected string, found 2"),
        ],
    );
    let packages = node.inspected("it").unwrap()["packages"].take();
    let functions = packages["node"][0]["scope"]["funcs"].as_array().unwrap();
    let repeated = functions.iter().find(|function| function["name"] == "repeated").unwrap();
    assert_eq!(repeated["schema"]["description"], "Repeats what it is given.");
    assert_eq!(repeated["schema"]["returns"], json!({"anyOf": [{"type": "number"}, {"type": "string"}]}));
}

#[test]
fn models_of_pydantic_get_all_digits() {
    let (gateway, _copy) = python_apps::serving("models", "");
    let call = |function: &str, arguments: &str| gateway.call("it", function, arguments);
    let order = r#"{"lines":[{"price":12345678901234567890.5,"count":9007199254740993.0,"rate":0.12345678901234567}],
        "prices":{"a":1.00000000000000000001},"parent":{"total":-0.1234567890123456789e-3},
        "pair":[9007199254740993.0,3.14159265358979323846]}"#;
    let placed = result(&call("place", &format!("[{order}]")));
    let line = json!({"price": "12345678901234567890.5", "count": 9_007_199_254_740_993_u64,
        "rate": 0.123_456_789_012_345_67});
    assert_eq!(placed["lines"][0], line);
    assert_eq!(placed["prices"], json!({"a": "1.00000000000000000001"}));
    assert_eq!(placed["parent"]["total"], "-0.0001234567890123456789");
    assert_eq!(placed["pair"], json!([9_007_199_254_740_993_u64, "3.14159265358979323846"]));
    let many = result(&call("many", r#"[[{"price":0.10},{"price":0.1000000000000000000001,"count":2.00}]]"#));
    assert_eq!(many, json!([{"price": "0.10", "count": 1}, {"price": "0.1000000000000000000001", "count": 2}]));
    for metal in [r#""kind":"gold","weight""#, r#""kind":"gold","w""#, r#""kind":"silver","grams""#] {
        let one = format!(
            r#"{{"metal":{{{metal}:0.1000000000000000000001}},"point":{{"x":2.000000000000000000001}},
            "either":0.5000000000000000000001,"rounded":1.2500000000000000000001}}"#
        );
        // The model's own code gets a number where it has got one before.
        let expected = json!(["0.1000000000000000000001", "2.000000000000000000001", 0.5, "1.25"]);
        assert_eq!(result(&call("mixed", &format!("[{one}]"))), expected);
    }
    for count in ["9007199254740993.5", "1.00000000000000000001", "\"x\""] {
        let answer = call("place", &format!(r#"[{{"lines":[{{"price":1,"count":{count}}}]}}]"#));
        assert_error(&answer, 422, "bad_argument");
        assert_eq!(answer.json()["error"]["path"], ".lines[0].count", "{answer:?}");
    }
}
