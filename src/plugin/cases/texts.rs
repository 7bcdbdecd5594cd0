//! Texts in a case that can be written in more than one way: one or several values of a header, an expected value or
//! its absence, a limit as text or number.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The values of one header: `"text"` or `["several", "texts"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Texts(pub(super) Vec<String>);

/// The expectation of a header, a variable or a label: `"its value"`, `["its", "values"]`, `false` if it must be
/// absent, `true` if it must be present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    There(bool),
    Values(Vec<String>),
}

/// A limit: `"5s"`, `"64"`, `64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word(pub(super) String);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(WantedVisitor { or_bool: false })? {
            Wanted::Values(texts) => Ok(Self(texts)),
            Wanted::There(_) => Err(D::Error::custom("expected a text")),
        }
    }
}

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WantedVisitor { or_bool: true })
    }
}

struct WantedVisitor {
    or_bool: bool,
}

impl<'de> Visitor<'de> for WantedVisitor {
    type Value = Wanted;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.or_bool { "a text, a list of texts, true or false" } else { "a text or a list of texts" })
    }

    fn visit_bool<E: Error>(self, there: bool) -> Result<Wanted, E> {
        if self.or_bool {
            return Ok(Wanted::There(there));
        }
        Err(E::invalid_type(serde::de::Unexpected::Bool(there), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Wanted, E> {
        Ok(Wanted::Values(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Wanted, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = items.next_element()? {
            texts.push(text);
        }
        Ok(Wanted::Values(texts))
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

struct WordVisitor;

impl Visitor<'_> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a whole number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
        Ok(Word(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Word, E> {
        Ok(Word(number.to_string()))
    }
}
