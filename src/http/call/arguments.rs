//! The arguments of a call, from the body of its request, by the rules of MetaCall FaaS: the items of an array, or the
//! values of an object in JavaScript's order. Values stay the text that the client sent.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::http::call::body_kind::BodyKind;
use crate::http::call::{form, multipart};
use crate::http::problem::{Code, Problem};
use crate::invocation::{Arguments, BodyForm};
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
/// would have encoded. A byte-order mark before the body is skipped. Bodies of bytes and `multipart/form-data` are what
/// they say.
///
/// # Errors
///
/// `invalid_json` with line and column, `unsupported_media_type`, `bad_argument` for more than [`MAX_ARGUMENTS`], or
/// `bad_request` for a form with too many pairs.
pub fn from_body(body: &Bytes, kind: &BodyKind, keys: Keys) -> Result<Arguments, Problem> {
    match kind {
        BodyKind::Bytes if !body.is_empty() => return Ok(from_bytes(body)),
        BodyKind::Text if !body.is_empty() => return Ok(from_text(body)),
        BodyKind::Multipart(boundary) => return from_multipart(body, boundary, keys),
        _ => {}
    }
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
        Some(b'"') if *kind != BodyKind::Unknown => return Err(not_arguments(body)),
        _ if *kind == BodyKind::Json => return Err(not_arguments(body)),
        _ => Err(Problem::new(Code::InvalidJson, "")),
    };
    // A form has these bytes percent-encoded: a body that starts with one of them is meant as JSON.
    let is_form_or_other = matches!(kind, BodyKind::Form | BodyKind::Other);
    let looks_like_json = matches!(first, Some(b'{' | b'[' | b'"'));
    let meant_as_json = *kind == BodyKind::Json || is_form_or_other && looks_like_json;
    match (json, kind) {
        (Ok(arguments), _) => Ok(arguments),
        (Err(problem), _) if meant_as_json => Err(problem),
        (Err(_), BodyKind::Form) if is_form(body) => from_form(body, keys),
        (Err(_), BodyKind::Form) => Err(not_arguments(body)),
        (Err(_), BodyKind::Unknown) => Ok(from_bytes(body)),
        (Err(_), _) => {
            Err(Problem::new(Code::UnsupportedMediaType, "the body is neither a JSON object or array nor a form"))
        }
    }
}

/// The text of a body as the only argument; bytes that are no text as bytes.
fn from_text(body: &[u8]) -> Arguments {
    match std::str::from_utf8(body) {
        Ok(text) => Arguments::from_checked(Value::from([text]).to_string().into()),
        Err(_) => from_bytes(body),
    }
}

/// The bytes of a body as the only argument.
fn from_bytes(body: &[u8]) -> Arguments {
    Arguments::from_checked(format!("[\"{}\"]", STANDARD.encode(body)).into()).of_body(BodyForm::Bytes)
}

fn from_multipart(body: &Bytes, boundary: &str, keys: Keys) -> Result<Arguments, Problem> {
    Ok(from_parts(&multipart::parse(body, boundary)?, keys))
}

/// The parts of a form, each value as JSON.
pub(super) fn from_parts(parts: &[(String, String)], keys: Keys) -> Arguments {
    let mut values = Values::default();
    for (name, json) in parts {
        values.add(Cow::Borrowed(name), json);
    }
    values.into_arguments(keys).of_text().of_body(BodyForm::Multipart)
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
mod tests;
