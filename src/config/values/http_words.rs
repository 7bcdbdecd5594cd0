//! Words of HTTP in the configuration: methods and names of headers.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;

const METHOD_WORDS: &str = "a method in capitals, such as \"GET\"";
const HEADER_WORDS: &str = "the name of a header, or \"*\"";
const METHOD_LIMIT: usize = 16;
/// Methods that no function answers.
const NEVER: [&str; 2] = ["CONNECT", "TRACE"];

/// An HTTP method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodName(String);

impl MethodName {
    /// The method as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MethodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_method = text.len() <= METHOD_LIMIT
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        match text {
            _ if NEVER.contains(&text) => Err(format!("functions are not called with {text}")),
            _ if is_method => Ok(Self(text.to_owned())),
            _ => Err(format!("{text:?} is not {METHOD_WORDS}")),
        }
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(MethodName, METHOD_WORDS, json_schema!({ "type": "string", "minLength": 1 }));

/// The name of a header, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderWord {
    /// `"*"`.
    Any,
    /// One header.
    Name(HeaderName),
}

impl FromStr for HeaderWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "*" => Ok(Self::Any),
            text => text.parse().map(Self::Name).map_err(|_| format!("{text:?} is not {HEADER_WORDS}")),
        }
    }
}

impl fmt::Display for HeaderWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Name(name) => f.write_str(name.as_str()),
        }
    }
}

written_as_text!(HeaderWord, HEADER_WORDS, json_schema!({ "type": "string", "minLength": 1 }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_names_of_headers_are_tokens() {
        for good in ["GET", "PROPFIND", "M-SEARCH"] {
            assert_eq!(good.parse::<MethodName>().unwrap().as_str(), good);
        }
        for bad in ["", "get", "GET ", "GET,POST", "*", "CONNECT", "TRACE", "ABCDEFGHIJKLMNOPQ"] {
            assert!(bad.parse::<MethodName>().is_err(), "{bad:?}");
        }
        assert_eq!("X-Total".parse::<HeaderWord>().unwrap().to_string(), "x-total");
        assert_eq!("*".parse(), Ok(HeaderWord::Any));
        for bad in ["", "a b", "a,b", "ä", "a\r\nb"] {
            assert!(bad.parse::<HeaderWord>().is_err(), "{bad:?}");
        }
    }
}
