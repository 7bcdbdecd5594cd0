//! What each kind of change means for callers, by example.

mod overlooked;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::deployment::Accepts;

/// A release with these functions, of which each has a signature.
fn exports(functions: &[(&str, Value)]) -> Exports {
    let function = |(name, signature): &(&str, Value)| {
        let signature = serde_json::from_value(signature.clone()).unwrap();
        ((*name).into(), Arc::new(Function::new(name, Takes::Arguments, signature)))
    };
    Exports {
        functions: functions.iter().map(function).collect(),
        aliases: HashMap::new(),
        accepts: Accepts::default(),
        packages: json!({}),
        warnings: Vec::new(),
    }
}

/// The changes of one function, as `effect message`.
fn changes(before: Value, after: Value) -> Vec<String> {
    let found = between(&exports(&[("f", before)]), &exports(&[("f", after)]));
    found.into_iter().map(|one| format!("{:?} {}", one.effect, one.message)).collect()
}

fn parameter(name: &str, required: bool, schema: &Value) -> Value {
    json!({"name": name, "required": required, "schema": schema})
}

/// What a change of the schema of one parameter means.
fn of_argument(before: Value, after: Value) -> Vec<String> {
    let taking = |schema| json!({"parameters": [parameter("a", true, &schema)]});
    changes(taking(before), taking(after))
}

/// What a change of the schema of the result means.
fn of_result(before: Value, after: Value) -> Vec<String> {
    let returning = |schema| json!({"parameters": [], "returns": schema});
    changes(returning(before), returning(after))
}

#[test]
fn functions_come_and_go() {
    let any = json!({"parameters": []});
    let mut before = exports(&[("a", any.clone()), ("b", any.clone())]);
    before.aliases.insert("short".into(), "a".into());
    let after = exports(&[("a", any.clone()), ("c", any)]);
    let found: Vec<_> = between(&before, &after).iter().map(|one| format!("{:?} {one}", one.effect)).collect();
    assert_eq!(found, ["Breaks b: is gone", "Breaks short: is gone", "Compatible c: is new"]);
    assert_eq!(between(&before, &before), []);
}

#[test]
fn parameters_come_go_move_and_change_their_names() {
    let taking = |parameters: &[(&str, bool)]| {
        let all: Vec<_> = parameters.iter().map(|(name, required)| parameter(name, *required, &json!({}))).collect();
        json!({ "parameters": all })
    };
    for (before, after, expected) in [
        (taking(&[("a", true)]), taking(&[("a", false)]), vec![]),
        (taking(&[("a", false)]), taking(&[("a", true)]), vec!["Breaks parameter a: was optional, is required"]),
        (
            taking(&[("a", true)]),
            taking(&[("a", true), ("b", false)]),
            vec!["Compatible parameter b is new and optional"],
        ),
        (taking(&[("a", true)]), taking(&[("a", true), ("b", true)]), vec!["Breaks parameter b is new and required"]),
        (taking(&[("a", true)]), taking(&[]), vec!["Breaks parameter a is gone"]),
        (
            taking(&[("a", true)]),
            taking(&[("b", true)]),
            vec!["Breaks parameter a is called b now, which breaks calls by name"],
        ),
        (
            taking(&[("a", true), ("b", true)]),
            taking(&[("b", true), ("a", true)]),
            vec![
                "Breaks parameter a: was argument 1, is argument 2",
                "Breaks parameter b: was argument 2, is argument 1",
            ],
        ),
        (taking(&[("", true)]), taking(&[("named", true)]), vec![]),
    ] {
        assert_eq!(changes(before.clone(), after.clone()), expected, "{before} → {after}");
    }
    let rest = |kind: &str, schema: Value| {
        let more = json!({"name": "more", "kind": kind, "required": false, "schema": schema});
        json!({ "parameters": [more] })
    };
    assert_eq!(changes(rest("rest", json!({})), taking(&[])), ["Breaks parameter *more is gone"]);
    assert_eq!(
        changes(rest("rest-by-name", json!({})), rest("rest-by-name", json!({"type": "string"}))),
        ["Breaks parameter **more: was anything, is string"]
    );
    let keyword = json!({"parameters": [{"name": "a", "kind": "keyword-only", "required": true}]});
    assert_eq!(
        changes(taking(&[("a", true)]), keyword.clone()),
        ["Breaks parameter a: was an argument by order too, is one by name only"]
    );
    assert_eq!(changes(keyword, taking(&[("a", true)])), [""; 0]);
}

#[test]
fn arguments_may_become_wider_and_results_narrower() {
    let (number, integer, text) = (json!({"type": "number"}), json!({"type": "integer"}), json!({"type": "string"}));
    let or_null = json!({"anyOf": [{"type": "string"}, {"type": "null"}]});
    assert_eq!(of_argument(integer.clone(), number.clone()), [""; 0]);
    assert_eq!(of_argument(number.clone(), integer.clone()), ["Breaks parameter a: was number, is integer"]);
    assert_eq!(of_argument(text.clone(), or_null.clone()), [""; 0]);
    assert_eq!(of_argument(or_null.clone(), text.clone()), ["Breaks parameter a: no longer takes null, takes string"]);
    assert_eq!(of_argument(json!({}), text.clone()), ["Breaks parameter a: was anything, is string"]);
    assert_eq!(of_result(number.clone(), integer.clone()), [""; 0]);
    assert_eq!(of_result(integer, number), ["Breaks the result: was integer, is number"]);
    assert_eq!(of_result(text.clone(), or_null), ["Breaks the result: was string, may also be null"]);
    assert_eq!(of_result(json!({}), text.clone()), [""; 0]);
    assert_eq!(of_result(text, json!({})), ["Unclear the result: was string, is anything"]);
}

#[test]
fn values_bounds_and_patterns_are_compared() {
    let listed = |values: Value| json!({ "enum": values });
    let choice = json!({"anyOf": [{"const": "a"}, {"const": "b"}]});
    for (wide, narrow) in [
        (listed(json!(["a", "b"])), listed(json!(["a"]))),
        (json!({"type": "string"}), choice.clone()),
        (json!({"type": ["integer", "string"]}), listed(json!([1, "a"]))),
        (json!({"type": "integer", "minimum": 0}), json!({"type": "integer", "minimum": 1})),
        (json!({"type": "string"}), json!({"type": "string", "format": "date", "title": "Day"})),
        (
            json!({"type": "array", "items": {"type": "number"}}),
            json!({"type": "array", "prefixItems": [{"type": "integer"}], "items": false}),
        ),
        (json!({"allOf": [{"type": "number"}, {"minimum": 0}]}), json!({"type": "integer", "minimum": 3})),
    ] {
        assert_eq!(of_argument(narrow.clone(), wide.clone()), [""; 0], "{narrow} → {wide}");
        assert_eq!(of_argument(wide.clone(), narrow.clone()).len(), 1, "{wide} → {narrow}");
    }
    for (one, other) in [
        (choice, listed(json!(["b", "a"]))),
        (json!({"enum": [true, false, null]}), json!({"type": ["boolean", "null"]})),
        (json!({"type": "array", "minItems": 0}), json!({"type": "array"})),
        (json!({"type": "number", "exclusiveMinimum": 0}), json!({"exclusiveMinimum": 0, "type": ["number"]})),
    ] {
        assert_eq!(of_argument(one.clone(), other.clone()), [""; 0], "{one} → {other}");
        assert_eq!(of_argument(other.clone(), one.clone()), [""; 0], "{other} → {one}");
    }
    for (old, new, expected) in [
        (listed(json!(["a", "b"])), listed(json!(["b"])), "Breaks parameter a: no longer takes \"a\", takes \"b\""),
        (
            json!({"type": "integer"}),
            json!({"type": "integer", "maximum": 9}),
            "Breaks parameter a: was without maximum, is maximum 9",
        ),
        (
            json!({"type": "number", "minimum": 0}),
            json!({"type": "number", "exclusiveMinimum": 0}),
            "Breaks parameter a: was without exclusiveMinimum, is exclusiveMinimum 0",
        ),
        (
            json!({"type": "string"}),
            json!({"type": "string", "format": "date"}),
            "Breaks parameter a: was without format, is format \"date\"",
        ),
        (
            json!({"type": "string", "pattern": "a+"}),
            json!({"type": "string", "pattern": "a*"}),
            "Unclear parameter a: was pattern \"a+\", is pattern \"a*\"",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!({"type": "array", "items": {"type": "integer"}}),
            "Breaks parameter a[]: was string, is integer",
        ),
        (json!({"type": "string"}), json!({"not": {"const": "x"}}), "Unclear parameter a: was string, is anything"),
    ] {
        assert_eq!(of_argument(old.clone(), new.clone()), [expected], "{old} → {new}");
    }
}

#[test]
fn what_is_new_among_several_is_named() {
    let listed = |values: Value| json!({ "enum": values });
    let grown = of_result(listed(json!(["a", "b"])), listed(json!(["a", "b", "c", "d"])));
    assert_eq!(grown, ["Breaks the result: was \"a\" | \"b\", may also be \"c\" | \"d\""]);
    let (either, text) = (json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), json!({"type": "string"}));
    assert_eq!(of_argument(either, text), ["Breaks parameter a: was integer | null, is string"]);
    let pair = |size: u32| json!({"type": "array", "minItems": size, "maxItems": size});
    let longer = "Breaks the result: was an array of at most 2, is an array of at most 3";
    assert_eq!(of_result(pair(2), pair(3)), [longer]);
}

#[test]
fn members_of_a_named_tuple_that_change_places_are_noticed() {
    let point = |names: [&str; 2]| {
        let items = names.map(|name| json!({"type": "integer", "title": name}));
        json!({"type": "array", "title": "Point", "prefixItems": items, "minItems": 2, "maxItems": 2})
    };
    assert_eq!(of_result(point(["x", "y"]), point(["y", "x"])), ["Unclear the result[]: was x, is y"]);
    assert_eq!(of_result(point(["x", "y"]), point(["x", "y"])), [""; 0]);
}

#[test]
fn objects_are_compared_by_their_members() {
    let object = |properties: Value, required: Value| {
        let mut object = json!({"type": "object", "properties": properties, "required": required});
        object["additionalProperties"] = json!(false);
        object
    };
    let (text, number) = (json!({"type": "string"}), json!({"type": "number"}));
    let small = object(json!({"a": text}), json!(["a"]));
    let optional = object(json!({"a": text, "b": number}), json!(["a"]));
    let large = object(json!({"a": text, "b": number}), json!(["a", "b"]));
    assert_eq!(of_argument(small.clone(), optional.clone()), [""; 0]);
    assert_eq!(of_argument(small.clone(), large.clone()), ["Breaks parameter a.b: was absent, is required"]);
    assert_eq!(of_argument(optional.clone(), large.clone()), ["Breaks parameter a.b: was optional, is required"]);
    assert_eq!(of_argument(large.clone(), small.clone()), ["Breaks parameter a.b: was allowed, is not allowed"]);
    assert_eq!(of_result(small.clone(), large.clone()), [""; 0]);
    assert_eq!(of_result(large.clone(), small), ["Breaks the result.b: was required, is absent"]);
    assert_eq!(of_result(large, optional), ["Breaks the result.b: was required, is optional"]);
    let map = |schema: &Value| json!({"type": "object", "additionalProperties": schema});
    assert_eq!(of_argument(map(&number), map(&text)), ["Breaks parameter a.*: was number, is string"]);
    assert_eq!(of_argument(map(&text), json!({"type": "object"})), [""; 0]);
}

#[test]
fn schemas_that_refer_to_themselves_end() {
    let tree = |name: &str, value: &str| {
        let child = json!({"type": "array", "items": {"$ref": format!("#/$defs/{name}")}});
        let node = json!({"type": "object", "properties": {"value": {"type": value}, "children": child},
            "required": ["value"]});
        json!({"$ref": format!("#/$defs/{name}"), "$defs": {name: node}})
    };
    assert_eq!(of_argument(tree("Tree", "string"), tree("Node", "string")), [""; 0]);
    assert_eq!(of_argument(tree("Tree", "integer"), tree("Node", "number")), [""; 0]);
    assert_eq!(
        of_argument(tree("Tree", "number"), tree("Node", "integer")),
        ["Breaks parameter a.value: was number, is integer"]
    );
    let circle = json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}});
    assert_eq!(of_argument(circle, json!({"type": "string"})).len(), 1);
    let mut deep = (json!({"type": "string"}), json!({"type": "integer"}));
    for _ in 0..300 {
        deep = (json!({"items": deep.0, "type": "array"}), json!({"items": deep.1, "type": "array"}));
    }
    assert!(of_argument(deep.0, deep.1)[0].starts_with("Unclear"));
    // As many alternatives of as many values as one signature may have.
    let many = |prefix: &str| -> Value {
        (0..3_000).map(|at| json!({"const": format!("{prefix}{at}")})).collect::<Vec<_>>().into()
    };
    let found = of_argument(json!({"anyOf": many("a")}), json!({"anyOf": many("b")}));
    assert!(found[0].starts_with("Unclear"), "{found:?}");
}
