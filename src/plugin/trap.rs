//! How a hook trapped: the engine's reason, what the plugin wrote before, and the functions in which it happened.

use std::fmt;

use rustc_demangle::try_demangle;
use serde::{Deserialize, Serialize};
use wasmtime::WasmBacktrace;

/// Most bytes of a plugin's last words: the end counts.
pub(super) const WORDS_LIMIT: usize = 4 << 10;
/// Longest text of a trap with all its parts, in bytes.
const TEXT_LIMIT: usize = 12 << 10;
/// Longest reason, in characters.
const REASON_LIMIT: usize = 1_000;
/// Most functions of a stack, and the longest name of one in characters.
const FRAMES: usize = 16;
const NAME_LIMIT: usize = 200;
/// The start of names of functions that only carry a panic on.
const MACHINERY: [&str; 7] = ["core::", "std::", "alloc::", "rust_panic", "__rust", "__rustc", "panic_abort"];

/// How a hook trapped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trap {
    /// Why, in the words of the engine or the gateway.
    pub reason: String,
    /// What the plugin printed to standard error and logged as errors in this hook call: an exception with its stack,
    /// the message of a panic. Empty if it wrote nothing.
    pub words: String,
    /// The functions in which it trapped, the innermost first. Empty if the component does not name its functions.
    pub stack: Vec<String>,
}

impl Trap {
    /// A trap without words and stack.
    pub(super) fn plain(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }

    /// The trap that ended a call.
    pub(super) fn of(error: &wasmtime::Error, words: &str) -> Self {
        let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
        let names = frames.iter().filter_map(|frame| frame.func_name()).filter_map(shown).collect();
        Self { reason: error.root_cause().to_string(), words: words.to_owned(), stack: without_machinery(names) }
            .bounded()
    }

    /// The same in texts that are readable and not too long: a process may report anything.
    pub(super) fn bounded(self) -> Self {
        let words = &self.words[self.words.ceil_char_boundary(self.words.len().saturating_sub(WORDS_LIMIT))..];
        Self {
            reason: line(&self.reason, REASON_LIMIT),
            words: readable_text(words.trim_end()),
            stack: self.stack.iter().take(FRAMES).map(|name| line(name, NAME_LIMIT)).collect(),
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        for line in self.words.lines() {
            write!(f, "\n  {line}")?;
        }
        for name in &self.stack {
            write!(f, "\n  in {name}")?;
        }
        Ok(())
    }
}

/// A function's name as its author wrote it; none for a mangled name of C++, which only the engines of scripts have.
fn shown(name: &str) -> Option<String> {
    match try_demangle(name) {
        Ok(name) => Some(format!("{name:#}")),
        Err(_) => (!name.starts_with("_Z")).then(|| name.to_owned()),
    }
}

/// The stack without the functions at its top that only carry a panic on.
fn without_machinery(names: Vec<String>) -> Vec<String> {
    let is_machinery = |name: &&String| MACHINERY.iter().any(|start| name.trim_start_matches('<').starts_with(start));
    let above = names.iter().take_while(is_machinery).count();
    if above == names.len() { names } else { names[above..].to_vec() }
}

/// The lines of a text that may hold what a trap says, without control characters, shortened.
pub(super) fn readable_text(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(TEXT_LIMIT)];
    text.lines().map(|text| line(text, TEXT_LIMIT)).collect::<Vec<_>>().join("\n")
}

/// A text as one line without control characters, shortened.
fn line(text: &str, limit: usize) -> String {
    text.chars().take(limit).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        let mangled = "_ZN7my_demo4deep17h0123456789abcdefE";
        assert_eq!(shown(mangled).as_deref(), Some("my_demo::deep"));
        assert_eq!(shown("hook").as_deref(), Some("hook"));
        assert_eq!(shown("_ZN2js4CallEv_"), None);
    }

    #[test]
    fn a_stack_begins_where_the_panic_does() {
        let stack = |names: &[&str]| without_machinery(names.iter().map(|name| (*name).to_owned()).collect());
        let panic = ["std::sys::abort", "<core::X as Y>::z", "my_demo::deep", "core::ops::call", "hook"];
        assert_eq!(stack(&panic), ["my_demo::deep", "core::ops::call", "hook"]);
        assert_eq!(stack(&["core::abort"]), ["core::abort"]);
    }

    #[test]
    fn every_part_is_bounded_and_printable() {
        let trap = Trap {
            reason: "r".repeat(1 << 20),
            words: format!("{}ä\u{1b}[1m\nthe end\n", "w".repeat(1 << 20)),
            stack: vec!["s\n".repeat(1 << 20); 100],
        };
        let Trap { reason, words, stack } = trap.bounded();
        assert!(reason.len() == REASON_LIMIT && words.len() <= WORDS_LIMIT && stack.len() == FRAMES);
        assert!(words.ends_with("ä [1m\nthe end") && stack[0].chars().count() == NAME_LIMIT);
        assert!(!stack[0].contains('\n'));
    }
}
