//! Whether a result fits its schema. Types of JavaScript and Python are not enforced for results, and clients of tools
//! refuse a result that contradicts its schema. Checked are the keywords that signatures have; others fit.

use serde_json::{Map, Value};

/// Levels of schemas that are followed: a reference may lead back to itself.
const LEVELS: usize = 200;

/// The place of the first part that does not fit and what was expected there, in words; none if all fits.
///
/// ```
/// use metagate::describe::fit::misfit;
/// use serde_json::json;
///
/// let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
/// assert_eq!(misfit(&schema, &json!({"a": 1.0})), None);
/// assert_eq!(misfit(&schema, &json!({"a": "x"})).as_deref(), Some("at .a: expected integer"));
/// ```
#[must_use]
pub fn misfit(schema: &Value, value: &Value) -> Option<String> {
    let check = Check { root: schema };
    let found = check.find(schema, value, LEVELS)?;
    let place: String = found.place.iter().rev().map(String::as_str).collect();
    let place = if place.is_empty() { String::new() } else { format!("at {place}: ") };
    Some(format!("{place}{}", found.expected))
}

/// A part that does not fit.
struct Misfit {
    /// The way to it, the innermost step first.
    place: Vec<String>,
    expected: String,
}

impl Misfit {
    fn here(expected: String) -> Self {
        Self { place: Vec::new(), expected }
    }

    fn inside(mut self, step: String) -> Self {
        self.place.push(step);
        self
    }
}

struct Check<'a> {
    root: &'a Value,
}

impl Check<'_> {
    fn find(&self, schema: &Value, value: &Value, levels: usize) -> Option<Misfit> {
        let (levels, Value::Object(schema)) = (levels.checked_sub(1)?, schema) else { return None };
        if let Some(found) = own_misfit(schema, value) {
            return Some(found);
        }
        if let Some(target) =
            schema.get("$ref").and_then(Value::as_str).and_then(|to| self.root.pointer(to.strip_prefix('#')?))
            && let Some(found) = self.find(target, value, levels)
        {
            return Some(found);
        }
        let all = schema.get("allOf").and_then(Value::as_array);
        if let Some(found) = all.into_iter().flatten().find_map(|one| self.find(one, value, levels)) {
            return Some(found);
        }
        for key in ["anyOf", "oneOf"] {
            let choices = schema.get(key).and_then(Value::as_array);
            if choices.is_some_and(|choices| choices.iter().all(|one| self.find(one, value, levels).is_some())) {
                return Some(Misfit::here("expected one of several types".to_owned()));
            }
        }
        match value {
            Value::Object(members) => self.find_in_members(schema, members, levels),
            Value::Array(items) => self.find_in_items(schema, items, levels),
            _ => None,
        }
    }

    fn find_in_members(
        &self,
        schema: &Map<String, Value>,
        members: &Map<String, Value>,
        levels: usize,
    ) -> Option<Misfit> {
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        if let Some(missing) = required.into_iter().find(|name| !members.contains_key(*name)) {
            return Some(Misfit::here(format!("expected a member {missing:?}")));
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        members.iter().find_map(|(name, value)| {
            let step = || format!(".{name}");
            match properties.and_then(|properties| properties.get(name)).or(others) {
                Some(Value::Bool(false)) => Some(Misfit::here("expected nothing".to_owned()).inside(step())),
                Some(of) => self.find(of, value, levels).map(|found| found.inside(step())),
                None => None,
            }
        })
    }

    fn find_in_items(&self, schema: &Map<String, Value>, items: &[Value], levels: usize) -> Option<Misfit> {
        let first = schema.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let rest = schema.get("items");
        items.iter().enumerate().find_map(|(at, item)| {
            let of = first.get(at).or(rest)?;
            self.find(of, item, levels).map(|found| found.inside(format!("[{at}]")))
        })
    }
}

/// What a schema says about a value without its parts.
fn own_misfit(schema: &Map<String, Value>, value: &Value) -> Option<Misfit> {
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !names.is_empty() && !names.iter().any(|name| is_of(name, value)) {
        return Some(Misfit::here(format!("expected {}", names.join(" or "))));
    }
    let is_other = |choices: &Vec<Value>| !choices.contains(value);
    if schema.get("enum").and_then(Value::as_array).is_some_and(is_other) {
        return Some(Misfit::here("expected one of the values".to_owned()));
    }
    schema.get("const").filter(|one| *one != value).map(|one| Misfit::here(format!("expected {one}")))
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_part_that_does_not_fit_is_named() {
        let item = json!({"type": "object", "properties": {"n": {"type": "integer"}, "next": {"$ref": "#/$defs/Item"}},
            "required": ["n"], "additionalProperties": false});
        let schema = json!({"type": "array", "items": {"$ref": "#/$defs/Item"}, "$defs": {"Item": item}});
        for (value, expected) in [
            (json!([]), None),
            (json!([{"n": 1, "next": {"n": 2}}]), None),
            (json!({}), Some("expected array")),
            (json!([{"n": 1, "next": {"n": 0.5}}]), Some("at [0].next.n: expected integer")),
            (json!([{"n": 1}, {}]), Some("at [1]: expected a member \"n\"")),
            (json!([{"n": 1, "x": 1}]), Some("at [0].x: expected nothing")),
        ] {
            assert_eq!(misfit(&schema, &value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn one_of_several_schemas_is_enough_and_unknown_keywords_fit() {
        let schema = json!({"anyOf": [{"type": "string"}, {"type": "null"}], "format": "odd"});
        assert_eq!(misfit(&schema, &json!(null)), None);
        assert!(misfit(&schema, &json!(1)).is_some());
        assert!(misfit(&json!({"enum": ["a", 1]}), &json!("b")).is_some());
        assert!(misfit(&json!({"type": ["integer", "null"]}), &json!("b")).is_some());
        assert!(misfit(&json!({"prefixItems": [{"type": "string"}], "items": false}), &json!(["a"])).is_none());
        let endless = json!({"$ref": "#"});
        assert_eq!(misfit(&endless, &json!(1)), None);
    }
}
