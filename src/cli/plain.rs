//! Texts of a gateway and of functions behind it, as a terminal may show them.

/// The text without characters that a terminal would obey: control characters but line breaks and tabs, and those that
/// change the direction of writing.
pub(super) fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

/// The same on one line.
pub(super) fn plain_line(text: &str) -> String {
    plain(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_replaced() {
        assert_eq!(
            plain("a\u{1b}[31m\u{7}\u{9b}\u{202e}\r\n\tö"),
            "a\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}\u{fffd}\n\tö"
        );
        assert_eq!(plain_line("a\nb\u{1b}"), "a b\u{fffd}");
    }
}
