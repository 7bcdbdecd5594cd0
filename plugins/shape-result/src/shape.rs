//! The shape of a result: select, then redact, then envelope.

use std::collections::BTreeMap;

use plugin_config::read;
use serde::Deserialize;
use serde_json::{Deserializer, Map, Value};

/// The text that replaces a redacted value.
const REDACTED: &str = "***";

/// `[plugin.config]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The fields that are kept, as paths. Default: all.
    select: Option<Vec<String>>,
    /// Keys whose values become `"***"`.
    #[serde(default)]
    redact: Vec<String>,
    /// The key under which the result is put into an object.
    envelope: Option<String>,
    /// The status of errors by their code.
    #[serde(default)]
    errors: BTreeMap<String, u16>,
}

/// The checked configuration.
pub struct Shape {
    select: Option<Selection>,
    /// In lower case.
    redact: Vec<String>,
    /// The key as JSON.
    envelope: Option<String>,
    errors: BTreeMap<String, u16>,
}

/// The part of a value that is kept.
#[derive(Debug, PartialEq, Eq)]
enum Selection {
    /// All of it.
    Whole,
    /// These keys of it, or of each of its items.
    Keys(BTreeMap<String, Self>),
}

impl Shape {
    /// Reads the configuration; the error is for the operator.
    pub fn read(config: &str) -> Result<Self, String> {
        let config: Config = read(config)?;
        let select = config.select.map(|paths| Selection::of(&paths)).transpose()?;
        if let Some(at) = config.redact.iter().position(String::is_empty) {
            return Err(format!("redact[{at}]: the key is empty"));
        }
        if config.envelope.as_deref() == Some("") {
            return Err("envelope: the key is empty".to_owned());
        }
        if let Some((code, status)) = config.errors.iter().find(|(_, status)| !(400..=599).contains(*status)) {
            return Err(format!("errors.{code}: {status} is no status of an error, 400 to 599"));
        }
        let redact = config.redact.iter().map(|key| key.to_lowercase()).collect();
        let envelope = config.envelope.map(|key| Value::String(key).to_string());
        Ok(Self { select, redact, envelope, errors: config.errors })
    }

    /// The configured status for errors with a code, if it differs from their own.
    pub fn status_of(&self, code: &str) -> Option<u16> {
        self.errors.get(code).copied()
    }

    /// The first 255 configured codes, with their statuses. No error has a code of another form.
    pub fn errors(&self) -> impl Iterator<Item = (&str, u16)> {
        let is_code = |code: &str| {
            let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            (1..=64).contains(&code.len()) && code.bytes().all(is_part)
        };
        let all = self.errors.iter().map(|(code, status)| (code.as_str(), *status));
        all.filter(move |(code, _)| is_code(code)).take(255)
    }

    /// Whether every result is left unchanged.
    pub fn keeps_results(&self) -> bool {
        self.envelope.is_none() && self.keeps_values()
    }

    /// The result in its new shape. In an envelope a missing result is null.
    pub fn apply(&self, body: &str) -> Result<String, String> {
        let body = if self.keeps_values() || body.is_empty() { body.to_owned() } else { self.apply_to_value(body)? };
        Ok(match &self.envelope {
            Some(key) if body.is_empty() => format!("{{{key}:null}}"),
            Some(key) => format!("{{{key}:{body}}}"),
            None => body,
        })
    }

    fn keeps_values(&self) -> bool {
        self.select.is_none() && self.redact.is_empty()
    }

    fn apply_to_value(&self, body: &str) -> Result<String, String> {
        let mut deserializer = Deserializer::from_str(body);
        deserializer.disable_recursion_limit();
        let value =
            Value::deserialize(&mut deserializer).map_err(|error| format!("the result cannot be read: {error}"))?;
        let mut value = match &self.select {
            Some(selection) => selection.of_value(value),
            None => value,
        };
        if !self.redact.is_empty() {
            self.redact(&mut value);
        }
        Ok(value.to_string())
    }

    fn redact(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact(item)),
            Value::Object(members) => {
                for (key, member) in members {
                    if self.redact.contains(&key.to_lowercase()) {
                        *member = Value::String(REDACTED.to_owned());
                    } else {
                        self.redact(member);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

impl Selection {
    fn of(paths: &[String]) -> Result<Self, String> {
        let mut all = Self::Keys(BTreeMap::new());
        for (at, path) in paths.iter().enumerate() {
            if path.split('.').any(str::is_empty) {
                return Err(format!("select[{at}]: {path:?} is no path such as \"a.b\""));
            }
            all.add(path);
        }
        Ok(all)
    }

    fn add(&mut self, path: &str) {
        let Self::Keys(keys) = self else { return };
        match path.split_once('.') {
            Some((key, rest)) => keys.entry(key.to_owned()).or_insert_with(|| Self::Keys(BTreeMap::new())).add(rest),
            None => _ = keys.insert(path.to_owned(), Self::Whole),
        }
    }

    /// The selected part of a value. A value without fields becomes null.
    fn of_value(&self, value: Value) -> Value {
        let Self::Keys(keys) = self else { return value };
        match value {
            Value::Array(items) => items.into_iter().map(|item| self.of_value(item)).collect(),
            Value::Object(members) => {
                let kept = members.into_iter().filter_map(|(key, member)| {
                    let selection = keys.get(&key)?;
                    Some((key, selection.of_value(member)))
                });
                Value::Object(kept.collect::<Map<_, _>>())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str, cases: &[(&str, &str)]) {
        let shape = Shape::read(config).unwrap();
        for (body, expected) in cases {
            assert_eq!(shape.apply(body).as_deref(), Ok(*expected), "{config} {body}");
        }
    }

    #[test]
    fn an_envelope_keeps_the_result_as_it_was_written() {
        check(
            r#"{"envelope": "da\"ta"}"#,
            &[("[1.0, 1e5]", r#"{"da\"ta":[1.0, 1e5]}"#), ("", r#"{"da\"ta":null}"#), ("null", r#"{"da\"ta":null}"#)],
        );
    }

    #[test]
    fn selected_fields_keep_their_places() {
        check(
            r#"{"select": ["a.b", "c", "c.d", "x.y.z"]}"#,
            &[
                (r#"{"c":{"d":1,"e":2},"z":0,"a":{"k":1,"b":[1]}}"#, r#"{"c":{"d":1,"e":2},"a":{"b":[1]}}"#),
                (r#"[{"a":[{"b":1,"k":2},{"k":3}]},5]"#, r#"[{"a":[{"b":1},{}]},null]"#),
                (r#"{"a":"secret"}"#, r#"{"a":null}"#),
                (r#""secret""#, "null"),
                ("{}", "{}"),
                ("", ""),
            ],
        );
        check(r#"{"select": ["c.d", "c"]}"#, &[(r#"{"c":{"d":1,"e":2}}"#, r#"{"c":{"d":1,"e":2}}"#)]);
        check(r#"{"select": []}"#, &[(r#"{"a":1}"#, "{}")]);
    }

    #[test]
    fn redacted_keys_are_found_at_any_depth_and_in_any_case() {
        check(
            r#"{"redact": ["password", "Token"]}"#,
            &[
                (
                    r#"{"user":"a","Password":{"x":1},"list":[{"token":null,"t":[[{"PASSWORD":5}]]}]}"#,
                    r#"{"user":"a","Password":"***","list":[{"token":"***","t":[[{"PASSWORD":"***"}]]}]}"#,
                ),
                (r#""password""#, r#""password""#),
            ],
        );
    }

    #[test]
    fn all_together() {
        check(
            r#"{"select": ["a", "password"], "redact": ["password"], "envelope": "data"}"#,
            &[(r#"{"b":1,"password":"x","a":2}"#, r#"{"data":{"password":"***","a":2}}"#)],
        );
    }

    #[test]
    fn numbers_and_order_survive() {
        let body = r#"{"z":9007199254740993,"a":0.10,"1":[123456789012345678901234567890,-0.0]}"#;
        check(r#"{"redact": ["none"]}"#, &[(body, body)]);
    }

    #[test]
    fn a_result_may_be_as_deep_as_the_gateway_allows() {
        let deep = format!("{}1{}", "[".repeat(128), "]".repeat(128));
        check(r#"{"redact": ["none"]}"#, &[(&deep, &deep)]);
    }

    #[test]
    fn nothing_configured_keeps_everything() {
        let shape = Shape::read(r#"{"errors": {"function_error": 422}}"#).unwrap();
        assert!(shape.keeps_results());
        assert_eq!((shape.status_of("function_error"), shape.status_of("call_timeout")), (Some(422), None));
        assert!(!Shape::read(r#"{"select": []}"#).unwrap().keeps_results());
    }

    #[test]
    fn a_refusal_names_the_key() {
        for (config, message) in [
            (r#"{"select": ["a", "a..b"]}"#, "select[1]: "),
            (r#"{"select": "a"}"#, "select: invalid type"),
            (r#"{"redact": [""]}"#, "redact[0]: "),
            (r#"{"envelope": ""}"#, "envelope: "),
            (r#"{"errors": {"function_error": 200}}"#, "errors.function_error: 200"),
            (r#"{"errors": {"function_error": "422"}}"#, "errors.function_error: invalid type"),
            (r#"{"redacted": []}"#, "redacted: unknown field"),
        ] {
            let refusal = Shape::read(config).err().unwrap_or_else(|| panic!("accepted: {config}"));
            assert!(refusal.contains(message), "{config}: {refusal}");
        }
    }
}
