//! What to write in place of a line that is no TOML. It looks at the line, not at the parser's message, and at the line
//! as it is shown, in which secrets are concealed.

use crate::config::fault::Fault;
use crate::config::locations::Location;

/// What stands for a concealed text.
const CONCEALED: char = '*';

/// The fault of a line that the parser has refused with `message`: at the value, if it says what is wrong with that.
pub(super) fn fault(location: Location, message: &str) -> Fault {
    let Some(words) = words(&location) else { return Fault::new(location, message) };
    let before = location.text.split_once('=').map_or("", |(key, _)| key);
    let value = location.text[before.len()..].trim_start_matches(['=', ' ', '\t']);
    let column = location.text.chars().count() - value.chars().count() + 1;
    let width = value.trim_end().chars().count().max(1);
    Fault::new(Location { column, width, ..location }, words)
}

/// What is wrong with a line that sets a key, if it can be said.
fn words(location: &Location) -> Option<String> {
    let (key, value) = location.text.split_once('=')?;
    // The fault is in the value.
    if location.column <= key.chars().count() || !key.trim().chars().all(is_key) {
        return None;
    }
    let (key, value) = (key.trim(), value.trim());
    match value.chars().next() {
        // What it is cannot be seen.
        Some(_) if value.contains(CONCEALED) => None,
        None => Some(format!("{key:?} has no value; text is written in quotes")),
        Some(quote @ ('"' | '\'')) if !value[1..].contains(quote) => Some(format!("the text has no closing {quote}")),
        Some('"' | '\'' | '[' | '{') => None,
        Some(_) => unquoted(key, value),
    }
}

/// What to write in place of a text without quotes.
fn unquoted(key: &str, value: &str) -> Option<String> {
    let text = value.split(" #").next().unwrap_or(value).trim_end();
    let is_one = !text.contains([' ', '\t', '"', '\'', '=', ',', ']', '}', '\\']);
    let is_text = is_one && toml::from_str::<toml::Table>(&format!("key = {text}")).is_err();
    is_text.then(|| format!("text is written in quotes: {key} = \"{text}\""))
}

fn is_key(one: char) -> bool {
    one.is_ascii_alphanumeric() || "-_.\"".contains(one)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn said(line: &str) -> String {
        let column = line.find('=').map_or(1, |at| at + 3);
        let location = Location { file: Path::new("m.toml").into(), line: 1, column, text: line.to_owned(), width: 1 };
        fault(location, "the parser's words").message
    }

    #[test]
    fn a_line_says_what_to_write_instead() {
        for (line, words) in [
            ("listen = 127.0.0.1:9000", "text is written in quotes: listen = \"127.0.0.1:9000\""),
            ("  path = ./f  # mine", "text is written in quotes: path = \"./f\""),
            ("env.A = node", "text is written in quotes: env.A = \"node\""),
            ("timeout =", "\"timeout\" has no value; text is written in quotes"),
            ("name = \"a", "the text has no closing \""),
            ("name = 'a", "the text has no closing '"),
        ] {
            assert_eq!(said(line), words, "{line}");
        }
        for line in ["[server", "a b = c", "x = [a, b]", "x = 1 y = 2", "x = 7", "x = \"a\"b\"", "x = ****", "x"] {
            assert_eq!(said(line), "the parser's words", "{line}");
        }
    }
}
