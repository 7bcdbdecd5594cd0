//! Limits in the form of the gateway: durations, sizes, whole numbers. A policy can only tighten them.

use std::fmt;

use plugin_config::{Period, Size};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// The names and kinds of limits.
const KINDS: [(&str, Kind); 5] = [
    ("timeout", Kind::Period),
    ("load_timeout", Kind::Period),
    ("concurrency", Kind::Count),
    ("queue", Kind::Count),
    ("max_memory", Kind::Size),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Period,
    Size,
    Count,
}

/// The value of a limit in the configuration, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitText(String);

/// The maximum of one limit of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its name, as in TOML.
    pub name: String,
    /// Its value, as the gateway reads it.
    pub text: String,
    kind: Kind,
    value: u64,
}

impl Limit {
    /// Checks a limit of the configuration; the error names the fault of its value.
    pub fn read(name: &str, text: &LimitText) -> Result<Self, String> {
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            return Err(format!("there is no such limit; there are {}", known.join(", ")));
        };
        let value = kind.value(&text.0)?;
        // The gateway requires a unit here; its configuration file does not.
        let text = if *kind == Kind::Size { format!("{value}B") } else { text.0.clone() };
        Ok(Self { name: name.to_owned(), text, kind: *kind, value })
    }

    /// Whether a release's limit is already tighter. An unreadable value counts as looser, so that the gateway decides.
    pub fn is_met_by(&self, current: Option<&str>) -> bool {
        current.is_some_and(|text| self.kind.value(text).is_ok_and(|value| value <= self.value))
    }
}

impl Kind {
    fn value(self, text: &str) -> Result<u64, String> {
        match self {
            Self::Period => Period::parse(text).map(Period::nanoseconds),
            Self::Size if text.bytes().all(|byte| byte.is_ascii_digit()) => count(text),
            Self::Size => Size::parse(text).map(Size::bytes),
            Self::Count => count(text),
        }
    }
}

fn count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no whole number"))
}

impl<'de> Deserialize<'de> for LimitText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitVisitor)
    }
}

struct LimitVisitor;

impl Visitor<'_> for LimitVisitor {
    type Value = LimitText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, a size or a whole number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<LimitText, E> {
        Ok(LimitText(text.to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<LimitText, E> {
        Ok(LimitText(number.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str, text: &str) -> Result<Limit, String> {
        Limit::read(name, &LimitText(text.to_owned()))
    }

    #[test]
    fn a_release_with_less_meets_a_limit() {
        let timeout = limit("timeout", "10s").unwrap();
        for less in ["10s", "9999ms", "1s"] {
            assert!(timeout.is_met_by(Some(less)), "{less}");
        }
        for more in [Some("1m"), Some("10001ms"), Some("none"), Some(""), None] {
            assert!(!timeout.is_met_by(more), "{more:?}");
        }
        assert!(limit("max_memory", "64MiB").unwrap().is_met_by(Some("1048576")));
        assert!(!limit("concurrency", "8").unwrap().is_met_by(Some("64")));
        assert_eq!(limit("max_memory", "1048576").unwrap(), limit("max_memory", "1MiB").unwrap());
        assert_eq!(limit("max_memory", "1KiB").unwrap().text, "1024B");
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        assert!(limit("timeout", "10").unwrap_err().contains("has no unit"));
        assert!(limit("concurrency", "8s").unwrap_err().contains("no whole number"));
        assert!(limit("timeouts", "8s").unwrap_err().contains("there are timeout, "));
    }
}
