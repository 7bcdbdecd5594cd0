//! The output of a utility: split into lines as it comes, and the end of it kept for messages.

use crate::process::output::Output;

/// A line is cut here.
const LINE_BYTES: usize = 8 * 1024;
/// Bytes of each output that are kept.
const KEPT_BYTES: usize = 4 * 1024;

/// Splits pieces of an output into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The line that has no end yet, up to where it is cut.
    begun: Vec<u8>,
}

impl Lines {
    /// Gives each line that ends in `bytes` to `print`.
    pub(super) fn add(&mut self, bytes: &[u8], print: &mut dyn FnMut(&str)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.extend(&rest[..end]);
            self.print_line(print);
            rest = &rest[end + 1..];
        }
        self.extend(rest);
    }

    /// Gives the last line to `print`, if it has no line feed.
    pub(super) fn end(&mut self, print: &mut dyn FnMut(&str)) {
        if !self.begun.is_empty() {
            self.print_line(print);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES - self.begun.len();
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn print_line(&mut self, print: &mut dyn FnMut(&str)) {
        let line = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
        print(&String::from_utf8_lossy(line));
        self.begun.clear();
    }
}

/// The last bytes of both outputs.
#[derive(Debug, Default)]
pub(super) struct Tail {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Tail {
    /// Adds printed bytes.
    pub(super) fn add(&mut self, output: Output, bytes: &[u8]) {
        let kept = if output == Output::Stdout { &mut self.stdout } else { &mut self.stderr };
        kept.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT_BYTES)..]);
        kept.drain(..kept.len().saturating_sub(KEPT_BYTES));
    }

    /// The end of standard error, or of standard output where that is blank, as clean text: no colours, no bells.
    pub(super) fn text(&self) -> String {
        let stderr = clean(&self.stderr);
        if stderr.is_empty() { clean(&self.stdout) } else { stderr }
    }
}

fn clean(bytes: &[u8]) -> String {
    // The cut at the start may have split a character: skip the rest of it.
    let start = bytes.iter().take(3).take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count();
    let text = String::from_utf8_lossy(&bytes[start..]);
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            // Colours: ESC [ parameters letter.
            '\x1b' if characters.next_if_eq(&'[').is_some() => {
                characters.by_ref().find(|character| character.is_alphabetic());
            }
            '\n' | '\t' => clean.push(character),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.add(piece.as_bytes(), &mut |line| found.push(line.to_owned()));
        }
        lines.end(&mut |line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn lines_are_whole_whatever_pieces_they_came_in() {
        assert_eq!(lines(&["on", "e\r\ntw", "o\n\nthree"]), ["one", "two", "", "three"]);
        assert_eq!(lines(&["end\n"]), ["end"]);
        let long = "x".repeat(3 * LINE_BYTES);
        assert_eq!(lines(&[&long, "\nnext\n"]), ["x".repeat(LINE_BYTES).as_str(), "next"]);
    }

    #[test]
    fn the_tail_is_the_end_of_standard_error_else_of_standard_output() {
        let mut words = Tail::default();
        words.add(Output::Stdout, b"working\n");
        words.add(Output::Stderr, b" \n");
        assert_eq!(words.text(), "working");
        for _ in 0..1000 {
            words.add(Output::Stderr, "näher\n".as_bytes());
        }
        words.add(Output::Stderr, b"\x1b[1;31mfailed\x1b[0m\x07\n");
        let text = words.text();
        assert!(text.len() <= KEPT_BYTES && text.ends_with("näher\nfailed"), "{text}");
        assert!(!text.contains('\u{fffd}'));
    }
}
