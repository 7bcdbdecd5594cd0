//! Changes that break callers although most of the schemas are as they were.

use std::slice;

use serde_json::{Value, json};

use super::{changes, of_argument, of_result, parameter};

#[test]
fn members_that_were_allowed_without_a_name_count() {
    let typed = |name: &str, kind: &str| json!({"type": "object", "properties": {name: {"type": kind}}});
    let map = |kind: &str| json!({"type": "object", "additionalProperties": {"type": kind}});
    let mut closed = typed("x", "string");
    closed["additionalProperties"] = json!(false);
    for (before, after, expected) in [
        (map("integer"), typed("x", "string"), "Breaks parameter a.x: was integer, is string"),
        (json!({"type": "object"}), typed("x", "string"), "Breaks parameter a.x: was anything, is string"),
        (typed("y", "string"), typed("x", "string"), "Unclear parameter a.x: was anything, is string"),
        (typed("x", "string"), closed.clone(), "Unclear parameter a.*: was anything, is not allowed"),
        (map("string"), closed.clone(), "Breaks parameter a.*: was string, is not allowed"),
    ] {
        let mut found = of_argument(before.clone(), after.clone());
        // Of the object itself: another thing.
        found.retain(|change| !change.ends_with("is read in another way if it just has this name"));
        assert_eq!(found, [expected], "{before} → {after}");
    }
    assert_eq!(of_argument(closed, json!({"type": "object", "properties": {"y": {"type": "string"}}})), [""; 0]);
    let found = of_result(typed("x", "integer"), map("string"));
    assert_eq!(found, ["Breaks the result.x: was integer, is string"]);
}

#[test]
fn names_of_members_are_compared_as_texts() {
    let names = |schema: Value| json!({"type": "object", "propertyNames": schema});
    let color = |values: Value| {
        let color = json!({"Color": {"enum": values}});
        json!({"type": "object", "propertyNames": {"$ref": "#/$defs/Color"}, "$defs": color})
    };
    let wide = color(json!(["red", "blue"]));
    let narrow = color(json!(["red"]));
    assert_eq!(of_argument(narrow.clone(), wide.clone()), [""; 0]);
    let lost = "Breaks parameter a (names): no longer takes \"blue\", takes \"red\"";
    assert_eq!(of_argument(wide, narrow), [lost]);
    assert_eq!(
        of_argument(json!({"type": "object"}), names(json!({"pattern": "^[0-9]+$"}))),
        ["Breaks parameter a (names): was without pattern, is pattern \"^[0-9]+$\""]
    );
    assert_eq!(of_argument(names(json!({"minLength": 3})), names(json!({"minLength": 2}))), [""; 0]);
    // What is the same text refers to something else.
    let not = |kind: &str| json!({"not": {"$ref": "#/$defs/It"}, "$defs": {"It": {"type": kind}}});
    assert!(of_argument(not("string"), not("integer"))[0].starts_with("Unclear"));
}

#[test]
fn what_rests_on_a_refuted_proof_is_proven_anew() {
    let definitions = |prefix: &str, kind: &str| {
        let link = |to: &str| json!({"$ref": format!("#/$defs/{prefix}{to}")});
        let node = json!({"type": "object", "properties": {"next": link("Back"), "x": {"type": kind}}});
        (node, json!({"type": "object", "properties": {"back": link("Node")}}))
    };
    let (node, back) = definitions("", "integer");
    let before = json!({"$ref": "#/$defs/Node", "$defs": {"Node": node, "Back": back}});
    let (first, back) = definitions("W", "string");
    let second = json!({"type": "object", "properties": {"next": {"$ref": "#/$defs/WBack"}, "x": {"type": "integer"}}});
    let choices = json!([{"$ref": "#/$defs/WNode"}, {"$ref": "#/$defs/Second"}]);
    let after = json!({"anyOf": choices, "$defs": {"WNode": first, "WBack": back, "Second": second}});
    assert_eq!(of_argument(before, after).len(), 1);
}

#[test]
fn bounds_are_compared_with_all_digits_and_encodings_both_ways() {
    let most = |bound: u64| json!({"type": "integer", "maximum": bound});
    assert_eq!(of_argument(most(9_007_199_254_740_992), most(9_007_199_254_740_993)), [""; 0]);
    assert_eq!(of_argument(most(9_007_199_254_740_993), most(9_007_199_254_740_992)).len(), 1);
    let (text, bytes) = (json!({"type": "string"}), json!({"type": "string", "contentEncoding": "base64"}));
    let expected = "Breaks parameter a: was contentEncoding \"base64\", is without contentEncoding";
    assert_eq!(of_argument(bytes.clone(), text.clone()), [expected]);
    assert_eq!(of_result(text, bytes).len(), 1);
}

#[test]
fn what_is_left_out_is_unclear() {
    let left_out = json!({"$comment": "left out: the schemas of the function are too long"});
    let expected = "Unclear parameter a: was string, is too long to be described";
    assert_eq!(of_argument(json!({"type": "string"}), left_out.clone()), [expected]);
    assert_eq!(of_argument(left_out.clone(), left_out).len(), 1);
}

#[test]
fn parameters_may_take_what_others_took() {
    let one = |name: &str, kind: &str, of: &str| {
        let schema = json!({"type": of});
        json!({"name": name, "kind": kind, "required": false, "schema": schema})
    };
    let taking = |parameters: &[Value]| json!({ "parameters": parameters });
    let (rest, more) = (one("rest", "rest", "integer"), one("more", "rest-by-name", "integer"));
    let (text, number) = (one("b", "positional", "string"), one("b", "positional", "integer"));
    let is_new = "Compatible parameter b is new and optional".to_owned();
    for (all, name) in [(&rest, "*rest"), (&more, "**more")] {
        let breaks = format!("Breaks parameter b takes what parameter {name} took: was integer, is string");
        let before = taking(slice::from_ref(all));
        assert_eq!(changes(before.clone(), taking(&[text.clone(), all.clone()])), [breaks, is_new.clone()]);
        let unclear = format!("Unclear parameter b takes what parameter {name} took");
        assert_eq!(changes(before, taking(&[number.clone(), all.clone()])), [unclear, is_new.clone()]);
    }
    assert_eq!(
        changes(taking(slice::from_ref(&number)), taking(slice::from_ref(&more))),
        ["Breaks parameter b is gone", "Compatible parameter **more is new and optional"]
    );
    assert_eq!(
        changes(taking(&[number]), taking(&[rest.clone(), more])),
        [
            "Unclear parameter b is gone",
            "Compatible parameter *rest is new and optional",
            "Compatible parameter **more is new and optional"
        ]
    );
    let found = changes(taking(&[rest]), taking(&[one("others", "rest", "integer")]));
    assert_eq!(found, ["Breaks parameter *rest is called parameter *others now, which breaks calls by name"]);
}

#[test]
fn the_object_of_a_call_stays_the_argument_itself() {
    let object = |fields: &[&str]| {
        let properties: serde_json::Map<_, _> = fields.iter().map(|name| ((*name).into(), json!({}))).collect();
        json!({"type": "object", "properties": properties})
    };
    let taking = |all: &[(&str, Value)]| {
        let one = |(name, schema): &(&str, Value)| parameter(name, *name != "dry", schema);
        json!({ "parameters": all.iter().map(one).collect::<Vec<_>>() })
    };
    let order = taking(&[("order", object(&["id"]))]);
    let lost = "Breaks parameter order: a call may not be the object itself any more, its members are arguments";
    let found = changes(order.clone(), taking(&[("order", object(&["id"])), ("dry", json!({"type": "boolean"}))]));
    assert_eq!(found, [lost, "Compatible parameter dry is new and optional"]);
    assert_eq!(changes(order.clone(), taking(&[("order", json!({}))])), [lost]);
    let own = "Breaks parameter order: its name in a call that is an object stands for a field of the object now";
    assert_eq!(changes(order.clone(), taking(&[("order", object(&["id", "order"]))])), [own]);
    assert_eq!(changes(order.clone(), order), [""; 0]);
}
