//! A rule applied to the arguments of a call: rename, defaults, context, coerce, schema, in this order.

use serde::Deserialize;
use serde_json::{Deserializer, Map, Value};

use crate::path::{Fault, Step};
use crate::rule::{Rule, SchemaOf, Target};
use crate::schema::Schema;

/// Reads the arguments. The gateway has checked their depth; it allows more than serde_json does by default.
pub fn parse(json: &str) -> Result<Vec<Value>, String> {
    let mut deserializer = Deserializer::from_str(json);
    deserializer.disable_recursion_limit();
    Vec::deserialize(&mut deserializer).map_err(|error| format!("the arguments cannot be read: {error}"))
}

/// Writes the arguments.
pub fn write(arguments: &[Value]) -> String {
    let items: Vec<String> = arguments.iter().map(Value::to_string).collect();
    format!("[{}]", items.join(","))
}

/// Applies a rule. Returns whether the arguments changed. `context` gives a value of the call's context as JSON.
pub fn transform(
    arguments: &mut Vec<Value>,
    rule: &Rule,
    context: impl Fn(&str) -> Option<String>,
) -> Result<bool, Fault> {
    apply(arguments, rule, context).map_err(|fault| fault.with_names(&rule.names))
}

fn apply(arguments: &mut Vec<Value>, rule: &Rule, context: impl Fn(&str) -> Option<String>) -> Result<bool, Fault> {
    let mut changed = false;
    if let Some(Value::Object(object)) = arguments.first_mut() {
        changed = rename(object, rule).map_err(|fault| fault.below(Step::Index(0)))?;
    }
    for (target, value) in &rule.defaults {
        changed |= set_default(arguments, target, value);
    }
    for (target, key) in &rule.context {
        // A call without this value gets null, never a value that its caller sent instead.
        let value = context(key).and_then(|json| serde_json::from_str(&json).ok()).unwrap_or(Value::Null);
        put(arguments, target, value)?;
        changed = true;
    }
    for (target, kind) in &rule.coerce {
        if let Some(value) = find(arguments, target) {
            changed |= kind.coerce(value).map_err(|fault| below(fault, target))?;
        }
    }
    if let Some((of, schema)) = &rule.schema {
        check(arguments, *of, schema, &rule.names)?;
    }
    Ok(changed)
}

/// Renames keys; each keeps its position in the object.
fn rename(object: &mut Map<String, Value>, rule: &Rule) -> Result<bool, Fault> {
    if !rule.rename.keys().any(|from| object.contains_key(from)) {
        return Ok(false);
    }
    for (from, to) in &rule.rename {
        if object.contains_key(from) && object.contains_key(to) {
            return Err(
                Fault::new(format!("is another name of {to:?}, send only one of them")).below(Step::Key(from.clone()))
            );
        }
    }
    let renamed = std::mem::take(object).into_iter().map(|(key, value)| match rule.rename.get(&key) {
        Some(to) => (to.clone(), value),
        None => (key, value),
    });
    object.extend(renamed);
    Ok(true)
}

/// Sets missing values. If a key is to be set, no arguments at all count as an empty object.
fn set_default(arguments: &mut Vec<Value>, target: &Target, value: &Value) -> bool {
    let there = match (target, arguments.first()) {
        (Target::Position(at), _) => *at < arguments.len(),
        (Target::Key(key), Some(Value::Object(object))) => object.contains_key(key),
        (Target::Key(_), None) => false,
        (Target::Key(_), Some(_)) => true,
    };
    !there && put(arguments, target, value.clone()).is_ok()
}

/// Puts a value at its target. Positions before it that the call leaves out become null.
fn put(arguments: &mut Vec<Value>, target: &Target, value: Value) -> Result<(), Fault> {
    match target {
        Target::Position(at) => {
            if arguments.len() <= *at {
                arguments.resize(at + 1, Value::Null);
            }
            arguments[*at] = value;
        }
        Target::Key(key) => {
            if arguments.is_empty() {
                arguments.push(Value::Object(Map::new()));
            }
            match &mut arguments[0] {
                Value::Object(object) => _ = object.insert(key.clone(), value),
                other => return Err(Fault::expected("an object", other).below(Step::Index(0))),
            }
        }
    }
    Ok(())
}

fn find<'a>(arguments: &'a mut [Value], target: &Target) -> Option<&'a mut Value> {
    match (target, arguments) {
        (Target::Position(at), arguments) => arguments.get_mut(*at),
        (Target::Key(key), [Value::Object(object), ..]) => object.get_mut(key),
        (Target::Key(_), _) => None,
    }
}

/// The fault of a target, with its path from the arguments down.
fn below(fault: Fault, target: &Target) -> Fault {
    match target {
        Target::Position(at) => fault.below(Step::Index(*at)),
        Target::Key(key) => fault.below(Step::Key(key.clone())).below(Step::Index(0)),
    }
}

fn check(arguments: &mut Vec<Value>, of: SchemaOf, schema: &Schema, names: &[String]) -> Result<(), Fault> {
    match of {
        SchemaOf::Arguments => {
            let all = Value::Array(std::mem::take(arguments));
            let result = schema.check(&all);
            if let Value::Array(all) = all {
                *arguments = all;
            }
            result
        }
        SchemaOf::First => match arguments.first() {
            Some(first) => schema.check(first).map_err(|fault| fault.below(Step::Index(0))),
            None => Err(Fault::new("is required").below(Step::Index(0))),
        },
        SchemaOf::Named => {
            if arguments.len() > names.len() {
                return Err(Fault::new(format!("expected at most {}, got {}", names.len(), arguments.len())));
            }
            let all = Value::Object(names.iter().cloned().zip(arguments.iter().cloned()).collect());
            schema.check(&all).map_err(Fault::outermost_named)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::read_rules;

    /// The arguments after a rule, or the fault, with the caller "alice".
    fn transformed(rule: &str, arguments: &str) -> Result<String, String> {
        let rules = read_rules(&format!("{{\"rules\": [{rule}]}}")).unwrap();
        let mut values = parse(arguments).unwrap();
        let context = |key: &str| (key == "caller").then(|| "\"alice\"".to_owned());
        let changed = transform(&mut values, &rules[0], context).map_err(|fault| fault.to_string())?;
        let text = write(&values);
        assert!(changed || text == arguments, "{rule} {arguments}: a change was not reported");
        Ok(text)
    }

    fn check(rule: &str, cases: &[(&str, &str)]) {
        for (arguments, expected) in cases {
            let (Ok(actual) | Err(actual)) = transformed(rule, arguments);
            assert_eq!(actual, *expected, "{rule} {arguments}");
        }
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        check(
            r#"{"defaults": {"1": 10, "3": "x"}}"#,
            &[("[]", r#"[null,10,null,"x"]"#), ("[1,null]", r#"[1,null,null,"x"]"#), ("[1,2,3,4,5]", "[1,2,3,4,5]")],
        );
        check(
            r#"{"defaults": {"limit": 10}}"#,
            &[
                ("[]", r#"[{"limit":10}]"#),
                (r#"[{"q":1}]"#, r#"[{"q":1,"limit":10}]"#),
                (r#"[{"limit":null},2]"#, r#"[{"limit":null},2]"#),
                ("[5]", "[5]"),
            ],
        );
    }

    #[test]
    fn a_renamed_key_keeps_its_place() {
        check(
            r#"{"rename": {"q": "query"}}"#,
            &[
                (r#"[{"a":1,"q":2,"z":3}]"#, r#"[{"a":1,"query":2,"z":3}]"#),
                (r#"[{"a":1}]"#, r#"[{"a":1}]"#),
                (r#"[1]"#, "[1]"),
                (r#"[{"q":1,"query":2}]"#, "arguments[0].q: is another name of \"query\", send only one of them"),
            ],
        );
    }

    #[test]
    fn what_comes_from_the_context_is_never_what_the_caller_sent() {
        check(
            r#"{"context": {"user": "caller", "team": "team"}}"#,
            &[
                (r#"[{"user":"mallory","team":"admins"}]"#, r#"[{"user":"alice","team":null}]"#),
                ("[]", r#"[{"team":null,"user":"alice"}]"#),
                (r#"[{"user":"mallory"},1]"#, r#"[{"user":"alice","team":null},1]"#),
                (r#"["mallory"]"#, "arguments[0]: expected an object, got \"mallory\""),
            ],
        );
        check(r#"{"context": {"1": "caller"}}"#, &[("[]", r#"[null,"alice"]"#), ("[1,2,3]", r#"[1,"alice",3]"#)]);
    }

    #[test]
    fn coercion_reaches_positions_names_and_keys() {
        check(
            r#"{"coerce": {"0": "integer", "1": "integer"}}"#,
            &[
                (r#"["1",2]"#, "[1,2]"),
                (r#"["1"]"#, "[1]"),
                (r#"[1,"x"]"#, "arguments[1]: expected an integer, got \"x\""),
            ],
        );
        check(
            r#"{"names": ["a", "b"], "coerce": {"b": "integer"}}"#,
            &[(r#"["1","2"]"#, r#"["1",2]"#), ("[1,true]", "b: expected an integer, got true")],
        );
        check(
            r#"{"coerce": {"n": "number"}}"#,
            &[
                (r#"[{"n":"1.50"}]"#, r#"[{"n":1.50}]"#),
                (r#"[{"n":"x"}]"#, "arguments[0].n: expected a number, got \"x\""),
            ],
        );
    }

    #[test]
    fn a_schema_is_of_all_arguments_of_the_first_or_by_name() {
        check(
            r#"{"schema": {"prefixItems": [{"type": "integer"}], "minItems": 1, "maxItems": 2}}"#,
            &[
                ("[1]", "[1]"),
                ("[]", "arguments: expected at least 1 items, got 0"),
                ("[1.5]", "arguments[0]: expected an integer, got 1.5"),
            ],
        );
        check(
            r#"{"schema_of": "first", "schema": {"type": "object", "required": ["q"]}}"#,
            &[
                ("[]", "arguments[0]: is required"),
                ("[{}]", "arguments[0].q: is required"),
                ("[1]", "arguments[0]: expected an object, got 1"),
            ],
        );
        check(
            r#"{"names": ["a", "b"], "schema_of": "named", "schema": {"required": ["b"],
                "properties": {"b": {"minimum": 5}}}}"#,
            &[
                ("[1]", "b: is required"),
                ("[1,4]", "b: expected at least 5, got 4"),
                ("[1,2,3]", "arguments: expected at most 2, got 3"),
                ("[1,5]", "[1,5]"),
            ],
        );
    }

    #[test]
    fn numbers_and_order_survive() {
        check(
            r#"{"defaults": {"1": 1.50}}"#,
            &[(
                r#"[{"z":9007199254740993,"a":0.10,"1":123456789012345678901234567890}]"#,
                r#"[{"z":9007199254740993,"a":0.10,"1":123456789012345678901234567890},1.50]"#,
            )],
        );
    }

    #[test]
    fn arguments_may_be_as_deep_as_the_gateway_allows() {
        let deep = format!("{}1{}", "[".repeat(128), "]".repeat(128));
        assert_eq!(write(&parse(&deep).unwrap()), deep);
    }
}
