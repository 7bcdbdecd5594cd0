//! Paths of routes: `"/orders/{id}"`, `"/files/{name...}"`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;

const WORDS: &str = "a path such as \"/orders\", \"/orders/{id}\" or \"/files/{path...}\"";
/// Parts of the longest path.
const PARTS: usize = 32;
/// Bytes of the longest part.
const PART_LIMIT: usize = 256;

/// The path of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePath {
    parts: Vec<RoutePart>,
}

/// A part of a path, between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutePart {
    /// This text.
    Text(String),
    /// Any text that is not empty, as a parameter of this name: `{id}`.
    Parameter(String),
    /// All further parts, also none, as one parameter of this name: `{path...}`. It is the last part.
    Tail(String),
}

impl RoutePath {
    /// The parts; none for `/`.
    #[must_use]
    pub fn parts(&self) -> &[RoutePart] {
        &self.parts
    }

    /// Whether two routes match the same paths, whatever their parameters are called.
    #[must_use]
    pub fn matches_as(&self, other: &Self) -> bool {
        let is_same = |pair: (&RoutePart, &RoutePart)| match pair {
            (RoutePart::Text(one), RoutePart::Text(other)) => one == other,
            (RoutePart::Parameter(_), RoutePart::Parameter(_)) | (RoutePart::Tail(_), RoutePart::Tail(_)) => true,
            _ => false,
        };
        self.parts.len() == other.parts.len() && self.parts.iter().zip(&other.parts).all(is_same)
    }
}

impl FromStr for RoutePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| format!("{text:?} is not {WORDS}: {why}");
        let rest = text.strip_prefix('/').ok_or_else(|| refused("it begins with \"/\""))?;
        let mut parts = Vec::new();
        if rest.is_empty() {
            return Ok(Self { parts });
        }
        let mut names = BTreeSet::new();
        for word in rest.split('/') {
            if matches!(parts.last(), Some(RoutePart::Tail(_))) {
                return Err(refused("a parameter with \"...\" is its last part"));
            }
            let part = part(word).map_err(refused)?;
            if let RoutePart::Parameter(name) | RoutePart::Tail(name) = &part
                && !names.insert(name.clone())
            {
                return Err(refused("two parameters have one name"));
            }
            parts.push(part);
        }
        if parts.len() > PARTS {
            return Err(format!("a path with {} parts, at most {PARTS} are possible", parts.len()));
        }
        Ok(Self { parts })
    }
}

fn part(word: &str) -> Result<RoutePart, &'static str> {
    if word.len() > PART_LIMIT {
        return Err("a part of it is longer than 256 bytes");
    }
    if let Some(inner) = word.strip_prefix('{') {
        let inner = inner.strip_suffix('}').ok_or("a parameter is a whole part, in { }")?;
        let name = inner.strip_suffix("...").unwrap_or(inner);
        let is_name = name.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$'))
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-'));
        if !is_name {
            return Err("the name of a parameter has letters, digits, _, $ and -");
        }
        let name = name.to_owned();
        return Ok(if inner.ends_with("...") { RoutePart::Tail(name) } else { RoutePart::Parameter(name) });
    }
    match word {
        "" => Err("a part of it is empty"),
        "." | ".." => Err("\".\" and \"..\" are no parts"),
        _ if word.contains(['{', '}', '*']) => Err("a parameter is a whole part, in { }"),
        _ if word.contains(['%', '?', '#', '\\']) || word.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            Err("it has text as it reads after decoding, without %, ?, #, \\ and white space")
        }
        _ => Ok(RoutePart::Text(word.to_owned())),
    }
}

impl fmt::Display for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parts.is_empty() {
            return f.write_str("/");
        }
        self.parts.iter().try_for_each(|part| match part {
            RoutePart::Text(text) => write!(f, "/{text}"),
            RoutePart::Parameter(name) => write!(f, "/{{{name}}}"),
            RoutePart::Tail(name) => write!(f, "/{{{name}...}}"),
        })
    }
}

written_as_text!(RoutePath, WORDS, json_schema!({ "type": "string", "pattern": "^/" }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_texts_parameters_and_a_tail() {
        for good in
            ["/", "/orders", "/orders/{id}", "/orders/{id}/items/{item-id}", "/{rest...}", "/größe/{größe}", "/a.b"]
        {
            assert_eq!(good.parse::<RoutePath>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "orders",
            "//",
            "/orders/",
            "/a//b",
            "/a/..",
            "/a/./b",
            "/{",
            "/{}",
            "/{id",
            "/id}",
            "/x{id}",
            "/{id}x",
            "/{a b}",
            "/{1}",
            "/{...}",
            "/{rest...}/more",
            "/{id}/{id}",
            "/{*rest}",
            "/*",
            "/a%20b",
            "/a b",
            "/a?b",
            "/a#b",
            "/a\\b",
            "/{id..}",
            &"/a".repeat(33),
            &format!("/{}", "a".repeat(257)),
        ] {
            assert!(bad.parse::<RoutePath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_parameters_do_not_distinguish_paths() {
        let same = |one: &str, other: &str| one.parse::<RoutePath>().unwrap().matches_as(&other.parse().unwrap());
        assert!(same("/a/{id}/{rest...}", "/a/{order}/{path...}"));
        assert!(!same("/a/{id}", "/a/{id...}") && !same("/a/{id}", "/a/id") && !same("/a", "/a/{id}"));
    }
}
