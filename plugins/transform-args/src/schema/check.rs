//! Checks a value against a schema. The first fault found is the result; the order of the checks is fixed.

use std::cmp::Ordering;

use regex_lite::Regex;
use serde_json::{Map, Number, Value};

use super::equality::compare;
use super::{ArrayKeywords, Keywords, Node, NodeId, NumberKeywords, ObjectKeywords, TextKeywords, Type};
use crate::decimal::Decimal;
use crate::path::{Fault, Shown, Step};

/// A message shows the faults of at most this many alternatives.
const SHOWN: usize = 3;

/// The nodes of a schema, against which values are checked.
pub(super) struct Check<'a> {
    pub(super) nodes: &'a [Node],
}

impl Check<'_> {
    /// Checks a value against a node.
    pub(super) fn value(&self, id: NodeId, value: &Value) -> Result<(), Fault> {
        let keywords = match &self.nodes[id] {
            Node::Always(true) => return Ok(()),
            Node::Always(false) => return Err(Fault::new("is not expected")),
            Node::Keywords(keywords) => keywords,
        };
        if let Some(reference) = keywords.reference {
            self.value(reference, value)?;
        }
        of_type(&keywords.types, value)?;
        of_values(keywords.one_of_values.as_deref(), value)?;
        match value {
            Value::Number(number) => self.number(&keywords.numbers, number)?,
            Value::String(text) => self.text(&keywords.texts, text)?,
            Value::Array(items) => self.array(&keywords.arrays, items)?,
            Value::Object(members) => self.object(&keywords.objects, members, value)?,
            Value::Null | Value::Bool(_) => {}
        }
        self.combined(keywords, value)
    }

    fn fits(&self, id: NodeId, value: &Value) -> bool {
        self.value(id, value).is_ok()
    }

    fn combined(&self, keywords: &Keywords, value: &Value) -> Result<(), Fault> {
        keywords.all_of.iter().try_for_each(|id| self.value(*id, value))?;
        if !keywords.any_of.is_empty() && !keywords.any_of.iter().any(|id| self.fits(*id, value)) {
            return Err(self.none_of(&keywords.any_of, value));
        }
        if !keywords.one_of.is_empty() {
            match keywords.one_of.iter().filter(|id| self.fits(**id, value)).count() {
                1 => {}
                0 => return Err(self.none_of(&keywords.one_of, value)),
                fitting => return Err(Fault::new(format!("fits {fitting} alternatives, expected exactly one"))),
            }
        }
        if keywords.not.is_some_and(|id| self.fits(id, value)) {
            return Err(Fault::new(format!("{} is excluded", Shown(value))));
        }
        let Some(condition) = keywords.condition else { return Ok(()) };
        let branch = if self.fits(condition, value) { keywords.then } else { keywords.otherwise };
        branch.map_or(Ok(()), |id| self.value(id, value))
    }

    fn none_of(&self, alternatives: &[NodeId], value: &Value) -> Fault {
        let mut faults: Vec<Fault> = alternatives.iter().filter_map(|id| self.value(*id, value).err()).collect();
        if faults.len() == 1 {
            return faults.remove(0);
        }
        let mut shown: Vec<String> = faults.iter().take(SHOWN).map(Fault::within).collect();
        shown.dedup();
        Fault::new(format!("fits none of {} alternatives: {}", alternatives.len(), shown.join("; or ")))
    }

    fn number(&self, keywords: &NumberKeywords, number: &Number) -> Result<(), Fault> {
        let limits = [
            (&keywords.minimum, "at least", Ordering::is_ge as fn(Ordering) -> bool),
            (&keywords.maximum, "at most", Ordering::is_le),
            (&keywords.exclusive_minimum, "more than", Ordering::is_gt),
            (&keywords.exclusive_maximum, "less than", Ordering::is_lt),
        ];
        let value = Decimal::parse(number.as_str());
        let shown = || Value::Number(number.clone());
        for (limit, words, holds) in limits {
            if let Some(limit) = limit
                && !holds(value.cmp(&limit.value))
            {
                return Err(Fault::expected(&format!("{words} {}", limit.text), &shown()));
            }
        }
        match &keywords.multiple_of {
            Some(step) if !value.is_multiple_of(&step.value) => {
                Err(Fault::expected(&format!("a multiple of {}", step.text), &shown()))
            }
            _ => Ok(()),
        }
    }

    fn text(&self, keywords: &TextKeywords, text: &str) -> Result<(), Fault> {
        if keywords.min_length.is_some() || keywords.max_length.is_some() {
            in_range(text.chars().count(), keywords.min_length, keywords.max_length, "characters")?;
        }
        matches(keywords.pattern.as_ref(), text)
    }

    fn array(&self, keywords: &ArrayKeywords, items: &[Value]) -> Result<(), Fault> {
        in_range(items.len(), keywords.min, keywords.max, "items")?;
        for (at, item) in items.iter().enumerate() {
            if let Some(id) = keywords.prefix.get(at).copied().or(keywords.items) {
                self.value(id, item).map_err(|fault| fault.below(Step::Index(at)))?;
            }
        }
        if let Some(contains) = keywords.contains {
            let found = items.iter().filter(|item| self.fits(contains, item)).count();
            let min = keywords.min_contains.unwrap_or(1);
            in_range(found, Some(min), keywords.max_contains, "of its items of a certain form")?;
        }
        if keywords.unique {
            let mut sorted: Vec<(usize, &Value)> = items.iter().enumerate().collect();
            // A stable sort: equal items keep their order.
            sorted.sort_by(|(_, a), (_, b)| compare(a, b));
            let again = sorted.windows(2).filter(|pair| compare(pair[0].1, pair[1].1).is_eq()).map(|pair| pair[1]);
            if let Some((at, value)) = again.min_by_key(|(at, _)| *at) {
                return Err(Fault::new(format!("{} is there before", Shown(value))).below(Step::Index(at)));
            }
        }
        Ok(())
    }

    fn object(&self, keywords: &ObjectKeywords, members: &Map<String, Value>, value: &Value) -> Result<(), Fault> {
        present(&keywords.required, members)?;
        for (key, needed) in &keywords.dependent_required {
            if members.contains_key(key) {
                present(needed, members)?;
            }
        }
        in_range(members.len(), keywords.min, keywords.max, "keys")?;
        for (key, member) in members {
            self.member(keywords, key, member).map_err(|fault| fault.below(Step::Key(key.clone())))?;
        }
        let dependent = keywords.dependent_schemas.iter().filter(|(key, _)| members.contains_key(*key));
        dependent.map(|(_, id)| *id).try_for_each(|id| self.value(id, value))
    }

    fn member(&self, keywords: &ObjectKeywords, key: &str, member: &Value) -> Result<(), Fault> {
        if let Some(id) = keywords.names {
            let name = Value::String(key.to_owned());
            self.value(id, &name).map_err(|fault| Fault::new(format!("its name: {}", fault.what())))?;
        }
        let mut known = false;
        if let Some(id) = keywords.properties.get(key) {
            known = true;
            self.value(*id, member)?;
        }
        for (_, id) in keywords.patterns.iter().filter(|(pattern, _)| pattern.is_match(key)) {
            known = true;
            self.value(*id, member)?;
        }
        match keywords.additional {
            Some(id) if !known => self.value(id, member),
            _ => Ok(()),
        }
    }
}

fn of_type(types: &[Type], value: &Value) -> Result<(), Fault> {
    if types.is_empty() || types.iter().any(|wanted| wanted.is_of(value)) {
        return Ok(());
    }
    let words: Vec<&str> = types.iter().map(|wanted| wanted.words()).collect();
    Err(Fault::expected(&words.join(" or "), value))
}

fn of_values(values: Option<&[Value]>, value: &Value) -> Result<(), Fault> {
    let Some(values) = values else { return Ok(()) };
    if values.iter().any(|known| compare(known, value).is_eq()) {
        return Ok(());
    }
    let shown: Vec<String> = values.iter().take(10).map(|known| Shown(known).to_string()).collect();
    let of = if values.len() > 1 { "one of " } else { "" };
    let more = if values.len() > shown.len() { ", …" } else { "" };
    Err(Fault::expected(&format!("{of}{}{more}", shown.join(", ")), value))
}

fn in_range(actual: usize, min: Option<usize>, max: Option<usize>, of: &str) -> Result<(), Fault> {
    match (min, max) {
        (Some(min), _) if actual < min => Err(Fault::new(format!("expected at least {min} {of}, got {actual}"))),
        (_, Some(max)) if actual > max => Err(Fault::new(format!("expected at most {max} {of}, got {actual}"))),
        _ => Ok(()),
    }
}

fn matches(pattern: Option<&Regex>, text: &str) -> Result<(), Fault> {
    match pattern {
        Some(pattern) if !pattern.is_match(text) => {
            Err(Fault::expected(&format!("text that matches {}", pattern.as_str()), &Value::String(text.to_owned())))
        }
        _ => Ok(()),
    }
}

fn present(keys: &[String], members: &Map<String, Value>) -> Result<(), Fault> {
    match keys.iter().find(|key| !members.contains_key(*key)) {
        Some(missing) => Err(Fault::new("is required").below(Step::Key(missing.clone()))),
        None => Ok(()),
    }
}

impl Type {
    fn is_of(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Number, Value::Number(_))
            | (Self::String, Value::String(_))
            | (Self::Array, Value::Array(_))
            | (Self::Object, Value::Object(_)) => true,
            (Self::Integer, Value::Number(number)) => Decimal::parse(number.as_str()).is_whole(),
            _ => false,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::Schema;

    /// Checks that one value fits a schema, and the fault of another that does not.
    fn check(schema: &str, fitting: &[&str], faults: &[(&str, &str)]) {
        let schema = Schema::compile(&serde_json::from_str(schema).unwrap()).unwrap();
        let fault = |value: &str| schema.check(&serde_json::from_str(value).unwrap()).map_err(|fault| fault.within());
        for value in fitting {
            assert_eq!(fault(value), Ok(()), "{value}");
        }
        for (value, message) in faults {
            assert_eq!(fault(value).as_ref().map_err(String::as_str), Err(*message), "{value}");
        }
    }

    #[test]
    fn types() {
        check(
            r#"{"type": "integer"}"#,
            &["1", "1.0", "1e3", "123456789012345678901234567890"],
            &[("1.5", "expected an integer, got 1.5"), ("true", "expected an integer, got true")],
        );
        check(
            r#"{"type": ["string", "null"]}"#,
            &[r#""a""#, "null"],
            &[("{}", "expected a string or null, got an object")],
        );
        check("false", &[], &[("1", "is not expected")]);
        check("true", &["1", "{}"], &[]);
    }

    #[test]
    fn limits_of_numbers_are_exact() {
        check(
            r#"{"minimum": 9007199254740993, "exclusiveMaximum": 1e20}"#,
            &["9007199254740993", "99999999999999999999.9", "\"a\""],
            &[
                ("9007199254740992", "expected at least 9007199254740993, got 9007199254740992"),
                ("100000000000000000000", "expected less than 1e+20, got 100000000000000000000"),
            ],
        );
        check(
            r#"{"exclusiveMinimum": 0, "maximum": 1, "multipleOf": 0.1}"#,
            &["0.3", "1.0"],
            &[
                ("0", "expected more than 0, got 0"),
                ("1.1", "expected at most 1, got 1.1"),
                ("0.25", "expected a multiple of 0.1, got 0.25"),
            ],
        );
    }

    #[test]
    fn texts() {
        check(
            r#"{"minLength": 2, "maxLength": 3}"#,
            &[r#""äöü""#, "1"],
            &[
                (r#""a""#, "expected at least 2 characters, got 1"),
                (r#""abcd""#, "expected at most 3 characters, got 4"),
            ],
        );
        check(
            r#"{"pattern": "^[a-z]+$"}"#,
            &[r#""abc""#],
            &[(r#""A""#, "expected text that matches ^[a-z]+$, got \"A\"")],
        );
    }

    #[test]
    fn values() {
        check(
            r#"{"enum": ["a", 1, {"b": [2]}]}"#,
            &[r#""a""#, "1.0", r#"{"b":[2.0]}"#],
            &[("2", "expected one of \"a\", 1, an object, got 2")],
        );
        check(r#"{"const": null}"#, &["null"], &[("0", "expected null, got 0")]);
    }

    #[test]
    fn arrays() {
        check(
            r#"{"prefixItems": [{"type": "integer"}], "items": {"type": "string"}, "minItems": 1,
                "maxItems": 3, "uniqueItems": true}"#,
            &["[1]", r#"[1,"a","b"]"#, "{}"],
            &[
                ("[]", "expected at least 1 items, got 0"),
                (r#"[1,"a","b","c"]"#, "expected at most 3 items, got 4"),
                (r#"["a"]"#, "[0]: expected an integer, got \"a\""),
                ("[1,2]", "[1]: expected a string, got 2"),
                (r#"[1,"a","a"]"#, "[2]: \"a\" is there before"),
            ],
        );
        check(r#"{"prefixItems": [{}], "items": false}"#, &["[]", "[1]"], &[("[1,2]", "[1]: is not expected")]);
        check(
            r#"{"contains": {"const": 1}, "maxContains": 1}"#,
            &["[2,1]"],
            &[
                ("[2]", "expected at least 1 of its items of a certain form, got 0"),
                ("[1,1]", "expected at most 1 of its items of a certain form, got 2"),
            ],
        );
        check(r#"{"uniqueItems": true}"#, &["[1,\"1\",true]"], &[("[3,1,2,1.0,3]", "[3]: 1.0 is there before")]);
    }

    #[test]
    fn objects() {
        check(
            r#"{"properties": {"a": {"type": "integer"}}, "patternProperties": {"^x-": {"type": "string"}},
                "additionalProperties": false, "required": ["a"], "maxProperties": 2}"#,
            &[r#"{"a":1}"#, r#"{"a":1,"x-b":"c"}"#, "[]"],
            &[
                ("{}", ".a: is required"),
                (r#"{"a":"1"}"#, ".a: expected an integer, got \"1\""),
                (r#"{"a":1,"b":2}"#, ".b: is not expected"),
                (r#"{"a":1,"x-b":2}"#, ".x-b: expected a string, got 2"),
                (r#"{"a":1,"x-b":"","x-c":""}"#, "expected at most 2 keys, got 3"),
            ],
        );
        check(
            r#"{"propertyNames": {"maxLength": 2}, "minProperties": 1}"#,
            &[r#"{"ab":1}"#],
            &[
                (r#"{"abc":1}"#, ".abc: its name: expected at most 2 characters, got 3"),
                ("{}", "expected at least 1 keys, got 0"),
            ],
        );
        check(
            r#"{"dependentRequired": {"card": ["zip"]},
                "dependentSchemas": {"vip": {"properties": {"n": {"minimum": 5}}}}}"#,
            &["{}", r#"{"card":1,"zip":2}"#, r#"{"n":1}"#],
            &[(r#"{"card":1}"#, ".zip: is required"), (r#"{"vip":1,"n":1}"#, ".n: expected at least 5, got 1")],
        );
    }

    #[test]
    fn combinations() {
        check(
            r#"{"anyOf": [{"type": "integer"}, {"type": "null"}]}"#,
            &["1", "null"],
            &[("\"a\"", "fits none of 2 alternatives: expected an integer, got \"a\"; or expected null, got \"a\"")],
        );
        check(
            r#"{"anyOf": [{"properties": {"a": {"type": "null"}}}]}"#,
            &["{}"],
            &[(r#"{"a":1}"#, ".a: expected null, got 1")],
        );
        check(
            r#"{"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}"#,
            &["2", "3"],
            &[("6", "fits 2 alternatives, expected exactly one")],
        );
        check(r#"{"allOf": [{"minimum": 1}, {"maximum": 2}]}"#, &["1"], &[("3", "expected at most 2, got 3")]);
        check(r#"{"not": {"type": "string"}}"#, &["1"], &[("\"a\"", "\"a\" is excluded")]);
        check(
            r#"{"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"minimum": 0}}"#,
            &["\"a\"", "0"],
            &[("\"\"", "expected at least 1 characters, got 0"), ("-1", "expected at least 0, got -1")],
        );
    }

    #[test]
    fn references_may_go_in_circles_through_parts_of_a_value() {
        check(
            r##"{"type": "object", "properties": {"next": {"$ref": "#"}, "v": {"$ref": "#/$defs/a~1b"}},
                "$defs": {"a/b": {"type": "integer"}}}"##,
            &[r#"{"next":{"next":{"v":1}}}"#],
            &[(r#"{"next":{"next":{"v":"x"}}}"#, ".next.next.v: expected an integer, got \"x\"")],
        );
    }

    #[test]
    fn what_is_no_schema_is_refused_with_its_place() {
        for (schema, message) in [
            (r#"{"format": "email"}"#, ": the keyword \"format\" is not supported"),
            (r#"{"properties": {"a": {"requird": []}}}"#, ".properties.a: the keyword \"requird\""),
            (r#"{"$ref": "https://example.com/a.json"}"#, ".$ref: expected a reference within"),
            (r##"{"$ref": "#/$defs/none"}"##, ".$ref: there is nothing at"),
            (r##"{"$ref": "#"}"##, "leads back to itself"),
            (r##"{"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}"##, "leads back to itself"),
            (r#"{"type": "text"}"#, ".type: \"text\" is no type"),
            (r#"{"items": [{}]}"#, ".items: a list of schemas is \"prefixItems\""),
            (r#"{"pattern": "("}"#, ".pattern: \"(\" is no regular expression"),
            (r#"{"minLength": -1}"#, ".minLength: expected a whole number"),
            (r#"{"multipleOf": 0}"#, ".multipleOf: expected a number above 0"),
            (r#"{"minimum": "1"}"#, ".minimum: expected a number"),
            (r#"{"required": "a"}"#, ".required: expected an array of strings"),
            (r#"{"anyOf": {}}"#, ".anyOf: expected an array of schemas"),
            (r#"{"not": 1}"#, ".not: a schema is an object"),
            ("[]", ": a schema is an object"),
        ] {
            let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
            let error = Schema::compile(&schema).err().unwrap_or_else(|| panic!("accepted: {schema}"));
            assert!(error.contains(message), "{schema}: {error}");
        }
    }
}
