//! The text of a configuration file: turns byte spans into locations and replaces secrets in the lines that it shows.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::config::locations::Location;

/// A file's text with the starts of its lines and the spans of its secrets.
pub(super) struct Source<'t> {
    /// The text without a byte order mark; spans count from its start.
    pub(super) text: &'t str,
    file: Arc<Path>,
    line_starts: Vec<usize>,
    hidden: Vec<Range<usize>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(file: &Path, text: &'t str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_breaks).collect();
        Self { text, file: file.into(), line_starts, hidden: Vec::new() }
    }

    /// Shows `*` instead of the characters of this span from now on.
    pub(super) fn hide(&mut self, span: Range<usize>) {
        self.hidden.push(span);
    }

    /// Whether the span overlaps a hidden one.
    pub(super) fn hides(&self, span: &Range<usize>) -> bool {
        self.hidden.iter().any(|hidden| hidden.start < span.end && span.start < hidden.end)
    }

    /// The location of a span. A span over several lines ends with its first line.
    pub(super) fn location(&self, span: &Range<usize>) -> Location {
        let start = self.text.floor_char_boundary(self.last_shown(span.start));
        let line = self.line_starts.partition_point(|&line_start| line_start <= start) - 1;
        let whole = self.line_span(line);
        let start = start.min(whole.end);
        let end = self.text.floor_char_boundary(span.end.clamp(start, whole.end));
        Location {
            file: self.file.clone(),
            line: line + 1,
            column: self.text[whole.start..start].chars().count() + 1,
            text: self.shown(whole),
            width: self.text[start..end].chars().count().max(1),
        }
    }

    // A fault at the end of the file is shown at the end of its last line, not on an empty line below.
    fn last_shown(&self, at: usize) -> usize {
        if at < self.text.len() { at } else { self.text.trim_end_matches(['\r', '\n']).len() }
    }

    fn line_span(&self, line: usize) -> Range<usize> {
        let start = self.line_starts[line];
        let end = self.line_starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        start..start + self.text[start..end].trim_end_matches('\r').len()
    }

    fn shown(&self, line: Range<usize>) -> String {
        let mark = |(at, c): (usize, char)| match c {
            _ if self.hides(&(line.start + at..line.start + at + 1)) => '*',
            '\t' => '\t',
            c if c.is_control() => char::REPLACEMENT_CHARACTER, // keeps escape codes off the terminal
            c => c,
        };
        self.text[line.clone()].char_indices().map(mark).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str, span: Range<usize>) -> (usize, usize, String, usize) {
        let location = Source::new(Path::new("m"), text).location(&span);
        (location.line, location.column, location.text, location.width)
    }

    #[test]
    fn columns_count_characters_from_one() {
        assert_eq!(location("a = 1\nä = \"ö\"\n", 11..15), (2, 5, "ä = \"ö\"".into(), 3));
    }

    #[test]
    fn a_byte_order_mark_and_carriage_returns_do_not_show() {
        assert_eq!(location("\u{feff}a = 1\r\nb = 2\r\n", 7..8), (2, 1, "b = 2".into(), 1));
    }

    #[test]
    fn every_span_has_a_location() {
        for text in ["", "\n", "a", "a\n", "a\n\n", "ä\r\nb"] {
            for start in 0..=text.len() + 1 {
                for end in start..=text.len() + 2 {
                    let (line, column, shown, _) = location(text, start..end);
                    assert!(line >= 1 && column <= shown.chars().count() + 1, "{text:?} {start}..{end}");
                }
            }
        }
        assert_eq!(location("a = \n", 5..5), (1, 5, "a = ".into(), 1));
    }

    #[test]
    fn a_hidden_span_is_starred() {
        let mut source = Source::new(Path::new("m"), "token = \"abc\" # x\n");
        source.hide(8..13);
        assert_eq!(source.location(&(0..5)).text, "token = ***** # x");
    }
}
