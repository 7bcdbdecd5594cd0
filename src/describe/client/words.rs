//! Text that authors of functions wrote, as it may stand in the source of another program: identifiers, comments. All
//! of it may be hostile. Literals are left to the languages.

use std::collections::HashSet;

/// Columns of the lines that are broken where they can be.
pub(super) const WIDTH: usize = 88;

/// The identifiers of one scope.
#[derive(Debug)]
pub(super) struct Names {
    taken: HashSet<String>,
    reserved: &'static [&'static str],
}

impl Names {
    /// A scope without names yet, in which these words cannot be names.
    #[must_use]
    pub(super) fn new(reserved: &'static [&'static str]) -> Self {
        Self { taken: HashSet::new(), reserved }
    }

    /// Whether this name is free.
    #[must_use]
    pub(super) fn is_free(&self, name: &str) -> bool {
        !self.taken.contains(name) && !self.reserved.contains(&name)
    }

    /// Leaves a name to another scope, inside or around this one.
    pub(super) fn avoid(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    /// Takes names for these texts, in their order. A text that is an identifier itself keeps it.
    #[must_use]
    pub(super) fn take_all(&mut self, texts: &[&str], otherwise: &str) -> Vec<String> {
        let mut names: Vec<Option<String>> = Vec::new();
        for text in texts {
            let is_kept = !text.is_empty() && identifier(text) == *text && self.is_free(text);
            names.push(is_kept.then(|| self.take(text)));
        }
        let several = texts.len() > 1;
        let named = texts.iter().zip(names).enumerate().map(|(at, (text, name))| {
            let fallback = if several { format!("{otherwise}{}", at + 1) } else { otherwise.to_owned() };
            name.unwrap_or_else(|| self.take(if identifier(text).is_empty() { &fallback } else { text }))
        });
        named.collect()
    }

    /// Takes a name for a text: its identifier, with a number if that is taken.
    pub(super) fn take(&mut self, text: &str) -> String {
        let mut name = identifier(text);
        if name.is_empty() || self.reserved.contains(&name.as_str()) {
            name.push('_');
        }
        let mut free = name.clone();
        let mut count = 1;
        while !self.is_free(&free) {
            count += 1;
            free = format!("{name}_{count}");
        }
        self.taken.insert(free.clone());
        free
    }
}

/// The text as an identifier of ASCII; empty if it has no letter or digit, as the pattern of a parameter may have none.
/// Two underscores in front have a meaning in both languages.
#[must_use]
pub(super) fn identifier(text: &str) -> String {
    const LONGEST: usize = 64;
    if text.starts_with(['{', '[']) || !text.contains(|c: char| c.is_ascii_alphanumeric()) {
        return String::new();
    }
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = text.chars().take(LONGEST).map(fits).collect();
    while name.starts_with("__") {
        name.remove(0);
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// The words of a text as one word in which each begins with a capital letter: the form of names of types.
#[must_use]
pub(super) fn capitalized(text: &str) -> String {
    let mut name = String::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        name.push_str(&first.to_ascii_uppercase());
        name.push_str(rest);
    }
    name
}

/// The lines of a text for a comment, none wider than this unless a word is. No line has a character that ends lines in
/// some language, controls anything, or changes the direction of writing.
#[must_use]
pub(super) fn lines(text: &str, width: usize) -> Vec<String> {
    let ends_line = |c: char| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let text = text.replace("\r\n", "\n");
    let mut lines = Vec::new();
    for line in text.trim_matches(ends_line).split(ends_line) {
        wrap(&plain(line), width, &mut lines);
    }
    lines
}

/// The text without characters that are not seen.
fn plain(line: &str) -> String {
    let seen = |c: char| match c {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    line.chars().map(seen).collect()
}

fn wrap(line: &str, width: usize, lines: &mut Vec<String>) {
    let line = line.trim_end();
    let indentation: String = line.chars().take_while(|c| *c == ' ').take(width / 2).collect();
    if line.chars().count() <= width {
        lines.push(line.to_owned());
        return;
    }
    let mut current = String::new();
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let length = current.chars().count() + 1 + word.chars().count();
        if !current.is_empty() && length > width {
            lines.push(std::mem::take(&mut current));
        }
        current.push_str(if current.is_empty() { &indentation } else { " " });
        current.push_str(word);
    }
    lines.push(current);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers_and_different() {
        let mut names = Names::new(&["class"]);
        let texts = ["lib/add", "lib_add", "class", "1st", "", "{ x }", "größe", "__proto__", "$", "a\"];evil("];
        let expected = [
            "lib_add_2",
            "lib_add",
            "class_",
            "_1st",
            "argument5",
            "argument6",
            "gr__e",
            "_proto__",
            "argument9",
            "a___evil_",
        ];
        assert_eq!(names.take_all(&texts, "argument"), expected);
        assert_eq!(names.take("class"), "class__2");
        assert_eq!(Names::new(&[]).take_all(&["{ x }"], "value"), ["value"]);
        assert_eq!(capitalized("place-order items"), "PlaceOrderItems");
    }

    #[test]
    fn comments_have_plain_lines() {
        let text = "One\u{2028}two\r\nthree\u{202e}\0\n  four and five\u{85}";
        assert_eq!(lines(text, 10), ["One", "two", "three\u{fffd}\u{fffd}", "  four and", "  five"]);
        assert_eq!(lines("abcdefghijkl mn", 5), ["abcdefghijkl", "mn"]);
    }
}
