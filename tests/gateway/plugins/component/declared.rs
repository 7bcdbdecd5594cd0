//! What a plugin declares: the two functions of the interface, which return constants.

use std::fmt::Write;

use crate::plugins::component::{PACKAGE, Plugin, VERSION};

/// An error that a plugin declares: status, code, description, headers.
pub(crate) type Refusal<'a> = (u16, &'a str, &'a str, &'a [&'a str]);

impl Plugin {
    /// Declares errors and ways of proof: the number of each credential's case, its text, and its description.
    pub(crate) fn declares(mut self, refusals: &[Refusal], schemes: &[(u8, &str, &str)]) -> Self {
        let mut all = Vec::new();
        for (status, code, description, headers) in refusals {
            all.extend_from_slice(&u32::from(*status).to_le_bytes());
            all.extend(self.text(code));
            all.extend(self.text(description));
            let names: Vec<u8> = headers.iter().flat_map(|name| self.text(name)).collect();
            all.extend(self.list(&names, headers.len()));
        }
        self = self.constant("refusals", &all, refusals.len());
        let mut all = Vec::new();
        for (case, text, description) in schemes {
            all.extend_from_slice(&u32::from(*case).to_le_bytes());
            all.extend(self.text(text));
            all.extend(self.text(description));
        }
        self.constant("security-schemes", &all, schemes.len())
    }

    /// Declares with a function that traps.
    pub(crate) fn traps_when_asked(mut self) -> Self {
        self.hooks.push("declarations");
        for name in ["refusals", "security-schemes"] {
            let export = format!("{PACKAGE}/declarations@{VERSION}#{name}");
            writeln!(self.items, "(func (export {export:?}) (result i32) unreachable)").unwrap();
        }
        self
    }

    fn text(&mut self, text: &str) -> [u8; 8] {
        self.list(text.as_bytes(), text.len())
    }

    /// Address and length of a list.
    fn list(&mut self, bytes: &[u8], length: usize) -> [u8; 8] {
        let mut list = [0; 8];
        list[..4].copy_from_slice(&self.memory.put(bytes).to_le_bytes());
        list[4..].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        list
    }

    /// A function that returns a list.
    fn constant(mut self, name: &str, bytes: &[u8], length: usize) -> Self {
        let list = self.list(bytes, length);
        let area = self.memory.put(&list);
        let export = format!("{PACKAGE}/declarations@{VERSION}#{name}");
        writeln!(self.items, "(func (export {export:?}) (result i32) (i32.const {area}))").unwrap();
        if !self.hooks.contains(&"declarations") {
            self.hooks.push("declarations");
        }
        self
    }
}
