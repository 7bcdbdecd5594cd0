//! Parts of the caller's JSON as messages show them.

/// Characters of a text that a message shows.
const SHOWN: usize = 60;

/// The start of a text.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text as a JSON string, shortened.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(shortened(text)).to_string()
}
