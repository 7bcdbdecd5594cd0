//! Sizes in the configuration: a number of bytes with a unit.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::values::units::{BadUnit, scaled, write_scaled};

const SIZE_UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
];
const SIZE_WORDS: &str = "a size such as \"64KiB\" or \"8MiB\", or a whole number of bytes";

/// A number of bytes, at least one: `"100B"`, `"64KiB"`, `"8MiB"`, `"1GiB"`, also `"10kB"`, `"1MB"`, or a whole
/// number in TOML.
///
/// ```
/// use metagate::config::Size;
///
/// let size: Size = "64KiB".parse()?;
/// assert_eq!(size.bytes(), 65_536);
/// assert_eq!(size.to_string(), "64KiB");
/// assert_eq!("10kB".parse::<Size>()?.bytes(), 10_000);
/// assert!("8".parse::<Size>().is_err()); // no unit
/// assert!("0B".parse::<Size>().is_err());
/// # Ok::<(), metagate::config::BadUnit>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    pub(crate) const fn of_bytes(count: u64) -> Self {
        Self(count)
    }

    pub(crate) const fn kibibytes(count: u64) -> Self {
        Self(count << 10)
    }

    pub(crate) const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        match scaled(text, &SIZE_UNITS, SIZE_WORDS)? {
            0 => Err(BadUnit("a size is at least one byte".to_owned())),
            bytes => Ok(Self(bytes)),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, &SIZE_UNITS[..4])
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor { range: None })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "pattern": "^[0-9]+([KMG]i|[kKMG])?B$", "minimum": 1 })
    }
}

/// Reads a size from `LEAST` to `MOST` bytes.
pub(crate) fn size_within<'de, const LEAST: u64, const MOST: u64, D>(deserializer: D) -> Result<Size, D::Error>
where
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(SizeVisitor { range: Some((Size(LEAST), Size(MOST))) })
}

struct SizeVisitor {
    range: Option<(Size, Size)>,
}

impl SizeVisitor {
    fn holds(&self, size: Size) -> bool {
        self.range.is_none_or(|(least, most)| (least..=most).contains(&size))
    }
}

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SIZE_WORDS)?;
        self.range.map_or(Ok(()), |(least, most)| write!(f, ", from \"{least}\" to \"{most}\""))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        let refused = |reason: &str| E::invalid_value(Unexpected::Other(reason), &self);
        let size = text.parse().map_err(|reason: BadUnit| refused(&reason.0))?;
        match self.range {
            Some((least, most)) if !self.holds(size) => {
                Err(refused(&format!("{text:?} is outside the range \"{least}\" to \"{most}\"")))
            }
            _ => Ok(size),
        }
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
        if bytes == 0 || !self.holds(Size(bytes)) {
            return Err(E::invalid_value(Unexpected::Unsigned(bytes), &self));
        }
        Ok(Size(bytes))
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
        let bytes = u64::try_from(bytes).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))?;
        self.visit_u64(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_or_decimal_and_print_as_written() {
        for (text, bytes) in [("100B", 100), ("64KiB", 65_536), ("8MiB", 8 << 20), ("1GiB", 1 << 30)] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, text));
        }
        assert_eq!("10kB".parse::<Size>().unwrap().bytes(), 10_000);
        assert_eq!("1MB".parse::<Size>().unwrap().bytes(), 1_000_000);
    }

    #[test]
    fn a_text_that_is_not_a_size_is_refused() {
        for bad in ["", "8", "MiB", "8 MiB", "8mib", "-1B", "0B", "1.5MiB", "99999999999GiB", "99999999999999999999B"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
