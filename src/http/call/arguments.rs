//! The arguments of a call, from the body of its request, by the rules of MetaCall FaaS: the items of an array, or the
//! values of an object in JavaScript's order. Values stay the text that the client sent.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::call::body_kind::BodyKind;
use crate::http::call::form;
use crate::http::problem::{Code, Problem};
use crate::invocation::Arguments;
use crate::json;

/// The most arguments of a call: items of an array, or keys of an object.
pub const MAX_ARGUMENTS: usize = 10_000;

/// What some editors and tools put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What happens to the keys of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// They become the names of the arguments.
    Keep,
    /// They are dropped, because the worker does not use them.
    Drop,
}

/// Reads a body. A JSON object or array counts as JSON with any content type, because `curl -d` declares every body a
/// form; for the same reason a form is not one when it has no pair, or when its first key has a character that a form
/// would have encoded. A byte-order mark before the body is skipped.
///
/// # Errors
///
/// `invalid_json` with line and column, `unsupported_media_type`, `bad_argument` for more than [`MAX_ARGUMENTS`], or
/// `bad_request` for a form with too many pairs.
pub fn from_body(body: &Bytes, kind: BodyKind, keys: Keys) -> Result<Arguments, Problem> {
    let after_mark;
    let body = if body.starts_with(BYTE_ORDER_MARK) {
        after_mark = body.slice(BYTE_ORDER_MARK.len()..);
        &after_mark
    } else {
        body
    };
    if body.is_empty() {
        return Ok(Arguments::none());
    }
    let first = body.iter().copied().find(|b| !b.is_ascii_whitespace());
    // Before the parser, which would keep each of them.
    if matches!(first, Some(b'[' | b'{')) && json::has_more_items(body, MAX_ARGUMENTS) {
        return Err(Problem::new(Code::BadArgument, format!("more than {MAX_ARGUMENTS} arguments")));
    }
    let json = match first {
        Some(b'[') => check::<&RawValue>(body).map(|_| Arguments::from_checked(body.clone())),
        Some(b'{') => check::<Values<'_>>(body).map(|values| values.into_arguments(keys)),
        Some(b'"') => return Err(not_arguments(body)),
        _ if kind == BodyKind::Json => return Err(not_arguments(body)),
        _ => Err(Problem::new(Code::InvalidJson, "")),
    };
    // A form has these bytes percent-encoded: a body that starts with one of them is meant as JSON.
    let meant_as_json = kind == BodyKind::Json || matches!(first, Some(b'{' | b'[' | b'"'));
    match (json, kind) {
        (Ok(arguments), _) => Ok(arguments),
        (Err(problem), _) if meant_as_json => Err(problem),
        (Err(_), BodyKind::Form) if is_form(body) => from_form(body, keys),
        (Err(_), BodyKind::Form) => Err(not_arguments(body)),
        (Err(_), BodyKind::Json | BodyKind::Other) => {
            Err(Problem::new(Code::UnsupportedMediaType, "the body is neither a JSON object or array nor a form"))
        }
    }
}

/// Whether a body that is declared as a form can be one: forms are made of pairs, and encode these characters.
fn is_form(body: &[u8]) -> bool {
    let key = body.iter().position(|byte| *byte == b'=').map(|end| &body[..end]);
    key.is_some_and(|key| !key.iter().any(|byte| byte.is_ascii_control() || b"\"'<>\\`{}".contains(byte)))
}

fn from_form(body: &[u8], keys: Keys) -> Result<Arguments, Problem> {
    let form = form::parse(body).map_err(|error| Problem::new(Code::BadRequest, error.to_string()))?;
    let mut values = Values::default();
    let texts: Vec<(String, String)> = form.into_iter().map(|(key, value)| (key, value.to_string())).collect();
    for (key, text) in &texts {
        values.add(Cow::Borrowed(key), text);
    }
    Ok(values.into_arguments(keys).of_text())
}

/// The arguments in the query of a request without a body: as in a form.
///
/// # Errors
///
/// `bad_request` for a query with too many pairs.
pub fn from_query(query: &str, keys: Keys) -> Result<Arguments, Problem> {
    from_form(query.as_bytes(), keys)
}

fn check<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let value = serde_json::from_slice(body).map_err(|error| invalid(&error, body))?;
    json::check_all(body).map_err(|excess| {
        let (line, column) = json::line_and_column(body, excess.offset());
        Problem::new(Code::InvalidJson, format!("{excess} at line {line} column {column}"))
    })?;
    Ok(value)
}

fn not_arguments(body: &[u8]) -> Problem {
    match serde_json::from_slice::<&RawValue>(body) {
        Ok(_) => Problem::new(
            Code::InvalidJson,
            "the arguments of a call are a JSON array or object, or a form of pairs, at line 1 column 1",
        ),
        Err(error) => invalid(&error, body),
    }
}

fn invalid(error: &serde_json::Error, body: &[u8]) -> Problem {
    if error.line() == 0 {
        let at = std::str::from_utf8(body).err().map_or(0, |error| error.valid_up_to());
        let (line, column) = json::line_and_column(body, at);
        return Problem::new(Code::InvalidJson, format!("{error} at line {line} column {column}"));
    }
    Problem::new(Code::InvalidJson, error.to_string())
}

/// The values of an object. Of a repeated key the last value counts, at the position of the first.
#[derive(Default)]
struct Values<'a> {
    entries: Vec<(Cow<'a, str>, &'a str)>,
    /// The position of each key; empty while there are so few keys that comparing all of them is faster.
    index: HashMap<Cow<'a, str>, usize>,
    has_index_keys: bool,
}

/// Up to this many keys are compared one by one.
const SMALL: usize = 16;

impl<'a> Values<'a> {
    fn add(&mut self, key: Cow<'a, str>, value: &'a str) {
        let found = if self.entries.len() <= SMALL {
            self.entries.iter().position(|(known, _)| *known == key)
        } else {
            if self.index.is_empty() {
                self.index = self.entries.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
            }
            self.index.get(&key).copied()
        };
        if let Some(at) = found {
            self.entries[at].1 = value;
            return;
        }
        self.has_index_keys |= array_index(&key).is_some();
        if !self.index.is_empty() {
            self.index.insert(key.clone(), self.entries.len());
        }
        self.entries.push((key, value));
    }

    /// The values in JavaScript's order: first those whose keys are array indices, by number, then the others.
    fn into_arguments(mut self, keys: Keys) -> Arguments {
        if self.has_index_keys {
            self.entries.sort_by_cached_key(|(key, _)| array_index(key).map_or((1, 0), |index| (0, index)));
        }
        let mut text = Vec::with_capacity(2 + self.entries.iter().map(|(_, value)| value.len() + 1).sum::<usize>());
        text.push(b'[');
        for (at, (_, value)) in self.entries.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            text.extend_from_slice(value.as_bytes());
        }
        text.push(b']');
        let arguments = Arguments::from_checked(text.into());
        match keys {
            Keys::Keep => arguments.named(&self.entries.iter().map(|(key, _)| key.as_ref()).collect::<Vec<_>>()),
            Keys::Drop => arguments,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Values<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Values<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                #[derive(Deserialize)]
                struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut values = Values::default();
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    values.add(key, value.get());
                }
                Ok(values)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The key as an array index, if JavaScript takes it for one: a whole number below 2^32 - 1 without leading zeros.
fn array_index(key: &str) -> Option<u32> {
    let canonical = key == "0" || key.len() <= 10 && !key.starts_with('0') && key.bytes().all(|b| b.is_ascii_digit());
    if !canonical {
        return None;
    }
    key.parse().ok().filter(|index| *index != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, content_type: &str) -> Result<String, Code> {
        let kind = BodyKind::of(Some(content_type.as_bytes()));
        from_body(&Bytes::copy_from_slice(body.as_bytes()), kind, Keys::Drop)
            .map(|arguments| String::from_utf8(arguments.as_json().to_vec()).unwrap())
            .map_err(|problem| problem.code())
    }

    fn names(body: &str, kind: BodyKind) -> Option<String> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        assert_eq!(from_body(&body, kind, Keys::Drop).unwrap().names(), None);
        from_body(&body, kind, Keys::Keep).unwrap().names().map(str::to_owned)
    }

    fn json(body: &str) -> Result<String, Code> {
        read(body, "application/json")
    }

    #[test]
    fn values_come_in_javascripts_order() {
        assert_eq!(json(r#"{"b":2,"a":1}"#).unwrap(), "[2,1]");
        assert_eq!(json(r#"{"2":"x","1":"y","a":"z"}"#).unwrap(), r#"["y","x","z"]"#);
        assert_eq!(json(r#"{"a":1,"b":2,"a":3}"#).unwrap(), "[3,2]");
        assert_eq!(json(r#"{"01":1,"4294967295":2,"4294967294":3,"-1":4,"0":5}"#).unwrap(), "[5,3,1,2,4]");
        assert_eq!(json(r#"{"\u0061":1,"a":2}"#).unwrap(), "[2]");
    }

    #[test]
    fn names_come_in_the_order_of_the_values() {
        assert_eq!(names(r#"{"b":2,"1":0,"a":1,"b":3}"#, BodyKind::Json).unwrap(), r#"["1","b","a"]"#);
        assert_eq!(names(r#"{"\n":1}"#, BodyKind::Json).unwrap(), r#"["\n"]"#);
        assert_eq!(names("b=2&a[]=1", BodyKind::Form).unwrap(), r#"["b","a"]"#);
        assert_eq!(names("{}", BodyKind::Json).unwrap(), "[]");
        assert_eq!(names("[1]", BodyKind::Json), None);
        assert_eq!(names("", BodyKind::Json), None);
    }

    #[test]
    fn a_key_given_twice_among_many_keeps_its_place() {
        let keys: Vec<String> = (0..100).map(|i| format!("\"k{i}\":{i}")).collect();
        let text = json(&format!("{{{},\"k3\":true}}", keys.join(","))).unwrap();
        assert!(text.starts_with("[0,1,2,true,4,"));
        assert_eq!(text.matches(',').count(), 99);
    }

    #[test]
    fn values_stay_as_they_were_written() {
        assert_eq!(
            json("[1.0, 9007199254740993, {\"b\":1,\"a\":2}]").unwrap(),
            "[1.0, 9007199254740993, {\"b\":1,\"a\":2}]"
        );
        assert_eq!(json("{\n  \"a\": [1,\n 2]\n}").unwrap(), "[[1,  2]]");
    }

    #[test]
    fn nothing_gives_no_arguments() {
        assert_eq!(json("").unwrap(), "[]");
        assert_eq!(json("{}").unwrap(), "[]");
        assert_eq!(json("[]").unwrap(), "[]");
    }

    #[test]
    fn curls_default_content_type_does_not_matter_for_json() {
        let form = "application/x-www-form-urlencoded";
        assert_eq!(read(r#"{"a":1,"b":2}"#, form).unwrap(), "[1,2]");
        assert_eq!(read("a=1&c[d]=3&e[]=4", form).unwrap(), r#"["1",{"d":"3"},["4"]]"#);
        assert_eq!(read("2=x&1=y&a=z", form).unwrap(), r#"["y","x","z"]"#);
        assert_eq!(read("[1]", "text/plain").unwrap(), "[1]");
        assert_eq!(read("hello", "text/plain"), Err(Code::UnsupportedMediaType));
    }

    #[test]
    fn json_gone_wrong_is_not_taken_for_a_form() {
        for body in [r#"{"text":"Hello""#, r#"{"text":"Hello",}"#, "{'text':'Hello'}", "[100, 50", "\"Hello\""] {
            assert_eq!(read(body, "application/x-www-form-urlencoded"), Err(Code::InvalidJson), "{body}");
        }
    }

    #[test]
    fn what_is_no_form_is_not_taken_for_one() {
        let form = "application/x-www-form-urlencoded";
        for body in ["5", "null", "true", "NaN", "hello world", "<a b=\"c\">", "a,b\n1=2", " ", "{a=b}"] {
            assert_eq!(read(body, form), Err(Code::InvalidJson), "{body}");
        }
        assert_eq!(read("first name=x&b", form).unwrap(), r#"["x",""]"#);
        assert_eq!(read("a%3Cb=<c>", form).unwrap(), r#"["<c>"]"#);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_whatever_the_type() {
        for kind in ["application/json", "application/x-www-form-urlencoded", "text/plain"] {
            assert_eq!(read("\u{feff}[1]", kind).unwrap(), "[1]", "{kind}");
            assert_eq!(read("\u{feff}{\"a\":1}", kind).unwrap(), "[1]", "{kind}");
            assert_eq!(read("\u{feff}\u{feff}[1]", "application/json"), Err(Code::InvalidJson));
            assert_eq!(read("\u{feff}", kind).unwrap(), "[]");
        }
    }

    #[test]
    fn the_number_of_arguments_is_bounded() {
        let array = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        let object = |count: usize| {
            let keys: Vec<String> = (0..count).rev().map(|key| format!("\"{key}\":[{key},0]")).collect();
            format!("{{{}}}", keys.join(","))
        };
        assert_eq!(json(&array(MAX_ARGUMENTS)).unwrap().len(), 2 * MAX_ARGUMENTS + 1);
        assert!(json(&object(MAX_ARGUMENTS)).unwrap().starts_with("[[0,0],[1,0],[2,0],"));
        for many in [array(MAX_ARGUMENTS + 1), object(MAX_ARGUMENTS + 1)] {
            assert_eq!(json(&many), Err(Code::BadArgument));
        }
        assert!(json(&format!("[{}]", array(100_000))).is_ok(), "an argument may have any number of items");
    }

    #[test]
    fn json_that_is_no_arguments_is_refused() {
        for body in ["null", "1", "\"a\"", "{", "[1,]", "[1e999]", r#"["\ud800"]"#, "[1] x", "  "] {
            assert_eq!(json(body), Err(Code::InvalidJson), "{body:?}");
        }
        let deep = "[".repeat(129) + &"]".repeat(129);
        assert_eq!(json(&deep), Err(Code::InvalidJson));
    }
}
