//! URIs of resources of the Model Context Protocol: `"orders://all"`, or `"orders://{id}"` for many (RFC 6570, its
//! simplest form).

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use schemars::json_schema;

use crate::config::values::written_as_text::written_as_text;

const WORDS: &str = "a URI such as \"orders://all\" or \"orders://{id}/lines\"";
/// Bytes of the longest URI.
const LIMIT: usize = 512;

/// The URI of a resource, or of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceUri {
    text: String,
    /// The texts around the variables; there is one more than variables.
    around: Vec<String>,
    variables: Vec<String>,
}

impl ResourceUri {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it stands for many.
    #[must_use]
    pub fn is_template(&self) -> bool {
        !self.variables.is_empty()
    }

    /// The values of the variables in a URI; none if it is not one of these. A variable stands for a text without `/`
    /// up to the next occurrence of what follows it.
    ///
    /// ```
    /// use metagate::config::ResourceUri;
    ///
    /// let uri: ResourceUri = "orders://{id}/lines/{line}".parse().unwrap();
    /// let values = uri.values("orders://a%20b/lines/7").unwrap();
    /// assert_eq!(values, [("id", "a b".to_owned()), ("line", "7".to_owned())]);
    /// assert_eq!(uri.values("orders://a/b/lines/7"), None);
    /// ```
    #[must_use]
    pub fn values(&self, uri: &str) -> Option<Vec<(&str, String)>> {
        let mut rest = uri.strip_prefix(self.around[0].as_str())?;
        let mut values = Vec::new();
        for (name, after) in self.variables.iter().zip(&self.around[1..]) {
            let end = if after.is_empty() { rest.len() } else { rest.find(after.as_str())? };
            let value = &rest[..end];
            if value.is_empty() || value.contains('/') {
                return None;
            }
            values.push((name.as_str(), percent_decode_str(value).decode_utf8().ok()?.into_owned()));
            rest = &rest[end + after.len()..];
        }
        rest.is_empty().then_some(values)
    }
}

impl FromStr for ResourceUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| format!("{text:?} is not {WORDS}: {why}");
        if text.len() > LIMIT {
            return Err(format!("a URI of {} bytes exceeds the limit of {LIMIT}", text.len()));
        }
        let is_scheme = |scheme: &str| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
            scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_part)
        };
        if !text.split_once(':').is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty()) {
            return Err(refused("it begins with a scheme"));
        }
        if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic() || "\"<>\\^`|".contains(*c)) {
            return Err(refused(&format!("a URI has no {c:?}")));
        }
        let (mut around, mut variables) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(|| refused("a \"{\" has no \"}\""))?;
            let is_name = |name: &str| {
                !name.starts_with(|c: char| c.is_ascii_digit())
                    && !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            };
            if !is_name(name) {
                return Err(refused(&format!("{name:?} is no name of a variable")));
            }
            if before.contains('}') || (before.is_empty() && !around.is_empty()) {
                return Err(refused("a text stands between two variables"));
            }
            around.push(before.to_owned());
            variables.push(name.to_owned());
            rest = after;
        }
        if rest.contains('}') {
            return Err(refused("a \"}\" has no \"{\""));
        }
        around.push(rest.to_owned());
        let mut seen = HashSet::new();
        if let Some(twice) = variables.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(refused(&format!("the variable {twice:?} occurs twice")));
        }
        Ok(Self { text: text.to_owned(), around, variables })
    }
}

impl fmt::Display for ResourceUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

written_as_text!(ResourceUri, WORDS, json_schema!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9+.-]*:.+$" }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_has_a_scheme_and_variables_with_text_between_them() {
        for good in ["a:b", "file:///x/{name}.md", "x://{a}-{b}"] {
            assert_eq!(good.parse::<ResourceUri>().unwrap().to_string(), good);
        }
        for bad in ["", "a", "a:", "1a:b", "x://a b", "x://{", "x://}", "x://{a}{b}", "x://{a}/{a}", "x://{1}", "x://ä"]
        {
            assert!(bad.parse::<ResourceUri>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_variable_takes_what_is_before_the_following_text() {
        let uri: ResourceUri = "file:///x/{name}.md".parse().unwrap();
        assert_eq!(uri.values("file:///x/a.b.md").unwrap(), [("name", "a.b".to_owned())]);
        for other in ["file:///x/.md", "file:///x/a/b.md", "file:///x/a.md.md", "file:///x/%ff.md"] {
            assert_eq!(uri.values(other), None, "{other}");
        }
        let plain: ResourceUri = "a:b".parse().unwrap();
        assert_eq!((plain.values("a:b"), plain.values("a:bc")), (Some(Vec::new()), None));
    }
}
