//! Arguments of Python whose conversion could lose something: digits, keys, the place of a fault.

use serde_json::json;

use crate::arguments::{assert_misfits, assert_results, result, serving};
use crate::faulty::assert_error;

#[test]
fn numbers_of_python_are_what_the_caller_wrote_or_refused() {
    let gateway = serving("exact-python", "");
    let long = "1234567890123456.789012345678901234567890";
    assert_results(
        &gateway,
        &[
            ("total", &format!("[{long}]"), json!([long, "float", 1.0])),
            ("total", r#"["12.30",2]"#, json!(["12.30", "float", 2.0])),
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
