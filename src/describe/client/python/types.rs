//! Types and literals as Python writes them.

use serde_json::Value;

use crate::describe::client::types::Type;
use crate::describe::client::words::WIDTH;

/// Where a type stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// A parameter, which takes any sequence for a list.
    Argument,
    /// A field or a result.
    Field,
    /// The value of an alias, which is computed when the module is imported: other names may be unknown then.
    Alias,
}

/// The text of a type.
#[must_use]
pub(super) fn text_of(kind: &Type, position: Position) -> String {
    let is_argument = position == Position::Argument;
    match kind {
        Type::Any => "Any".to_owned(),
        Type::Never if is_argument => "NoReturn".to_owned(),
        // A method whose result this is could not return it.
        Type::Never => "Any".to_owned(),
        Type::Null => "None".to_owned(),
        Type::Boolean => "bool".to_owned(),
        Type::Integer => "int".to_owned(),
        Type::Number => "float".to_owned(),
        Type::Text => "str".to_owned(),
        Type::Bytes => "bytes".to_owned(),
        Type::File => "File".to_owned(),
        Type::Date | Type::Time | Type::DateTime => union(std::slice::from_ref(kind), position),
        Type::Literals(values) => literals(values),
        Type::List(item) => {
            format!("{}[{}]", if is_argument { "Sequence" } else { "List" }, text_of(item, position))
        }
        // Of JSON comes a list, whose items Python cannot tell apart by their places.
        Type::Tuple(items, fewest) if is_argument && *fewest == items.len() => {
            let items: Vec<String> = items.iter().map(|item| text_of(item, position)).collect();
            format!("Tuple[{}]", items.join(", "))
        }
        Type::Tuple(items, _) => {
            format!("{}[{}]", if is_argument { "Sequence" } else { "List" }, union(items, position))
        }
        Type::Map(of) => {
            format!("{}[str, {}]", if is_argument { "Mapping" } else { "Dict" }, text_of(of, position))
        }
        Type::Union(kinds) => union(kinds, position),
        Type::Named(name) if position == Position::Alias => format!("\"{name}\""),
        Type::Named(name) => name.clone(),
    }
}

fn union(kinds: &[Type], position: Position) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in kinds.iter().flat_map(|kind| parts(kind, position)) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        _ if texts.iter().any(|text| text == "Any") => "Any".to_owned(),
        [only] => only.clone(),
        [one, none] | [none, one] if none == "None" => format!("Optional[{one}]"),
        texts => format!("Union[{}]", texts.join(", ")),
    }
}

/// The parts of the union that a type is.
fn parts(kind: &Type, position: Position) -> Vec<String> {
    let or_text = |other: &str| vec!["str".to_owned(), other.to_owned()];
    match kind {
        Type::Date => or_text("_datetime.date"),
        Type::Time => or_text("_datetime.time"),
        Type::DateTime => or_text("_datetime.datetime"),
        Type::Union(kinds) => kinds.iter().flat_map(|kind| parts(kind, position)).collect(),
        other => vec![text_of(other, position)],
    }
}

fn literals(values: &[Value]) -> String {
    if values.iter().all(Value::is_null) {
        return "None".to_owned();
    }
    let text = |value: &Value| match value {
        Value::String(text) => literal(text),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Null => "None".to_owned(),
        other => other.to_string(),
    };
    format!("Literal[{}]", values.iter().map(text).collect::<Vec<_>>().join(", "))
}

/// A literal of ASCII.
#[must_use]
pub(super) fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            c if c.is_ascii_graphic() || c == ' ' => literal.push(c),
            c => literal.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    literal.push('"');
    literal
}

/// A line with a type, broken inside the type's brackets if it is long.
#[must_use]
pub(super) fn broken(line: &str, end: &str, indentation: usize) -> String {
    let space = " ".repeat(indentation);
    let whole = format!("{space}{line}{end}");
    let Some((start, items, close)) = split(line).filter(|_| whole.len() > WIDTH) else { return whole };
    let inner = " ".repeat(indentation + 4);
    let mut text = format!("{space}{start}");
    let mut column = WIDTH;
    for item in items {
        if column + item.len() + 2 <= WIDTH {
            text.push_str(&format!(" {item},"));
            column += item.len() + 2;
            continue;
        }
        let broken = broken(item, ",", indentation + 4);
        column = if broken.contains('\n') { WIDTH } else { inner.len() + item.len() + 1 };
        text.push('\n');
        text.push_str(&broken);
    }
    format!("{text}\n{space}{close}{end}")
}

/// The parts of a line around and between the commas of its outermost brackets.
fn split(line: &str) -> Option<(&str, Vec<&str>, &str)> {
    let (mut depth, mut is_text, mut is_escape) = (0_usize, false, false);
    let (mut open, mut from, mut items) = (None, 0, Vec::new());
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if is_escape => is_escape = false,
            b'\\' => is_escape = true,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'[' => {
                depth += 1;
                if depth == 1 {
                    open = Some(at + 1);
                    from = at + 1;
                }
            }
            b',' if depth == 1 => {
                items.push(line[from..at].trim());
                from = at + 1;
            }
            b']' if depth == 1 => {
                items.push(line[from..at].trim());
                return Some((&line[..open?], items, &line[at..]));
            }
            b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}
