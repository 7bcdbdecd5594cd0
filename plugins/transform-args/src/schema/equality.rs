//! Equality of JSON values for `enum`, `const` and `uniqueItems`: numbers by value, objects with keys in any order.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::decimal::Decimal;

/// Orders values; values that compare equal are equal for JSON Schema.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => Decimal::parse(a.as_str()).cmp(&Decimal::parse(b.as_str())),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => a.len().cmp(&b.len()).then_with(|| {
            let different = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
            different.unwrap_or(Ordering::Equal)
        }),
        (Value::Object(a), Value::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            let different = sorted(a)
                .into_iter()
                .zip(sorted(b))
                .map(|((a_key, a), (b_key, b))| a_key.cmp(b_key).then_with(|| compare(a, b)));
            different.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn sorted(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

const fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_by_value_and_objects_in_any_order() {
        let compare = |a: &str, b: &str| compare(&serde_json::from_str(a).unwrap(), &serde_json::from_str(b).unwrap());
        for (a, b) in [("1", "1.0"), (r#"{"a":[1],"b":2}"#, r#"{"b":2.0,"a":[1e0]}"#), ("null", "null"), ("[]", "[]")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
        for (a, b) in [
            ("9007199254740992", "9007199254740993"),
            ("1", "true"),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            ("[1,2]", "[2,1]"),
            (r#""1""#, "1"),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
            ("0", "false"),
            ("[[]]", "[{}]"),
        ] {
            assert_ne!(compare(a, b), Ordering::Equal, "{a} {b}");
            assert_eq!(compare(a, b), compare(b, a).reverse(), "{a} {b}");
        }
    }
}
