//! Turns the errors of `serde` into sentences for the person who wrote the file. What a key takes is kept from them;
//! the value found is described from the tree, so that nothing secret or interpolated gets into a message.

use toml::de::DeValue;

/// An item with a fault, as far as a message may speak of it.
pub(super) struct Subject<'a> {
    /// Its key, or that of the list it is in.
    pub(super) key: &'a str,
    /// What it is.
    pub(super) value: &'a DeValue<'a>,
    /// The expressions its text was made of.
    pub(super) origin: Option<&'a str>,
    /// Whether it may be a secret.
    pub(super) secret: bool,
}

/// Says that a value is of the wrong type, form or range. `error` is serde's message.
pub(super) fn wrong_value(subject: &Subject<'_>, error: &str) -> String {
    let Subject { key, value, origin, secret } = subject;
    match *key {
        "deployment" | "plugin" if value.is_table() => {
            return format!("each {key} is written [[{key}]], with two pairs of brackets");
        }
        "plugins" if value.is_array() => {
            return "each plugin is written [[plugin]]; [plugins] is one table, of what holds for all".to_owned();
        }
        _ => {}
    }
    // The last one: a value may hold these words, what is expected does not.
    let Some((found, expected)) = error.rsplit_once(", expected ") else {
        return format!("{key:?} does not take this value");
    };
    let expected = match expected {
        "a sequence" => "a list in [ ]",
        "a map" => "a table in { }",
        "a boolean" => "true or false",
        words => words,
    };
    if let Some(origin) = origin {
        return format!("{key:?} takes {expected}; the text from {origin} is something else");
    }
    match (value, found.strip_prefix("invalid value: ")) {
        (DeValue::String(_) | DeValue::Float(_) | DeValue::Array(_) | DeValue::Table(_), Some(reason)) if !secret => {
            format!("{key:?}: {reason}")
        }
        (DeValue::Integer(number), Some(_)) if !secret => {
            format!("{key:?} takes {expected}, not {number}")
        }
        _ => format!("{key:?} takes {expected}, not {}", kind(value)),
    }
}

/// Says that a key is unknown and which one may be meant, which is none of those `supplied` from elsewhere. `error` is
/// serde's message.
pub(super) fn unknown_key(key: &str, error: &str, supplied: &[&str]) -> String {
    let known = error.strip_prefix("unknown field `").and_then(|rest| rest.strip_prefix(key)).unwrap_or_default();
    let known: Vec<&str> = known.split('`').skip(2).step_by(2).filter(|known| !supplied.contains(known)).collect();
    match nearest(key, &known) {
        Some(near) => format!("unknown key {key:?}, did you mean {near:?}?"),
        None if known.is_empty() => format!("unknown key {key:?}"),
        None => format!("unknown key {key:?}; known here: {}", known.join(", ")),
    }
}

/// Says which keys a table lacks.
pub(super) fn missing_keys(table: &str, keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    format!("{table:?} needs {}", quoted.join(" and "))
}

/// The key that serde's message says is missing.
pub(super) fn missing_field(error: &str) -> Option<&str> {
    error.strip_prefix("missing field `")?.strip_suffix('`')
}

fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| text.replace(['-', '_'], "").to_lowercase();
    let wanted = plain(key);
    let distance = |candidate: &str| {
        let candidate = plain(candidate);
        let part = wanted.len() >= 4 && (candidate.contains(&wanted) || wanted.contains(&candidate));
        if part { 1 } else { strsim::damerau_levenshtein(&wanted, &candidate) }
    };
    let best = known.iter().map(|candidate| (distance(candidate), *candidate)).min_by_key(|(distance, _)| *distance)?;
    (best.0 <= (wanted.chars().count() / 3).max(1)).then_some(best.1)
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

    #[test]
    fn the_nearest_key_is_named_or_else_all() {
        let error = |key: &str| format!("unknown field `{key}`, expected one of `timeout`, `max_memory`, `port`");
        for (key, near) in
            [("prot", "port"), ("time-out", "timeout"), ("maxMemory", "max_memory"), ("memory", "max_memory")]
        {
            assert_eq!(unknown_key(key, &error(key), &[]), format!("unknown key {key:?}, did you mean {near:?}?"));
        }
        let message = unknown_key("colour`x", &error("colour`x"), &[]);
        assert_eq!(message, "unknown key \"colour`x\"; known here: timeout, max_memory, port");
        assert_eq!(
            unknown_key("prot", &error("prot"), &["port"]),
            "unknown key \"prot\"; known here: timeout, max_memory"
        );
    }

    #[test]
    fn a_value_with_an_origin_is_not_in_the_message() {
        let value = DeValue::String("s3cret, expected u8".into());
        let subject = Subject { key: "queue", value: &value, origin: Some("${env:Q}"), secret: false };
        let error = "invalid type: string \"s3cret, expected u8\", expected a whole number from 0 to 9";
        let message = wrong_value(&subject, error);
        assert_eq!(message, "\"queue\" takes a whole number from 0 to 9; the text from ${env:Q} is something else");
    }
}
