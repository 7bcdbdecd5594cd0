//! Names with wildcards.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wildmatch::WildMatch;

use crate::config::values::field;

const PATTERN_LIMIT: usize = 128;
const PATTERN_WORDS: &str = "a name in which * stands for any text and ? for any one character";
const PATTERNS_WORDS: &str = "a list of names, such as [\"math\", \"report-*\"]; [\"*\"] means all";

/// The reason why a text is not a [`Pattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(pub(crate) String);

/// A name in which `*` stands for any text, including none, and `?` for any one character: 1 to 128 printable ASCII
/// characters.
#[derive(Clone, PartialEq)]
pub struct Pattern(WildMatch);

impl Eq for Pattern {}

impl Pattern {
    /// The pattern that matches everything.
    #[must_use]
    pub fn any() -> Self {
        Self(WildMatch::new("*"))
    }

    /// Whether this is the pattern `*`, which matches everything.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::any()
    }

    /// Whether it matches the whole text; letters match in their own case only.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern("the name is empty; \"*\" means all".to_owned()));
        }
        if text.len() > PATTERN_LIMIT {
            return Err(BadPattern(format!("a name of {} bytes exceeds the limit of {PATTERN_LIMIT}", text.len())));
        }
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(BadPattern(format!("{text:?} has a character that is not printable ASCII; ? stands for any")));
        }
        Ok(Self(WildMatch::new(text)))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.to_string(), f)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[ -.0-~]{1,128}$" })
    }
}

/// Reads a list of patterns for names of deployments or of functions, without a `/`.
pub(crate) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pattern>, D::Error> {
    let names: Vec<Name> = field::filled(deserializer, PATTERNS_WORDS)?;
    Ok(names.into_iter().map(|name| name.0).collect())
}

/// One item of [`names`].
struct Name(Pattern);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        field::text(deserializer, PATTERN_WORDS, |text| {
            if text.contains('/') {
                let rule =
                    "\"deployments\" and \"functions\" take plain names; \"exclude\" takes \"deployment/function\"";
                return Err(BadPattern(format!("{text:?} has a \"/\": {rule}")));
            }
            text.parse().map(Self)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text_and_question_marks_for_one_character() {
        for (pattern, text, matches) in [
            ("math", "math", true),
            ("math", "Math", false),
            ("math", "maths", false),
            ("*", "", true),
            ("*", "ä/b", true),
            ("report-*", "report-", true),
            ("report-*", "report-a-b", true),
            ("report-*", "a-report-b", false),
            ("*-a*b", "x-a-abab", true),
            ("*-a*b", "x-a-aba", false),
            ("?", "ä", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("a.c", "abc", false),
            ("[a]", "a", false),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_is_short_and_printable() {
        for good in ["a", "a b", "~", &"x".repeat(128)] {
            assert_eq!(good.parse::<Pattern>().unwrap().to_string(), good);
        }
        assert!(Pattern::any().is_any() && "*".parse::<Pattern>().unwrap().is_any());
        assert!(!"a*".parse::<Pattern>().unwrap().is_any() && !"?".parse::<Pattern>().unwrap().is_any());
        for bad in ["", "ä", "a\tb", "a\u{7f}", &"x".repeat(129)] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }
}
