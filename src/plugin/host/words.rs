//! The errors that a hook call writes before it traps. Only the end is kept.

use crate::plugin::trap::WORDS_LIMIT;

/// The end of what was written.
#[derive(Debug, Default)]
pub(super) struct Words(Vec<u8>);

impl Words {
    /// Adds what is written next. Up to twice the limit is kept, so that bytes are seldom moved.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(WORDS_LIMIT)..];
        if self.0.len() + bytes.len() > 2 * WORDS_LIMIT {
            self.0.drain(..self.0.len().saturating_sub(WORDS_LIMIT));
        }
        self.0.extend_from_slice(bytes);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let mut words = Words::default();
        for _ in 0..1000 {
            words.add(&[b'a'; 100]);
        }
        words.add(&[b'b'; 3 * WORDS_LIMIT]);
        words.add("ä the end".as_bytes());
        assert!(words.text().ends_with("bä the end") && words.text().len() <= 2 * WORDS_LIMIT);
        words.clear();
        assert_eq!(words.text(), "");
    }
}
