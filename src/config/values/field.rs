//! Reads single values of the file into checked types. Each reader describes the values that its key takes; the
//! messages of `reading::explain` quote this description.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

pub(crate) const TEXT_WORDS: &str = "text in quotes";
const APP_WORDS: &str = "a script and the name of its app, such as \"main:app\"";
const COMMAND_WORDS: &str = "a list of texts with the program first, such as [\"./my-worker\", \"--fast\"]";
const NAME_WORDS: &str =
    "a name: 1 to 64 of A-Z a-z 0-9 . _ -; it must begin with a letter or digit, and not contain \"..\" or be reserved";

/// Reads text and gives it to `parse`, whose error says why it is refused.
pub(crate) fn text<'de, D, T, E>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Result<T, E>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: fmt::Display,
{
    deserializer.deserialize_str(Text { expected, parse })
}

/// Reads a whole number from `MIN` to `MAX` into a number or an `Option`.
pub(crate) fn within<'de, const MIN: u32, const MAX: u32, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<u32>,
{
    deserializer.deserialize_u32(Whole::<MIN, MAX>).map(T::from)
}

/// Reads a path that is not empty.
pub(crate) fn path<'de, D: Deserializer<'de>, T: From<PathBuf>>(deserializer: D) -> Result<T, D::Error> {
    let parse = |text: &str| {
        if text.is_empty() { Err("the path is empty") } else { Ok(PathBuf::from(text)) }
    };
    text(deserializer, "a path in quotes", parse).map(T::from)
}

/// Reads the name of a web app: a script with or without an ending, then perhaps `:` and the name of an export.
pub(crate) fn app<'de, D: Deserializer<'de>, T: From<String>>(deserializer: D) -> Result<T, D::Error> {
    let parse = |text: &str| {
        let is_word = |part: &str| !part.is_empty() && part.len() <= 200 && !part.contains(char::is_control);
        let (script, name) = text.split_once(':').unwrap_or((text, "app"));
        let stays_inside = !script.starts_with('/') && !script.split('/').any(|part| part == "..");
        let is_app = is_word(script) && is_word(name) && stays_inside && !name.contains([':', '/']);
        if is_app { Ok(text.to_owned()) } else { Err(format!("{text:?} is not {APP_WORDS}")) }
    };
    text(deserializer, APP_WORDS, parse).map(T::from)
}

/// Reads a checked name into its type or an `Option`.
pub(crate) fn name<'de, N, D, T>(deserializer: D) -> Result<T, D::Error>
where
    N: TryFrom<String, Error: fmt::Display>,
    D: Deserializer<'de>,
    T: From<N>,
{
    text(deserializer, NAME_WORDS, |text| N::try_from(text.to_owned())).map(T::from)
}

/// Reads a table into a struct. Without this, serde would also accept a list of the values of the fields.
pub(crate) fn table<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(Table(PhantomData))
}

/// Reads a table as in [`table`], where the table may be left out.
pub(crate) fn some_table<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    table(deserializer).map(Some)
}

/// Reads a list of tables, each as in [`table`].
pub(crate) fn tables<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let items = Vec::<Item<T>>::deserialize(deserializer)?;
    Ok(items.into_iter().map(|item| item.0).collect())
}

/// Reads a list with at least one item.
pub(crate) fn filled<'de, D, T>(deserializer: D, expected: &'static str) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let items = Vec::<T>::deserialize(deserializer)?;
    if items.is_empty() { Err(refused("the list is empty", expected)) } else { Ok(items) }
}

/// The error for a value of the right type that is refused, with the reason.
pub(crate) fn refused<E: Error>(reason: &str, expected: &'static str) -> E {
    E::invalid_value(Unexpected::Other(reason), &expected)
}

/// Reads a program with its arguments.
pub(crate) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let words = Vec::<Word>::deserialize(deserializer)?;
    if words.first().is_none_or(|program| program.0.is_empty()) {
        return Err(refused("the program is missing", COMMAND_WORDS));
    }
    Ok(Some(words.into_iter().map(|word| word.0).collect()))
}

/// Reads a list of paths that are not empty.
pub(crate) fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let paths = Vec::<Word>::deserialize(deserializer)?;
    if paths.iter().any(|path| path.0.is_empty()) {
        return Err(refused("a path is empty", "a list of paths"));
    }
    Ok(paths.into_iter().map(|path| path.0.into()).collect())
}

/// One text of a list.
struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, TEXT_WORDS, |text| Ok::<_, String>(Self(text.to_owned())))
    }
}

/// One table of a list.
struct Item<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        table(deserializer).map(Self)
    }
}

struct Table<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Table<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

struct Text<T, E> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, E>,
}

impl<T, E: fmt::Display> Visitor<'_> for Text<T, E> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<F: Error>(self, text: &str) -> Result<T, F> {
        (self.parse)(text).map_err(|reason| refused(&reason.to_string(), self.expected))
    }
}

struct Whole<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Visitor<'_> for Whole<MIN, MAX> {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {MIN} to {MAX}")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u32, E> {
        let found = u32::try_from(value).ok().filter(|value| (MIN..=MAX).contains(value));
        found.ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u32, E> {
        Err(E::invalid_value(Unexpected::Unsigned(value), &self)) // beyond i64, so beyond MAX
    }
}
