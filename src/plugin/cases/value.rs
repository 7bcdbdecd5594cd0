//! JSON values in a case, kept as text, and the differences between two values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::plugin::cases::difference::{Difference, NOTHING, shown};
use crate::plugin::cases::number;

/// Differences between two values that are reported.
const REPORTED: usize = 5;

/// A value, as compact JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Json(pub(super) String);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::new();
        deserializer.deserialize_any(Writer(&mut text))?;
        Ok(Self(text))
    }
}

/// Writes the value that it visits as JSON.
struct Writer<'t>(&'t mut String);

impl<'de> serde::de::DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.push_str("null");
        Ok(())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        self.0.push_str(if truth { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.0.push_str(&number.to_string());
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.0.push_str(&number.to_string());
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        let number = serde_json::Number::from_f64(number);
        let number = number.ok_or_else(|| E::custom("JSON has no such number"))?;
        self.0.push_str(&number.to_string());
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.push_str(&quoted(text));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.push('[');
        let begun = self.0.len();
        loop {
            let end = self.0.len();
            if end > begun {
                self.0.push(',');
            }
            if items.next_element_seed(Writer(self.0))?.is_none() {
                self.0.truncate(end);
                self.0.push(']');
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.push('{');
        let begun = self.0.len();
        while let Some(key) = items.next_key::<Cow<'_, str>>()? {
            if self.0.len() > begun {
                self.0.push(',');
            }
            self.0.push_str(&quoted(&key));
            self.0.push(':');
            items.next_value_seed(Writer(self.0))?;
        }
        self.0.push('}');
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The differences between a value and the expected one. The order of keys does not matter. 1 and 1.0 differ, as they
/// do for a Python function; 1.0, 1.00 and 10e-1 are equal.
pub(super) fn differences(what: &str, expected: &str, got: &str) -> Vec<Difference> {
    let mut found = Vec::new();
    match (serde_json::from_str(expected), serde_json::from_str(got)) {
        (Ok(expected), Ok(got)) => compare(what, expected, got, &mut found),
        _ if expected.trim() == got.trim() => {}
        _ => found.push(Difference::new(what, one_line(expected), one_line(got))),
    }
    if found.len() > REPORTED {
        let more = found.len() - REPORTED;
        found.truncate(REPORTED);
        found.push(Difference::new(what, format!("{more} more differ"), shown(got)));
    }
    found
}

fn one_line(text: &str) -> String {
    if text.trim().is_empty() { NOTHING.to_owned() } else { shown(text) }
}

fn compare(path: &str, expected: &RawValue, got: &RawValue, found: &mut Vec<Difference>) {
    let (expected, got) = (expected.get().trim(), got.get().trim());
    match (kind(expected), kind(got)) {
        (b'{', b'{') => return compare_objects(path, expected, got, found),
        (b'[', b'[') => return compare_arrays(path, expected, got, found),
        (b'"', b'"') if text(expected) == text(got) => return,
        (b'0', b'0') if number::same(expected, got) => return,
        _ if expected == got => return,
        _ => {}
    }
    found.push(Difference::new(path, shown(expected), shown(got)));
}

fn compare_objects(path: &str, expected: &str, got: &str, found: &mut Vec<Difference>) {
    type Object<'a> = BTreeMap<String, &'a RawValue>;
    let parsed = (serde_json::from_str::<Object<'_>>(expected), serde_json::from_str::<Object<'_>>(got));
    let (Ok(expected), Ok(mut got)) = parsed else { return };
    for (key, value) in expected {
        let path = key_of(path, &key);
        match got.remove(&key) {
            Some(there) => compare(&path, value, there, found),
            None => found.push(Difference::new(path, shown(value.get()), NOTHING)),
        }
    }
    for (key, value) in got {
        found.push(Difference::new(key_of(path, &key), NOTHING, shown(value.get())));
    }
}

fn compare_arrays(path: &str, expected: &str, got: &str, found: &mut Vec<Difference>) {
    type Array<'a> = Vec<&'a RawValue>;
    let parsed = (serde_json::from_str::<Array<'_>>(expected), serde_json::from_str::<Array<'_>>(got));
    let (Ok(expected), Ok(got)) = parsed else { return };
    for at in 0..expected.len().max(got.len()) {
        let path = format!("{path}[{at}]");
        match (expected.get(at), got.get(at)) {
            (Some(expected), Some(got)) => compare(&path, expected, got, found),
            (expected, got) => {
                let side = |value: Option<&&RawValue>| value.map_or(NOTHING.to_owned(), |value| shown(value.get()));
                found.push(Difference::new(path, side(expected), side(got)));
            }
        }
    }
}

/// The kind of a JSON value: `{`, `[`, `"`, `0` for every number, `t`, `f` or `n`.
fn kind(json: &str) -> u8 {
    match json.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => b'0',
        Some(first) => *first,
        None => b' ',
    }
}

fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

fn key_of(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if plain { format!("{path}.{key}") } else { format!("{path}[{}]", quoted(key)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(expected: &str, got: &str) -> Vec<String> {
        differences("body", expected, got).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn spelling_and_order_do_not_matter() {
        for (one, other) in [
            (r#"{"a": 1, "b": [true, null]}"#, r#"{"b":[true,null],"a":1}"#),
            (r#""\u0041""#, r#""A""#),
            ("[1.50, 1e2]", "[1.5,100.0]"),
            ("", " "),
        ] {
            assert_eq!(lines(one, other), Vec::<String>::new());
        }
    }

    #[test]
    fn a_difference_is_reported_with_its_path() {
        assert_eq!(
            lines(r#"{"a":{"b":[1,2]},"c":0,"e f":1}"#, r#"{"a":{"b":[1,3,4]},"d":"x","e f":1}"#),
            [
                "body.a.b[1]: expected 2, got 3",
                "body.a.b[2]: expected nothing, got 4",
                "body.c: expected 0, got nothing",
                "body.d: expected nothing, got \"x\"",
            ]
        );
        assert_eq!(lines(r#"{"e f":1}"#, r#"{"e f":"1"}"#), ["body[\"e f\"]: expected 1, got \"1\""]);
        assert_eq!(lines("1", "1.0"), ["body: expected 1, got 1.0"]);
        assert_eq!(lines("[1]", ""), ["body: expected [1], got nothing"]);
        assert_eq!(lines("[1,2,3,4,5,6,7]", "[0,0,0,0,0,0,0]").len(), REPORTED + 1);
    }

    #[test]
    fn values_of_toml_become_the_same_json() {
        #[derive(Deserialize)]
        struct File {
            value: Json,
        }
        let text = "value = [1, 1.5, \"a\\\"b\", true, [], {}, { x = { y = [] }, \"z w\" = -7 }]";
        let file: File = toml::from_str(text).unwrap();
        assert_eq!(file.value.0, r#"[1,1.5,"a\"b",true,[],{},{"x":{"y":[]},"z w":-7}]"#);
        assert!(toml::from_str::<File>("value = nan").is_err());
        assert_eq!(
            serde_json::from_str::<Json>("[null, 18446744073709551615]").unwrap().0,
            "[null,18446744073709551615]"
        );
    }
}
