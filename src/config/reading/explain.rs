//! The messages for refused items, in terms of the file rather than of the structs. A message shows the value only if
//! it is neither interpolated nor a possible secret.

use toml::de::DeValue;

use crate::config::reading::read_error::Reason;

/// A refused item, with the parts that its message may need.
pub(super) struct Subject<'a> {
    /// Its key, or that of the list that holds it.
    pub(super) key: &'a str,
    /// Its value.
    pub(super) value: &'a DeValue<'a>,
    /// The expressions that its text was made of.
    pub(super) origin: Option<&'a str>,
    /// Whether it may be a secret.
    pub(super) secret: bool,
}

/// The message for a value of the wrong type, form or range.
pub(super) fn wrong_value(subject: &Subject<'_>, reason: &Reason) -> String {
    let Subject { key, value, origin, secret } = subject;
    match *key {
        "deployment" | "plugin" | "route" if value.is_table() => {
            return format!("each {key} is written [[{key}]], with two pairs of brackets");
        }
        "plugins" if value.is_array() => {
            return "each plugin is written [[plugin]]; [plugins] is one table, for settings of all plugins".to_owned();
        }
        _ => {}
    }
    let (why, expected) = match reason {
        Reason::WrongType { expected } => (None, expected),
        Reason::WrongValue { why, expected } => (Some(why.as_deref()), expected),
        Reason::UnknownKey(_) | Reason::MissingKey(_) | Reason::Other(_) => {
            return format!("{key:?} does not take this value");
        }
    };
    if let Some(origin) = origin {
        return format!("{key:?} takes {expected}; the text from {origin} does not match");
    }
    match (value, why) {
        (DeValue::String(_) | DeValue::Float(_) | DeValue::Array(_) | DeValue::Table(_), Some(Some(why)))
            if !secret =>
        {
            format!("{key:?}: {why}")
        }
        (DeValue::Integer(number), Some(_)) if !secret => {
            format!("{key:?} takes {expected}, not {number}")
        }
        _ => format!("{key:?} takes {expected}, not {}", kind(value)),
    }
}

/// The message for an unknown key: it suggests the nearest known key, or lists all of them. Keys in `supplied` are
/// known to the struct but must not be set by the file, so they are not suggested.
pub(super) fn unknown_key(key: &str, known: &[&str], supplied: &[&str]) -> String {
    let known: Vec<&str> = known.iter().copied().filter(|known| !supplied.contains(known)).collect();
    match nearest(key, &known) {
        Some(near) => format!("unknown key {key:?}, did you mean {near:?}?"),
        None if known.is_empty() => format!("unknown key {key:?}"),
        None => format!("unknown key {key:?}; known here: {}", known.join(", ")),
    }
}

/// The message for a table without some of its required keys.
pub(super) fn missing_keys(table: &str, keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    format!("{table:?} needs {}", quoted.join(" and "))
}

/// The name that is meant by one with a typing error, if one is near enough.
#[must_use]
pub fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| text.replace(['-', '_'], "").to_lowercase();
    let typed = plain(key);
    let distances = |candidate: &str| {
        let candidate = plain(candidate);
        let edits = strsim::damerau_levenshtein(&typed, &candidate);
        // A key that is part of the other one counts as one edit, but at the same distance fewer real edits win:
        // "deploymnt" is "deployment" rather than "deploy".
        let is_part = typed.len() >= 4 && (candidate.contains(&typed) || typed.contains(&candidate));
        (if is_part { 1 } else { edits }, edits)
    };
    let ranked = known.iter().map(|candidate| (distances(candidate), *candidate));
    let ((distance, _), best) = ranked.min_by_key(|(distances, _)| *distances)?;
    (distance <= (typed.chars().count() / 3).max(1)).then_some(best)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["timeout", "max_memory", "port"];

    #[test]
    fn the_nearest_key_is_named_or_else_all() {
        for (key, near) in
            [("prot", "port"), ("time-out", "timeout"), ("maxMemory", "max_memory"), ("memory", "max_memory")]
        {
            assert_eq!(unknown_key(key, &KNOWN, &[]), format!("unknown key {key:?}, did you mean {near:?}?"));
        }
        let deploy = unknown_key("deploymnt", &["deploy", "deployment"], &[]);
        assert_eq!(deploy, "unknown key \"deploymnt\", did you mean \"deployment\"?");
        let message = unknown_key("colour`x", &KNOWN, &[]);
        assert_eq!(message, "unknown key \"colour`x\"; known here: timeout, max_memory, port");
        assert_eq!(unknown_key("prot", &KNOWN, &["port"]), "unknown key \"prot\"; known here: timeout, max_memory");
    }

    #[test]
    fn a_value_with_an_origin_is_not_in_the_message() {
        let value = DeValue::String("s3cret, expected u8".into());
        let subject = Subject { key: "queue", value: &value, origin: Some("${env:Q}"), secret: false };
        let reason = Reason::WrongType { expected: "a whole number from 0 to 9".to_owned() };
        let message = wrong_value(&subject, &reason);
        assert_eq!(message, "\"queue\" takes a whole number from 0 to 9; the text from ${env:Q} does not match");
    }
}
