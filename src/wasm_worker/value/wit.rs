//! Types as WIT writes them, for messages and signatures.

use std::fmt::{self, Display, Write};

use wasmtime::component::Type;

use crate::wasm_worker::value::names::Names;
use crate::wasm_worker::value::shape::Shape;

/// Longest text of a type, in bytes; a longer one is cut and ends in `…`.
const LONGEST: usize = 200;

/// The text of a type as WIT writes it, such as `list<tuple<u32, string>>` or `record { x: u32, y: option<string> }`,
/// cut after 200 bytes.
#[must_use]
pub fn wit(ty: &Type) -> String {
    Shape::new(ty).wit()
}

impl Shape {
    /// The same as [`wit`].
    pub(super) fn wit(&self) -> String {
        cut(self)
    }
}

/// The text of a type or a signature, cut after 200 bytes.
pub(super) fn cut(whole: &impl Display) -> String {
    let mut cut = Cut(String::new());
    // `Cut` fails only when the text is long enough; the text up to there is the result.
    let _long_enough = write!(cut, "{whole}");
    cut.0
}

/// Stops the writer at [`LONGEST`]: the whole text of a type may be megabytes.
struct Cut(String);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LONGEST - self.0.len().min(LONGEST);
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

impl Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Number(number) => f.write_str(number.name()),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("list<u8>"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::FixedLengthList(item, length) => write!(f, "list<{item}, {length}>"),
            Self::Tuple(items) => with_items(f, "tuple", items),
            Self::Map(entry) => with_items(f, "map", entry.items()),
            Self::Record(names, items) => {
                f.write_str("record { ")?;
                separated(f, names.iter().zip(items), |f, (name, item)| write!(f, "{name}: {item}"))?;
                f.write_str(" }")
            }
            Self::Variant(names, payloads) => {
                f.write_str("variant { ")?;
                separated(f, names.iter().zip(payloads), |f, (name, payload)| match payload {
                    Some(payload) => write!(f, "{name}({payload})"),
                    None => f.write_str(name),
                })?;
                f.write_str(" }")
            }
            Self::Enum(names) => named(f, "enum", names),
            Self::Flags(names) => named(f, "flags", names),
            Self::Option(item) => write!(f, "option<{item}>"),
            Self::Result(pair) => match &**pair {
                (None, None) => f.write_str("result"),
                (Some(ok), None) => write!(f, "result<{ok}>"),
                (None, Some(err)) => write!(f, "result<_, {err}>"),
                (Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
            },
            Self::NoJson(part) => f.write_str(part),
        }
    }
}

fn with_items(f: &mut fmt::Formatter<'_>, kind: &str, items: &[Shape]) -> fmt::Result {
    write!(f, "{kind}<")?;
    separated(f, items.iter(), |f, item| item.fmt(f))?;
    f.write_str(">")
}

fn named(f: &mut fmt::Formatter<'_>, kind: &str, names: &Names) -> fmt::Result {
    write!(f, "{kind} {{ ")?;
    separated(f, names.iter(), |f, name| f.write_str(name))?;
    f.write_str(" }")
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = T>,
    one: impl Fn(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (at, item) in items.enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        one(f, item)?;
    }
    Ok(())
}
