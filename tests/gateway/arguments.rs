//! Arguments by name and by type, in metagate's own runtimes for Node and Python: what fits is converted, what does not
//! fit is a 422 that says where, and the function is not run.

use serde_json::{Value, json};

use crate::faulty::assert_error;
use crate::support::{Answer, Gateway, fixture};

pub(crate) fn serving(folder: &str, keys: &str) -> Gateway {
    Gateway::ready(&format!("[[deployment]]\nname = \"it\"\npath = {:?}\n{keys}\n", fixture(folder)))
}

pub(crate) fn result(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Calls a function with each body and compares the results.
pub(crate) fn assert_results(gateway: &Gateway, cases: &[(&str, &str, Value)]) {
    for (function, body, expected) in cases {
        assert_eq!(result(&gateway.call("it", function, body)), *expected, "{function} {body}");
    }
}

/// Calls a function with each body: every call is a 422 with the message, and the worker is not harmed.
pub(crate) fn assert_misfits(gateway: &Gateway, cases: &[(&str, &str, &str)]) {
    for (function, body, message) in cases {
        let answer = gateway.call("it", function, body);
        assert_error(&answer, 422, "bad_argument");
        assert_eq!(answer.message(), *message, "{function} {body}");
    }
    assert_eq!(gateway.readiness("it")["restarts"], 0);
}

#[test]
fn keys_that_are_parameters_are_bound_by_name_in_python() {
    let gateway = serving("named-python", "");
    let both = |a, b| json!(format!("{a} -> {b}: 5"));
    assert_results(
        &gateway,
        &[
            ("transfer", r#"{"target":"B","source":"A"}"#, both("A", "B")),
            ("transfer", r#"{"x":"A","y":"B"}"#, both("A", "B")),
            ("transfer", r#"["A","B"]"#, both("A", "B")),
            ("transfer", r#"{"amount":1,"target":"B","source":"A"}"#, json!("A -> B: 1")),
            ("resize", r#"{"image":"p","width":4}"#, json!(["p", 4, 10])),
            ("resize", r#"{"height":1,"width":4,"image":"p"}"#, json!(["p", 4, 1])),
            ("total", r#"{"round":true}"#, json!({"sum": 0, "options": {"round": true}})),
            ("total", r#"{"numbers":[1,2],"round":true}"#, json!({"sum": 3, "options": {"round": true}})),
            ("total", "[1,2]", json!({"sum": 3, "options": {}})),
            ("only_position", r#"{"c":1,"a":0}"#, json!([0, 2, 1])),
            ("cached", r#"{"b":"B","a":"A"}"#, json!("AB")),
            ("nothing", "{}", json!("nothing")),
        ],
    );
    assert_misfits(
        &gateway,
        &[
            (
                "transfer",
                r#"{"source":"A","tarrget":"B"}"#,
                "no parameter \"tarrget\" (did you mean \"target\"?): transfer(source, target, amount=…)",
            ),
            ("transfer", r#"{"source":"A"}"#, "argument \"target\" is missing: transfer(source, target, amount=…)"),
            ("only_position", r#"{"a":1,"ab":2}"#, "no parameter \"ab\": only_position(a, b=…, c=…)"),
            ("transfer", "[1,2,3,4]", "4 arguments are too many for transfer(source, target, amount=…)"),
            (
                "resize",
                "[\"p\"]",
                "argument \"width\" is missing, which is given by name only: resize(image, *, width, height=…)",
            ),
            ("nothing", "[1]", "1 arguments are too many for nothing()"),
            ("total", r#"{"numbers":1}"#, "argument \"numbers\": expected array, found 1"),
        ],
    );
    let answer = gateway.call("it", "transfer", r#"{"source":"A","tarrget":"B"}"#);
    assert_eq!(answer.json()["error"]["argument"], "tarrget");
    assert_error(&gateway.call("it", "raises", "[1]"), 500, "function_error");
}

#[test]
fn values_are_converted_and_checked_by_the_declared_types_of_python() {
    let gateway = serving("named-python", "");
    let dates = r#"["2026-11-28","2026-11-28T10:00:00Z",1.5,"12345678123456781234567812345678",0.1,"/a/b"]"#;
    let converted = json!([2026, "2026-11-28T10:00:00+00:00", 1.5, "12345678123456781234567812345678", "0.2", "b"]);
    assert_results(
        &gateway,
        &[
            ("scalars", r#"[1,2,"c"]"#, json!([1, 2.0, "c", false, null])),
            ("scalars", r#"[1.0,2.5,"c",true,7]"#, json!([1, 2.5, "c", true, 7])),
            ("place", r#"{"items":[{"name":"a"}]}"#, json!({"names": ["a"], "level": "LOW", "parent": false})),
            (
                "place",
                r#"[{"items":[],"level":"high","parent":{"items":[]},"tags":["x"]}]"#,
                json!({"names": [], "level": "HIGH", "parent": true}),
            ),
            ("place", r#"{"order":{"items":[]}}"#, json!({"names": [], "level": "LOW", "parent": false})),
            ("dates", dates, converted),
            (
                "parts",
                r#"[{"x":1},{"deep":true},2,["a"],[1,"b"],{"k":1},{"any":[null]}]"#,
                json!([1, true, 2, ["a"], [1, "b"], {"k": 1}, {"any": [null]}]),
            ),
            ("parts", r#"[[1,2],{},"fast",5,[1,"b"],{}]"#, json!([3, null, "fast", 5, [1, "b"], {}, null])),
            ("count", "[1]", json!(1)),
            ("data", "[\"AAEC\"]", json!(3)),
        ],
    );
}

#[test]
fn a_value_that_does_not_fit_a_type_is_named_with_its_place() {
    let gateway = serving("named-python", "");
    assert_misfits(
        &gateway,
        &[
            ("scalars", r#"["1",2,"c"]"#, "argument 1 (a): expected int, found \"1\""),
            ("scalars", r#"[1.5,2,"c"]"#, "argument 1 (a): expected int, found 1.5"),
            ("scalars", r#"[true,2,"c"]"#, "argument 1 (a): expected int, found true"),
            ("scalars", r#"{"a":1,"b":2,"c":null}"#, "argument \"c\": expected str, found null"),
            ("scalars", r#"[1,2,"c",false,"x"]"#, "argument 5 (e): expected int or null, found \"x\""),
            (
                "place",
                r#"{"items":[{"name":"a"},{"name":7}]}"#,
                "argument 1 (order), at .items[1].name: expected str, found 7",
            ),
            (
                "place",
                r#"{"items":[{"nam":"a"}]}"#,
                "argument 1 (order), at .items[0].nam: Item has no field \"nam\" (did you mean \"name\"?)",
            ),
            ("place", r#"[{"level":"low"}]"#, "argument 1 (order), at .items: field \"items\" of Order is missing"),
            (
                "place",
                r#"[{"items":[],"level":"middle"}]"#,
                "argument 1 (order), at .level: expected one of \"low\", \"high\", found \"middle\"",
            ),
            ("place", "[[]]", "argument 1 (order): expected object (Order), found []"),
            ("count", "[0]", "argument 1 (n): expected a value of at least 1, found 0"),
            ("data", "[\"no base64!\"]", "argument 1 (raw): expected base64 text, found \"no base64!\""),
        ],
    );
    let answer = gateway.call("it", "place", r#"{"items":[{"name":"a"},{"name":7}]}"#);
    let error = &answer.json()["error"];
    assert_eq!((&error["argument"], &error["path"]), (&json!("order"), &json!(".items[1].name")));
    assert_eq!(error["expected"], "str");
}

#[test]
fn a_decorator_may_pass_arguments_of_its_own() {
    let gateway = serving("named-python", "");
    assert_results(
        &gateway,
        &[("decorated", "[1]", json!(["own", 1, 0])), ("decorated", r#"{"a":1}"#, json!(["own", 1, 0]))],
    );
    assert_error(&gateway.call("it", "cached", "[1]"), 422, "bad_argument");
    assert_error(&gateway.call("it", "cached", "[1,2,3]"), 422, "bad_argument");
}

#[test]
fn odd_types_and_decorators_of_python_do_not_keep_functions_from_being_called() {
    let gateway = serving("named-python", "max_message = \"64KiB\"");
    assert_results(
        &gateway,
        &[
            ("odd_types", r#"["red","red",{"a":[1]}]"#, json!(["red", "red", {"a": [1]}])),
            ("odd_types", r#"{"value":1,"other":"red","kind":"red"}"#, json!(["red", "red", 1])),
            ("no_value", "[null]", Value::Null),
            ("no_value", "[3]", json!(3)),
            ("converted", r#"["1","2"]"#, json!([1, 2, 0])),
            ("converted", r#"{"b":"2","a":"1"}"#, json!([1, 2, 0])),
        ],
    );
    assert_misfits(
        &gateway,
        &[
            ("no_value", "[\"x\"]", "argument 1 (a): expected int, found \"x\""),
            ("converted", r#"{"b":"2"}"#, "argument \"a\" is missing: converted(a, b=…, c=…)"),
        ],
    );
    // The gap between them keeps its default: no value takes the place of another.
    assert_results(&gateway, &[("converted", r#"{"c":"3","a":"1"}"#, json!([1, 0, 3]))]);
    // A key as long as a message may be does not make an answer that is longer.
    let key = "\\\"".repeat(15_000);
    assert_error(&gateway.call("it", "texts", &format!("{{\"all\":{{\"{key}\":\"x\"}}}}")), 422, "bad_argument");
    let key = "k".repeat(60_000);
    assert_error(&gateway.call("it", "no_value", &format!("{{\"a\":1,\"{key}\":1}}")), 422, "bad_argument");
    assert_eq!(gateway.readiness("it")["restarts"], 0);
    let text = gateway.get("/local/it/v1/call/either?x=7");
    assert_eq!((text.status, text.body.as_str()), (200, "\"7\""));
}

#[test]
fn text_of_a_query_or_a_form_is_converted_to_the_declared_types() {
    let gateway = serving("named-python", "");
    let get = |query: &str| gateway.get(&format!("/local/it/v1/call/{query}"));
    assert_eq!(result(&get("scalars?b=2.5&a=7&c=9&d=true&e=3")), json!([7, 2.5, "9", true, 3]));
    assert_eq!(result(&get("transfer?target=B&source=A")), json!("A -> B: 5"));
    assert_error(&get("scalars?a=x&b=1&c=2"), 422, "bad_argument");
    assert_error(&get("scalars?a=1&b=nan&c=2"), 422, "bad_argument");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = gateway.post("/local/it/v1/call/place", &form, "items[0][name]=a&items[0][price]=1.5&level=high");
    assert_eq!(result(&answer), json!({"names": ["a"], "level": "HIGH", "parent": false}));
    // JSON text is never a number.
    assert_error(&gateway.call("it", "count", "[\"1\"]"), 422, "bad_argument");
    assert_eq!(result(&get("count?n=1")), json!(1));
}

#[test]
fn keys_that_are_parameters_are_bound_by_name_in_node() {
    let gateway = serving("named-node", "");
    assert_results(
        &gateway,
        &[
            ("transfer", r#"{"target":"B","source":"A"}"#, json!("A -> B: 5")),
            ("transfer", r#"{"x":"A","y":"B"}"#, json!("A -> B: 5")),
            ("transfer", r#"["A","B",1]"#, json!("A -> B: 1")),
            ("create", r#"{"name":"mug","size":2}"#, json!("mug x 2")),
            ("create", r#"[{"name":"mug"}]"#, json!("mug x 1")),
            ("total", r#"{"numbers":[2,3],"first":1}"#, json!(6)),
            ("list", r#"{"b":1,"a":2}"#, json!([1, 2])),
            ("given", r#"{"b":1}"#, json!([true, false])),
        ],
    );
    assert_misfits(
        &gateway,
        &[
            (
                "transfer",
                r#"{"source":"A","tarrget":"B"}"#,
                "no parameter \"tarrget\" (did you mean \"target\"?): transfer(source, target, amount)",
            ),
            ("total", r#"{"numbers":2,"first":1}"#, "argument \"numbers\": expected array, found 2"),
            ("given", r#"{"a":1,"x":2}"#, "no parameter \"x\": given(a, b)"),
        ],
    );
    let answer = gateway.get("/local/it/v1/call/transfer?target=B&source=A");
    assert_eq!(result(&answer), json!("A -> B: 5"));
}

#[test]
fn arguments_in_order_are_as_metacall_has_them() {
    for folder in ["named-python", "named-node"] {
        let gateway = serving(folder, "arguments = \"order\"");
        assert_eq!(result(&gateway.call("it", "transfer", r#"{"target":"B","source":"A"}"#)), json!("B -> A: 5"));
    }
    // Text of a query is converted to the declared types in order too.
    let gateway = serving("named-python", "arguments = \"order\"");
    assert_eq!(result(&gateway.get("/local/it/v1/call/scalars?x=7&y=2.5&z=9")), json!([7, 2.5, "9", false, null]));
    assert_error(&gateway.call("it", "scalars", r#"{"x":"7","y":2.5,"z":"9"}"#), 422, "bad_argument");
    let gateway = serving("exact-node", "arguments = \"order\"");
    assert_eq!(result(&gateway.get("/local/it/v1/call/count?x=7")), json!(7));
}

#[test]
fn a_result_longer_than_a_message_fails_its_own_call_only() {
    for folder in ["named-python", "named-node"] {
        let gateway = serving(folder, "max_message = \"64KiB\"");
        let workers = gateway.worker_pids();
        for body in [r#"["x",70000]"#, r#"["é",40000]"#] {
            let answer = gateway.call("it", "large", body);
            assert_error(&answer, 500, "result_too_large");
            assert!(answer.message().contains("max_message of 65536 bytes"), "{answer:?}");
        }
        assert_eq!(result(&gateway.call("it", "large", r#"["é",3]"#)), json!("ééé"));
        assert_eq!((gateway.worker_pids(), &gateway.readiness("it")["restarts"]), (workers, &json!(0)), "{folder}");
    }
}
