//! Types and literals as TypeScript writes them.

use serde_json::Value;

use crate::describe::client::types::Type;
use crate::describe::client::words::WIDTH;

/// Where a type stands: arguments may be values of the language where others have text or numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// The type of a parameter.
    Argument,
    /// Any other.
    Field,
}

/// The parts of the union that a type is.
#[must_use]
pub(super) fn parts(kind: &Type, position: Position) -> Vec<String> {
    let is_argument = position == Position::Argument;
    let one = |text: &str| vec![text.to_owned()];
    match kind {
        Type::Any => one("unknown"),
        Type::Never => one("never"),
        Type::Null => one("null"),
        Type::Boolean => one("boolean"),
        Type::Integer if is_argument => vec!["number".to_owned(), "bigint".to_owned()],
        Type::Integer | Type::Number => one("number"),
        Type::Text | Type::Date | Type::Time => one("string"),
        Type::DateTime => vec!["string".to_owned(), "Date".to_owned()],
        Type::Bytes => one("Uint8Array"),
        Type::File => one("Blob"),
        Type::Literals(values) => values.iter().map(value).collect(),
        Type::List(item) => {
            let inner = parts(item, position);
            let inner = if inner.len() == 1 { inner.concat() } else { format!("({})", inner.join(" | ")) };
            let readonly = if is_argument { "readonly " } else { "" };
            let inner = if inner.starts_with("readonly ") { format!("({inner})") } else { inner };
            vec![format!("{readonly}{inner}[]")]
        }
        Type::Tuple(items, fewest) => {
            let texts = items.iter().enumerate().map(|(at, item)| {
                let inner = parts(item, position).join(" | ");
                if at < *fewest { inner } else { format!("({inner})?") }
            });
            let readonly = if is_argument { "readonly " } else { "" };
            vec![format!("{readonly}[{}]", texts.collect::<Vec<_>>().join(", "))]
        }
        // `Record` would not let a type refer to itself.
        Type::Map(of) => vec![format!("{{ [key: string]: {} }}", parts(of, position).join(" | "))],
        Type::Union(kinds) => {
            let mut all: Vec<String> = Vec::new();
            for part in kinds.iter().flat_map(|kind| parts(kind, position)) {
                if !all.contains(&part) {
                    all.push(part);
                }
            }
            all
        }
        Type::Named(name) => one(name),
    }
}

/// Adds a line with a type, or several if it is long.
pub(super) fn add_typed(start: &str, kind: &Type, end: &str, indentation: usize, text: &mut String) {
    add_parts(start, &parts(kind, Position::Field), end, indentation, text);
}

/// Adds a line with a union of these parts, or several if it is long.
pub(super) fn add_parts(start: &str, parts: &[String], end: &str, indentation: usize, text: &mut String) {
    let space = " ".repeat(indentation);
    let line = format!("{space}{start}{}{end}", parts.join(" | "));
    if line.chars().count() <= WIDTH || parts.len() == 1 {
        text.push_str(&line);
        text.push('\n');
        return;
    }
    text.push_str(&space);
    text.push_str(start.trim_end());
    let mut column = WIDTH;
    for part in parts {
        let part = format!(" | {part}");
        if column + part.len() > WIDTH {
            text.push_str(&format!("\n{space} "));
            column = indentation + 1;
        }
        column += part.len();
        text.push_str(&part);
    }
    text.push_str(end);
    text.push('\n');
}

/// The key of an object.
#[must_use]
pub(super) fn property(key: &str) -> String {
    let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain { key.to_owned() } else { literal(key) }
}

/// A literal of ASCII: every other character, and what a page could take for its own, is escaped.
#[must_use]
pub(super) fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for unit in text.encode_utf16() {
        match char::from_u32(unit.into()) {
            Some('"') => literal.push_str("\\\""),
            Some('\\') => literal.push_str("\\\\"),
            Some(c) if (c.is_ascii_graphic() || c == ' ') && c != '<' => literal.push(c),
            _ => literal.push_str(&format!("\\u{unit:04x}")),
        }
    }
    literal.push('"');
    literal
}

fn value(value: &Value) -> String {
    match value {
        Value::String(text) => literal(text),
        other => other.to_string(),
    }
}
