//! The instructions of a hook, written as a sequence of calls. Each result of an import has a memory area of its own.

use std::fmt::{self, Display, Write};

use crate::plugins::component::{PACKAGE, Plugin, VERSION, core_type};

/// Size of the largest result of an import, in bytes.
const AREA: u32 = 48;

/// A text of the plugin: two expressions, for its memory address and its length.
#[derive(Clone)]
pub(crate) struct Text {
    at: String,
    length: String,
}

impl Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.length)
    }
}

impl Text {
    /// A part of it.
    pub(crate) fn part(&self, from: u32, length: u32) -> Self {
        Self { at: format!("(i32.add {} (i32.const {from}))", self.at), length: format!("(i32.const {length})") }
    }
}

/// The result of an import.
#[derive(Clone, Copy)]
pub(crate) struct Area(u32);

impl Area {
    /// The memory address of a part of it.
    pub(crate) fn address(self, offset: u32) -> String {
        format!("(i32.const {})", self.0 + offset)
    }

    /// Its first byte: 1 if it is `some` or an error.
    pub(crate) fn byte(self) -> String {
        format!("(i32.load8_u (i32.const {}))", self.0)
    }

    pub(crate) fn i32(self) -> String {
        self.i32_at(0)
    }

    pub(crate) fn i32_at(self, offset: u32) -> String {
        format!("(i32.load (i32.const {}))", self.0 + offset)
    }

    pub(crate) fn i64_at(self, offset: u32) -> String {
        format!("(i64.load (i32.const {}))", self.0 + offset)
    }

    pub(crate) fn u16_at(self, offset: u32) -> String {
        format!("(i32.load16_u (i32.const {}))", self.0 + offset)
    }

    /// The text that it is.
    pub(crate) fn text(self) -> Text {
        self.text_at(0)
    }

    /// The text of an `option` or a `result`.
    pub(crate) fn inner(self) -> Text {
        self.text_at(4)
    }

    pub(crate) fn text_at(self, offset: u32) -> Text {
        Text { at: self.i32_at(offset), length: self.i32_at(offset + 4) }
    }
}

/// The instructions of one hook.
pub(crate) struct Code<'a> {
    plugin: &'a mut Plugin,
    wat: String,
}

impl<'a> Code<'a> {
    pub(super) fn of(plugin: &'a mut Plugin) -> Self {
        Self { plugin, wat: String::new() }
    }

    pub(super) fn into_text(self) -> String {
        self.wat
    }

    /// Adds instructions.
    pub(crate) fn raw(&mut self, wat: impl Display) {
        writeln!(self.wat, "{wat}").unwrap();
    }

    /// A constant text.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) -> Text {
        let at = self.plugin.memory.put(text.as_ref());
        Text { at: format!("(i32.const {at})"), length: format!("(i32.const {})", text.as_ref().len()) }
    }

    fn area(&mut self) -> Area {
        Area(self.plugin.memory.put(&[0; AREA as usize]))
    }

    /// Calls an import. The handle of a method is added.
    pub(crate) fn call(&mut self, interface: &str, function: &str, arguments: impl Display) -> Area {
        let (function, handle) = match interface {
            "invocation" => (format!("[method]invocation.{function}"), "(local.get $call)"),
            "outcome" => (format!("[method]outcome.{function}"), "(local.get $outcome)"),
            "release" => (format!("[method]release.{function}"), "(local.get $release)"),
            _ => (function.to_owned(), ""),
        };
        let name = self.plugin.import(interface, &function);
        let full =
            if interface.contains(':') { interface.to_owned() } else { format!("{PACKAGE}/{interface}@{VERSION}") };
        let signature = self.plugin.signature(&full, &function);
        let area = self.area();
        let at = format!("(i32.const {})", area.0);
        if signature.retptr {
            self.raw(format!("(call {name} {handle} {arguments} {at})"));
        } else if let Some(ty) = signature.results.first() {
            self.raw(format!("({}.store {at} (call {name} {handle} {arguments}))", core_type(*ty)));
        } else {
            self.raw(format!("(call {name} {handle} {arguments})"));
        }
        area
    }

    /// Concatenates texts.
    pub(crate) fn join(&mut self, texts: &[Text]) -> Text {
        let mut all = texts[0].clone();
        for text in &texts[1..] {
            let area = self.area();
            self.raw(format!("(call $join (i32.const {}) {all} {text})", area.0));
            all = area.text();
        }
        all
    }

    /// A number of 64 bits as text.
    pub(crate) fn decimal(&mut self, number: impl Display) -> Text {
        let area = self.area();
        self.raw(format!("(call $decimal (i32.const {}) {number})", area.0));
        area.text()
    }

    /// A number of 32 bits as text.
    pub(crate) fn decimal32(&mut self, number: impl Display) -> Text {
        self.decimal(format!("(i64.extend_i32_u {number})"))
    }

    /// Code that runs if a number is not 0.
    pub(crate) fn when(&mut self, condition: impl Display, code: impl FnOnce(&mut Self)) {
        self.raw(format!("(if {condition} (then"));
        code(self);
        self.raw("))");
    }

    /// The text of an `option`, empty if it is `none`.
    pub(crate) fn or_empty(&mut self, area: Area) -> Text {
        self.raw(format!("(if (i32.eqz {}) (then (i64.store (i32.const {}) (i64.const 0))))", area.byte(), area.0 + 4));
        area.inner()
    }

    /// Traps if a setter has failed.
    pub(crate) fn expect_ok(&mut self, set: Area) {
        self.when(set.byte(), |c| c.raw("(unreachable)"));
    }

    /// A line for the log.
    pub(crate) fn log(&mut self, line: &Text) {
        self.call("log", "write", format!("(i32.const 2) {line}"));
    }

    /// Sets a header of the request, or, in after-invoke, of the answer.
    pub(crate) fn set_header(&mut self, interface: &str, name: &str, value: &Text) -> Area {
        let name = self.text(name);
        self.call(interface, "set-header", format!("{name} {value}"))
    }

    fn pairs(&mut self, pairs: &[(&str, &str)]) -> Text {
        let mut list = Vec::new();
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            let at = self.plugin.memory.put(text.as_bytes());
            list.extend_from_slice(&at.to_le_bytes());
            list.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
        }
        let at = self.plugin.memory.put(&list);
        Text { at: format!("(i32.const {at})"), length: format!("(i32.const {})", pairs.len()) }
    }

    fn store(&mut self, area: Area, offset: u32, text: &Text) {
        self.raw(format!("(i32.store (i32.const {}) {})", area.0 + offset, text.at));
        self.raw(format!("(i32.store (i32.const {}) {})", area.0 + offset + 4, text.length));
    }

    /// Ends before-invoke with an answer.
    pub(crate) fn respond(&mut self, status: u16, headers: &[(&str, &str)], body: &Text) {
        let (area, headers) = (self.area(), self.pairs(headers));
        self.raw(format!("(i32.store8 (i32.const {}) (i32.const 1))", area.0));
        self.raw(format!("(i32.store16 (i32.const {}) (i32.const {status}))", area.0 + 4));
        self.store(area, 8, &headers);
        self.store(area, 16, body);
        self.raw(format!("(return (i32.const {}))", area.0));
    }

    /// Ends before-invoke with a refusal.
    pub(crate) fn reject(&mut self, status: u16, code: &str, message: &Text, headers: &[(&str, &str)]) {
        let (area, code, headers) = (self.area(), self.text(code), self.pairs(headers));
        self.raw(format!("(i32.store8 (i32.const {}) (i32.const 2))", area.0));
        self.raw(format!("(i32.store16 (i32.const {}) (i32.const {status}))", area.0 + 4));
        self.store(area, 8, &code);
        self.store(area, 16, message);
        self.store(area, 24, &headers);
        self.raw(format!("(return (i32.const {}))", area.0));
    }

    /// Ends before-invoke with a refusal whose message the test reads.
    pub(crate) fn tell(&mut self, message: &Text) {
        self.reject(418, "told", message, &[]);
    }

    /// In after-invoke: replaces the outcome with an error.
    pub(crate) fn set_problem(&mut self, status: u16, code: &str, message: &str, headers: &[(&str, &str)]) -> Area {
        let (code, message, headers) = (self.text(code), self.text(message), self.pairs(headers));
        self.call("outcome", "set-problem", format!("(i32.const {status}) {code} {message} {headers}"))
    }

    /// Ends a load hook or a start with a refusal.
    pub(crate) fn refuse(&mut self, reason: &Text) {
        let area = self.area();
        self.raw(format!("(i32.store8 (i32.const {}) (i32.const 1))", area.0));
        self.store(area, 4, reason);
        self.raw(format!("(return (i32.const {}))", area.0));
    }
}
