//! Conversion of a value to the kind that a function expects. Nothing is guessed: a value that does not clearly denote
//! one of that kind is a fault. `null` stays.

use serde::Deserialize;
use serde_json::{Number, Value};

use crate::decimal::Decimal;
use crate::path::Fault;

/// The kind that a value is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A whole number: `"42"`, `42.0` and `"4.2e1"` become `42`.
    Integer,
    /// A number: `"1.5"` becomes `1.5`, with all its digits.
    Number,
    /// A text: `1.50` becomes `"1.50"`, `true` becomes `"true"`.
    String,
    /// `true` for `"true"`, `"1"`, `1` and `"on"`, `false` for `"false"`, `"0"`, `0` and `"off"`.
    Boolean,
}

impl Kind {
    /// Converts a value in place. Returns whether it changed.
    pub fn coerce(self, value: &mut Value) -> Result<bool, Fault> {
        let converted = match (self, &*value) {
            (_, Value::Null)
            | (Self::Number, Value::Number(_))
            | (Self::String, Value::String(_))
            | (Self::Boolean, Value::Bool(_)) => return Ok(false),
            (Self::Integer, Value::Number(number)) => {
                let decimal = Decimal::parse(number.as_str());
                if !decimal.is_whole() {
                    return Err(Fault::expected("an integer", value));
                }
                match decimal.whole_text() {
                    Some(text) if text != number.as_str() => number_from(&text),
                    _ => return Ok(false),
                }
            }
            (Self::Integer, Value::String(text)) => {
                number_from(text).filter(|number| Decimal::parse(number.as_str()).is_whole()).map(|number| {
                    Decimal::parse(number.as_str()).whole_text().and_then(|text| number_from(&text)).unwrap_or(number)
                })
            }
            (Self::Number, Value::String(text)) => number_from(text),
            (Self::String, Value::Number(number)) => return replace(value, Value::String(number.to_string())),
            (Self::String, Value::Bool(truth)) => return replace(value, Value::String(truth.to_string())),
            (Self::Boolean, Value::String(text)) => match text.trim() {
                "true" | "1" | "on" => return replace(value, Value::Bool(true)),
                "false" | "0" | "off" => return replace(value, Value::Bool(false)),
                _ => None,
            },
            (Self::Boolean, Value::Number(number)) => match number.as_str() {
                "1" => return replace(value, Value::Bool(true)),
                "0" => return replace(value, Value::Bool(false)),
                _ => None,
            },
            (_, Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
        };
        match converted {
            Some(number) => replace(value, Value::Number(number)),
            None => Err(Fault::expected(self.words(), value)),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Boolean => "a boolean",
        }
    }
}

fn replace(value: &mut Value, with: Value) -> Result<bool, Fault> {
    *value = with;
    Ok(true)
}

/// A text as a number, if it is one in JSON's syntax; its digits are unchanged.
fn number_from(text: &str) -> Option<Number> {
    let text = text.trim();
    if !text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coerced(kind: Kind, json: &str) -> Result<String, String> {
        let mut value: Value = serde_json::from_str(json).unwrap();
        let before = value.clone();
        let changed = kind.coerce(&mut value).map_err(|fault| fault.what().to_owned())?;
        assert_eq!(changed, value != before);
        Ok(value.to_string())
    }

    #[test]
    fn integers_lose_point_and_exponent_but_no_digit() {
        for (from, to) in [
            (r#""42""#, "42"),
            (r#"" -7 ""#, "-7"),
            ("42.0", "42"),
            (r#""4.2e1""#, "42"),
            ("42", "42"),
            ("null", "null"),
            (r#""9007199254740993""#, "9007199254740993"),
            ("9007199254740993", "9007199254740993"),
            ("-0.0", "0"),
        ] {
            assert_eq!(coerced(Kind::Integer, from).as_deref(), Ok(to), "{from}");
        }
        for bad in [
            "1.5",
            r#""1.5""#,
            r#""""#,
            r#""abc""#,
            "true",
            "[1]",
            "{}",
            r#""0x10""#,
            r#""1 2""#,
            r#""007""#,
            r#""+1""#,
        ] {
            assert!(coerced(Kind::Integer, bad).unwrap_err().starts_with("expected an integer, got "), "{bad}");
        }
    }

    #[test]
    fn numbers_keep_their_spelling() {
        for (from, to) in
            [(r#""1.50""#, "1.50"), ("1.50", "1.50"), (r#""0.1000000000000000055""#, "0.1000000000000000055")]
        {
            assert_eq!(coerced(Kind::Number, from).as_deref(), Ok(to), "{from}");
        }
        for bad in [r#""NaN""#, r#"".5""#, r#""1,5""#, "false", "[]", r#""[1]""#, r#""null""#] {
            assert!(coerced(Kind::Number, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn strings_are_what_the_number_looked_like() {
        for (from, to) in [
            ("1.50", r#""1.50""#),
            ("true", r#""true""#),
            (r#""a""#, r#""a""#),
            ("12345678901234567890", r#""12345678901234567890""#),
        ] {
            assert_eq!(coerced(Kind::String, from).as_deref(), Ok(to), "{from}");
        }
        assert!(coerced(Kind::String, "{}").is_err());
    }

    #[test]
    fn booleans_come_as_forms_send_them() {
        for (from, to) in [
            (r#""true""#, "true"),
            ("1", "true"),
            (r#""on""#, "true"),
            (r#""0""#, "false"),
            ("0", "false"),
            ("true", "true"),
        ] {
            assert_eq!(coerced(Kind::Boolean, from).as_deref(), Ok(to), "{from}");
        }
        for bad in [r#""yes""#, "2", r#""TRUE""#, "[]"] {
            assert!(coerced(Kind::Boolean, bad).is_err(), "{bad}");
        }
    }
}
