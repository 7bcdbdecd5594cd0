//! Numbers with a unit: `"500ms"`, `"64KiB"`.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

const TIMES: [(&str, u64); 4] =
    [("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];
const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// A length of time: a whole number with the unit ms, s, m or h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u64);

impl Period {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(count: u64) -> Self {
        Self(count * 1_000_000_000)
    }

    /// The text as a length of time.
    ///
    /// # Errors
    ///
    /// The text is not valid; the error says why.
    pub fn parse(text: &str) -> Result<Self, String> {
        scaled(text, &TIMES).map(Self)
    }

    /// The length in nanoseconds.
    #[must_use]
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// The length in milliseconds.
    #[must_use]
    pub const fn milliseconds(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(Error::custom)
    }
}

/// A number of bytes: `"64KiB"`, or a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// So many times 1024 bytes.
    #[must_use]
    pub const fn kibibytes(count: u64) -> Self {
        Self(count << 10)
    }

    /// The text as a number of bytes.
    ///
    /// # Errors
    ///
    /// The text is not valid; the error says why.
    pub fn parse(text: &str) -> Result<Self, String> {
        scaled(text, &SIZES).map(Self)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"64KiB\", or a whole number of bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        Size::parse(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        let fault = if unit.is_empty() { "has no unit".to_owned() } else { format!("has the unit {unit:?}") };
        return Err(format!("{text:?} {fault}; units are {}", known.join(", ")));
    };
    let value = digits.parse().ok().and_then(|count: u64| count.checked_mul(*scale));
    value.ok_or_else(|| format!("{text:?} is no whole number with a unit, or too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_scale() {
        assert_eq!(Period::parse("1500ms").unwrap().milliseconds(), 1_500);
        assert_eq!(Period::parse("5m").unwrap(), Period::seconds(300));
        assert_eq!(Period::parse("2h").unwrap(), Period::seconds(7_200));
        assert_eq!(Size::parse("64KiB").unwrap(), Size::kibibytes(64));
        assert_eq!(Size::parse("10kB").unwrap().bytes(), 10_000);
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "5", "s", "-1s", "1.5s", "5 s", "5S", "99999999999999999999s", "9999999999h", "1d"] {
            assert!(Period::parse(text).is_err(), "{text}");
        }
        for text in ["", "64", "KiB", "64kib", "99999999999GiB"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }
}
